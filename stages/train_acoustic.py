"""train_acoustic: aligned pairs → models/acoustic, with DVCLive's curves in metrics/train_acoustic."""

from pathlib import Path

from common import code_revision, read_params, run
from revisions import find_model

from koe.align.pairs import read_durations, read_positions
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, draw_pairs, pairs_in, read_pairs
from koe.corpus.params import speaker_pitch
from koe.corpus.statistics import read_statistics
from koe.pipeline.closure import code_digest
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.tasks.conversion.model_file import Preparation
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.run import AcousticData, train_acoustic
from koe.tasks.conversion.speakers import Speakers, require_conditioning
from koe.training.session import fingerprint

INPUTS = [Path("data") / name for name in ("features", "pairs", "alignment", "stats", "speakers")]


def main() -> None:
    params = read_params("seed", "corpora", "mel", "resample", "trim", "pitch", "acoustic")
    pairs, acoustic = read_pairs(Path("data/pairs")), params.acoustic
    require_conditioning(pairs, acoustic.conditioning)
    dataset = Dataset(list(params.corpora), params.mel)
    embeddings = read_embeddings(f"data/speakers/{SPEAKERS}") if acoustic.conditioning.by == "encoder" else {}
    directions = tuple(sorted(set(directions_of(pairs[pairs["split"] == "train"]))))
    data = AcousticData(
        dataset=dataset,
        train=pairs_in(pairs, "train"),
        validation=draw_pairs(pairs_in(pairs, "validation"), acoustic.training.validation_pairs, params.seed),
        speakers=Speakers(acoustic.conditioning, directions, read_statistics("data/stats", params.mel),
                          acoustic.normalize_target, embeddings),
        durations=read_durations("data/alignment", dataset, pairs, acoustic.reduction.factor),
        heard=read_embeddings(f"data/speakers/{UTTERANCES}"),
        positions=read_positions("data/alignment", pairs) if acoustic.training.shift else None,
    )
    preparation = Preparation(params.mel, params.resample, params.trim, speaker_pitch(params.pitch, params.corpora))
    start = find_model(ACOUSTIC, acoustic.init.origin) if acoustic.init.origin else None
    train_acoustic(
        acoustic, preparation, data, params.seed, start, fingerprint(INPUTS), code_digest(Path(__file__)),
        code_revision(), Path("metrics/train_acoustic"), Path("models/acoustic"),
    )


if __name__ == "__main__":
    run(main)
