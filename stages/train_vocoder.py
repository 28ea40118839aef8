"""train_vocoder: all recordings and their own mels, no pairs → models/universal, curves in metrics/train_vocoder."""

from pathlib import Path

from common import code_revision, read_params, run
from revisions import find_model

from koe.corpus.dataset import Dataset
from koe.corpus.params import speaker_pitch
from koe.errors import KoeError
from koe.pipeline.closure import code_digest
from koe.training.session import fingerprint
from koe.vocoder.data import MelAudio, hold_out
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.run import train_vocoder

OUTPUT = "models/universal"


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pitch", "vocoder")
    training = params.vocoder.training
    if training.true_mels != 1:
        raise KoeError(f"vocoder.training.true_mels: {training.true_mels:g}, but there are recordings alone here, no "
                       "generated mels; set it to 1")
    origin = params.vocoder.init.origin
    start = find_model(VOCODER, origin, OUTPUT) if origin else None
    dataset = Dataset(list(params.corpora), params.mel)
    chosen = hold_out(dataset.features["utterance"], training.validation.utterances, params.seed)
    train, validation = (MelAudio(dataset, [(name, name) for name in names]) for names in chosen)
    recordings = [Path("data") / stage / corpus for stage in ("resampled", "trim", "features")
                  for corpus in params.corpora]
    train_vocoder(
        params.vocoder, train, validation, params.seed, start, speaker_pitch(params.pitch, params.corpora),
        fingerprint(recordings), code_digest(Path(__file__)), code_revision(),
        Path("metrics/train_vocoder"), Path(OUTPUT),
    )


if __name__ == "__main__":
    run(main)
