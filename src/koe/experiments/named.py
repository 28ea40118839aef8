"""Named experiments: sets of parameter overrides in `experiments/**/*.yaml`, each with its purpose.

    base: log                 # optional: another experiment, whose overrides come first; or a list of them
    purpose: one line
    parameters:
      acoustic.conditioning.by: learned

An experiment belongs to the pipeline whose folder contains it: experiments/ at the project's root, or
pipelines/<name>/experiments/. `base: /hifigan_v1` refers to one of the root's, which may override only parameters that
the pipeline has.

Presets (`paper`, `log`, `demo`, `large`) are experiments on which others are based. The runs of the research log
(docs/lessons.md) are in `log/`, with a date and what was found; one that must not be repeated has `refused`, a pattern
of the message with which it is refused.
"""

import datetime
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from koe.errors import KoeError, ParameterError
from koe.files import fields_of
from koe.params.reading import check
from koe.params.section import Section
from koe.yaml_files import read_yaml

FOLDER = Path("experiments")

ABSENT = object()  # the value of a parameter that does not exist

Line = Annotated[str, Field(pattern=r"^[^\n]+$")]


class Experiment(BaseModel):
    """Overrides of params.yaml, by dotted name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    purpose: Line
    parameters: dict[str, Any]
    base: "tuple[Experiment, ...]" = ()
    date: datetime.date | None = None
    found: Line | None = None  # the result of the run
    refused: str | None = None  # a pattern of the message that refuses it

    @property
    def lineage(self) -> list["Experiment"]:
        """Its bases, the first one first, and itself last."""
        return [*(experiment for base in self.base for experiment in base.lineage), self]

    @property
    def run_name(self) -> str:
        """Its name in DVC, and so in acoustic.init.from."""
        return run_name_of(self.name)

    def origin(self, parameter: str) -> str:
        """The last experiment of the lineage that sets a parameter, a part of it, or its section."""
        setters = [experiment.name for experiment in self.lineage for name in experiment.parameters
                   if f"{name}.".startswith(f"{parameter}.") or f"{parameter}.".startswith(f"{name}.")]
        return setters[-1]


@dataclass(frozen=True)
class Difference:
    """A parameter that differs between two versions of params.yaml."""

    parameter: str  # dotted name
    before: Any  # ABSENT if only the second version has it
    after: Any  # ABSENT if only the first version has it

    def __str__(self) -> str:
        before, after = ("nothing" if value is ABSENT else value for value in (self.before, self.after))
        return f"{self.parameter}: {before} → {after}"

    def setting(self) -> str:
        """The argument of `dvc exp run -S` that makes this change (Hydra's syntax)."""
        if self.after is ABSENT:
            return f"~{self.parameter}"
        return f"{'+' if self.before is ABSENT else ''}{self.parameter}={_hydra(self.after)}"


def run_name_of(name: str) -> str:
    """An experiment's name in DVC, where names cannot contain a slash."""
    return name.replace("/", "-")


def read_experiment(name: str, folder: str | Path = FOLDER, above: tuple[str, ...] = ()) -> Experiment:
    """Reads `folder/name.yaml` and its bases; `above`: the experiments whose bases led to this one.

    Raises KoeError naming the file if it does not exist (with those that do), is not an experiment, or is its own base.
    """
    path = Path(folder) / f"{name}.yaml"
    if not path.is_file():
        raise KoeError(f"{path} does not exist; there are: {', '.join(experiment_names(folder)) or 'none'}")
    if name in above:
        raise KoeError(f"{path}: base: leads back to itself: {' → '.join((*above, name))}")
    value = read_yaml(path, KoeError)
    if not isinstance(value, dict):
        raise KoeError(f"{path}: expected purpose: a line, and parameters: dotted names with values")
    if "pipeline" in value:
        raise KoeError(f"{path}: pipeline: an experiment no longer names its pipeline, it belongs to the one whose "
                       "folder contains it; move it to pipelines/<name>/experiments and remove this line")
    bases = [value["base"]] if isinstance(value.get("base"), str) else value.get("base", [])
    if isinstance(bases, list) and all(isinstance(base, str) for base in bases):
        value["base"] = [read_experiment(base.removeprefix("/"), _of_root(folder) if base.startswith("/") else folder,
                                         (*above, name)) for base in bases]
    try:
        return Experiment.model_validate({**value, "name": name})
    except ValidationError as error:
        raise KoeError(f"{path}: expected purpose: a line, and parameters: dotted names with values, and at most base, "
                       f"date, found, refused. {fields_of(error)}") from None


def _of_root(folder: str | Path) -> Path:
    """The folder of the root's experiments, given that of a pipeline's."""
    folder = Path(folder).resolve()
    root = next((parent for parent in folder.parents if (parent / "pipelines").is_dir()), folder.parent)
    return root / FOLDER


def experiment_names(folder: str | Path = FOLDER) -> list[str]:
    """The names of all experiments in a folder, sorted, those in subfolders last."""
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in Path(folder).rglob("*.yaml")]
    return sorted(names, key=lambda name: (name.count("/"), name))


def require_own_run_name(experiment: Experiment, folder: str | Path = FOLDER) -> None:
    """Raises KoeError if another experiment has the same name in DVC, as `a/b-c` and `a-b/c` have.

    Their runs would replace each other, and notes on one be shown with both.
    """
    if same := [name for name in experiment_names(folder)
                if name != experiment.name and run_name_of(name) == experiment.run_name]:
        raise KoeError(f"{experiment.name} and {same[0]} are both {experiment.run_name} in DVC, where names cannot "
                       f"contain a slash; rename one of them in {folder}/")


def compose(values: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The content of params.yaml with the overrides of an experiment and of its bases.

    A value that is a mapping replaces the whole section. Raises ParameterError for a name that params.yaml lacks.
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


def check_composed(schema: type[Section], values: Any, composed: Mapping[str, Any], where: str) -> None:
    """Checks what `compose` made of `values`, the content of params.yaml. Raises ParameterError naming `where`, or
    params.yaml if that is refused by itself.
    """
    try:
        check(schema, composed, where)
    except ParameterError:
        check(schema, values)
        raise


def differences(before: Mapping[str, Any], after: Mapping[str, Any], section: str = "") -> Iterator[Difference]:
    """The fewest changes that turn one parameter tree into another; lists are compared as a whole."""
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{section}{name}.")
        elif old != new:
            yield Difference(section + name, old, new)


def arguments(values: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Arguments with which `dvc exp run` turns these parameters into the experiment's: -S name=value …

    Only differences are passed, because DVC merges a mapping into the existing one, which `compose` replaces.
    """
    changes = differences(values, compose(values, experiment))
    return [argument for change in changes for argument in ("-S", change.setting())]


def _hydra(value: Any) -> str:
    """A value in Hydra's syntax: JSON, except that the keys of mappings have no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_hydra(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_hydra, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
