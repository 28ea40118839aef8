"""align: durations of every pair's source steps in target steps."""

from common import read_params, run

from koe.corpus.alignment import align_pairs
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs


def main() -> None:
    params = read_params("corpora", "mel", "align", "acoustic.reduction_factor")
    dataset = Dataset(list(params.corpora), params.mel)
    align_pairs(dataset, read_pairs("data/pairs"), params.align, params.reduction_factor, "data/alignment")


if __name__ == "__main__":
    run(main)
