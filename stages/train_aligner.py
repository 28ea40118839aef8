"""train_aligner: pairs → models/aligner, a folder for each method that align.method or align.compare trains."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.align.params import AlignMethod, AttentionAlignParams, LearnedAlignParams
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.corpus.params import Corpora
from koe.files import write_json
from koe.params.types import Factor
from koe.pipeline.closure import code_digest


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    method: AlignMethod = Field(alias="align.method")
    compare: AlignMethod | None = Field(alias="align.compare")
    attention: AttentionAlignParams = Field(alias="align.attention")
    learned: LearnedAlignParams = Field(alias="align.learned")
    factor: Factor = Field(alias="acoustic.reduction.factor")


@dataclass(frozen=True)
class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    stats: Path = Path("data/stats")


@dataclass(frozen=True)
class Outputs(StageFiles):
    aligners: Path = Path("models/aligner")
    curves: Path = Path("metrics/train_aligner")


STAGE = Stage("train_aligner", "the network of align.method and of align.compare; nothing for dtw",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    trained = [method for method in (params.method, params.compare) if method not in ("dtw", None)]
    write_json(outputs.aligners / "aligner.json", {"trained": trained})
    outputs.curves.mkdir(parents=True, exist_ok=True)
    for method in trained:
        train(method, params, inputs, outputs)


def train(method: str, params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    # Here, because DTW needs no PyTorch, and this stage runs always.
    from koe.align.neural import save_aligner
    from koe.align.steps import StepReader
    from koe.align.training import AlignerTrainer, initial_network
    from koe.corpus.statistics import read_statistics
    from koe.device import resolve_device
    from koe.training.session import Session, fingerprint

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
                "factor": params.factor, "inputs": fingerprint(inputs.paths()),
                "code": code_digest(__file__)}
    session = Session(f"aligner-{method}", identity, outputs.curves / method, trainer.objects)
    trainer.run(session)
    save_aligner(outputs.aligners / method, method, network, reader, params.mel, {**identity, "revision": code_revision()})
    session.finish()


if __name__ == "__main__":
    STAGE.run(main)
