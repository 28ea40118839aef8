"""check: what the data stages kept, excluded and marked, as numbers for `dvc metrics`."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.files import write_json
from koe.report.checks import count_data


def main() -> None:
    params = read_params("corpora", "mel")
    counts = count_data(Dataset(list(params.corpora), params.mel))
    write_json("metrics/data.json", counts)
    print(f"{counts['utterances']['kept']} of {counts['utterances']['imported']} utterances kept, "
          f"{counts['quarantined']['total']} rows in quarantine, {counts['trim_suspects']} trims and "
          f"{counts['alignment_suspects']} alignments to look at (metrics/data.json)")


if __name__ == "__main__":
    run(main)
