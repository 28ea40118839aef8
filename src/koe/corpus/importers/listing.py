"""What an importer returns to the registry, and the few steps that most importers share.

An importer of recordings on disk is one function, a `Lister`: it reads the corpus's transcripts and lists the
recordings in them. It opens no audio; `koe.corpus.importers.registry` checks that the files exist and reads headers.
"""

import errno
import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from koe.audio.checks import UNREADABLE
from koe.audio.files import SUFFIXES, is_audio
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines
from koe.errors import AudioError, KoeError
from koe.files import is_folder, state_of
from koe.parallel import thread_map
from koe.progress import progress
from koe.text.comparison import canonical

MISSING_FILE = "missing_file"
NOT_A_FILE = "not_a_file"
UNKNOWN_FORMAT = "unknown_format"
UNREADABLE_FOLDER = "unreadable_folder"
UNREADABLE_TEXT = "unreadable_text"
KNOWN_ERROR = "known_error"
GENDERS = {"F": "female", "M": "male"}
SLUG = 24  # letters of a text in the name of its sentence
NAMED = 12  # items that a message lists; further ones are counted
THREADS = 8  # they wait for the disk, or for a network mount
BATCH = 64
_TEXTS = frozenset({".txt", ".lab"})  # suffixes of what is not opened to see whether it is audio
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

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
    if not is_folder(path):
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
    composed = {normalize("NFC", speaker) for speaker in available}
    named = [("speakers", speaker) for speaker in params.speakers or []]
    named += [(role, getattr(params, role)) for role in ("source", "target") if getattr(params, role)]
    for option, speaker in named:
        if speaker not in composed:
            raise KoeError(f"corpora.{name}.{option}: {speaker!r} is not a speaker of {params.path}; "
                           f"there are {some(available) or 'none'}")
    return [speaker for speaker in available
            if params.speakers is None or normalize("NFC", speaker) in params.speakers]


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


def from_transcript(
    name: str, folder: Path, texts: Mapping[str, str], speaker: str, gender: str, quarantine: Quarantine
) -> list[Recording]:
    """The recordings in `folder`, with texts from the transcript, and those that it lists but that are missing."""
    files = [Recording(speaker, path.stem, path, gender=gender)
             for path in audio_in(folder, f"{name}/{speaker}", quarantine)]
    lines = find_lines(texts, files)
    recordings = [replace(recording, text=texts[lines[place]]) if place in lines else recording
                  for place, recording in enumerate(files)]
    recordings += [Recording(speaker, sentence, folder / f"{sentence}.wav", texts[sentence], gender)
                   for sentence in texts.keys() - set(lines.values())]
    return sorted(recordings, key=lambda recording: recording.path)


def find_lines(names: Iterable[str], recordings: Sequence[Recording]) -> dict[int, str]:
    """For each recording, by its place, the one of a list's `names` that stands for it, if one does.

    A name is that of a sentence or of a file. It may have an audio file's suffix (`1.wav`), and it may follow folders
    that contain the file (`ann/1`), which limit it to their recordings. Where nothing has exactly that name, another
    case, Unicode form and spacing will do. A name that fits several sentences is taken for none of them, and a
    recording takes none of several names that fit it equally well.
    """
    above = {path: path.absolute().parts for path in {recording.path.parent for recording in recordings}}
    own = [above[recording.path.parent] for recording in recordings]
    indices = [(form, _places(form, [recording.sentence for recording in recordings], own),
                _places(form, [recording.path.name for recording in recordings], own)) for form in (_composed, _folded)]
    claims: defaultdict[int, list[tuple[tuple[bool, int, int], str]]] = defaultdict(list)
    for name in names:
        *folders, last = [name] if ("", _composed(name)) in indices[0][1] else name.replace("\\", "/").split("/")
        folders = [folder for folder in folders if folder.strip() not in ("", ".")]
        for rung, (form, index, spelling) in enumerate(
            (form, index, spelling) for form, sentences, files in indices
            for index, spelling in ((sentences, last), (files, last), (sentences, _without_suffix(last)))
        ):
            wanted = list(map(form, folders))
            places = [place for place in index.get((wanted[-1] if wanted else "", form(spelling)), ())
                      if len(wanted) < 2 or list(map(form, own[place][-len(wanted):])) == wanted]
            if len({recordings[place].sentence for place in places}) == 1:
                for place in places:
                    claims[place].append(((form is _folded, -len(folders), rung), name))
            if places:
                break
    chosen = {}
    for place, claimed in claims.items():
        best = min(rank for rank, _ in claimed)
        equal = [name for rank, name in claimed if rank == best]
        if len(equal) == 1:
            chosen[place] = equal[0]
    return chosen


def _places(
    form: Callable[[str], str], names: Sequence[str], own: Sequence[Sequence[str]]
) -> dict[tuple[str, str], list[int]]:
    """The places of each name, in one form, by the last of its own folders and the name, and by "" and the name."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, (name, folders) in enumerate(zip(names, own, strict=True)):
        for folder in ("", folders[-1]):
            places.setdefault((form(folder), form(name)), []).append(place)
    return places


def _composed(name: str) -> str:
    return normalize("NFC", name)


def _folded(name: str) -> str:
    return " ".join(normalize("NFC", name).casefold().split())


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".rstrip().lower() in SUFFIXES else name


def unused_note(path: Path, names: Iterable[str], lines: Mapping[int, str]) -> list[str]:
    """A line that counts and names the names of the list at `path` that `find_lines` took for no recording, if any."""
    names, used = list(names), set(lines.values())
    unused = [name for name in names if name not in used]
    return [f"{path}: {len(unused)} of {len(names)} names are those of no recording: {some(unused)}"] if unused else []


def audio_in(folder: Path, owner: str, quarantine: Quarantine) -> list[Path]:
    """Audio files directly in a folder, sorted; none if there is no such folder.

    owner: the `<corpus>/<speaker>` under whose name other things are quarantined; see `entries_in`, `quarantine_odd`.
    """
    paths = [path for path in entries_in(folder, owner, quarantine) if not path.name.startswith(".")]
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            quarantine_odd(path, owner, quarantine)
    return [path for path in paths if path.suffix.lower() in SUFFIXES]


def entries_in(folder: Path, owner: str, quarantine: Quarantine) -> list[Path]:
    """What is in a folder, sorted; nothing if there is none, or if it cannot be read, which is quarantined."""
    try:
        return sorted(folder.iterdir(), key=os.fspath)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        quarantine.add(f"{owner}/{folder.name}", UNREADABLE_FOLDER, f"{folder} cannot be read ({error.strerror})")
        return []


def quarantine_odd(path: Path, owner: str, quarantine: Quarantine) -> bool:
    """Quarantines what lies among recordings without an audio file's suffix, and is no other file either.

    That is what begins as audio, and what is neither a file nor a folder. Returns whether `path` is one of these.
    """
    if path.suffix.lower() in _TEXTS or is_folder(path):
        return False
    try:
        require_file(path)
        if not is_audio(path):
            return False
        raise AudioError(UNKNOWN_FORMAT, f"{path}: begins as audio, and {path.suffix or 'a name without suffix'} is "
                         "that of no format; give it its format's (.wav, .mp3; docs/corpora.md lists them), or convert "
                         "it")
    except AudioError as error:
        name = path.name if path.suffix else f"{path.name} (without suffix)"  # not the name of a sentence
        quarantine.add(f"{owner}/{name}", error.reason, error.detail)
    return True


def require_file(path: Path) -> None:
    """Raises AudioError if there is no such file, or what is there is no file: opening a pipe could take for ever."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(MISSING_FILE, f"{path}: the corpus lists it, and there is no such file") from None
    except (OSError, ValueError) as error:  # a link to itself, a name of 300 letters; a NUL
        raise AudioError(UNREADABLE, f"{path} cannot be read ({getattr(error, 'strerror', error)})") from None
    if not stat.S_ISREG(mode):
        raise AudioError(NOT_A_FILE, f"{path}: {_KINDS.get(stat.S_IFMT(mode), 'a device')}; expected an audio file")


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in a folder that are not hidden, sorted. Raises KoeError if it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise KoeError(f"{folder} cannot be read ({error.strerror})") from error
    return [path for path in paths if not path.name.startswith(".") and is_folder(path)]


def is_there(path: Path) -> bool:
    """Whether there is anything at a path."""
    return state_of(path) is not None


def read_texts(paths: Sequence[Path], description: str) -> Iterator[str | AudioError]:
    """The text of each file on one line, empty where there is no such file, or why it cannot be read; in order."""
    return in_batches(_read_text, paths, description)


def _read_text(path: Path) -> str | AudioError:
    try:
        if path.exists() and not path.is_file():
            return AudioError(UNREADABLE_TEXT, f"{path}: not a file")
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return ""
    except (UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # so there is no such file
            return ""
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

    A recording without text keeps its name, after the speaker's, so that it matches no other speaker's; where that
    is ambiguous (`b_1` of `a`, and `1` of `a_b`), a hash of the speaker's name follows.
    """
    recordings = list(recordings)
    own = {(_own_name(recording), recording.speaker) for recording in recordings if not text_name(recording.text)}
    speakers = Counter(name for name, _ in own)
    takes: Counter[tuple[str, str, str]] = Counter()
    named = []
    for recording in recordings:
        sentence = text_name(recording.text) or _own_name(recording)
        if speakers[sentence] > 1:
            sentence = f"{sentence}-{_digest(recording.speaker)}"
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
    return f"{letters[:SLUG]}-{_digest(letters)}" if letters else ""


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:6]


def _own_name(recording: Recording) -> str:
    prefix = f"{recording.speaker}_"
    return recording.sentence if recording.sentence.startswith(prefix) else prefix + recording.sentence


def kinds_below(path: Path) -> str:
    """How many files of each suffix lie below a folder, for a message."""
    if not is_folder(path):
        return ""
    files = [Path(name) for _, _, names in os.walk(path) for name in names]
    kinds = Counter(file.suffix.lower() or "without a suffix" for file in files)
    return f"; below it are {some(f'{count} {kind}' for kind, count in kinds.most_common()) or 'no files'}"


def contents(folder: Path) -> str:
    """The contents of a folder, for a message."""
    return some(sorted(entry.name for entry in folder.iterdir())) or "nothing"


def some(names: Iterable[str]) -> str:
    """The first few names, and the number of further ones."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
