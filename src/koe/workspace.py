"""The project's root, and the folder for what neither git nor DVC tracks."""

import os
from pathlib import Path


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
