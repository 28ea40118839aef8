"""finetune_vocoder: generated mels and the targets' audio → models/vocoder, curves in metrics/finetune_vocoder."""

from pathlib import Path

from common import code_revision, read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pairs_in, read_pairs
from koe.device import resolve_device
from koe.store import ShardReader
from koe.training.session import Session, code_fingerprint, fingerprint
from koe.vocoder.data import MelAudio
from koe.vocoder.model_file import VocoderModel, save_vocoder
from koe.vocoder.training import VocoderTrainer, initial_models, scratch_warning


def main() -> None:
    params = read_params("seed", "corpora", "mel", "vocoder")
    pairs = read_pairs("data/pairs")
    dataset, generated = Dataset(list(params.corpora), params.mel), ShardReader("data/generated")
    train = MelAudio(dataset, pairs_in(pairs, "train"), generated)
    validation = MelAudio(dataset, pairs_in(pairs, "validation"), generated)
    warning = scratch_warning(train, params.vocoder)
    if warning:
        print(warning)
    generator, discriminators = initial_models(params.vocoder, params.mel, params.seed)
    trainer = VocoderTrainer(
        generator, discriminators, params.vocoder, train, validation, params.seed, resolve_device()
    )
    audio = [Path("data") / stage / corpus for stage in ("resampled", "trim") for corpus in params.corpora]
    start = [Path(params.vocoder.init)] if params.vocoder.init else []
    identity = {
        "seed": params.seed,
        "vocoder": params.vocoder.model_dump(mode="json"),
        "inputs": fingerprint([*audio, Path("data/pairs"), Path("data/generated"), *start]),
        "code": code_fingerprint("audio", "vocoder", "training"),
    }
    session = Session("vocoder", identity, Path("metrics/finetune_vocoder"), trainer.objects)
    trainer.run(session)
    provenance = {**identity, "revision": code_revision(), "hours": train.hours,
                  "pairs": {"train": len(train.pairs), "validation": len(validation.pairs)}}
    steps = params.vocoder.training.steps
    save_vocoder("models/vocoder", VocoderModel(
        generator, discriminators, params.vocoder, params.mel, steps, provenance,
    ))
    session.finish()


if __name__ == "__main__":
    run(main)
