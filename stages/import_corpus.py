"""import: an utterance table of recordings, or of the demo's sentences, which are synthesized here."""

from pathlib import Path

from pydantic import Field

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.corpus.importers.registry import import_corpus
from koe.corpus.params import CorpusParams
from koe.terminal import show


class Parameters(StageParameters):
    corpus: CorpusParams = Field(alias="corpora.${key}")


class Inputs(StageFiles):
    scan: Path = Path("data/scan/${key}.json")


class Outputs(StageFiles):
    table: Path = Path("data/corpus/${key}")


STAGE = Stage("import", "recordings, or the demo's sentences spoken, as a checked utterance table",
              Parameters, Inputs, Outputs, per_corpus=True)


def main(params: Parameters, inputs: Inputs, outputs: Outputs, corpus: str) -> None:
    imported = import_corpus(corpus, params.corpus, outputs.table)
    table = imported.table
    show("\n  ".join([f"{corpus}: {table['sentence'].nunique()} sentences, {len(table)} recordings, "
                      f"{table['seconds'].sum() / 60:.1f} minutes", *imported.notes]))


if __name__ == "__main__":
    STAGE.run(main)
