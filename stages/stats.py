"""stats: mean and standard deviation of features by side, by speaker and over all, from training pairs only."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import Corpora, StatsParams
from koe.corpus.statistics import measure_pairs


class Parameters(StageParameters):
    corpora: Corpora
    mel: MelParams
    stats: StatsParams


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")


class Outputs(StageFiles):
    stats: Path = Path("data/stats")


STAGE = Stage("stats", "mean and deviation of features by side, speaker and over all, from the training pairs only",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    dataset = Dataset(list(params.corpora), params.mel)
    measure_pairs(dataset, read_pairs(inputs.pairs), params.stats, outputs.stats)


if __name__ == "__main__":
    STAGE.run(main)
