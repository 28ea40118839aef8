"""import: recordings, or the demo's sentences spoken, become an utterance table."""

import sys

from common import read_params, run

from koe.corpus.importers.registry import import_corpus
from koe.errors import ParameterError


def main(corpus: str) -> None:
    params = read_params("corpora")
    if corpus not in params.corpora:
        raise ParameterError(f"corpora.{corpus}: no such corpus in params.yaml; there are {', '.join(params.corpora)}")
    imported = import_corpus(corpus, params.corpora[corpus], f"data/corpus/{corpus}")
    table = imported.table
    print(f"{corpus}: {table['sentence'].nunique()} sentences, {len(table)} recordings, "
          f"{table['seconds'].sum() / 60:.1f} minutes", *imported.notes, sep="\n  ")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
