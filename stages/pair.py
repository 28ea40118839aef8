"""pair: recordings of one sentence become pairs, sentences become training, validation and test."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, pair_corpora


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pair")
    dataset = Dataset(list(params.corpora), params.mel)
    pairs = pair_corpora(dataset, params.pair, params.seed, "data/pairs")
    splits = ", ".join(f"{split} {count}" for split, count in pairs["split"].value_counts().items())
    directions = len(set(directions_of(pairs)))
    print(f"pair: {len(pairs)} pairs in {directions} direction{'s' if directions > 1 else ''} ({splits})")


if __name__ == "__main__":
    run(main)
