"""LJ Speech 1.1: one American woman, 24 hours of books.

Layout, as in its README: `metadata.csv`, lines of `NAME|text|text with numbers and abbreviations spelled out`, not
quoted (quotation marks are the books'), and `wavs/NAME.wav`. The third column is taken, the second where it is empty.
"""

from koe.corpus.importers.listing import Listing, choose_speakers, find_root, from_transcript, read_transcript, require
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine

SPEAKER = "LJ"
METADATA = "metadata.csv"
LICENCE = "LJ Speech 1.1: public domain"


def list_ljspeech(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists LJ Speech. Raises KoeError naming a file that is missing."""
    choose_speakers(name, params, [SPEAKER])
    root = find_root(name, params, METADATA)
    listing = Listing([], LICENCE, "en")
    lines = read_transcript(root / METADATA, listing.notes, "|")
    texts = {sentence: _spelled_out(line) for sentence, line in lines.items()}
    listing.recordings += from_transcript(name, require(name, root / "wavs"), texts, SPEAKER, "female", quarantine)
    return listing


def _spelled_out(line: str) -> str:
    text, _, normalized = line.partition("|")
    return (normalized or text).strip()
