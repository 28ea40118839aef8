"""The project's root, the folder for what neither git nor DVC tracks, and folders that one process alone may use."""

import errno
import fcntl
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

LOOK_EVERY = 1.0  # seconds
SAY_EVERY = 30.0  # seconds
HELD = (errno.EACCES, errno.EAGAIN)  # by another process
CLAIM = "lock"  # the file in a claimed folder


def project_root(start: Path | None = None) -> Path | None:
    """The root of the checkout around `start` (default: the current folder): the nearest folder upwards with `.dvc`.

    None outside of any checkout.
    """
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if (folder / ".dvc").is_dir()), None)


def main_checkout(start: Path | None = None) -> Path:
    """`start` (default: the current folder) in the main checkout, where it lies in a temporary one of an experiment
    queue: the project's root, or a pipeline's folder in it.
    """
    start = (start or Path.cwd()).resolve()
    root = project_root(start) or start
    for folder in root.parents:
        if folder.name == ".dvc" and root.relative_to(folder).parts[:2] == ("tmp", "exps"):
            return folder.parent / start.relative_to(root)
    return start


def work_root(start: Path | None = None) -> Path:
    """`work/` of the pipeline in the main checkout. The environment variable KOE_WORK overrides it."""
    return Path(os.environ["KOE_WORK"]) if "KOE_WORK" in os.environ else main_checkout(start) / "work"


def claim(folder: Path, name: str, look_every: float = LOOK_EVERY) -> TextIO:
    """Makes a folder this process's own, and waits for that while another has it, with a line every half minute.

    The kernel ends the claim with the process, however that ends; until then it lasts as long as the returned file, or
    until `release`. `name` is that of the work, in messages. Where the file system knows no locks, there is a warning.
    """
    waited = 0.0
    while True:
        try:
            if file := _claimed(folder, name):
                return file
            who = holder(folder)
        except FileNotFoundError:  # released just now, and removed
            continue
        if waited % SAY_EVERY < look_every:
            print(f"{name}: waiting for {who}, which uses {folder} for the same work; end it, or interrupt this one",
                  file=sys.stderr, flush=True)
        time.sleep(look_every)
        waited += look_every


def _claimed(folder: Path, name: str) -> TextIO | None:
    """The file by which a folder is claimed; None if another process has it. Raises FileNotFoundError if that is just
    removing the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CLAIM
    file = path.open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            file.close()
            return None
        print(f"{name}: {folder} cannot be locked ({error.strerror}); see to it that no second process uses it",
              file=sys.stderr)
        return file
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # the file was removed before it was locked
        raise FileNotFoundError(path)
    file.truncate(0)
    print(os.getpid(), platform.node(), file=file, flush=True)
    return file


def release(folder: Path, file: TextIO) -> None:
    """Ends a claim, and removes the folder if nothing is left in it."""
    (folder / CLAIM).unlink(missing_ok=True)
    file.close()
    with suppress(OSError):  # something was kept in it, or another process has claimed it since
        folder.rmdir()


def is_claimed(folder: Path) -> bool:
    """Whether another process has claimed the folder and still runs."""
    try:
        with (folder / CLAIM).open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    return False


def holder(folder: Path) -> str:
    """The process that claimed a folder, in words."""
    number, _, machine = (folder / CLAIM).read_text(encoding="utf-8").strip().partition(" ")
    here = "" if machine in ("", platform.node()) else f" on {machine}"
    return f"process {number}{here}" if number else "another process"
