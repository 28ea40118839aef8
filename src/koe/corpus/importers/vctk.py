"""VCTK 0.80 and 0.92: 109 and 110 English speakers, about 400 sentences each.

Layout: `txt/p225/p225_001.txt`; audio in `wav48/p225/p225_001.wav` (0.80) or in
`wav48_silence_trimmed/p225/p225_001_mic1.flac` and `…_mic2.flac` (0.92); `speaker-info.txt`, whose ids are `225` in
0.80 and `p225` in 0.92. The same number is not the same sentence: most are each speaker's own, and even the common
ones shift. So sentences are named by their texts, unless `match: name` asks for the numbers.

p315 has no texts (lost by the publisher), and p280 and p315 have no recordings by mic2 (both in speaker-info.txt of
0.92); some of p362's were not published (torchaudio, VCTK_092).
"""

import re
from pathlib import Path

from koe.corpus.importers.listing import (
    GENDERS,
    Listing,
    Recording,
    audio_in,
    choose_speakers,
    find_root,
    folders_in,
    is_there,
    require,
    some,
    with_texts,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines
from koe.errors import KoeError

TRIMMED = "wav48_silence_trimmed"  # 0.92
PLAIN = "wav48"  # 0.80
MICROPHONE = "mic1"  # which everyone was recorded with
MICROPHONES = ("_mic1", "_mic2")
SPEAKERS = "speaker-info.txt"
LICENCES = {TRIMMED: "VCTK 0.92: CC BY 4.0", PLAIN: "VCTK 0.80: Open Data Commons Attribution (ODC-By) 1.0"}


def list_vctk(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists VCTK, whichever release is at the path. Raises KoeError naming a file that is missing."""
    root = find_root(name, params, TRIMMED, PLAIN)
    release = TRIMMED if (root / TRIMMED).exists() else PLAIN
    if release == PLAIN and params.microphone is not None:
        raise KoeError(f"corpora.{name}.microphone: {root} is VCTK 0.80, which has one recording of each sentence; "
                       "leave it out, or give the path of VCTK 0.92")
    ending = f"_{params.microphone or MICROPHONE}" if release == TRIMMED else ""
    texts = require(name, root / "txt")
    genders = _genders(require(name, root / SPEAKERS))
    available = sorted({folder.name for place in (root / release, texts) for folder in folders_in(place)})
    listing = Listing([], LICENCES[release], "en")
    unrecorded: list[str] = []
    strange: list[Path] = []
    for speaker in choose_speakers(name, params, available):
        audio = audio_in(root / release / speaker, f"{name}/{speaker}", quarantine)
        strange += [path for path in audio if ending and not path.stem.endswith(MICROPHONES)]
        recordings = _of_speaker(root / release / speaker, audio, texts / speaker, ending, genders.get(speaker, ""))
        if not any(is_there(recording.path) for recording in recordings):
            unrecorded.append(speaker)
        listing.recordings += recordings
    if unrecorded:
        listing.notes.append(f"no{ending.replace('_', ' ')} recordings of {some(unrecorded)}")
    if strange:
        listing.notes.append(f"{len(strange)} files are of neither microphone: {some(path.name for path in strange)}")
    paths = [texts / recording.speaker / f"{recording.sentence}.txt" for recording in listing.recordings]
    listing.recordings = with_texts(name, listing.recordings, paths, f"texts of {name}", quarantine)
    return listing


def _of_speaker(folder: Path, audio: list[Path], texts: Path, ending: str, gender: str) -> list[Recording]:
    """A speaker's recordings by one microphone, and sentences that only have a text."""
    files = [(path.stem.removesuffix(ending), path) for path in audio if path.stem.endswith(ending)]
    suffix = ".flac" if ending else ".wav"
    unrecorded = {path.stem for path in texts.glob("*.txt")} - {sentence for sentence, _ in files}
    files += [(sentence, folder / f"{sentence}{ending}{suffix}") for sentence in unrecorded]
    return [Recording(folder.name, sentence, path, gender=gender) for sentence, path in sorted(files)]


def _genders(path: Path) -> dict[str, str]:
    """{speaker: gender} of lines such as `p225  23  F    English    Southern  England`."""
    fields = [line.split() for line in read_lines(path)]
    return {re.sub(r"^(?=\d)", "p", values[0]): GENDERS.get(values[2], "") for values in fields if len(values) > 2}
