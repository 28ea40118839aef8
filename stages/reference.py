"""reference: what no model changes, measured once: source, target, and the target's mel through Griffin-Lim."""

from pathlib import Path

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import speaker_pitch
from koe.evaluation.held_out import Condition, held_out_pairs, measure_conditions, references_of
from koe.evaluation.measure import REFERENCE
from koe.tasks.conversion.embedding import SPEAKERS, read_embeddings
from koe.vocoder.griffin_lim import GriffinLim


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pitch", "griffin_lim", "evaluation")
    dataset = Dataset(list(params.corpora), params.mel)
    test = held_out_pairs(read_pairs("data/pairs"), params.evaluation, params.seed)
    folder = Path("data/reference")
    vocoder = GriffinLim(params.mel, params.griffin_lim, params.seed)
    conditions = [
        Condition("source", [dataset.wave(source) for source in test["source"]]),
        Condition("target", [dataset.wave(target) for target in test["target"]]),
        Condition("griffin_lim.ceiling", vocoder.synthesize(
            [dataset.mel(target) for target in test["target"]], [dataset.f0(target) for target in test["target"]],
        )),
    ]
    references = references_of(
        dataset, test, speaker_pitch(params.pitch, params.corpora), read_embeddings(f"data/speakers/{SPEAKERS}"))
    rows = measure_conditions(references, conditions, params.evaluation, folder)
    REFERENCE.write(folder, rows)
    print(f"reference: {len(test)} held-out pairs measured")


if __name__ == "__main__":
    run(main)
