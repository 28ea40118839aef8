"""Miniature copies of publishers' trees, with the demo voices' speech in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.spoken_sentences import record

from koe.corpus.importers.registry import COLUMNS, import_corpus
from koe.corpus.params import CorpusParams
from koe.files import read_json, read_table


@pytest.fixture(scope="session", name="record")
def recorder() -> Callable[..., float]:
    """The function `support.spoken_sentences.record`."""
    return record


@dataclass
class Result:
    table: pd.DataFrame  # indexed by speaker/sentence
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
        table = read_table(folder / "table.csv", ("gender", "language"))
        pd.testing.assert_frame_equal(table, result.table, check_dtype=False, rtol=1e-5)
        assert list(table.columns) == COLUMNS and table["utterance"].is_unique
        assert (table["utterance"] == "c/" + table["speaker"] + "/" + table["sentence"]).all()
        rows = read_table(folder / "quarantine.csv")
        assert not set(rows["utterance"]) & set(table["utterance"])
        names = rows["utterance"].str.removeprefix("c/")
        return Result(table.set_index(table["speaker"] + "/" + table["sentence"]),
                      dict(zip(names, rows["reason"], strict=True)), dict(zip(names, rows["detail"], strict=True)),
                      read_json(folder / "corpus.json"), result.notes)

    return imported
