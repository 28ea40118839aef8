"""Where a project keeps what is neither git's nor DVC's."""

import os
from pathlib import Path


def work_root(start: Path | None = None) -> Path:
    """`work/` of the main checkout, also from inside a temporary workspace of an experiment queue.

    The environment variable KOE_WORK overrides it.
    """
    if "KOE_WORK" in os.environ:
        return Path(os.environ["KOE_WORK"])
    here = (start or Path.cwd()).resolve()
    for folder in here.parents:
        if folder.name == ".dvc" and (here.relative_to(folder).parts[:2] == ("tmp", "exps")):
            return folder.parent / "work"
    return here / "work"
