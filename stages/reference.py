"""reference: conditions that no model changes, measured once: source, target, the target's mel by Griffin-Lim."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import Corpora, speaker_pitch
from koe.evaluation.held_out import Condition, held_out_pairs, measure_conditions, references_of
from koe.evaluation.measure import REFERENCE
from koe.evaluation.params import EvaluationParams
from koe.tasks.conversion.embedding import SPEAKERS, read_embeddings
from koe.vocoder.griffin_lim import GriffinLim
from koe.vocoder.params import GriffinLimParams


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


class Outputs(StageFiles):
    reference: Path = Path("data/reference")


STAGE = Stage("reference", "source, target, and the target's mel through Griffin-Lim: what no model changes",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    dataset = Dataset(list(params.corpora), params.mel)
    test = held_out_pairs(read_pairs(inputs.pairs), params.evaluation, params.seed)
    vocoder = GriffinLim(params.mel, params.griffin_lim, params.seed)
    conditions = [
        Condition("source", [dataset.wave(source) for source in test["source"]]),
        Condition("target", [dataset.wave(target) for target in test["target"]]),
        Condition("griffin_lim.ceiling", vocoder.synthesize(
            [dataset.mel(target) for target in test["target"]], [dataset.f0(target) for target in test["target"]],
        )),
    ]
    pitch, embeddings = speaker_pitch(params.pitch, params.corpora), read_embeddings(inputs.speakers / SPEAKERS)
    references = references_of(dataset, test, pitch, embeddings)
    rows = measure_conditions(references, conditions, params.evaluation, outputs.reference)
    REFERENCE.write(outputs.reference, rows)
    print(f"reference: {len(test)} held-out pairs measured")


if __name__ == "__main__":
    STAGE.run(main)
