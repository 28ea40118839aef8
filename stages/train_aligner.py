"""train_aligner: pairs → models/aligner, a folder for each method that align.method or align.compare trains."""

from pathlib import Path
from typing import Any

from common import code_revision, read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.files import write_json

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
    from koe.align.neural import save_aligner
    from koe.align.steps import StepReader
    from koe.align.training import AlignerTrainer, initial_network
    from koe.corpus.statistics import read_statistics
    from koe.device import resolve_device
    from koe.training.session import Session, code_fingerprint, fingerprint

    section = getattr(params, method)
    pairs = read_pairs(Path("data/pairs"))
    validation = draw_pairs(pairs_in(pairs, "validation"), section.training.validation_pairs, params.seed)
    dataset = Dataset(list(params.corpora), params.mel)
    speakers = read_statistics("data/stats", params.mel).speakers
    reader = StepReader({name: statistics.mel for name, statistics in speakers.items()}, params.factor)
    network = initial_network(method, section, params.mel.n_mels, params.factor, params.seed)
    trainer = AlignerTrainer(network, section.training, dataset, reader, pairs_in(pairs, "train"), validation,
                             params.seed, resolve_device())
    identity = {"seed": params.seed, "method": method, "params": section.model_dump(mode="json"),
                "factor": params.factor, "inputs": fingerprint(INPUTS),
                "code": code_fingerprint("acoustic/reduction.py", "align", "corpus", "training")}
    session = Session(f"aligner-{method}", identity, CURVES / method, trainer.objects)
    trainer.run(session)
    save_aligner(FOLDER / method, method, network, reader, params.mel, {**identity, "revision": code_revision()})
    session.finish()


if __name__ == "__main__":
    run(main)
