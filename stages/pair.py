"""pair: pairs of recordings of one sentence, and the split of the sentences into training, validation and test."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, pair_corpora
from koe.corpus.params import Corpora, PairParams


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    pair: PairParams


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")


class Outputs(StageFiles):
    pairs: Path = Path("data/pairs")


STAGE = Stage("pair", "who is converted into whom, and the split by sentence", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    pairs = pair_corpora(Dataset(list(params.corpora), params.mel), params.pair, params.seed, outputs.pairs)
    splits = ", ".join(f"{split} {count}" for split, count in pairs["split"].value_counts().items())
    directions = len(set(directions_of(pairs)))
    print(f"pair: {len(pairs)} pairs in {directions} direction{'s' if directions > 1 else ''} ({splits})")


if __name__ == "__main__":
    STAGE.run(main)
