"""What an importer returns to the registry, and the few steps that most importers share.

An importer of recordings on disk is one function, a `Lister`: it reads the corpus's transcripts and lists the
recordings in them. It opens no audio; `koe.corpus.importers.registry` checks that the files exist and reads headers.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from koe.audio.files import SUFFIXES
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines
from koe.errors import AudioError, KoeError
from koe.parallel import thread_map
from koe.progress import progress
from koe.text.comparison import canonical

UNREADABLE_TEXT = "unreadable_text"
KNOWN_ERROR = "known_error"
GENDERS = {"F": "female", "M": "male"}
SLUG = 24  # letters of a text in the name of its sentence
NAMED = 12  # items that a message lists; further ones are counted
THREADS = 8  # they wait for the disk, or for a network mount
BATCH = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Recording:
    """One utterance on disk: a file, or the part of it between `start` and `end`."""

    speaker: str
    sentence: str
    path: Path
    text: str = ""
    gender: str = ""  # female, male or not known
    start: float | None = None  # s; None: the file's beginning
    end: float | None = None  # s; None: the file's end
    language: str = ""  # where it is not the corpus's own
    style: str = ""  # whisper, falsetto, an emotion: recordings pair with those of their own style; empty: normal


@dataclass
class Listing:
    """A corpus as its publisher describes it, before any audio file is opened."""

    recordings: list[Recording]
    licence: str  # one line
    language: str  # the corpus's own; corpora.<name>.language overrides it
    notes: list[str] = field(default_factory=list)  # for the terminal


Lister = Callable[[str, CorpusParams, Quarantine], Listing]  # the corpus's name, its parameters


def find_root(name: str, params: CorpusParams, *markers: str) -> Path:
    """The corpus's own folder: `corpora.<name>.path`, or a folder in it, that has one of `markers` (relative paths).

    Raises KoeError naming the parameter, what was looked for and what was found.
    """
    path = Path(params.path)
    if not path.is_dir():
        raise KoeError(f"corpora.{name}.path: {path} is not a folder; looked for {path / markers[0]}")
    for candidates in ([path], folders_in(path)):
        roots = [root for root in candidates if any((root / marker).exists() for marker in markers)]
        if len(roots) > 1:
            raise KoeError(f"corpora.{name}.path: {path} holds several: {some(root.name for root in roots)}; name one")
        if roots:
            return roots[0]
    expected = " or ".join(str(path / marker) for marker in markers)
    raise KoeError(f"corpora.{name}.path: looked for {expected}, or for that in a folder of {path}; "
                   f"{path} holds {contents(path)}")


def require(name: str, path: Path, advice: str = "") -> Path:
    """The path, if it exists. Raises KoeError naming `corpora.<name>.path` and what is there instead."""
    if path.exists():
        return path
    folder = next(parent for parent in path.parents if parent.exists())
    raise KoeError(f"corpora.{name}.path: looked for {path}; {folder} holds {contents(folder)}"
                   + (f"\n{advice}" if advice else ""))


def choose_speakers(name: str, params: CorpusParams, available: Sequence[str]) -> list[str]:
    """Those of `available` that `corpora.<name>.speakers` names; all if it is null.

    Raises KoeError naming the parameter and the available speakers if it, `source` or `target` names another.
    """
    composed = {normalize("NFC", speaker): speaker for speaker in available}
    named = [("speakers", speaker) for speaker in params.speakers or []]
    named += [(role, getattr(params, role)) for role in ("source", "target") if getattr(params, role)]
    for option, speaker in named:
        if speaker not in composed:
            raise KoeError(f"corpora.{name}.{option}: {speaker!r} is not a speaker of {params.path}; "
                           f"there are {some(available) or 'none'}")
    return [speaker for name, speaker in composed.items() if params.speakers is None or name in params.speakers]


def choose_subsets(name: str, params: CorpusParams, available: Sequence[str]) -> list[str]:
    """Those of `available` that `corpora.<name>.subsets` names; all if it is null. Raises KoeError for others."""
    for subset in params.subsets or []:
        if subset not in available:
            raise KoeError(f"corpora.{name}.subsets: there is no {subset!r}; expected some of {', '.join(available)}")
    return [subset for subset in available if params.subsets is None or subset in params.subsets]


def read_transcript(path: Path, notes: list[str], separator: str = ":") -> dict[str, str]:
    """A publisher's lines of `NAME:text` as {name: text}; lines of another form are counted in `notes`.

    Raises KoeError if the file cannot be read.
    """
    texts: dict[str, str] = {}
    malformed = []
    for number, line in enumerate(read_lines(path), start=1):
        sentence, mark, text = (part.strip() for part in line.partition(separator))
        if sentence and mark and sentence not in texts:
            texts[sentence] = text
        elif line.strip():
            malformed.append(number)
    if malformed:
        notes.append(f"{path}: no NAME{separator}text, or a repeated name, in {len(malformed)} lines, "
                     f"e.g. {malformed[0]}")
    return texts


def from_transcript(folder: Path, texts: Mapping[str, str], speaker: str, gender: str) -> list[Recording]:
    """The recordings in `folder`, with texts from the transcript, and those that it lists but that are missing."""
    files = audio_in(folder)
    missing = texts.keys() - {path.stem for path in files}
    return [Recording(speaker, path.stem, path, texts.get(path.stem, ""), gender)
            for path in sorted([*files, *(folder / f"{sentence}.wav" for sentence in missing)])]


def audio_in(folder: Path) -> list[Path]:
    """Audio files directly in a folder, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        paths = [folder / entry.name for entry in entries if not entry.name.startswith(".")]
    return sorted((path for path in paths if path.suffix.lower() in SUFFIXES), key=os.fspath)


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in a folder that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries
                      if entry.is_dir() and not entry.name.startswith("."))


def read_texts(paths: Sequence[Path], description: str) -> Iterator[str | AudioError]:
    """The text of each file on one line, empty where there is no such file, or why it cannot be read; in order."""
    return in_batches(_read_text, paths, description)


def _read_text(path: Path) -> str | AudioError:
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return ""
    except (UnicodeDecodeError, OSError) as error:
        return AudioError(UNREADABLE_TEXT, f"{path}: cannot be read as UTF-8 text ({error})")


def with_texts(
    name: str, recordings: Sequence[Recording], texts: Sequence[Path], description: str, quarantine: Quarantine
) -> list[Recording]:
    """The recordings with the content of their text files; those whose text cannot be read are quarantined."""
    complete = []
    for recording, text in zip(recordings, read_texts(texts, description), strict=True):
        if isinstance(text, AudioError):
            quarantine.add(f"{name}/{recording.speaker}/{recording.sentence}", text.reason, text.detail)
        else:
            complete.append(replace(recording, text=text or recording.text))
    return complete


def in_batches(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> Iterator[Result]:
    """Yields `function(item)` in order, on threads, with a progress bar; for work as short as opening a file."""
    results = thread_map(lambda batch: [function(item) for item in batch], _batches(items), THREADS)
    yield from progress((result for batch in results for result in batch), description, len(items))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start:start + BATCH] for start in range(0, len(items), BATCH))


def named_by_text(recordings: Iterable[Recording]) -> list[Recording]:
    """The recordings with sentences named by `text_name`; a speaker's further takes of a text in a style get -2, -3, …

    A recording without text keeps its name, after the speaker's, so that it matches no other speaker's.
    """
    takes: Counter[tuple[str, str, str]] = Counter()
    named = []
    for recording in recordings:
        sentence = text_name(recording.text) or _own_name(recording)
        key = recording.speaker, sentence, recording.style
        takes[key] += 1
        take = takes[key]
        named.append(replace(recording, sentence=f"{sentence}-{take}" if take > 1 else sentence))
    return named


def text_name(text: str) -> str:
    """A sentence's name: its first letters and a hash of all, e.g. `pleasecallstella-d44c36`; empty without letters.

    Case, punctuation, width and spaces make no difference, not even within words.
    """
    letters = canonical(text)
    return f"{letters[:SLUG]}-{hashlib.sha256(letters.encode()).hexdigest()[:6]}" if letters else ""


def _own_name(recording: Recording) -> str:
    prefix = f"{recording.speaker}_"
    return recording.sentence if recording.sentence.startswith(prefix) else prefix + recording.sentence


def contents(folder: Path) -> str:
    """The contents of a folder, for a message."""
    return some(sorted(entry.name for entry in folder.iterdir())) or "nothing"


def some(names: Iterable[str]) -> str:
    """The first few names, and the number of further ones."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
