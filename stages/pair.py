"""pair: recordings of one sentence become pairs, sentences become training, validation and test."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pair_corpora


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pair")
    pair_corpora(Dataset(list(params.corpora), params.mel), params.pair, params.seed, "data/pairs")


if __name__ == "__main__":
    run(main)
