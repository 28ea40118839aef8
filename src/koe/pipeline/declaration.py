"""What a pipeline declares: the one door through which commands, pages and comparisons know a task.

A pipeline is a folder with dvc.yaml, params.yaml and `stages/`; `stages/pipeline.py` holds its `PIPELINE`. The project's
root is one (voice conversion), and every folder of pipelines/ is.
"""

from dataclasses import dataclass
from pathlib import Path

from koe.params.section import Section
from koe.pipeline.loading import load_declaration


@dataclass(frozen=True)
class Training:
    """A stage that trains a model."""

    stage: str  # its name in dvc.yaml; its curves are in metrics/<stage>
    title: str  # on pages
    section: str  # of params.yaml: `<section>.training` and `<section>.init` are its parameters
    judged_by: str  # the curve whose lowest value is the best validation
    card: str | None = None  # the file in a model's folder that describes it, where `<section>.init.from` is a parameter


@dataclass(frozen=True)
class Pipeline:
    """What is known of a pipeline outside of its own stages."""

    params: type[Section]  # the schema of its params.yaml
    stages: tuple[str, ...]  # scripts, from the pipeline's folder, in the order in which dvc.yaml lists them
    trainings: tuple[Training, ...] = ()


def load_pipeline(folder: str | Path = ".") -> Pipeline:
    """The pipeline whose folder this is. Raises KoeError if it has none."""
    pipeline: Pipeline = load_declaration(folder)
    return pipeline
