"""extract: mel, F0 and energy of a corpus's trimmed recordings, packed."""

import sys

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.params import SpeakerPitch


def main(corpus: str) -> None:
    params = read_params("corpora", "mel", "pitch", "acoustic.reduction.factor")
    pitch = SpeakerPitch.of(params.pitch, {corpus: params.corpora[corpus]})
    dataset = Dataset([corpus], params.mel)
    table, quarantine = extract_corpus(dataset, f"data/features/{corpus}", pitch, params.factor)
    print(f"{corpus}: features of {len(table)} recordings, {table['voiced'].mean():.0%} of the frames voiced")
    if quarantine.rows:
        print(f"  {quarantine.summary()}")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
