"""Where a project keeps what is neither git's nor DVC's."""

import os
from pathlib import Path


def main_checkout(start: Path | None = None) -> Path:
    """The checkout that `start` (here, if not given) belongs to: the main one, from inside a temporary workspace of
    an experiment queue.
    """
    here = (start or Path.cwd()).resolve()
    for folder in here.parents:
        if folder.name == ".dvc" and (here.relative_to(folder).parts[:2] == ("tmp", "exps")):
            return folder.parent
    return here


def work_root(start: Path | None = None) -> Path:
    """`work/` of the main checkout. The environment variable KOE_WORK overrides it."""
    return Path(os.environ["KOE_WORK"]) if "KOE_WORK" in os.environ else main_checkout(start) / "work"
