"""report: the page with players and results; prints its path."""

from pathlib import Path

from pipeline import PIPELINE

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.files import read_json, understood
from koe.pipeline.declaration import PipelineFolder
from koe.report.page import write_page
from koe.report.summary import print_summary
from koe.tasks.conversion.schema import Params


class Parameters(Params, StageParameters):
    """All of params.yaml."""


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    alignment: Path = Path("data/alignment")
    comparison: Path = Path("data/comparison")
    reference: Path = Path("data/reference")
    recordings: Path = Path("data/evaluation")
    counts: Path = Path("metrics/data.json")
    summary: Path = Path("metrics/evaluation.json")
    utterances: Path = Path("metrics/evaluation.csv")
    directions: Path = Path("metrics/directions.csv")
    aligner_curves: Path = Path("metrics/train_aligner")
    acoustic_curves: Path = Path("metrics/train_acoustic")
    vocoder_curves: Path = Path("metrics/finetune_vocoder")


class Outputs(StageFiles):
    page: Path = Path("metrics/report")


STAGE = Stage("report", "the page to listen to", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    page = write_page(PipelineFolder(PIPELINE, params), code_revision())
    with understood(inputs.summary):
        print_summary(read_json(inputs.summary), PIPELINE.evaluation)
    print(f"listen: {page}")


if __name__ == "__main__":
    STAGE.run(main)
