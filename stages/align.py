"""align: durations of every pair's source steps in target steps; a second method's, for the report, aside."""

from pathlib import Path

from common import read_params, run

from koe.align.pairs import align_pairs
from koe.align.registry import aligner_of
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs

COMPARISON = Path("data/comparison")  # apart from data/alignment, so that nothing is trained anew for the report


def main() -> None:
    params = read_params("corpora", "mel", "align", "acoustic.reduction.factor")
    dataset, align = Dataset(list(params.corpora), params.mel), params.align
    aligner, *compared = [aligner_of(method, params.mel, align, params.factor, Path("models/aligner"))
                          for method in (align.method, align.compare) if method]
    COMPARISON.mkdir(parents=True, exist_ok=True)
    align_pairs(dataset, read_pairs("data/pairs"), align, params.factor, "data/alignment", aligner,
                (compared[0], COMPARISON) if compared else None)


if __name__ == "__main__":
    run(main)
