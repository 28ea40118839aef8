"""Recordings of your own: one folder per speaker, sentences named by the files, by a table, or by their texts.

Text comes from `<path>/texts.tsv` (id<TAB>text) or from `NAME.txt` beside a recording; it may be absent. With
`match: table` sentences, and texts if it has them, come from `<path>/sentences.csv`.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from koe.audio.files import SUFFIXES, is_audio
from koe.corpus.importers.listing import (
    Listing,
    Recording,
    choose_speakers,
    entries_in,
    find_lines,
    folders_in,
    quarantine_odd,
    some,
    unused_note,
    with_texts,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_csv, read_sentences
from koe.errors import KoeError
from koe.files import is_folder, is_link, state_of

OUTSIDE_FOLDER = "outside_its_folder"
NOT_IN_TABLE = "not_in_the_table"
NO_SUCH_FOLDER = "no_such_folder"
TEXTS = "texts.tsv"
TABLE = "sentences.csv"
LICENCE = "not stated: recordings of your own"


def list_folders(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists folders of recordings: those of `speakers`; if null, those of source and target; if null too, all of them.

    Quarantined: a file that a link leads out of its speaker's folder, a file that the table lacks, a text that is not
    UTF-8, and what `quarantine_odd` and `entries_in` find. Raises KoeError naming the parameter if a folder is
    missing.
    """
    root = Path(params.path)
    if not is_folder(root):
        raise KoeError(f"corpora.{name}.path: {root} is not a folder; expected one with a folder of recordings "
                       "for each speaker")
    speakers = choose_speakers(name, params, [folder.name for folder in folders_in(root)])
    if params.speakers is None and params.source and params.target:
        speakers = [speaker for speaker in speakers if normalize("NFC", speaker) in (params.source, params.target)]
    listing = Listing([], LICENCE, "")
    ignored: Counter[str] = Counter()
    if stray := sum(path.suffix.lower() in SUFFIXES or is_audio(path)
                    for path in root.iterdir() if not path.name.startswith(".")):
        ignored["beside the speakers' folders"] = stray
    beside: list[Path] = []
    recordings = [recording for speaker in speakers
                  for recording in _of_speaker(name, root / speaker, beside, ignored, quarantine)]
    if ignored:
        listing.notes.append(f"{ignored.total()} files ignored that are not recordings of a speaker: "
                             + some(f"{suffix} {count}" for suffix, count in ignored.most_common()))
    if state_of(root / TEXTS, follow_links=False):  # a link to nowhere is an error too
        recordings = _with_texts_of_list(root / TEXTS, recordings, listing.notes)
    recordings = _with_texts_beside(name, recordings, beside, quarantine, listing.notes)
    if params.match == "table":
        recordings = list(_named_by_table(name, root, speakers, recordings, quarantine))
    listing.recordings += recordings
    return listing


def _of_speaker(
    name: str, folder: Path, beside: list[Path], ignored: Counter[str], quarantine: Quarantine
) -> Iterator[Recording]:
    """The audio files below a speaker's folder; .txt files are added to `beside`, other files are counted."""
    root, owner = folder.resolve(), f"{name}/{folder.name}"
    for path, linked in sorted(_files(folder, owner, quarantine), key=lambda file: os.fspath(file[0])):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            ignored["hidden"] += 1
        elif suffix in SUFFIXES and linked and _leads_out(path, root):
            quarantine.add(f"{owner}/{path.stem}", OUTSIDE_FOLDER,
                           f"{path} leads to {os.path.realpath(path)}, outside its speaker's folder")
        elif suffix in SUFFIXES:
            yield Recording(folder.name, normalize("NFC", path.stem), path)
        elif suffix == ".txt":
            beside.append(path)
        elif not quarantine_odd(path, owner, quarantine):
            ignored[suffix or path.name] += 1


def _files(folder: Path, owner: str, quarantine: Quarantine) -> Iterator[tuple[Path, bool]]:
    """All files below a folder, and whether each is a link; folders that are hidden or linked are not entered."""
    waiting = [folder]
    while waiting:
        for path in entries_in(waiting.pop(), owner, quarantine):
            linked = is_link(path)
            if not linked and is_folder(path) and not path.name.startswith("."):
                waiting.append(path)
            else:
                yield path, linked


def _leads_out(path: Path, root: Path) -> bool:
    """Whether a link leads out of `root`. DVC's cache (`…/files/md5/ab/cdef…`) holds the files themselves."""
    target = Path(os.path.realpath(path))  # which, unlike resolve, takes a link to itself
    return not target.is_relative_to(root) and target.parts[-4:-2] != ("files", "md5")


def _with_texts_of_list(path: Path, recordings: Sequence[Recording], notes: list[str]) -> list[Recording]:
    """The recordings with their texts in texts.tsv; what it has for no recording is noted."""
    texts = read_sentences(path)
    lines = find_lines(texts, recordings)
    notes += unused_note(path, texts, lines)
    return [replace(recording, text=texts[lines[place]]) if place in lines else recording
            for place, recording in enumerate(recordings)]


def _with_texts_beside(
    name: str, recordings: Sequence[Recording], beside: Sequence[Path], quarantine: Quarantine, notes: list[str]
) -> list[Recording]:
    """The recordings, those without text with that of NAME.txt beside them, if there is one."""
    places = {recording.path.with_suffix(".txt"): place for place, recording in enumerate(recordings)}
    lines = {places[path]: path for path in beside if path in places}
    others = {f"{path.parent}/{path.stem}": path for path in beside if path not in places}  # in another form
    found = find_lines(others, recordings)
    lines = {place: others[name] for place, name in found.items()} | lines
    if unused := [path.name for name, path in others.items() if name not in found.values()]:
        notes.append(f"{len(unused)} .txt files are beside no recording of their name: {some(unused)}")
    silent = [place for place, recording in enumerate(recordings) if not recording.text]
    paths = [lines.get(place, recordings[place].path.with_suffix(".txt")) for place in silent]
    return [recording for recording in recordings if recording.text] + with_texts(
        name, [recordings[place] for place in silent], paths, f"texts of {name}", quarantine)


def _named_by_table(
    name: str, root: Path, speakers: Sequence[str], recordings: Sequence[Recording], quarantine: Quarantine
) -> Iterator[Recording]:
    """The recordings as `sentences.csv` names them, and its rows whose files do not exist."""
    if not (root / TABLE).is_file():
        raise KoeError(f"corpora.{name}.match: table, and {root / TABLE} does not exist; expected CSV with columns "
                       "file, sentence and optionally text")
    rows = _rows(root / TABLE)
    lines = find_lines(rows, recordings)
    for place, recording in enumerate(recordings):
        if place not in lines:
            quarantine.add(f"{name}/{recording.speaker}/{recording.sentence}", NOT_IN_TABLE,
                           f"{recording.path} is not in {root / TABLE}")
        else:
            row = rows[lines[place]]
            yield replace(recording, sentence=row["sentence"], text=row["text"] or recording.text)
    folders = {normalize("NFC", folder.name): folder.name for folder in folders_in(root)}
    taken = set(lines.values())
    for file, row in rows.items():
        speaker = folders.get(file.partition("/")[0])
        if file in taken:
            continue
        if speaker is None:
            quarantine.add(f"{name}/{file.partition('/')[0]}/{row['sentence']}", NO_SUCH_FOLDER,
                           f"{root / TABLE} names {file}, and {root} has no such folder")
        elif speaker in speakers and not os.path.lexists(root / file):  # what exists has been listed or quarantined
            yield Recording(speaker, row["sentence"], root / file, row["text"])


def _rows(table: Path) -> dict[str, dict[str, str]]:
    """Rows of sentences.csv by file. Raises KoeError naming a file that occurs twice."""
    rows: dict[str, dict[str, str]] = {}
    for line, row in read_csv(table, ("file", "sentence"), ("text",)):
        file = normalize("NFC", Path(row["file"]).as_posix())
        if file in rows:
            raise KoeError(f"{table}, line {line}: file {file!r} occurs twice")
        rows[file] = row
    return rows
