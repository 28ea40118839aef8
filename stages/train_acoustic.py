"""train_acoustic: aligned pairs → models/acoustic, with DVCLive's curves in metrics/train_acoustic."""

from dataclasses import dataclass
from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.align.pairs import read_durations, read_positions
from koe.audio.params import MelParams, PitchParams, ResampleParams, TrimParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, draw_pairs, pairs_in, read_pairs
from koe.corpus.params import Corpora, speaker_pitch
from koe.corpus.statistics import read_statistics
from koe.device import resolve_device
from koe.pipeline.closure import code_digest
from koe.pipeline.models import find_model
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.tasks.conversion.initial import initial_network
from koe.tasks.conversion.model_file import ACOUSTIC, AcousticModel, Preparation, save_acoustic
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.speakers import Speakers, require_conditioning
from koe.tasks.conversion.training import AcousticTrainer
from koe.training.session import Session, fingerprint


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    acoustic: AcousticParams


@dataclass(frozen=True)
class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    alignment: Path = Path("data/alignment")
    stats: Path = Path("data/stats")
    speakers: Path = Path("data/speakers")
    start: Path = Path("data/scan/acoustic.init.json")


@dataclass(frozen=True)
class Outputs(StageFiles):
    acoustic: Path = Path("models/acoustic")
    curves: Path = Path("metrics/train_acoustic")


STAGE = Stage("train_acoustic", "NARS2S on aligned pairs", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    pairs, conditioning = read_pairs(Path("data/pairs")), params.acoustic.conditioning
    require_conditioning(pairs, conditioning)
    train, validation = pairs_in(pairs, "train"), pairs_in(pairs, "validation")
    validation = draw_pairs(validation, params.acoustic.training.validation_pairs, params.seed)
    dataset, reduction = Dataset(list(params.corpora), params.mel), params.acoustic.reduction
    embeddings = read_embeddings(f"data/speakers/{SPEAKERS}") if conditioning.by == "encoder" else {}
    directions = tuple(sorted(set(directions_of(pairs[pairs["split"] == "train"]))))
    speakers = Speakers(conditioning, directions, read_statistics("data/stats", params.mel),
                        params.acoustic.normalize_target, embeddings)
    start = find_model(ACOUSTIC, params.acoustic.init.origin) if params.acoustic.init.origin else None
    initial = initial_network(params.acoustic, params.mel, speakers, params.seed, start)
    for line in initial.report:
        print(line)
    durations = read_durations("data/alignment", dataset, pairs, reduction.factor)
    heard = read_embeddings(f"data/speakers/{UTTERANCES}")
    positions = read_positions("data/alignment", pairs) if params.acoustic.training.shift else None
    reader = PairReader(dataset, durations, initial.speakers, reduction, heard, positions)
    trainer = AcousticTrainer(initial.network, params.acoustic, reader, train, validation, params.seed,
                              resolve_device(), initial.optimizer_state, initial.steps_before)
    identity = {
        "seed": params.seed,
        "acoustic": params.acoustic.model_dump(mode="json"),
        "precision": trainer.precision,
        "inputs": fingerprint(inputs.paths()[:-1]),
        "code": code_digest(__file__),
        "init": start.origin() if start else None,
    }
    session = Session("acoustic", identity, Path("metrics/train_acoustic"), trainer.objects,
                      tensorboard=params.acoustic.training.tensorboard)
    trainer.run(session)
    pitch = speaker_pitch(params.pitch, params.corpora)
    preparation = Preparation(params.mel, params.resample, params.trim, pitch)
    provenance = {**identity, "run": session.folder.name, "revision": code_revision(),
                  "steps": trainer.steps_done,
                  "pairs": {"train": len(train), "validation": len(validation)}}
    model = AcousticModel(trainer.model, params.acoustic, initial.speakers, preparation, provenance)
    save_acoustic(Path("models/acoustic"), model)
    session.finish()


if __name__ == "__main__":
    STAGE.run(main)
