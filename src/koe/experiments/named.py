"""Named experiments: sets of parameter overrides in `experiments/**/*.yaml`, with what they are for.

    base: log                 # optional: another experiment, whose overrides come first
    purpose: one line
    parameters:
      acoustic.conditioning.by: learned

An experiment is one of the pipeline in whose folder it lies: experiments/ at the project's root, or
pipelines/<name>/experiments/. `base: /hifigan_v1` is one of the root's, if it overrides nothing that the pipeline does
not have.
Presets (`paper`, `log`, `demo`, `large`) are experiments that others start from. Runs of the log, `log/…`, also have a
date and what was found; one that must not be repeated has `refused`, a pattern of the message that refuses it.
"""

import datetime
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from koe.errors import KoeError, ParameterError

FOLDER = Path("experiments")

ABSENT = object()  # what a parameter is where it does not exist

Line = Annotated[str, Field(pattern=r"^[^\n]+$")]


class Experiment(BaseModel):
    """Overrides of params.yaml, by dotted name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    purpose: Line
    parameters: dict[str, Any]
    base: "Experiment | None" = None
    date: datetime.date | None = None
    found: Line | None = None
    refused: str | None = None

    @property
    def lineage(self) -> list["Experiment"]:
        """What it builds on, the first base first, and itself last."""
        return [*(self.base.lineage if self.base else []), self]

    @property
    def run_name(self) -> str:
        """What `koe exp run` calls it in DVC, and so acoustic.init.from too."""
        return run_name_of(self.name)

    def origin(self, parameter: str) -> str:
        """The last experiment of the lineage that says something of a parameter, of a part of it, or of its section."""
        says = [experiment.name for experiment in self.lineage for name in experiment.parameters
                if f"{name}.".startswith(f"{parameter}.") or f"{parameter}.".startswith(f"{name}.")]
        return says[-1]


@dataclass(frozen=True)
class Difference:
    """A parameter that two trees do not agree on; what only one of them has is ABSENT in the other."""

    parameter: str
    before: Any
    after: Any

    def __str__(self) -> str:
        before, after = ("nothing" if value is ABSENT else value for value in (self.before, self.after))
        return f"{self.parameter}: {before} → {after}"

    def setting(self) -> str:
        """As `dvc exp run -S` takes it (Hydra's syntax)."""
        if self.after is ABSENT:
            return f"~{self.parameter}"
        return f"{'+' if self.before is ABSENT else ''}{self.parameter}={_hydra(self.after)}"


def run_name_of(name: str) -> str:
    """An experiment's name in DVC, whose names have no slash."""
    return name.replace("/", "-")


def read_experiment(name: str, folder: str | Path = FOLDER, above: tuple[str, ...] = ()) -> Experiment:
    """Reads `folder/name.yaml` and its bases; `above` are those that lead here.

    Raises KoeError naming the file, and what there is, if it is not there, is not one, or is its own base.
    """
    path = Path(folder) / f"{name}.yaml"
    if not path.is_file():
        raise KoeError(f"{path} does not exist; there are {', '.join(experiment_names(folder)) or 'none'}")
    if name in above:
        raise KoeError(f"{path}: base: leads back to itself: {' → '.join((*above, name))}")
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise KoeError(f"{path}: expected purpose: a line, and parameters: dotted names with values")
    if "pipeline" in value:
        raise KoeError(f"{path}: pipeline: an experiment no longer names one; it is of the pipeline in whose folder it "
                       "lies, so move it to pipelines/<name>/experiments and remove this line")
    if isinstance(base := value.get("base"), str):
        place = _of_root(folder) if base.startswith("/") else folder
        value["base"] = read_experiment(base.removeprefix("/"), place, (*above, name))
    try:
        return Experiment.model_validate({**value, "name": name})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())
        raise KoeError(f"{path}: expected purpose: a line, and parameters: dotted names with values, and at most base, "
                       f"date, found, refused. {wrong}") from None


def _of_root(folder: str | Path) -> Path:
    """The experiments of the project's root, seen from those of one of its pipelines."""
    here = Path(folder).resolve()
    root = next((above for above in here.parents if (above / "pipelines").is_dir()), here.parent)
    return root / FOLDER


def experiment_names(folder: str | Path = FOLDER) -> list[str]:
    """All experiments in a folder, those of its own before those of folders in it, sorted."""
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in Path(folder).rglob("*.yaml")]
    return sorted(names, key=lambda name: (name.count("/"), name))


def compose(values: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """A tree of parameters with the experiment's overrides and its bases'.

    A value that is a mapping stands for the whole section. Raises ParameterError for a name that is not in the tree.
    """
    composed = deepcopy(dict(values))
    for step in experiment.lineage:
        for name, value in step.parameters.items():
            *sections, last = name.split(".")
            section = composed
            for part in sections:
                section = section.get(part, {}) if isinstance(section, dict) else {}
            if not isinstance(section, dict) or last not in section:
                raise ParameterError(f"experiment {step.name}: params.yaml has no {name}")
            section[last] = deepcopy(value)
    return composed


def differences(before: Mapping[str, Any], after: Mapping[str, Any], section: str = "") -> Iterator[Difference]:
    """What turns one tree of parameters into another, as few names as say it; lists are compared whole."""
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{section}{name}.")
        elif old != new:
            yield Difference(section + name, old, new)


def arguments(values: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """What makes `dvc exp run` turn these parameters into the experiment's: -S name=value …

    Only what differs, for DVC merges a mapping into the one that is there, where compose replaces it.
    """
    found = differences(values, compose(values, experiment))
    return [argument for difference in found for argument in ("-S", difference.setting())]


def _hydra(value: Any) -> str:
    """A value in Hydra's syntax: JSON, but for the keys of mappings, which have no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_hydra(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_hydra, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
