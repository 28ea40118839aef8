"""Importers, chosen by name: each turns a corpus' parameters into an utterance table and, if need be, packed audio.

Called by the `import` stage. A new importer is a function of (name, params, folder, quarantine) that returns the
utterance table and lines to print, entered in `IMPORTERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from koe.corpus.demo import import_demo
from koe.corpus.folders import import_folders
from koe.corpus.quarantine import Quarantine
from koe.errors import KoeError
from koe.files import write_table
from koe.params import CorpusParams

TABLE = "table.csv"
COLUMNS = ["utterance", "speaker", "sentence", "text", "role", "path", "seconds", "sample_rate", "channels", "format"]

Importer = Callable[[str, CorpusParams, Path, Quarantine], tuple[pd.DataFrame, list[str]]]
IMPORTERS: dict[str, Importer] = {"demo": import_demo, "folders": import_folders}


@dataclass
class Imported:
    """What an import kept, what it left out, and lines for the terminal."""

    table: pd.DataFrame  # COLUMNS
    quarantine: Quarantine
    notes: list[str] = field(default_factory=list)


def import_corpus(name: str, params: CorpusParams, folder: str | Path) -> Imported:
    """Builds the utterance table of corpus `name` in `folder`: table.csv, quarantine.csv and shards if it packs audio.

    Raises KoeError naming `corpora.<name>.…` if the corpus cannot be found, or if nothing of it is usable.
    """
    folder = Path(folder)
    if params.importer not in IMPORTERS:
        raise KoeError(f"corpora.{name}.importer: {params.importer!r}; expected one of {', '.join(IMPORTERS)}")
    quarantine = Quarantine("import")
    table, notes = IMPORTERS[params.importer](name, params, folder, quarantine)
    table = table.reindex(columns=COLUMNS).sort_values("utterance", ignore_index=True)
    write_table(folder / TABLE, table)
    quarantine.write(folder)
    quarantine.require_some(len(table), folder, f"check corpora.{name}.path ({params.path})")
    return Imported(table, quarantine, [*notes, quarantine.summary()] if quarantine.rows else notes)
