"""check: what the data stages kept, excluded and marked, as numbers for `dvc metrics`."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.params import speaker_pitch
from koe.files import write_json
from koe.report.checks import count_data


def main() -> None:
    params = read_params("corpora", "mel", "pitch")
    pitch = speaker_pitch(params.pitch, params.corpora)
    counts = count_data(Dataset(list(params.corpora), params.mel), pitch)
    write_json("metrics/data.json", counts)
    print(f"{counts['utterances']['kept']} of {counts['utterances']['imported']} utterances kept, "
          f"{counts['quarantined']['total']} rows in quarantine; warnings: {len(counts['warnings'])} "
          "(koe check prints them, metrics/data.json holds them)")


if __name__ == "__main__":
    run(main)
