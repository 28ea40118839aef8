"""What `init.from` names: a model's folder, and of the run that made it a checkpoint that was kept (lesson 21).

`<where>`, `<where>@<step>` or `<where>@best`. Here `where` is a folder; the stages know other names for one. Model
folders hold weights alone; what else a training can go on with (the optimizer, other steps) is in the checkpoints that
`training.keep_every` and `training.keep_best` leave in the work folder of that run, on the machine where it ran.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from koe.errors import KoeError, StoreError
from koe.files import read_json
from koe.training.params import CHECKPOINT


def split_reference(text: str) -> tuple[str, str | None]:
    """`where`, and the kept checkpoint as its file is called: `00005000`, `best`, or None for the finished model."""
    found = CHECKPOINT.fullmatch(text)
    if found is None:
        return text, None
    label = found["checkpoint"]
    return found["where"], label if label == "best" else f"{int(label):08d}"


class ModelKind(NamedTuple):
    """Models of a kind, as `init.from` names them."""

    section: str  # of the parameters that has this `init.from`
    card: str  # name of the file in a model's folder that says what it is


@dataclass(frozen=True)
class ModelReference:
    """A model that is on this machine: as the user names it, its folder, and a checkpoint to take instead."""

    name: str
    folder: Path
    kind: ModelKind
    checkpoint: Path | None = None

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the folder says of its model. Raises StoreError if it cannot be read."""
        path = self.folder / self.kind.card
        try:
            return read_json(path)
        except (OSError, json.JSONDecodeError) as error:
            raise StoreError(f"{self.kind.section}.init.from: {path} cannot be read ({error}); name the folder of a "
                             "trained model") from error

    @cached_property
    def digest(self) -> str:
        """Hash of the contents of the folder and of the checkpoint, wherever they lie."""
        total = hashlib.blake2b(digest_size=16)
        files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
        for file in [*files, *([self.checkpoint] if self.checkpoint else [])]:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            total.update(f"{file.name}\0{digest}\0".encode())
        return total.hexdigest()

    def origin(self) -> dict[str, Any]:
        """What a model that starts from this one says of it in its own provenance."""
        theirs = {**self.card, **self.card.get("provenance", {})}
        return {"from": self.name, "digest": self.digest,
                **{name: theirs[name] for name in ("run", "revision", "steps", "init") if name in theirs}}


def find_reference(name: str, folder: Path, work_roots: Iterable[Path], kind: ModelKind) -> ModelReference:
    """The reference `name`, whose `where` is in `folder`; `work_roots`: where the run's work folder may be.

    Raises KoeError naming `<section>.init.from` if the folder is no model's, or the checkpoint was not kept here.
    """
    _, label = split_reference(name)
    found = ModelReference(name, folder, kind)
    run = found.card.get("provenance", {}).get("run")
    if label is None:
        return found
    if run is None:
        raise KoeError(f"{kind.section}.init.from: {name}: {folder}/{kind.card} does not say which run made it, so no "
                       "checkpoint of it can be found; leave out the part from @ on")
    kept = [file for root in work_roots for file in sorted((root / run / "kept").glob("*.safetensors"))]
    for file in kept:
        if file.stem == label:
            return ModelReference(name, folder, kind, file)
    there = ", ".join(dict.fromkeys(file.stem.lstrip("0") for file in kept))
    raise KoeError(
        f"{kind.section}.init.from: {name}: that checkpoint of run {run} is not on this machine; "
        + (f"there are {there}" if there else "none of that run is. They are kept where it ran, by "
           f"{kind.section}.training.keep_every and keep_best"))
