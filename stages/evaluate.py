"""evaluate: held-out sentences converted free-running, as by `koe convert`, with every vocoder, and measured."""

from pathlib import Path

import pandas as pd

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, read_pairs
from koe.corpus.params import Corpora, speaker_pitch
from koe.evaluation.held_out import Condition, held_out_pairs, measure_conditions, references_of
from koe.evaluation.measure import DIRECTIONS, EVALUATION, REFERENCE, headline, summarize, summarize_directions
from koe.evaluation.params import EvaluationParams
from koe.files import write_json
from koe.tasks.conversion.convert import Converter, SpeechFeatures
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.vocoder.params import GriffinLimParams
from koe.vocoder.registry import load_vocoder


class Parameters(StageParameters):
    seed: int
    corpora: Corpora
    mel: MelParams
    pitch: PitchParams
    griffin_lim: GriffinLimParams
    evaluation: EvaluationParams


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    speakers: Path = Path("data/speakers")
    reference: Path = Path("data/reference")
    acoustic: Path = Path("models/acoustic")
    vocoder: Path = Path("models/vocoder")


class Outputs(StageFiles):
    recordings: Path = Path("data/evaluation")
    summary: Path = Path("metrics/evaluation.json")
    headline: Path = Path("metrics/summary.json")
    utterances: Path = Path("metrics/evaluation.csv")
    directions: Path = Path("metrics/directions.csv")


STAGE = Stage("evaluate", "held-out sentences converted as koe convert does, and measured beside the references",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    dataset = Dataset(list(params.corpora), params.mel)
    test = held_out_pairs(read_pairs(inputs.pairs), params.evaluation, params.seed)
    griffin_lim = load_vocoder("griffin_lim", params.mel, params.griffin_lim, params.seed)
    # Not bfloat16, whose results depend on the processor: metrics should not.
    trained = load_vocoder(inputs.vocoder, params.mel, precision="float32")
    converter = Converter.load(inputs.acoustic, trained)
    embeddings = read_embeddings(inputs.speakers / UTTERANCES)
    conversions = converter.convert_features(
        [SpeechFeatures(dataset.mel(name), dataset.f0(name), dataset.energy(name), embeddings.get(name))
         for name in test["source"]],
        directions_of(test),
    )
    converted, f0 = [item.mel for item in conversions], [item.f0 for item in conversions]
    conditions = [
        Condition("griffin_lim.converted", griffin_lim.synthesize(converted, f0)),
        Condition(f"{trained.name}.converted", trained.synthesize(converted, f0)),
        Condition(f"{trained.name}.ceiling", trained.synthesize(
            [dataset.mel(name) for name in test["target"]], [dataset.f0(name) for name in test["target"]],
        )),
    ]
    pitch = speaker_pitch(params.pitch, params.corpora)
    references = references_of(dataset, test, pitch, read_embeddings(inputs.speakers / SPEAKERS))
    rows = measure_conditions(references, conditions, params.evaluation, outputs.recordings, converted)
    rows = pd.concat([REFERENCE.read(inputs.reference), rows], ignore_index=True)
    summary = summarize(rows)
    EVALUATION.write(outputs.utterances.parent, rows)
    write_json(outputs.summary, summary)
    DIRECTIONS.write(outputs.directions.parent, summarize_directions(rows, test))
    headline_vocoder = trained.name if params.evaluation.headline == "trained" else griffin_lim.name
    write_json(outputs.headline, headline(summary, headline_vocoder))
    print(f"evaluate: {len(test)} held-out pairs converted and measured")


if __name__ == "__main__":
    STAGE.run(main)
