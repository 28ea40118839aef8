"""embed: speaker embeddings of the paired speakers, for evaluation and for conditioning."""

from common import read_params, run

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.tasks.conversion.embedding import embed_pairs


def main() -> None:
    params = read_params("corpora", "mel", "acoustic.conditioning")
    dataset = Dataset(list(params.corpora), params.mel)
    speakers = embed_pairs(dataset, read_pairs("data/pairs"), params.conditioning, "data/speakers")
    print(f"embed: {len(speakers)} speakers")


if __name__ == "__main__":
    run(main)
