"""What `init.from` names: the folder of a model, or a checkpoint kept of the run that made it (lesson 21).

`<where>`, `<where>@<step>` or `<where>@best`. Here `where` is a folder; the stages know other names for one. Model
folders hold weights alone; what else a run can continue from (the optimizer's state, other steps) is in the checkpoints
that `training.keep_every` and `training.keep_best` leave in the work folder of a run, on the machine where it ran.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from koe.errors import KoeError, StoreError
from koe.files import kind_of, read_json
from koe.store import compare_contracts
from koe.training.params import CHECKPOINT


def split_reference(text: str) -> tuple[str, str | None]:
    """`where`, and the kept checkpoint as its file is called: `00005000`, `best`, or None for the finished model."""
    match = CHECKPOINT.fullmatch(text)
    if match is None:
        return text, None
    label = match["checkpoint"]
    return match["where"], label if label == "best" else f"{int(label):08d}"


class ModelKind(NamedTuple):
    """A kind of model that `init.from` can name."""

    section: str  # of the parameters, with this `init.from`
    card: str  # file in a model's folder that describes it


@dataclass(frozen=True)
class ModelReference:
    """A model on this machine."""

    name: str  # as the user wrote it
    folder: Path
    kind: ModelKind
    checkpoint: Path | None = None  # to read instead of the folder's weights

    @cached_property
    def card(self) -> dict[str, Any]:
        """Description of the model in its folder. Raises StoreError if it cannot be read."""
        path = self.folder / self.kind.card
        try:
            card = read_json(path, advice := "name the folder of a trained model")
            if not isinstance(origin := card.get("provenance", {}), dict):
                raise StoreError(f"{path}: provenance is {kind_of(origin)}; {advice}")
        except StoreError as error:
            raise StoreError(f"{self.kind.section}.init.from: {error}") from error
        return card

    @cached_property
    def digest(self) -> str:
        """Hash of the contents of the folder and of the checkpoint, wherever they lie."""
        total = hashlib.blake2b(digest_size=16)
        files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
        if self.checkpoint:
            files.append(self.checkpoint)
        for file in files:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            total.update(f"{file.name}\0{digest}\0".encode())
        return total.hexdigest()

    def require_contract(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        """Raises ContractError, with what to do, if this model's mel settings are not the parameters' (lesson 13)."""
        parameter = f"{self.kind.section}.init.from"
        compare_contracts(f"{parameter} ({self.name})", theirs, "params.yaml", ours, "Set them to that model's, or "
                          f"train from random weights, with {parameter}: null and more steps")

    def origin(self) -> dict[str, Any]:
        """Entry for this model in the provenance of one that starts from it."""
        card = {**self.card, **self.card.get("provenance", {})}
        return {"from": self.name, "digest": self.digest,
                **{name: card[name] for name in ("run", "revision", "steps", "init") if name in card}}


def find_reference(name: str, folder: Path, work_roots: Iterable[Path], kind: ModelKind) -> ModelReference:
    """The reference `name`, whose `where` is in `folder`; `work_roots`: where the run's work folder may be.

    Raises KoeError naming `<section>.init.from` if the folder is not a model's, or the checkpoint was not kept on this
    machine.
    """
    _, label = split_reference(name)
    model = ModelReference(name, folder, kind)
    run = model.card.get("provenance", {}).get("run")
    if label is None:
        return model
    if not isinstance(run, str):
        raise KoeError(f"{kind.section}.init.from: {name}: {folder}/{kind.card} does not say which run made it, so no "
                       "checkpoint of it can be found; leave out the part from @ on")
    kept = [file for root in work_roots for file in sorted((root / run / "kept").glob("*.safetensors"))]
    for file in kept:
        if file.stem == label:
            return ModelReference(name, folder, kind, file)
    labels = ", ".join(dict.fromkeys(file.stem.lstrip("0") for file in kept))
    raise KoeError(
        f"{kind.section}.init.from: {name}: that checkpoint of run {run} is not on this machine; "
        + (f"there are {labels}" if labels else "none of that run is. They are kept where it ran, by "
           f"{kind.section}.training.keep_every and keep_best"))
