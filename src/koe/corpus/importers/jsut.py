"""JSUT 1.1: one woman, ten hours of Japanese in nine parts.

Layout, as in its README: `<part>/transcript_utf8.txt` with lines of `NAME:text`, `<part>/wav/NAME.wav`. Names are
unique over all parts. repeat500 is a hundred sentences five times; its names number the readings
(`REPEAT500_set1_001` … `REPEAT500_set5_001`) and stay as they are.
"""

from koe.corpus.importers.listing import (
    Listing,
    choose_speakers,
    choose_subsets,
    find_root,
    from_transcript,
    read_transcript,
    require,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine

SPEAKER = "jsut"
SUBSETS = ("basic5000", "countersuffix26", "loanword128", "onomatopee300", "precedent130", "repeat500", "travel1000",
           "utparaphrase512", "voiceactress100")
TRANSCRIPT = "transcript_utf8.txt"
LICENCE = ("JSUT 1.1: texts CC BY-SA 4.0 and others (its LICENCE file); audio for academic institutions, "
           "non-commercial research and personal use, not to be redistributed")


def list_jsut(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists JSUT. Raises KoeError naming the missing file where a part is missing."""
    choose_speakers(name, params, [SPEAKER])
    subsets = choose_subsets(name, params, SUBSETS)
    root = find_root(name, params, *(f"{subset}/{TRANSCRIPT}" for subset in subsets))
    listing = Listing([], LICENCE, "ja")
    for subset in subsets:
        transcript = require(name, root / subset / TRANSCRIPT, f"corpora.{name}.subsets limits it to what is there")
        texts = read_transcript(transcript, listing.notes)
        audio = require(name, root / subset / "wav")
        listing.recordings += from_transcript(name, audio, texts, SPEAKER, "female", quarantine)
    return listing
