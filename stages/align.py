"""align: durations of every pair's source steps, in target steps; a second method's, for the report only."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.align.pairs import align_pairs
from koe.align.params import AlignParams
from koe.align.registry import aligner_of
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import Corpora
from koe.files import write_text
from koe.params.types import Factor


class Parameters(StageParameters):
    corpora: Corpora
    mel: MelParams
    align: AlignParams
    factor: Factor = Field(alias="acoustic.reduction.factor")


class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    aligners: Path = Path("models/aligner")


class Outputs(StageFiles):
    alignment: Path = Path("data/alignment")
    comparison: Path = Path("data/comparison")  # apart, so that align.compare causes no training


STAGE = Stage("align", "how many target steps each source step lasts", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    dataset, align = Dataset(list(params.corpora), params.mel), params.align
    aligner, *compared = [aligner_of(method, params.mel, align, params.factor, inputs.aligners)
                          for method in (align.method, align.compare) if method]
    if not compared:  # DVC warns of an empty folder
        write_text(outputs.comparison / "nothing.txt", "align.compare is null.\n")
    align_pairs(dataset, read_pairs(inputs.pairs), align, params.factor, outputs.alignment, aligner,
                (compared[0], outputs.comparison) if compared else None)


if __name__ == "__main__":
    STAGE.run(main)
