"""resample: recordings decoded, checked, resampled to one rate and packed."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import ResampleParams
from koe.corpus.resampling import loudness_note, rates_note, resample_corpus


class Parameters(StageParameters):
    resample: ResampleParams
    rate: int = Field(alias="mel.sample_rate")


class Inputs(StageFiles):
    scan: Path = Path("data/scan/${key}.json")
    table: Path = Path("data/corpus/${key}")


class Outputs(StageFiles):
    resampled: Path = Path("data/resampled/${key}")


STAGE = Stage("resample", "every recording checked, at the project's rate, packed",
              Parameters, Inputs, Outputs, per_corpus=True)


def main(params: Parameters, inputs: Inputs, outputs: Outputs, corpus: str) -> None:
    table, quarantine = resample_corpus(inputs.table, outputs.resampled, params.rate, params.resample)
    print(f"{corpus}: {len(table)} recordings {rates_note(table, params.rate)}")
    if params.resample.loudness_lufs is not None:
        print(f"  {loudness_note(table, params.resample.loudness_lufs)}")
    if quarantine.rows:
        print(f"  {quarantine.summary()}")


if __name__ == "__main__":
    STAGE.run(main)
