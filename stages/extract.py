"""extract: mel, F0 and energy of a corpus's trimmed recordings, packed."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.corpus.params import CorpusParams, speaker_pitch


class Parameters(StageParameters):
    corpus: CorpusParams = Field(alias="corpora.${key}")
    mel: MelParams
    pitch: PitchParams


class Inputs(StageFiles):
    table: Path = Path("data/corpus/${key}")
    resampled: Path = Path("data/resampled/${key}")
    cuts: Path = Path("data/trim/${key}")


class Outputs(StageFiles):
    features: Path = Path("data/features/${key}")


STAGE = Stage("extract", "mel, F0 and energy on one frame grid, never normalised",
              Parameters, Inputs, Outputs, per_corpus=True)


def main(params: Parameters, inputs: Inputs, outputs: Outputs, corpus: str) -> None:
    pitch = speaker_pitch(params.pitch, {corpus: params.corpus})
    table, quarantine = extract_corpus(Dataset([corpus], params.mel), outputs.features, pitch)
    print(f"{corpus}: features of {len(table)} recordings, {table['voiced'].mean():.0%} of the frames voiced")
    if quarantine.rows:
        print(f"  {quarantine.summary()}")


if __name__ == "__main__":
    STAGE.run(main)
