"""Names of utterances, speakers, pairs and directions, and how they are put together and taken apart."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from koe.errors import KoeError

_LONGEST = 200  # bytes of a file's name; file systems take 255


class Utterance(NamedTuple):
    """The parts of an utterance's name. No part contains a slash."""

    corpus: str
    speaker: str  # unique within the corpus
    sentence: str
    style: str = ""  # whisper, falsetto, an emotion; empty: spoken normally


def utterance_name(corpus: str, speaker: str, sentence: str, style: str = "") -> str:
    """`<corpus>/<speaker>/<sentence>`, and `<corpus>/<speaker>/<sentence>/<style>` where there is a style."""
    return f"{corpus}/{speaker}/{sentence}/{style}" if style else f"{corpus}/{speaker}/{sentence}"


def parts_of(utterance: str) -> Utterance:
    """The parts that `utterance_name` put together."""
    corpus, speaker, sentence, *style = utterance.split("/", 3)
    return Utterance(corpus, speaker, sentence, "".join(style))


def corpus_of(utterance: str) -> str:
    return utterance.split("/", 1)[0]


def speaker_of(utterance: str) -> str:
    return parts_of(utterance).speaker


def sentence_of(utterance: str) -> str:
    """The sentence's name, the same in all styles and for all speakers."""
    return parts_of(utterance).sentence


def speaker_key(utterance: str) -> str:
    """`<corpus>/<speaker>`: a speaker's name is unique within its corpus only."""
    parts = parts_of(utterance)
    return f"{parts.corpus}/{parts.speaker}"


class Direction(NamedTuple):
    """A direction of conversion."""

    source: str  # `<corpus>/<speaker>`
    target: str


class Pair(NamedTuple):
    """Two recordings of a sentence in one style."""

    name: str  # `pair_name`
    source: str  # utterance (`utterance_name`)
    target: str


def pair_name(source: str, target: str) -> str:
    """A unique name for a pair of utterances of one sentence and style.

    `<corpus>/<sentence>/<source>-<target>`, followed by `/<style>` where there is a style, and with `<corpus>+<other>`
    where the two are from different corpora. Where a speaker's name contains a dash, it is `<source>/to/<target>`,
    because `a-b-c` could be the pair of `a` and `b-c` or that of `a-b` and `c`.
    """
    left, right = parts_of(source), parts_of(target)
    corpus = left.corpus if left.corpus == right.corpus else f"{left.corpus}+{right.corpus}"
    separator = "/to/" if "-" in left.speaker + right.speaker else "-"
    return utterance_name(corpus, left.sentence, f"{left.speaker}{separator}{right.speaker}", left.style)


def file_name(name: str) -> str:
    """A name of these for a file or a folder: with `_` for each slash.

    No two names share one: a hash follows if the name itself contains `_` (`a_b/c` and `a/b_c`), or if it is too long
    and cut.
    """
    flat = name.replace("/", "_").encode("utf-8")
    if "_" not in name and len(flat) <= _LONGEST:
        return flat.decode("utf-8")
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
    return f"{flat[:_LONGEST - len(digest) - 1].decode('utf-8', 'ignore')}-{digest}"


def find_speaker(name: str, speakers: Iterable[str], parameter: str) -> str:
    """The `<corpus>/<speaker>` that `name` (with or without corpus) stands for.

    Raises KoeError naming `parameter` if it stands for none or for several.
    """
    speakers = sorted(speakers)
    if name in speakers:
        return name
    matches = [speaker for speaker in speakers if speaker.partition("/")[2] == name]
    if len(matches) > 1:
        raise KoeError(f"{parameter}: speaker {name!r} is in {', '.join(matches)}; write corpus/speaker")
    if not matches:
        more = " …" if len(speakers) > 20 else ""
        raise KoeError(f"{parameter}: no speaker {name!r}; there are {', '.join(speakers[:20])}{more}")
    return matches[0]
