"""Where a project keeps what is neither git's nor DVC's, and where the project is."""

import os
from pathlib import Path


def project_root(start: Path | None = None) -> Path | None:
    """The root of the checkout around `start` (here, if not given): the nearest folder up with `.dvc`; None outside."""
    here = (start or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)


def main_checkout(start: Path | None = None) -> Path:
    """`start` (here, if not given) as it is in the main checkout, seen from a temporary one of an experiment queue:
    the project's root, or a pipeline's folder in it.
    """
    here = (start or Path.cwd()).resolve()
    root = project_root(here) or here
    for folder in root.parents:
        if folder.name == ".dvc" and root.relative_to(folder).parts[:2] == ("tmp", "exps"):
            return folder.parent / here.relative_to(root)
    return here


def work_root(start: Path | None = None) -> Path:
    """`work/` of the pipeline in the main checkout. The environment variable KOE_WORK overrides it."""
    return Path(os.environ["KOE_WORK"]) if "KOE_WORK" in os.environ else main_checkout(start) / "work"
