"""Importers, chosen by name: each turns a corpus's parameters into an utterance table and, if needed, packed audio.

Called by the `import` stage. An importer of recordings on disk is a `Lister` (`koe.corpus.importers.listing`)
entered in `IMPORTERS`; the steps that are the same for all of them are here: names, repeated sentences, headers,
`utterances`, roles, cutting.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

import pandas as pd

from koe.audio.files import audio_info
from koe.corpus.importers.asterisk import list_asterisk
from koe.corpus.importers.cmu_arctic import list_cmu_arctic
from koe.corpus.importers.folders import list_folders
from koe.corpus.importers.jsss import list_jsss
from koe.corpus.importers.jsut import list_jsut
from koe.corpus.importers.jvs import list_jvs
from koe.corpus.importers.libritts import list_libritts
from koe.corpus.importers.listing import (
    MISSING_FILE,
    Lister,
    Listing,
    Recording,
    in_batches,
    kinds_below,
    named_by_text,
    require_file,
    some,
)
from koe.corpus.importers.ljspeech import list_ljspeech
from koe.corpus.importers.table import list_table
from koe.corpus.importers.vctk import list_vctk
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import AudioError
from koe.files import write_json
from koe.names import utterance_name
from koe.text.comparison import canonical

ABOUT = "corpus.json"


@dataclass(frozen=True)
class Importer:
    """A reader of a corpus as its publisher packs it."""

    list: Lister | None  # None: the demo, which is synthesised, not read
    options: frozenset[str] = frozenset({"match", "segments"})  # parameters of corpora.<name> that not every one has
    by_text: bool = False  # pair by text unless `match` says otherwise: the file names do not identify sentences


def _published(lister: Lister, *options: str, by_text: bool = False) -> Importer:
    return Importer(lister, Importer.options | {*options}, by_text)


IMPORTERS: dict[str, Importer] = {
    "demo": Importer(None, frozenset()),
    "folders": _published(list_folders),
    "table": _published(list_table),
    "jsut": _published(list_jsut, "subsets"),
    "jsss": _published(list_jsss, "subsets"),
    "jvs": _published(list_jvs, "subsets"),
    "ljspeech": _published(list_ljspeech),
    "vctk": _published(list_vctk, "microphone", by_text=True),
    "libritts": _published(list_libritts, "subsets"),
    "cmu_arctic": _published(list_cmu_arctic),
    "asterisk": _published(list_asterisk),
}
OPTIONS = frozenset().union(*(importer.options for importer in IMPORTERS.values()))

SENTENCE_TWICE = "sentence_twice"
UNUSABLE_NAME = "unusable_name"
OUTSIDE_FILE = "outside_its_file"
ROUNDING = 0.05  # s by which a label may end after its file


@dataclass
class Imported:
    """Result of an import."""

    table: pd.DataFrame  # UTTERANCES: what was kept
    quarantine: Quarantine  # what was left out
    notes: list[str] = field(default_factory=list)  # lines for the terminal


def import_corpus(name: str, params: CorpusParams, folder: str | Path) -> Imported:
    """Builds the utterance table of corpus `name` in `folder`: table.csv, quarantine.csv, corpus.json, packed shards.

    Raises KoeError naming `corpora.<name>.…` if the corpus cannot be found, or if nothing of it is usable.
    """
    folder = Path(folder)
    quarantine = Quarantine("import")
    importer = IMPORTERS[params.importer]
    if importer.list is None:
        from koe.corpus.demo import import_demo  # the voices take longer to load than a corpus takes to list

        table, notes, licence = import_demo(name, params, folder, quarantine)
        language = str(table["language"].iloc[0])
    else:
        listing = importer.list(name, params, quarantine)
        table = _tabulated(name, params, listing, quarantine)
        if unknown := sorted(set(params.pitch_ranges) - set(table["speaker"])):
            listing.notes.append(f"corpora.{name}.pitch_ranges: no recordings of {', '.join(unknown)}")
        notes, licence, language = listing.notes, listing.licence, params.language or listing.language
    if params.segments is not None:
        from koe.corpus.segments import cut_long  # loads a speech detector

        table, segment_notes = cut_long(name, table, params.segments, quarantine)
        notes = [*notes, *segment_notes]
    table = table.reindex(columns=list(UTTERANCES.columns)).sort_values("utterance", ignore_index=True)
    quarantine.rows = [{column: _printable(value) for column, value in row.items()} for row in quarantine.rows]
    UTTERANCES.write(folder, table)
    quarantine.write(folder)
    write_json(folder / ABOUT, {"importer": params.importer, "licence": licence, "language": language})
    found = kinds_below(Path(params.path)) if table.empty else ""
    quarantine.require_some(len(table), folder, f"check corpora.{name}.path ({params.path}{found})")
    notes = [*notes, *_text_notes(name, table), f"licence: {licence}"]
    return Imported(table, quarantine, [*notes, quarantine.summary()] if quarantine.rows else notes)


def _tabulated(name: str, params: CorpusParams, listing: Listing, quarantine: Quarantine) -> pd.DataFrame:
    """The utterance table of a listing, with the files' headers; unusable recordings are quarantined."""
    recordings = listing.recordings
    if params.match == "text" or (params.match is None and IMPORTERS[params.importer].by_text):
        recordings = named_by_text(recordings)
    recordings = [_normalized(recording) for recording in recordings]
    rows = []
    roles = {params.source: "source", params.target: "target"}
    usable = list(_usable(name, recordings, quarantine))
    for recording, row in zip(usable, in_batches(_header, usable, f"headers of {name}"), strict=True):
        if isinstance(row, AudioError):
            quarantine.add(_utterance(name, recording), row.reason, row.detail)
            continue
        rows.append({"utterance": _utterance(name, recording), "speaker": recording.speaker,
                     "gender": recording.gender, "sentence": recording.sentence, "style": recording.style,
                     "text": recording.text, "language": recording.language or params.language or listing.language,
                     "role": roles.get(recording.speaker, "")} | row)
    if missing := [row["utterance"] for row in quarantine.rows if row["reason"] == MISSING_FILE]:
        listing.notes.append(f"{len(missing)} listed recordings have no file: "
                             + some(utterance.partition("/")[2] for utterance in missing))
    table = pd.DataFrame(rows, columns=list(UTTERANCES.columns)).astype({"start": float, "end": float})
    return _first_sentences(name, params, table, listing.notes)


def _normalized(recording: Recording) -> Recording:
    return replace(recording, speaker=normalize("NFC", recording.speaker),
                   sentence=normalize("NFC", recording.sentence), style=normalize("NFC", recording.style))


def _usable(name: str, recordings: list[Recording], quarantine: Quarantine) -> Iterator[Recording]:
    """The recordings whose name a table can hold and no other recording of the speaker in that style has."""
    by_utterance: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_utterance.setdefault(_utterance(name, recording), []).append(recording)
    for utterance, takes in by_utterance.items():
        speaker, sentence, style = takes[0].speaker, takes[0].sentence, takes[0].style
        unusable = [part for part in (speaker, sentence, *([style] if style else []))
                    if part != _printable(part) or not part.strip() or "/" in part]
        unusable += [os.fspath(take.path) for take in takes if os.fspath(take.path) != _unicode(os.fspath(take.path))]
        if unusable:
            quarantine.add(utterance, UNUSABLE_NAME, f"{takes[0].path}: {unusable[0]!r}; rename it: a name is UTF-8 "
                           "without tabs, line ends and slashes")
        elif len(takes) > 1:
            files = " and ".join(str(take.path) for take in takes)
            quarantine.add(utterance, SENTENCE_TWICE, f"{files} are the same sentence; keep one of them")
        else:
            yield takes[0]


def _header(recording: Recording) -> dict[str, Any] | AudioError:
    """The table's columns from the file's header, or the reason why the recording cannot be used."""
    path, start = recording.path, recording.start or 0.0
    try:
        require_file(path)
        info = audio_info(path)
        end = info.seconds if recording.end is None else recording.end
        if not 0 <= start < end <= info.seconds + ROUNDING:
            raise AudioError(OUTSIDE_FILE, f"{path}: {start:g} to {end:g} s of a file of {info.seconds:g} s")
    except AudioError as error:
        return error
    return {"path": path.as_posix(), "start": recording.start, "end": recording.end, "seconds": end - start,
            "sample_rate": info.sample_rate, "channels": info.channels, "format": info.format}


def _first_sentences(name: str, params: CorpusParams, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The rows of the first `corpora.<name>.utterances` sentences: those of most speakers first, then by name."""
    speakers = table.groupby("sentence")["speaker"].nunique()
    if params.utterances is None or len(speakers) <= params.utterances:
        return table
    ranked = sorted(speakers.items(), key=lambda item: (-item[1], item[0]))
    kept = {sentence for sentence, _ in ranked[:params.utterances]}
    notes.append(f"the first {len(kept)} of {len(speakers)} sentences, as set by corpora.{name}.utterances")
    return table[table["sentence"].isin(kept)]


def _text_notes(name: str, table: pd.DataFrame) -> list[str]:
    """Lines about recordings without text, and about sentences whose speakers' texts differ."""
    notes = []
    if without_text := int((table["text"] == "").sum()):
        notes.append(f"{without_text} of {len(table)} recordings without text")
    if unknown := int((table["language"] == "").sum()):
        notes.append(f"{unknown} recordings in no stated language; corpora.{name}.language states it")
    if alike := _alike(table["sentence"]):
        notes.append(f"{len(alike)} sentence names differ only in case or spaces, and so do not pair: "
                     + some(" and ".join(map(repr, names)) for names in alike))
    shared = table[table.duplicated("sentence", keep=False) & (table["text"] != "")]
    texts = shared["text"].map(canonical).groupby(shared["sentence"]).nunique()
    if differing := list(texts.index[texts > 1]):
        notes.append(f"{len(differing)} sentences are not the same text for all speakers, e.g. {differing[0]}; "
                     "match: text goes by the text alone")
    return notes


def _alike(sentences: pd.Series) -> list[list[str]]:
    """Groups of sentence names that differ only in case or spaces."""
    groups: dict[str, list[str]] = {}
    for sentence in sorted(set(sentences)):
        groups.setdefault(" ".join(sentence.casefold().split()), []).append(sentence)
    return [names for names in groups.values() if len(names) > 1]


def _utterance(name: str, recording: Recording) -> str:
    return utterance_name(name, recording.speaker, recording.sentence, recording.style)


def _printable(text: str) -> str:
    """The text with a question mark for each control character and line end, and for what is not Unicode."""
    return "".join("?" if category(letter) in ("Cc", "Zl", "Zp") else letter for letter in _unicode(text))


def _unicode(text: str) -> str:
    """The text with a question mark for what is not Unicode, as in the names of files that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def importer_contradictions(corpora: Mapping[str, CorpusParams]) -> Iterator[str]:
    """Contradictions between corpora and the options of their importers."""
    for name, corpus in corpora.items():
        if corpus.importer not in IMPORTERS:
            yield (f"corpora.{name}.importer: there is no importer {corpus.importer!r}; expected one of "
                   f"{', '.join(IMPORTERS)}")
            continue
        for option in sorted(OPTIONS - IMPORTERS[corpus.importer].options):
            if getattr(corpus, option) is not None:
                having = sorted(other for other, importer in IMPORTERS.items() if option in importer.options)
                yield (f"corpora.{name}.{option}: importer {corpus.importer} has no such option, only "
                       f"{', '.join(having)}; leave it out")
        if corpus.importer == "demo" and corpus.language not in (None, "en", "ja"):
            yield f"corpora.{name}.language: the demo's sentences are en or ja, not {corpus.language}"
        if corpus.match == "table" and corpus.importer != "folders":
            yield f"corpora.{name}.match: table is for importer folders"
