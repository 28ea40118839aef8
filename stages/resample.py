"""resample: recordings are decoded, checked, brought to one rate and packed."""

import sys

from common import read_params, run

from koe.corpus.resampling import loudness_note, rates_note, resample_corpus


def main(corpus: str) -> None:
    params = read_params("mel.sample_rate", "resample")
    rate = params.sample_rate
    table, quarantine = resample_corpus(f"data/corpus/{corpus}", f"data/resampled/{corpus}", rate, params.resample)
    print(f"{corpus}: {len(table)} recordings {rates_note(table, rate)}")
    if params.resample.loudness_lufs is not None:
        print(f"  {loudness_note(table, params.resample.loudness_lufs)}")
    if quarantine.rows:
        print(f"  {quarantine.summary()}")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
