"""Files of sentences: `id<TAB>text`, UTF-8, a line each."""

import unicodedata
from pathlib import Path

from koe.errors import KoeError


def read_sentences(path: str | Path) -> dict[str, str]:
    """Sentence ids, NFC-normalised, and texts in the file's order.

    Raises KoeError naming file and line: not UTF-8, no tab, no id, no text, an id twice.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise KoeError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from None
    except OSError as error:
        raise KoeError(f"{path} cannot be read ({error.strerror}); expected lines of id<TAB>text") from None
    sentences: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        identifier, tab, text = (part.strip() if part != "\t" else part for part in line.partition("\t"))
        identifier = unicodedata.normalize("NFC", identifier)
        if not (identifier and tab and text):
            raise KoeError(f"{path}, line {number}: expected id<TAB>text, found {line[:60]!r}")
        if identifier in sentences:
            raise KoeError(f"{path}, line {number}: sentence {identifier!r} is there twice")
        sentences[identifier] = text
    return sentences
