"""LibriTTS and LibriTTS-R: 2 456 English readers of public-domain books.

Layout: `<part>/<reader>/<chapter>/NAME.wav` with `NAME.normalized.txt` (numbers and abbreviations spelled out) and
`NAME.original.txt` beside it; the readers in `SPEAKERS.txt` or `speakers.tsv` (LibriTTS-R has it in its doc.tar.gz).
Each part is an archive of its own; without `subsets`, the parts that exist are taken. Where the lists of
LibriTTS-R's failed restorations lie under the path too (`<part>_bad_sample_list.txt`, an archive of its own on
OpenSLR 141), the recordings in them are quarantined.
"""

import re
from pathlib import Path, PurePath

from koe.corpus.importers.listing import (
    GENDERS,
    KNOWN_ERROR,
    Listing,
    Recording,
    audio_in,
    choose_speakers,
    choose_subsets,
    entries_in,
    find_root,
    folders_in,
    require,
    some,
    with_texts,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines

SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean",
           "test-other")
SPEAKERS = ("speakers.tsv", "SPEAKERS.txt")
TEXT = ".normalized.txt"
FAILED = "libritts_r_failed_speech_restoration_examples"
LICENCE = "LibriTTS and LibriTTS-R: CC BY 4.0"


def list_libritts(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists the selected parts of LibriTTS. Raises KoeError naming the folder that is missing."""
    subsets = choose_subsets(name, params, SUBSETS)
    root = find_root(name, params, *subsets)
    if params.subsets is None:
        subsets = [subset for subset in subsets if (root / subset).exists()]
    readers = {folder.name: folder for subset in subsets for folder in folders_in(require(name, root / subset))}
    genders = _genders(root)
    failed = _failed([root, Path(params.path)], subsets)
    listing = Listing([], LICENCE, "en")
    if not genders:
        listing.notes.append(f"no {' or '.join(SPEAKERS)} in {root}: genders are not known")
    unspoken: list[Path] = []
    for reader in choose_speakers(name, params, sorted(readers, key=lambda reader: (len(reader), reader))):
        owner = f"{name}/{reader}"
        for chapter in entries_in(readers[reader], owner, quarantine):
            paths = audio_in(chapter, owner, quarantine) if not chapter.name.startswith(".") else []
            unspoken += sorted(set(chapter.glob(f"*{TEXT}")).difference(path.with_suffix(TEXT) for path in paths))
            for path in paths:
                if path.stem in failed:
                    quarantine.add(f"{owner}/{path.stem}", KNOWN_ERROR, f"{path}: listed as a failed restoration")
                else:
                    listing.recordings.append(Recording(reader, path.stem, path, gender=genders.get(reader, "")))
    if unspoken:
        listing.notes.append(f"{len(unspoken)} texts without a recording: {some(path.name for path in unspoken)}")
    texts = [recording.path.with_suffix(TEXT) for recording in listing.recordings]
    listing.recordings = with_texts(name, listing.recordings, texts, f"texts of {name}", quarantine)
    return listing


def _genders(root: Path) -> dict[str, str]:
    """{reader: gender} of `speakers.tsv` (`14<TAB>F<TAB>train-clean-360<TAB>…`) or `SPEAKERS.txt` (`14 | F | …`)."""
    file = next((root / file for file in SPEAKERS if (root / file).is_file()), None)
    lines = read_lines(file) if file else []
    fields = [[value.strip() for value in re.split(r"[|\t]", line)] for line in lines]
    return {values[0]: GENDERS[values[1]] for values in fields if len(values) > 1 and values[1] in GENDERS}


def _failed(places: list[Path], subsets: list[str]) -> set[str]:
    """Names of recordings that the restoration spoiled, according to the publisher's lists in `places`."""
    lists = {place / folder / f"{subset}_bad_sample_list.txt"
             for subset in subsets for place in places for folder in ("", FAILED)}
    lines = [line.strip() for path in lists if path.is_file() for line in read_lines(path)]
    return {PurePath(line).stem for line in lines if line}
