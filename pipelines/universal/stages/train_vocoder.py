"""train_vocoder: all recordings and their own mels, no pairs → models/vocoder, curves in metrics/train_vocoder."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.params import Corpora, speaker_pitch
from koe.pipeline.closure import code_digest
from koe.pipeline.models import find_model
from koe.training.session import fingerprint
from koe.vocoder.data import MelAudio, hold_out
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
    start: Path = Path("data/scan/vocoder.init.json")


class Outputs(StageFiles):
    vocoder: Path = Path("models/vocoder")
    curves: Path = Path("metrics/train_vocoder")


STAGE = Stage("train_vocoder", "a vocoder on all recordings and their own mels", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    origin = params.vocoder.init.origin
    start = find_model(VOCODER, origin) if origin else None
    dataset = Dataset(list(params.corpora), params.mel)
    split = hold_out(dataset.features["utterance"], params.vocoder.training.validation.utterances, params.seed)
    train, validation = (MelAudio(dataset, [(name, name) for name in names]) for names in split)
    data = [folder / corpus for folder in (inputs.resampled, inputs.cuts, inputs.features)
            for corpus in params.corpora]
    train_vocoder(
        params.vocoder, train, validation, params.seed, start, speaker_pitch(params.pitch, params.corpora),
        fingerprint(data), code_digest(__file__), code_revision(), outputs.curves, outputs.vocoder,
    )


if __name__ == "__main__":
    STAGE.run(main)
