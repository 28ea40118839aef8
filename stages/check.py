"""check: counts of what the data stages kept, excluded and marked, for `dvc metrics`."""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.params import MelParams, PitchParams
from koe.corpus.dataset import Dataset
from koe.corpus.params import Corpora, speaker_pitch
from koe.files import write_json
from koe.report.checks import count_data


class Parameters(StageParameters):
    corpora: Corpora
    mel: MelParams
    pitch: PitchParams


class Inputs(StageFiles):
    tables: Path = Path("data/corpus")
    resampled: Path = Path("data/resampled")
    cuts: Path = Path("data/trim")
    features: Path = Path("data/features")
    pairs: Path = Path("data/pairs")
    alignment: Path = Path("data/alignment")


class Outputs(StageFiles):
    counts: Path = Path("metrics/data.json")


STAGE = Stage("check", "what went in, what was left out and why", Parameters, Inputs, Outputs)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    counts = count_data(Dataset(list(params.corpora), params.mel), speaker_pitch(params.pitch, params.corpora))
    write_json(outputs.counts, counts)
    print(f"{counts['utterances']['kept']} of {counts['utterances']['imported']} utterances kept, "
          f"{counts['quarantined']['total']} rows in quarantine; warnings: {len(counts['warnings'])} "
          f"(koe check prints them, {outputs.counts} holds them)")


if __name__ == "__main__":
    STAGE.run(main)
