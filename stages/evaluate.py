"""evaluate: held-out sentences converted free-running, as `koe convert` does, through every vocoder, and measured."""

from pathlib import Path

import pandas as pd
from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, read_pairs
from koe.corpus.params import speaker_pitch
from koe.evaluation.held_out import Condition, held_out_pairs, measure_conditions, references_of
from koe.evaluation.measure import DIRECTIONS, EVALUATION, REFERENCE, headline, summarize, summarize_directions
from koe.files import write_json
from koe.tasks.conversion.convert import Converter, Heard
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.vocoder.registry import load_vocoder


def main() -> None:
    params = read_params("seed", "corpora", "mel", "pitch", "griffin_lim", "evaluation")
    dataset = Dataset(list(params.corpora), params.mel)
    test = held_out_pairs(read_pairs("data/pairs"), params.evaluation, params.seed)
    griffin_lim = load_vocoder("griffin_lim", params.mel, params.griffin_lim, params.seed)
    # What bfloat16 makes of a mel depends on the processor, and metrics are not to.
    trained = load_vocoder("models/vocoder", params.mel, precision="float32")
    converter = Converter.load("models/acoustic", trained)
    embeddings = read_embeddings(f"data/speakers/{UTTERANCES}")
    conversions = converter.convert_features(
        [Heard(dataset.mel(name), dataset.f0(name), dataset.energy(name), embeddings.get(name))
         for name in test["source"]],
        directions_of(test),
    )
    converted, pitch = [item.mel for item in conversions], [item.f0 for item in conversions]
    conditions = [
        Condition("griffin_lim.converted", griffin_lim.synthesize(converted, pitch)),
        Condition(f"{trained.name}.converted", trained.synthesize(converted, pitch)),
        Condition(f"{trained.name}.ceiling", trained.synthesize(
            [dataset.mel(name) for name in test["target"]], [dataset.f0(name) for name in test["target"]],
        )),
    ]
    references = references_of(
        dataset, test, speaker_pitch(params.pitch, params.corpora), read_embeddings(f"data/speakers/{SPEAKERS}"))
    rows = measure_conditions(references, conditions, params.evaluation, Path("data/evaluation"), converted)
    measured_before = REFERENCE.read("data/reference")
    rows = pd.concat([measured_before, rows], ignore_index=True)
    EVALUATION.write("metrics", rows)
    summary = summarize(rows)
    write_json(Path("metrics/evaluation.json"), summary)
    DIRECTIONS.write("metrics", summarize_directions(rows, test))
    standing = trained.name if params.evaluation.headline == "trained" else griffin_lim.name
    write_json(Path("metrics/summary.json"), headline(summary, standing))
    print(f"evaluate: {len(test)} held-out pairs converted and measured")


if __name__ == "__main__":
    run(main)
