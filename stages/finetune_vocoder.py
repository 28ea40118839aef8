"""finetune_vocoder: generated mels and the targets' audio → models/vocoder, curves in metrics/finetune_vocoder."""

from pathlib import Path

from common import code_revision, read_params, run
from revisions import find_model

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import draw_pairs, pairs_in, read_pairs
from koe.corpus.params import speaker_pitch
from koe.names import Pair
from koe.store import ShardReader
from koe.training.references import VOCODER
from koe.training.session import fingerprint
from koe.vocoder.data import MelAudio
from koe.vocoder.run import train_vocoder


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pitch", "vocoder")
    training, pairs = params.vocoder.training, read_pairs("data/pairs")
    dataset, generated = Dataset(list(params.corpora), params.mel), ShardReader("data/generated")

    def targets(chosen: list[Pair]) -> MelAudio:
        items = [(pair.name, pair.target) for pair in chosen]
        return MelAudio(dataset, items, None if training.true_mels == 1 else generated)

    start = find_model(VOCODER, params.vocoder.init.origin) if params.vocoder.init.origin else None
    validation = draw_pairs(pairs_in(pairs, "validation"), training.validation.utterances, params.seed)
    recordings = [Path("data") / stage / corpus for stage in ("resampled", "trim", "features")
                  for corpus in params.corpora]
    train_vocoder(
        params.vocoder, targets(pairs_in(pairs, "train")), targets(validation), params.seed, start,
        speaker_pitch(params.pitch, params.corpora),
        fingerprint([*recordings, Path("data/pairs"), Path("data/generated")]), code_revision(),
        Path("metrics/finetune_vocoder"), Path("models/vocoder"),
    )


if __name__ == "__main__":
    run(main)
