"""embed: speaker embeddings of the paired speakers, for evaluation and for conditioning."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import Corpora
from koe.tasks.conversion.embedding import embed_pairs
from koe.tasks.conversion.params import ConditioningParams


class Parameters(StageParameters):
    corpora: Corpora
    mel: MelParams
    conditioning: ConditioningParams = Field(alias="acoustic.conditioning")


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")


class Outputs(StageFiles):
    speakers: Path = Path("data/speakers")


STAGE = Stage("embed", "speaker embeddings of the paired speakers, for evaluation and for conditioning",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    dataset = Dataset(list(params.corpora), params.mel)
    speakers = embed_pairs(dataset, read_pairs(inputs.pairs), params.conditioning, outputs.speakers)
    print(f"embed: {len(speakers)} speakers")


if __name__ == "__main__":
    STAGE.run(main)
