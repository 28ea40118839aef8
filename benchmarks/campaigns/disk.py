"""A campaign on a small file system: the disk is full at some moment of each stage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from campaigns.interrupting import stage_of
from campaigns.project import Outcome, Reference, Trial

WARNED = "the disk is nearly full"  # by a stage, of what DVC may find
SAID = ("disk is full", "No space left", "disk I/O error")  # the last is what DVC's database says
PATIENCE = 100  # seconds without a new line after which a person looks why
ROOM = 2 * 2**30  # bytes of the file system before and after the accident, in memory


def be_allowed_to_mount() -> None:
    """Goes on as root of a namespace of its own, where that is what it takes to mount a small file system."""
    if subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0:
        subprocess.run(["umount", "/mnt"], check=True)
    elif "FAULTS_UNSHARED" in os.environ:
        raise SystemExit("disk: a small file system cannot be mounted here, neither as this user nor in a namespace")
    else:
        os.environ["FAULTS_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])


@contextmanager
def small_file_system(folder: Path) -> Iterator[None]:
    """A file system in memory at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave(folder: Path, room: int) -> None:
    """Changes the size of the file system so that `room` bytes are free."""
    size = shutil.disk_usage(folder).used + room
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def full(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """A stage runs with less room than it needs, then with enough."""
    with small_file_system(slot / "small"):
        trial = Trial(reference, slot / "small")
        stage = stage_of(reference, number)
        used = shutil.disk_usage(trial.folder).used
        trial.at_the_beginning_of(stage)
        needed = used - shutil.disk_usage(trial.folder).used + 2**18
        room = int(draw.uniform(0, needed))
        leave(trial.slot, room)
        running = trial.start("dvc", "repro")
        if stuck := running.goes_quiet(PATIENCE):  # DVC looks for room in its database
            if WARNED not in running.output:
                trial.problems.append("dvc repro stands still, and nothing says that the disk is nearly full")
            leave(trial.slot, ROOM)
        status, output = trial.end(running)
        what = f"{room} bytes free at the beginning of {stage}, which writes about {needed}"
        if stuck:
            what += ", stood still until there was room"
        if status and not any(words in output for words in SAID):
            trial.problems.append(f"it does not say that the disk is full: {' / '.join(output.splitlines()[-4:])}")
        leave(trial.slot, ROOM)
        trial.finish()
        return trial.outcome(what if status else f"{what}, and was done")
