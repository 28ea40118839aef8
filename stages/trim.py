"""trim: cut points of head and tail, with scores and suspects."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import TrimParams
from koe.corpus.trimming import trim_corpus


class Parameters(StageParameters):
    trim: TrimParams


class Inputs(StageFiles):
    resampled: Path = Path("data/resampled/${key}")


class Outputs(StageFiles):
    cuts: Path = Path("data/trim/${key}")


STAGE = Stage("trim", "where speech starts and ends; a table, no second copy of the audio",
              Parameters, Inputs, Outputs, per_corpus=True)


def main(params: Parameters, inputs: Inputs, outputs: Outputs, corpus: str) -> None:
    table = trim_corpus(inputs.resampled, outputs.cuts, params.trim)
    cut = table["head_seconds"].sum() + table["tail_seconds"].sum()
    print(f"{corpus}: {cut / 60:.1f} minutes cut off {len(table)} recordings, {table['suspect'].sum()} suspects")


if __name__ == "__main__":
    STAGE.run(main)
