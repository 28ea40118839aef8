"""JVS 1: a hundred Japanese speakers, each with a hundred sentences of JSUT and thirty of their own.

Layout, as public loaders read it (nnmnkwii, ESPnet): `gender_f0range.txt`, and for each of jvs001 … jvs100 and each
part `<part>/transcripts_utf8.txt` with lines of `NAME:text` and `<part>/wav24kHz16bit/NAME.wav`. Names are JSUT's, so
the corpora pair. Whispered and falsetto recordings have these styles.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from koe.corpus.importers.listing import (
    GENDERS,
    KNOWN_ERROR,
    Listing,
    Recording,
    choose_speakers,
    choose_subsets,
    find_root,
    folders_in,
    from_transcript,
    is_there,
    read_transcript,
    require,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines

SUBSETS = {"parallel100": "", "nonpara30": "", "whisper10": "whisper", "falset10": "falsetto"}  # and their styles
GENDER_FILE = "gender_f0range.txt"
TRANSCRIPT = "transcripts_utf8.txt"
AUDIO = "wav24kHz16bit"
LICENCE = ("JVS 1: tags CC BY-SA 4.0, texts as JSUT's; audio for academic institutions, non-commercial research and "
           "personal use, not to be redistributed")

# Recordings of parallel100 that do not match the text: those that Hiroshiba/jvs_hiho (audio.bash) removes after
# listening. jvs030 045, jvs074 094 and jvs089 019 were never published (nnmnkwii, jvs.py: lost_wavfiles); as the
# transcripts list them, they get rows with the reason missing_file.
_WRONG = {
    "jvs009": (86, 95), "jvs017": (82,), "jvs018": (72,), "jvs022": (47,), "jvs024": (88,), "jvs036": (57,),
    "jvs038": (6, 41), "jvs043": (85,), "jvs047": (85,), "jvs048": (43, 76), "jvs051": (25,), "jvs055": (56, 76, 99),
    "jvs059": (61, 64, 66, 74), "jvs060": (82,), "jvs074": (62,), "jvs098": (60, 99),
}
# jvs058 parallel100: file 014 holds sentences 014 and 015, and files 015 to 021 the sentences 016 to 022
# (jvs_hiho, audio.bash; the times are ta1fukawa/vc-alpha's, dataset.md). File 022 is surplus.
_SHIFTED = "jvs058"
_SPLIT: dict[int, tuple[float | None, float | None]] = {14: (None, 3.53), 15: (3.94, None)}
_LAST_SHIFTED = 22
# falset10: files under other names than in the transcript (yagays/jvs_huggingface_datasets, fix.sh). {file: sentence}
_MISNAMED = {
    "jvs001": {"BASIC5000_0235": "BASIC5000_1818", "BASIC5000_0408": "BASIC5000_1866",
               "BASIC5000_1140": "BASIC5000_0025", "BASIC5000_1356": "BASIC5000_1485",
               "BASIC5000_1635": "TRAVEL1000_0429"},
    "jvs088": {"001": "VOICEACTRESS100_001", "002": "VOICEACTRESS100_002", "003": "VOICEACTRESS100_003",
               "004": "VOICEACTRESS100_004", "005": "VOICEACTRESS100_005", "006": "BASIC5000_0837",
               "007": "BASIC5000_0284", "008": "BASIC5000_1590", "009": "BASIC5000_0176", "010": "BASIC5000_1048"},
}


def list_jvs(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists JVS, with its known errors corrected or quarantined. Raises KoeError naming a file that is missing."""
    subsets = choose_subsets(name, params, list(SUBSETS))
    root = find_root(name, params, GENDER_FILE)
    genders = _genders(root / GENDER_FILE)
    present = [folder.name for folder in folders_in(root) if re.fullmatch(r"jvs\d{3}", folder.name)]
    listing = Listing([], LICENCE, "ja")
    if absent := sorted(genders.keys() - set(present)):
        listing.notes.append(f"{len(absent)} speakers of {GENDER_FILE} have no folder, e.g. {absent[0]}")
    unread = 0
    for speaker in choose_speakers(name, params, present):
        for subset in subsets:
            folder = root / speaker / subset
            texts = read_transcript(require(name, folder / TRANSCRIPT), listing.notes)
            audio = require(name, folder / AUDIO)
            recordings = from_transcript(name, audio, texts, speaker, genders.get(speaker, ""), quarantine)
            if subset == "nonpara30":  # fifty candidates, of which each speaker read thirty: not an error
                existing = [recording for recording in recordings if is_there(recording.path)]
                unread += len(recordings) - len(existing)
                recordings = existing
            corrected = _corrected(name, subset, recordings, quarantine)
            listing.recordings += [replace(recording, style=SUBSETS[subset]) for recording in corrected]
    if unread:
        listing.notes.append(f"{unread} candidates in nonpara30's lists were not read, as published")
    return listing


def _genders(path: Path) -> dict[str, str]:
    """{speaker: gender} of lines such as `jvs001 M 70 240` (speaker, gender, lowest and highest F0)."""
    return {fields[0]: GENDERS.get(fields[1], "")
            for fields in (line.split() for line in read_lines(path)) if len(fields) > 1 and fields[0] != "speaker"}


def _corrected(name: str, subset: str, recordings: list[Recording], quarantine: Quarantine) -> Iterator[Recording]:
    """The recordings of a speaker's part under their right names; the irreparable ones go to the quarantine."""
    speaker = recordings[0].speaker if recordings else ""
    if subset == "falset10" and speaker in _MISNAMED:
        yield from _renamed(recordings, _MISNAMED[speaker])
    elif subset == "parallel100" and speaker == _SHIFTED:
        yield from _unshifted(name, recordings, quarantine)
    elif subset == "parallel100" and speaker in _WRONG:
        wrong = {_sentence(number) for number in _WRONG[speaker]}
        for recording in recordings:
            if recording.sentence in wrong:
                quarantine.add(f"{name}/{speaker}/{recording.sentence}", KNOWN_ERROR,
                               f"{recording.path}: not what the transcript says, or damaged (listed by jvs_hiho)")
            else:
                yield recording
    else:
        yield from recordings


def _renamed(recordings: list[Recording], names: dict[str, str]) -> Iterator[Recording]:
    """Each misnamed file under its sentence, unless a later release has it under that name already."""
    by_name = {recording.sentence: recording for recording in recordings}
    files = {sentence: by_name[file].path for file, sentence in names.items()
             if file in by_name and not by_name[file].text and sentence in by_name
             and not is_there(by_name[sentence].path)}
    taken = set(files.values())
    for recording in recordings:
        if recording.sentence in files:
            yield replace(recording, path=files[recording.sentence])
        elif recording.path not in taken:
            yield recording


def _unshifted(name: str, recordings: list[Recording], quarantine: Quarantine) -> Iterator[Recording]:
    """jvs058's recordings with the right files, unless a tool has renamed them (then there is no file 015)."""
    if not any(recording.sentence == _sentence(15) and is_there(recording.path) for recording in recordings):
        yield from recordings
        return
    for recording in recordings:
        number = _SHIFTED_NUMBERS.get(recording.sentence, 0)
        start, end = _SPLIT.get(number, (None, None))
        file = _sentence(min(_SPLIT) if number in _SPLIT else number - 1)
        yield replace(recording, path=recording.path.with_stem(file), start=start, end=end) if number else recording
        if number == _LAST_SHIFTED and is_there(recording.path):
            quarantine.add(f"{name}/{_SHIFTED}/{recording.sentence}-surplus", KNOWN_ERROR,
                           f"{recording.path}: misnumbered; this sentence is in file 021 (listed by jvs_hiho)")


def _sentence(number: int) -> str:
    return f"VOICEACTRESS100_{number:03d}"


_SHIFTED_NUMBERS = {_sentence(number): number for number in range(min(_SPLIT), _LAST_SHIFTED + 1)}
