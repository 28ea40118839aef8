"""A stage of a pipeline: what it reads and writes, declared once beside its `main`, typed.

A stage script declares its parameters, inputs and outputs as three classes, makes a `Stage` of them, and ends with
`STAGE.run(main)`. `main` gets objects of these classes, so a type checker sees them; `koe.pipeline.writing` writes the
stage's entry in dvc.yaml from the same classes. This module is in the closure of every stage: keep it small.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from koe.errors import KoeError, ParameterError
from koe.params.reading import at, check, listed, read_values, typed
from koe.params.section import Section
from koe.pipeline.loading import FILE, load_declaration

# PyTorch reads it when it is loaded, after this. Its threads wait for each other in a busy loop by default, which is
# 5 % faster on an idle machine, and ten times slower on one where anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

KEY = "${key}"  # in names and paths: the corpus, where DVC runs a stage once for each


class StageParameters(Section):
    """The parameters that a stage reads. A field is a section of params.yaml of the same name, or, with an alias, what
    the dotted alias names: `factor: Factor = Field(alias="acoustic.reduction.factor")`.
    """

    @classmethod
    def names(cls) -> list[str]:
        """The dotted names, as dvc.yaml has them."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    @classmethod
    def read(cls, values: Any, key: str | None = None, where: str = "params.yaml") -> Self:
        """Takes them from a parameter tree. Raises ParameterError naming what is missing or of a wrong type."""
        taken, missing = {}, []
        for name in cls.names():
            try:
                taken[name] = at(values, name.replace(KEY, key or ""))
            except KeyError:
                missing.append(f"{name.replace(KEY, key or '')}: missing")
        if missing:
            raise ParameterError(listed(where, missing))
        return typed(cls, taken, where)


class StageFiles(Section):
    """Files and folders that a stage reads, or writes, from its pipeline's folder on: fields of type Path, with the
    path as their default.
    """

    @classmethod
    def of(cls, key: str | None = None) -> Self:
        """The paths for a corpus, or as they are declared."""
        paths = {name: info.default for name, info in cls.model_fields.items()}
        return cls.model_validate({name: Path(str(path).replace(KEY, key)) if key else path
                                   for name, path in paths.items()})

    @classmethod
    def paths(cls) -> list[Path]:
        """All of them as they are declared, in order."""
        return [info.default for info in cls.model_fields.values()]


Parameters = TypeVar("Parameters", bound=StageParameters)
Inputs = TypeVar("Inputs", bound=StageFiles)
Outputs = TypeVar("Outputs", bound=StageFiles)


@dataclass(frozen=True)
class Stage(Generic[Parameters, Inputs, Outputs]):
    """A stage as its script declares it."""

    name: str  # in dvc.yaml
    purpose: str  # a line for dvc stage list
    parameters: type[Parameters]
    inputs: type[Inputs]
    outputs: type[Outputs]
    per_corpus: bool = False  # once for each of `corpora`; `main` then gets the corpus' name too
    looks_outside: bool = False  # runs every time, and what it writes is kept in git and not in DVC's cache

    def run(self, main: Callable[..., None]) -> None:
        """Runs `main(parameters, inputs, outputs[, corpus])` after the pipeline's whole params.yaml was checked.

        A KoeError is printed without a traceback and ends with status 1; so does Ctrl-C, with status 130.
        """
        try:
            keys = sys.argv[1:]
            if len(keys) != int(self.per_corpus):
                raise KoeError(f"expected {'the name of a corpus' if self.per_corpus else 'no argument'}")
            values = read_values()
            if FILE.is_file():  # a project may have stages without a declaration
                check(load_declaration().params, values)
            main(self.parameters.read(values, *keys), self.inputs.of(*keys), self.outputs.of(*keys), *keys)
        except KoeError as error:
            print(f"{sys.argv[0]}: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print(f"{sys.argv[0]}: interrupted; dvc repro runs it again, and a training run continues from its last "
                  "checkpoint", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None


def code_revision() -> str:
    """The commit that runs, with `-dirty` where the work tree differs; `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
