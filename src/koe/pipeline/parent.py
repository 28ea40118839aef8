"""A stage ends with the DVC that started it.

DVC that is killed (SIGTERM, SIGKILL, out of memory) leaves its stage running. Nothing would record what that stage
makes, and the next `dvc repro` would start the same stage beside it. So a stage looks once a second whether its parent
still lives, and otherwise ends as if it had been terminated itself: a training run continues from its last checkpoint.
"""

import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread

INTERVAL = 1.0  # seconds
PATIENCE = 60.0  # seconds, in which the stage must have ended
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


def _parents() -> list[int]:
    """The process that started this one and, if that is the shell in which DVC runs a command, DVC."""
    parent = os.getppid()
    try:
        program, *arguments = Path(f"/proc/{parent}/cmdline").read_text(errors="replace").split("\0")
        state = Path(f"/proc/{parent}/stat").read_text(errors="replace")
    except (OSError, ValueError):  # another system, which has no /proc; or it has just ended
        return [parent]
    if Path(program).name not in _SHELLS or "-c" not in arguments:
        return [parent]
    return [parent, int(state.rpartition(")")[2].split()[1])]  # after the name in brackets: state, parent, …


_STARTED_BY = _parents()  # as soon as this is imported: what a stage imports after it can take seconds


def end_with_parent(interval: float = INTERVAL) -> None:
    """Starts to watch over the DVC that runs this process; does nothing in a process that DVC did not start."""
    if "DVC_STAGE" in os.environ:  # DVC sets it for the commands of stages
        Thread(target=_watch, args=(_STARTED_BY, interval), daemon=True, name="parent").start()


def _watch(parents: list[int], interval: float) -> None:
    while _parents() == parents:
        time.sleep(interval)
    print(f"{sys.argv[0]}: the program that started this stage (process {parents[-1]}) was killed", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)
