"""train_aligner: pairs → models/aligner, a folder for each method that align.method or align.compare trains."""

from pathlib import Path
from typing import Any

from common import code_revision, read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.files import write_json
from koe.pipeline.closure import code_digest

FOLDER, CURVES = Path("models/aligner"), Path("metrics/train_aligner")
INPUTS = [Path("data") / name for name in ("features", "pairs", "stats")]


def main() -> None:
    params = read_params("seed", "corpora", "mel", "align.method", "align.compare", "align.attention", "align.learned",
                         "acoustic.reduction.factor")
    trained = [method for method in (params.method, params.compare) if method not in ("dtw", None)]
    write_json(FOLDER / "aligner.json", {"trained": trained})
    CURVES.mkdir(parents=True, exist_ok=True)
    for method in trained:
        train(method, params)


def train(method: str, params: Any) -> None:
    # Here, because DTW needs no PyTorch, and this stage runs always.
    from koe.align.run import train_aligner
    from koe.align.steps import StepReader
    from koe.align.training import AlignedPairs
    from koe.corpus.statistics import read_statistics
    from koe.training.session import fingerprint

    section, pairs = getattr(params, method), read_pairs(Path("data/pairs"))
    speakers = read_statistics("data/stats", params.mel).speakers
    data = AlignedPairs(
        dataset=Dataset(list(params.corpora), params.mel),
        reader=StepReader({name: statistics.mel for name, statistics in speakers.items()}, params.factor),
        train=pairs_in(pairs, "train"),
        validation=draw_pairs(pairs_in(pairs, "validation"), section.training.validation_pairs, params.seed),
    )
    train_aligner(method, section, params.mel, data, params.seed, fingerprint(INPUTS), code_digest(Path(__file__)),
                  code_revision(), CURVES / method, FOLDER / method)


if __name__ == "__main__":
    run(main)
