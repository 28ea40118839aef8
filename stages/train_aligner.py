"""train_aligner: pairs → models/aligner, a folder for each method that align.method or align.compare trains."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.align.params import AlignMethod, AttentionAlignParams, LearnedAlignParams
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.corpus.params import Corpora
from koe.files import write_json, write_text
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


class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    stats: Path = Path("data/stats")


class Outputs(StageFiles):
    aligners: Path = Path("models/aligner")
    curves: Path = Path("metrics/train_aligner")


STAGE = Stage("train_aligner", "the network of align.method and of align.compare; nothing for dtw",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    trained = [method for method in (params.method, params.compare) if method not in ("dtw", None)]
    write_json(outputs.aligners / "aligner.json", {"trained": trained})
    if not trained:  # DVC warns of an empty folder
        write_text(outputs.curves / "nothing.txt", "Neither align.method nor align.compare is trained.\n")
    for method in trained:
        train(method, params, inputs, outputs)


def train(method: str, params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    # Imported here, because this stage always runs, and DTW does not need PyTorch.
    from koe.align.run import train_aligner
    from koe.align.steps import StepReader
    from koe.align.training import AlignedPairs
    from koe.corpus.statistics import read_statistics
    from koe.training.session import fingerprint

    section, pairs = params.attention if method == "attention" else params.learned, read_pairs(inputs.pairs)
    speakers = read_statistics(inputs.stats, params.mel).speakers
    data = AlignedPairs(
        dataset=Dataset(list(params.corpora), params.mel),
        reader=StepReader({name: statistics.mel for name, statistics in speakers.items()}, params.factor),
        train=pairs_in(pairs, "train"),
        validation=draw_pairs(pairs_in(pairs, "validation"), section.training.validation_pairs, params.seed),
    )
    train_aligner(method, section, params.mel, data, params.seed, fingerprint(inputs.paths()), code_digest(__file__),
                  code_revision(), outputs.curves / method, outputs.aligners / method)


if __name__ == "__main__":
    STAGE.run(main)
