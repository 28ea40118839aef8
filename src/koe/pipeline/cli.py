"""`koe pipeline`: writes the dvc.yaml of pipelines."""

from pathlib import Path
from typing import Annotated

import typer

from koe.errors import KoeError
from koe.files import read_text

pipeline = typer.Typer(no_args_is_help=True, help="The pipelines of a project: the root's, and those of pipelines/.")


@pipeline.command("write")
def write(
    folders: Annotated[list[Path] | None, typer.Argument(
        help="Folders of pipelines. Default: all pipelines of the project.")] = None,
    check: Annotated[bool, typer.Option(
        "--check", help="Write nothing; fail if a file is out of date.")] = False,
) -> None:
    """Writes dvc.yaml from the stage scripts: their parameters, inputs and outputs, and imported modules."""
    from koe.pipeline.writing import dvc_yaml, pipeline_folders, write_dvc_yaml

    chosen = folders or pipeline_folders()
    if not chosen:
        raise KoeError("there is no pipeline in this folder (stages/pipeline.py, pipelines/*/stages/pipeline.py); run "
                       "from the project's root, or name a folder")
    if check:
        stale = [folder / "dvc.yaml" for folder in chosen if not _is_current(folder, dvc_yaml(folder))]
        if stale:
            raise KoeError(f"{', '.join(map(str, stale))}: out of date with the stage scripts; run koe pipeline write")
        print(f"dvc.yaml is up to date with the stage scripts in {len(chosen)} pipelines")
        return
    for folder in chosen:
        print(write_dvc_yaml(folder))


def _is_current(folder: Path, text: str) -> bool:
    path = folder / "dvc.yaml"
    return path.exists() and read_text(path) == text
