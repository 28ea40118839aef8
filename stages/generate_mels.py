"""generate_mels: every pair converted by the acoustic model with the target's durations → data/generated.

With the target's durations the mel is as long as the target's audio, so that the vocoder can be tuned on both.
"""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.align.pairs import read_durations
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pairs_in, read_pairs
from koe.corpus.params import Corpora
from koe.device import resolve_device
from koe.tasks.conversion.embedding import UTTERANCES, read_embeddings
from koe.tasks.conversion.generation import generate_mels
from koe.tasks.conversion.model_file import load_acoustic


class Parameters(StageParameters):
    corpora: Corpora
    mel: MelParams


class Inputs(StageFiles):
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    alignment: Path = Path("data/alignment")
    speakers: Path = Path("data/speakers")
    acoustic: Path = Path("models/acoustic")


class Outputs(StageFiles):
    generated: Path = Path("data/generated")


STAGE = Stage("generate_mels", "every pair through the acoustic model, with the target's durations",
              Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    model = load_acoustic(inputs.acoustic)
    dataset, table = Dataset(list(params.corpora), params.mel), read_pairs(inputs.pairs)
    durations = read_durations(inputs.alignment, dataset, table, model.params.reduction.factor)
    pairs = pairs_in(table)
    embeddings = read_embeddings(inputs.speakers / UTTERANCES)
    generate_mels(model, dataset, durations, pairs, outputs.generated, resolve_device(), embeddings)
    print(f"generate_mels: {len(pairs)} mels")


if __name__ == "__main__":
    STAGE.run(main)
