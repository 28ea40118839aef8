"""train_acoustic: aligned pairs → models/acoustic, with DVCLive's curves in metrics/train_acoustic."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters, code_revision
from koe.align.pairs import read_durations, read_positions
from koe.audio.params import MelParams, PitchParams, ResampleParams, TrimParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, draw_pairs, pairs_in, read_pairs
from koe.corpus.params import Corpora, speaker_pitch
from koe.corpus.statistics import read_statistics
from koe.pipeline.closure import code_digest
from koe.pipeline.models import find_model
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.tasks.conversion.model_file import Preparation
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.run import AcousticData, train_acoustic
from koe.tasks.conversion.speakers import Speakers, require_conditioning
from koe.training.session import fingerprint


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    acoustic: AcousticParams


class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    alignment: Path = Path("data/alignment")
    stats: Path = Path("data/stats")
    speakers: Path = Path("data/speakers")
    start: Path = Path("data/scan/acoustic.init.json")


class Outputs(StageFiles):
    acoustic: Path = Path("models/acoustic")
    curves: Path = Path("metrics/train_acoustic")


STAGE = Stage("train_acoustic", "NARS2S on aligned pairs", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    pairs, acoustic = read_pairs(inputs.pairs), params.acoustic
    require_conditioning(pairs, acoustic.conditioning)
    dataset = Dataset(list(params.corpora), params.mel)
    directions = tuple(sorted(set(directions_of(pairs[pairs["split"] == "train"]))))
    data = AcousticData(
        dataset=dataset,
        train=pairs_in(pairs, "train"),
        validation=draw_pairs(pairs_in(pairs, "validation"), acoustic.training.validation_pairs, params.seed),
        speakers=Speakers(acoustic.conditioning, directions, read_statistics(inputs.stats, params.mel),
                          acoustic.normalize_target, read_embeddings(inputs.speakers / SPEAKERS)),
        durations=read_durations(inputs.alignment, dataset, pairs, acoustic.reduction.factor),
        embeddings=read_embeddings(inputs.speakers / UTTERANCES),
        positions=read_positions(inputs.alignment, pairs) if acoustic.training.shift else None,
    )
    preparation = Preparation(params.mel, params.resample, params.trim, speaker_pitch(params.pitch, params.corpora))
    start = find_model(ACOUSTIC, acoustic.init.origin) if acoustic.init.origin else None
    hashed = [inputs.features, inputs.pairs, inputs.alignment, inputs.stats, inputs.speakers]
    train_acoustic(
        acoustic, preparation, data, params.seed, start, fingerprint(hashed), code_digest(__file__), code_revision(),
        outputs.curves, outputs.acoustic,
    )


if __name__ == "__main__":
    STAGE.run(main)
