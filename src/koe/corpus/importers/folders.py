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

from koe.audio.files import SUFFIXES
from koe.corpus.importers.listing import (
    Listing,
    Recording,
    audio_in,
    choose_speakers,
    folders_in,
    some,
    with_texts,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_csv, read_sentences
from koe.errors import KoeError

OUTSIDE_FOLDER = "outside_its_folder"
NOT_IN_TABLE = "not_in_the_table"
NO_SUCH_FOLDER = "no_such_folder"
TEXTS = "texts.tsv"
TABLE = "sentences.csv"
LICENCE = "not stated: recordings of your own"


def list_folders(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists folders of recordings: those of `speakers`; if null, those of source and target; if null too, all of them.

    Quarantined: a file that a link leads out of its speaker's folder, a file that the table lacks, a text that is not
    UTF-8. Raises KoeError naming the parameter if a folder is missing.
    """
    root = Path(params.path)
    if not root.is_dir():
        raise KoeError(f"corpora.{name}.path: {root} is not a folder; expected one with a folder of recordings "
                       "for each speaker")
    speakers = choose_speakers(name, params, [folder.name for folder in folders_in(root)])
    if params.speakers is None and params.source and params.target:
        speakers = [speaker for speaker in speakers if normalize("NFC", speaker) in (params.source, params.target)]
    ignored: Counter[str] = Counter()
    if stray := len(audio_in(root)):
        ignored["beside the speakers' folders"] = stray
    recordings = [recording for speaker in speakers
                  for recording in _of_speaker(name, root / speaker, ignored, quarantine)]
    texts = read_sentences(root / TEXTS) if (root / TEXTS).is_file() else {}
    recordings = [replace(recording, text=texts.get(recording.sentence, "")) for recording in recordings]
    recordings = _with_texts_beside(name, recordings, quarantine)
    if params.match == "table":
        recordings = list(_named_by_table(name, root, speakers, recordings, quarantine))
    return Listing(recordings, LICENCE, "", _notes(ignored))


def _of_speaker(name: str, folder: Path, ignored: Counter[str], quarantine: Quarantine) -> Iterator[Recording]:
    """The audio files below a speaker's folder; other files are counted."""
    root = folder.resolve()
    for path, linked in sorted(_files(folder), key=lambda file: os.fspath(file[0])):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            ignored["hidden"] += 1
        elif suffix in SUFFIXES and linked and _leads_out(path.resolve(), root):
            quarantine.add(f"{name}/{folder.name}/{path.stem}", OUTSIDE_FOLDER,
                           f"{path} leads to {path.resolve()}, outside its speaker's folder")
        elif suffix in SUFFIXES:
            yield Recording(folder.name, normalize("NFC", path.stem), path)
        elif suffix != ".txt":
            ignored[suffix or path.name] += 1


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """All files below a folder, and whether each is a link; folders that are hidden or linked are not entered."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _files(folder / entry.name)
            else:
                yield folder / entry.name, entry.is_symlink()


def _leads_out(target: Path, root: Path) -> bool:
    """Whether a link's target is outside `root`. DVC's cache (`…/files/md5/ab/cdef…`) holds the files themselves."""
    return not target.is_relative_to(root) and target.parts[-4:-2] != ("files", "md5")


def _with_texts_beside(name: str, recordings: Sequence[Recording], quarantine: Quarantine) -> list[Recording]:
    """The recordings, those without text with that of NAME.txt beside them, if there is one."""
    without_text = [recording for recording in recordings if not recording.text]
    paths = [recording.path.with_suffix(".txt") for recording in without_text]
    return [recording for recording in recordings if recording.text] + with_texts(
        name, without_text, paths, f"texts of {name}", quarantine)


def _named_by_table(
    name: str, root: Path, speakers: Sequence[str], recordings: Sequence[Recording], quarantine: Quarantine
) -> Iterator[Recording]:
    """The recordings as `sentences.csv` names them, and its rows whose files do not exist."""
    if not (root / TABLE).is_file():
        raise KoeError(f"corpora.{name}.match: table, and {root / TABLE} does not exist; expected CSV with columns "
                       "file, sentence and optionally text")
    rows = {normalize("NFC", Path(row["file"]).as_posix()): row
            for _, row in read_csv(root / TABLE, ("file", "sentence"), ("text",))}
    for recording in recordings:
        row = rows.pop(normalize("NFC", recording.path.relative_to(root).as_posix()), None)
        if row is None:
            quarantine.add(f"{name}/{recording.speaker}/{recording.sentence}", NOT_IN_TABLE,
                           f"{recording.path} is not in {root / TABLE}")
        else:
            yield replace(recording, sentence=row["sentence"], text=row["text"] or recording.text)
    folders = {normalize("NFC", folder.name): folder.name for folder in folders_in(root)}
    for file, row in rows.items():
        speaker = folders.get(file.partition("/")[0])
        if speaker is None:
            quarantine.add(f"{name}/{file.partition('/')[0]}/{row['sentence']}", NO_SUCH_FOLDER,
                           f"{root / TABLE} names {file}, and {root} has no such folder")
        elif speaker in speakers:
            yield Recording(speaker, row["sentence"], root / file, row["text"])


def _notes(ignored: Counter[str]) -> list[str]:
    if not ignored:
        return []
    return [f"{ignored.total()} files ignored that are not recordings of a speaker: "
            + some(f"{suffix} {count}" for suffix, count in ignored.most_common())]
