"""What every stage script shares: reading its own sections of params.yaml, and ending well on a user's error."""

import os
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from koe.errors import KoeError
from koe.tasks.conversion.schema import load_params

# Read when PyTorch is loaded, after this. Its threads wait for each other in a busy loop by default, which is 5 %
# faster on an idle machine, and ten times slower on one where anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def read_params(*sections: str) -> Any:
    """The named sections of params.yaml, typed, after the whole file was checked.

    A dotted name is a part of a section and arrives under its last word: `acoustic.reduction.factor`.
    A stage sees only what it names here, and a test holds the names against dvc.yaml: a parameter that is read
    but not declared would change results without a re-run.
    """
    params = load_params()
    return SimpleNamespace(**{section.rpartition(".")[2]: attrgetter(section)(params) for section in sections})


def run(main: Callable[..., None], *arguments: str) -> None:
    """Runs a stage's main function; a KoeError is printed without a traceback and ends with status 1."""
    try:
        main(*arguments)
    except KoeError as error:
        print(f"{main.__module__ if main.__module__ != '__main__' else sys.argv[0]}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def code_revision() -> str:
    """The commit that runs, with `-dirty` where the work tree differs; `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
