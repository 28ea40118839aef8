"""A stage of a pipeline: what it reads and writes, declared once, with types, beside its `main`.

A stage script declares its parameters, inputs and outputs as three classes, builds a `Stage` from them, and ends with
`STAGE.run(main)`. `main` gets objects of these classes, so that a type checker sees them; `koe.pipeline.writing` writes
the stage's entry in dvc.yaml from the same classes. Every stage depends on this module: keep it small.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from koe.errors import KoeError, ParameterError
from koe.files import is_disk_full, left_behind, remove, room, size_of
from koe.interruption import finish, raise_on_termination, status_of
from koe.params.reading import at, check, listed, read_values, typed
from koe.params.section import Section
from koe.pipeline.loading import FILE, load_declaration
from koe.pipeline.locks import keep_lock, require_unused
from koe.pipeline.parent import end_with_parent
from koe.terminal import plain

# Must be set before PyTorch is imported. By default its threads wait for each other in a busy loop, which is 5 % faster
# on an idle machine and ten times slower on one that runs anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

INTERRUPTED = "interrupted; dvc repro runs it again, and a training run continues from its last checkpoint"
DVC_ROOM = 2**24  # bytes that DVC should find beside those of a copy of the outputs, for dvc.lock and its databases
KEY = "${key}"  # in names and paths of stages that run once per corpus: stands for the corpus


class StageParameters(Section):
    """The parameters that a stage reads. A field is the section of params.yaml of the same name or, with an alias, the
    parameter of that dotted name: `factor: Factor = Field(alias="acoustic.reduction.factor")`.
    """

    @classmethod
    def names(cls) -> list[str]:
        """The dotted names, as in dvc.yaml."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    @classmethod
    def read(cls, values: Any, key: str | None = None, where: str = "params.yaml") -> Self:
        """Takes them from the content of params.yaml. Raises ParameterError naming what is missing or of a wrong type.
        """
        chosen, missing = {}, []
        for name in cls.names():
            try:
                chosen[name] = at(values, name.replace(KEY, key or ""))
            except KeyError:
                missing.append(f"{name.replace(KEY, key or '')}: missing")
        if missing:
            raise ParameterError(listed(where, missing))
        return typed(cls, chosen, where)


class StageFiles(Section):
    """Files and folders that a stage reads or writes, relative to its pipeline's folder: fields of type Path whose
    default is the path.
    """

    @classmethod
    def of(cls, key: str | None = None) -> Self:
        """The paths for the corpus `key`, or as declared."""
        paths = {name: info.default for name, info in cls.model_fields.items()}
        return cls.model_validate({name: Path(str(path).replace(KEY, key)) if key else path
                                   for name, path in paths.items()})

    @classmethod
    def paths(cls) -> list[Path]:
        """All paths, as and in the order declared."""
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
    per_corpus: bool = False  # runs once for each of `corpora`; `main` then gets the name of the corpus too
    looks_outside: bool = False  # runs every time, and its outputs are kept in git instead of DVC's cache

    def run(self, main: Callable[..., None]) -> None:
        """Checks the pipeline's whole params.yaml, then runs `main(parameters, inputs, outputs[, corpus])`.

        A KoeError and a full disk are printed without a traceback, and the status is 1; likewise Ctrl-C and SIGTERM,
        with status 130 and 143. SIGTERM is also what the stage gets if the DVC that started it dies.
        """
        try:
            raise_on_termination()
            end_with_parent()
            keys = sys.argv[1:]
            if len(keys) != int(self.per_corpus):
                raise KoeError(f"expected {'the name of a corpus' if self.per_corpus else 'no argument'}")
            outputs = self.outputs.of(*keys)
            if "DVC_STAGE" not in os.environ:  # by hand
                require_unused(outputs.model_dump().values())
            keep_lock()
            _clear(outputs)
            values = read_values()
            if FILE.is_file():  # a project may have stages without a declaration
                check(load_declaration().params, values)
            main(self.parameters.read(values, *keys), self.inputs.of(*keys), outputs, *keys)
            _warn_of_little_room(outputs)
            finish()
        except KoeError as error:
            print(plain(f"{sys.argv[0]}: {error}"), file=sys.stderr)
            raise SystemExit(1) from None
        except Exception as error:
            if not is_disk_full(error):
                raise
            print(f"{sys.argv[0]}: the disk is full ({error}); free some space and run dvc repro again",
                  file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt as interruption:
            status = status_of(interruption)
            print(f"{sys.argv[0]}: {INTERRUPTED}", file=sys.stderr)
            raise SystemExit(status) from None


def _clear(outputs: StageFiles) -> None:
    """Removes what a killed run of the stage left unfinished beside its outputs, or in one that DVC does not remove."""
    paths: list[Path] = list(outputs.model_dump().values())
    for folder in {*paths, *(path.parent for path in paths)}:
        for unfinished in left_behind(folder):
            remove(unfinished)


def _warn_of_little_room(outputs: StageFiles) -> None:
    """Says it if DVC, which stores the outputs next, may find no room: where its database has none (diskcache's
    `_transact`), it tries again for ever without a word.
    """
    needed, left = sum(map(size_of, outputs.model_dump().values())) + DVC_ROOM, room(Path())
    if left < needed:
        print(f"{sys.argv[0]}: warning: the disk is nearly full: {left / 1e6:.0f} MB left, and DVC may need "
              f"{needed / 1e6:.0f} to keep what this stage wrote; if it neither fails nor goes on, make room, and it "
              f"goes on by itself", file=sys.stderr)


def _without_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):  # in the imports of a stage script
        print(f"{sys.argv[0]}: {INTERRUPTED}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _without_traceback


def code_revision() -> str:
    """The commit of the running code, with `-dirty` if the work tree differs; `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
