"""extract: mel, F0 and energy of a corpus's trimmed recordings, packed."""

import sys

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.corpus.params import speaker_pitch


def main(corpus: str) -> None:
    params = read_params("corpora", "mel", "pitch")
    pitch = speaker_pitch(params.pitch, {corpus: params.corpora[corpus]})
    dataset = Dataset([corpus], params.mel)
    table, quarantine = extract_corpus(dataset, f"data/features/{corpus}", pitch)
    print(f"{corpus}: features of {len(table)} recordings, {table['voiced'].mean():.0%} of the frames voiced")
    if quarantine.rows:
        print(f"  {quarantine.summary()}")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
