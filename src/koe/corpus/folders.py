"""Recordings in folders: `<path>/<source>/` and `<path>/<target>/`, paired by the files' names without suffix.

Text comes from `<path>/texts.tsv` (id<TAB>text) or from `<name>.txt` beside a recording; it may be absent. Only
headers are read here; the recordings' content is checked when they are decoded, in `koe.corpus.resampling`.
"""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from koe.audio.files import SUFFIXES, audio_info
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_sentences
from koe.errors import AudioError, KoeError
from koe.params import CorpusParams
from koe.progress import progress

SENTENCE_TWICE = "sentence_twice"
PARTNER_MISSING = "partner_missing"
PARTNER_EXCLUDED = "partner_excluded"
OUTSIDE_FOLDER = "outside_its_folder"
UNUSABLE_NAME = "unusable_name"
UNREADABLE_TEXT = "unreadable_text"
TEXTS = "texts.tsv"


@dataclass
class _Side:
    """One speaker's recordings."""

    speaker: str
    role: str
    recordings: dict[str, dict[str, Any]] = field(default_factory=dict)  # by sentence: columns of the table
    excluded: dict[str, str] = field(default_factory=dict)  # by sentence: why
    ignored: Counter[str] = field(default_factory=Counter)  # files that are not audio, by suffix


def import_folders(
    name: str, params: CorpusParams, folder: Path, quarantine: Quarantine
) -> tuple[pd.DataFrame, list[str]]:
    """The utterance table of two speakers' folders of recordings, and lines to print. Writes nothing to `folder`.

    Excluded, each with a row in `quarantine` and its partner with one too (lesson 23): files that are not readable
    or empty by their header, a sentence that one speaker has twice (none of the files is taken), a file that a link
    leads out of its speaker's folder, a sentence without a partner. Raises KoeError naming the parameter if a
    folder is missing.
    """
    root = Path(params.path)
    if not root.is_dir():
        raise KoeError(f"corpora.{name}.path: {root} is not a folder; expected one with a folder of recordings for "
                       f"each speaker, {params.source} and {params.target}")
    texts = read_sentences(root / TEXTS) if (root / TEXTS).is_file() else {}
    sides = [_scan(name, role, params, texts, quarantine) for role in ("source", "target")]
    for side, other in (sides, sides[::-1]):
        _account_for_partners(name, side, other, quarantine)
    sentences = sorted(sides[0].recordings.keys() & sides[1].recordings.keys())[:params.utterances]
    rows = [side.recordings[sentence] for side in sides for sentence in sentences]
    return pd.DataFrame(rows), _notes(sides, rows)


def _scan(name: str, role: str, params: CorpusParams, texts: dict[str, str], quarantine: Quarantine) -> _Side:
    """Finds and checks one speaker's recordings."""
    side = _Side(_speaker(name, role, params), role)
    folder = Path(params.path) / side.speaker
    by_sentence: dict[str, list[Path]] = {}
    for path in _files(folder):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            by_sentence.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
        elif path.suffix.lower() != ".txt":
            side.ignored["hidden" if path.name.startswith(".") else path.suffix.lower() or path.name] += 1
    inside = folder.resolve()
    for sentence, paths in progress(sorted(by_sentence.items()), f"headers of {side.speaker}", len(by_sentence)):
        utterance = f"{name}/{side.speaker}/{sentence}"
        try:
            row = _row(sentence, paths, inside, texts)
        except AudioError as error:
            quarantine.add(_printable(utterance), error.reason, _printable(error.detail))
            side.excluded[sentence] = error.reason
        else:
            side.recordings[sentence] = {"utterance": utterance, "speaker": side.speaker, "role": role} | row
    return side


def _speaker(name: str, role: str, params: CorpusParams) -> str:
    """The speaker's folder name. Raises KoeError if it is not one name, or there is no such folder."""
    speaker = getattr(params, role)
    if not speaker or Path(speaker).name != speaker or speaker in {".", ".."} or "\\" in speaker:
        raise KoeError(f"corpora.{name}.{role}: {speaker!r}; expected the name of a folder in {params.path}")
    if not (Path(params.path) / speaker).is_dir():
        found = sorted(entry.name for entry in Path(params.path).iterdir() if entry.is_dir())
        raise KoeError(f"corpora.{name}.path: {params.path} has no folder {speaker} (corpora.{name}.{role}); "
                       f"folders there: {', '.join(found) or 'none'}")
    return unicodedata.normalize("NFC", speaker)


def _files(folder: Path) -> list[Path]:
    """All files below a folder, sorted; folders that are hidden or linked are not entered and stand for themselves."""
    found = []
    for place, folders, names in os.walk(folder):
        closed = [entry for entry in folders if entry.startswith(".") or (Path(place) / entry).is_symlink()]
        found += [Path(place) / entry for entry in names + closed]
        folders[:] = [entry for entry in folders if entry not in closed]
    return sorted(found)


def _row(sentence: str, paths: list[Path], inside: Path, texts: dict[str, str]) -> dict[str, Any]:
    """The table's columns that the files tell. Raises AudioError if the sentence cannot be used."""
    if len(paths) > 1:
        files = " and ".join(str(path) for path in paths)
        raise AudioError(SENTENCE_TWICE, f"{files} are the same sentence; keep one of them")
    [path] = paths
    if sentence != _printable(sentence) or not sentence.strip():
        raise AudioError(UNUSABLE_NAME, f"{str(path)!r}: rename it; UTF-8 without tabs or line ends is needed")
    if not path.resolve().is_relative_to(inside):
        raise AudioError(OUTSIDE_FOLDER, f"{path} leads to {path.resolve()}, outside its speaker's folder")
    info = audio_info(path)
    return {"sentence": sentence, "text": texts.get(sentence) or _text_beside(path), "path": path.as_posix(),
            "seconds": info.seconds, "sample_rate": info.sample_rate, "channels": info.channels,
            "format": info.format}


def _text_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return ""
    try:
        return " ".join(beside.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise AudioError(UNREADABLE_TEXT, f"{beside}: not UTF-8 ({error})") from error


def _account_for_partners(name: str, side: _Side, other: _Side, quarantine: Quarantine) -> None:
    for sentence in sorted(side.recordings.keys() - other.recordings.keys()):
        utterance = f"{name}/{side.speaker}/{sentence}"
        if sentence in other.excluded:
            why = other.excluded[sentence]
            quarantine.add(utterance, PARTNER_EXCLUDED, f"{other.speaker}'s recording of it: {why}")
        else:
            quarantine.add(utterance, PARTNER_MISSING, f"{other.speaker} has no recording named {sentence}")


def _notes(sides: list[_Side], rows: list[dict[str, Any]]) -> list[str]:
    ignored = sides[0].ignored + sides[1].ignored
    notes = []
    if ignored:
        notes.append(f"{ignored.total()} files that are not WAV, FLAC, OGG or MP3 ignored: "
                     + ", ".join(f"{suffix} {count}" for suffix, count in ignored.most_common(5)))
    if silent := sum(not row["text"] for row in rows):
        notes.append(f"{silent} of {len(rows)} recordings without text ({TEXTS} or a .txt beside them)")
    return notes


def _printable(text: str) -> str:
    """The text with a question mark for each control character and for what is not Unicode."""
    return "".join("?" if ord(letter) < 32 or ord(letter) == 127 else letter
                   for letter in text.encode("utf-8", "replace").decode("utf-8"))
