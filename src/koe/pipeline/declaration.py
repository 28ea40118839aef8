"""What a pipeline declares: the one door through which commands, pages and comparisons know a task.

A pipeline is a folder with dvc.yaml, params.yaml and `stages/`; `stages/pipeline.py` holds its `PIPELINE`. The project's
root is one (voice conversion), and every folder of pipelines/ is.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from koe.errors import KoeError
from koe.params.section import Section

FILE = Path("stages/pipeline.py")


@dataclass(frozen=True)
class Training:
    """A stage that trains a model."""

    stage: str  # its name in dvc.yaml; its curves are in metrics/<stage>
    title: str  # on pages
    section: str  # of params.yaml: `<section>.training` and `<section>.init` are its parameters
    judged_by: str  # the curve whose lowest value is the best validation


@dataclass(frozen=True)
class Pipeline:
    """What is known of a pipeline outside of its own stages."""

    params: type[Section]  # the schema of its params.yaml
    stages: tuple[str, ...]  # scripts, from the pipeline's folder, in the order in which dvc.yaml lists them
    trainings: tuple[Training, ...] = ()


def load_pipeline(folder: str | Path = ".") -> Pipeline:
    """The pipeline whose folder this is. Raises KoeError if it has none."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise KoeError(f"{path} does not exist; run from a pipeline's folder: the project's root, or pipelines/<name>")
    spec = importlib.util.spec_from_file_location("pipeline", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pipeline: Pipeline = module.PIPELINE
    return pipeline
