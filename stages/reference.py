"""reference: what no model changes, measured once: source, target, and the target's mel through Griffin-Lim."""

from pathlib import Path

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.evaluation.held_out import (
    Condition,
    enrol_speakers,
    measure_conditions,
    references_of,
    split_of,
    write_speakers,
)
from koe.files import write_table
from koe.vocoder.griffin_lim import GriffinLim


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pitch", "griffin_lim", "evaluation")
    dataset = Dataset(list(params.corpora), params.mel)
    pairs = read_pairs(Path("data/pairs"))
    test = split_of(pairs, "test")
    folder = Path("data/reference")
    speakers = enrol_speakers(dataset, split_of(pairs, "train"))
    vocoder = GriffinLim(params.mel, params.griffin_lim, params.seed)
    conditions = [
        Condition("source", [dataset.wave(source) for source in test["source"]]),
        Condition("target", [dataset.wave(target) for target in test["target"]]),
        Condition("griffin_lim.ceiling", vocoder.synthesize(
            [dataset.mel(target) for target in test["target"]], [dataset.f0(target) for target in test["target"]],
        )),
    ]
    references = references_of(dataset, test, params.corpora, params.pitch, speakers)
    rows = measure_conditions(references, conditions, params.evaluation, folder)
    write_speakers(folder / "speakers", speakers)
    write_table(folder / "reference.csv", rows)
    print(f"reference: {len(test)} held-out pairs measured")


if __name__ == "__main__":
    run(main)
