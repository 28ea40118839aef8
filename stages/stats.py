"""stats: mean and standard deviation of features by side, speaker and over all, from training pairs only."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.statistics import measure_pairs


def main() -> None:
    params = read_params("corpora", "mel", "stats")
    dataset = Dataset(list(params.corpora), params.mel)
    measure_pairs(dataset, read_pairs("data/pairs"), params.stats, "data/stats")


if __name__ == "__main__":
    run(main)
