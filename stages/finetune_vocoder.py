"""finetune_vocoder: generated mels and the targets' audio → models/vocoder, curves in metrics/finetune_vocoder."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.corpus.params import Corpora, speaker_pitch
from koe.names import Pair
from koe.pipeline.closure import code_digest
from koe.pipeline.models import find_model
from koe.store import ShardReader
from koe.training.session import fingerprint
from koe.vocoder.data import MelAudio
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.params import VocoderParams
from koe.vocoder.run import train_vocoder


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    pitch: PitchParams
    vocoder: VocoderParams


class Inputs(StageFiles):
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    generated: Path = Path("data/generated")
    start: Path = Path("data/scan/vocoder.init.json")


class Outputs(StageFiles):
    vocoder: Path = Path("models/vocoder")
    curves: Path = Path("metrics/finetune_vocoder")


STAGE = Stage("finetune_vocoder", "a vocoder tuned on the generated mels and the targets' audio",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    training, pairs = params.vocoder.training, read_pairs(inputs.pairs)
    dataset, generated = Dataset(list(params.corpora), params.mel), ShardReader(inputs.generated)

    def targets(chosen: list[Pair]) -> MelAudio:
        items = [(pair.name, pair.target) for pair in chosen]
        return MelAudio(dataset, items, None if training.true_mels == 1 else generated)

    start = find_model(VOCODER, params.vocoder.init.origin) if params.vocoder.init.origin else None
    validation = draw_pairs(pairs_in(pairs, "validation"), training.validation.utterances, params.seed)
    data = [folder / corpus for folder in (inputs.resampled, inputs.cuts, inputs.features)
            for corpus in params.corpora]
    train_vocoder(
        params.vocoder, targets(pairs_in(pairs, "train")), targets(validation), params.seed, start,
        speaker_pitch(params.pitch, params.corpora), fingerprint([*data, inputs.pairs, inputs.generated]),
        code_digest(__file__), code_revision(), outputs.curves, outputs.vocoder,
    )


if __name__ == "__main__":
    STAGE.run(main)
