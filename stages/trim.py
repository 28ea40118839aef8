"""trim: cut points of head and tail, with scores and suspects."""

import sys

from common import read_params, run

from koe.corpus.trimming import trim_corpus


def main(corpus: str) -> None:
    params = read_params("trim")
    table = trim_corpus(f"data/resampled/{corpus}", f"data/trim/{corpus}", params.trim)
    cut = table["head_seconds"].sum() + table["tail_seconds"].sum()
    print(f"{corpus}: {cut / 60:.1f} minutes cut off {len(table)} recordings, {table['suspect'].sum()} suspects")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
