"""train_acoustic: aligned pairs → models/acoustic, with DVCLive's curves in metrics/train_acoustic."""

from pathlib import Path

from common import code_revision, read_params, run

from koe.acoustic.data import PairReader, Sides
from koe.acoustic.model_file import AcousticModel, Preparation, save_acoustic
from koe.acoustic.training import AcousticTrainer, initial_network
from koe.corpus.alignment import read_durations
from koe.corpus.dataset import Dataset, speaker_of
from koe.corpus.pairing import pairs_in, read_pairs
from koe.corpus.statistics import read_statistics
from koe.device import resolve_device
from koe.training.session import Session, code_fingerprint, fingerprint

INPUTS = [Path("data/features"), Path("data/pairs"), Path("data/alignment"), Path("data/stats")]


def main() -> None:
    params = read_params("seed", "corpora", "mel", "resample", "trim", "pitch", "acoustic")
    pairs = read_pairs(Path("data/pairs"))
    train, validation = pairs_in(pairs, "train"), pairs_in(pairs, "validation")
    source, target = read_statistics(Path("data/stats"), params.mel)
    dataset, factor = Dataset(list(params.corpora), params.mel), params.acoustic.reduction_factor
    durations = read_durations("data/alignment", dataset, pairs, factor)
    reader = PairReader(dataset, durations, Sides(source, target, params.acoustic.normalize_target), factor)
    network, reader.sides = initial_network(params.acoustic, params.mel, reader.sides, params.seed)
    trainer = AcousticTrainer(network, params.acoustic, reader, train, validation, params.seed, resolve_device())
    identity = {
        "seed": params.seed,
        "acoustic": params.acoustic.model_dump(mode="json"),
        "inputs": fingerprint(INPUTS),
        "code": code_fingerprint("acoustic", "training"),
    }
    session = Session("acoustic", identity, Path("metrics/train_acoustic"), trainer.objects)
    trainer.run(session)
    speaker = speaker_of(train[0][1])
    preparation = Preparation(params.mel, params.resample, params.trim, params.pitch, speaker)
    provenance = {**identity, "revision": code_revision(), "steps": params.acoustic.training.steps,
                  "pairs": {"train": len(train), "validation": len(validation)}}
    save_acoustic(
        Path("models/acoustic"), AcousticModel(network, params.acoustic, reader.sides, preparation, provenance)
    )
    session.finish()


if __name__ == "__main__":
    run(main)
