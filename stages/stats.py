"""stats: mean and standard deviation of each side's features, from training pairs only."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.statistics import measure_pairs


def main() -> None:
    params = read_params("corpora", "mel")
    dataset = Dataset(list(params.corpora), params.mel)
    measure_pairs(dataset, read_pairs("data/pairs"), "data/stats")


if __name__ == "__main__":
    run(main)
