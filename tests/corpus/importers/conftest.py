"""Miniature copies of publishers' trees, with the demo voices' speech in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.spoken_sentences import record

from koe.corpus.importers.registry import import_corpus
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.tables.utterances import UTTERANCES
from koe.files import read_json


@pytest.fixture(scope="session", name="record")
def recorder() -> Callable[..., float]:
    """The function `support.spoken_sentences.record`."""
    return record


@dataclass
class Result:
    table: pd.DataFrame  # indexed by speaker/sentence, or speaker/sentence/style
    quarantine: dict[str, str]  # speaker/sentence: reason
    details: dict[str, str]  # speaker/sentence: detail
    about: dict[str, str]
    notes: list[str]

    def column(self, column: str) -> dict[str, Any]:
        return self.table[column].to_dict()

    def note(self, part: str) -> str:
        [note] = [note for note in self.notes if part in note]
        return note


@pytest.fixture()
def run(tmp_path: Path) -> Callable[..., Result]:
    """Imports a corpus named c and gives back what the files say, checked against what the function returned."""

    def imported(importer: str, path: Path, **options: Any) -> Result:
        folder = tmp_path / "imported"
        result = import_corpus("c", CorpusParams(importer=importer, path=str(path), **options), folder)
        table = UTTERANCES.read(folder)
        pd.testing.assert_frame_equal(table, result.table, rtol=1e-5)
        assert table["utterance"].is_unique
        names = ("c/" + table["speaker"] + "/" + table["sentence"] + "/" + table["style"]).str.removesuffix("/")
        assert list(table["utterance"]) == list(names)
        rows = QUARANTINE.read(folder)
        assert not set(rows["utterance"]) & set(table["utterance"])
        names = rows["utterance"].str.removeprefix("c/")
        return Result(table.set_index(table["utterance"].str.removeprefix("c/")),
                      dict(zip(names, rows["reason"], strict=True)), dict(zip(names, rows["detail"], strict=True)),
                      read_json(folder / "corpus.json"), result.notes)

    return imported
