"""generate_mels: every pair through the acoustic model with the target's durations → data/generated.

The target's durations make the mel as long as the target's audio, so that the vocoder can be tuned on both.
"""

from pathlib import Path

from common import read_params, run

from koe.align.pairs import read_durations
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pairs_in, read_pairs
from koe.device import resolve_device
from koe.tasks.conversion.embedding import UTTERANCES, read_embeddings
from koe.tasks.conversion.generation import generate_mels
from koe.tasks.conversion.model_file import load_acoustic


def main() -> None:
    params = read_params("corpora", "mel")
    model = load_acoustic(Path("models/acoustic"))
    dataset, table = Dataset(list(params.corpora), params.mel), read_pairs("data/pairs")
    durations = read_durations("data/alignment", dataset, table, model.params.reduction.factor)
    pairs = pairs_in(table)
    heard = read_embeddings(f"data/speakers/{UTTERANCES}")
    generate_mels(model, dataset, durations, pairs, Path("data/generated"), resolve_device(), heard)
    print(f"generate_mels: {len(pairs)} mels")


if __name__ == "__main__":
    run(main)
