"""JSSS 1: one woman; short sentences, parallel to JSUT's of the same names, and long recordings with labels.

Layout, as public recipes read it (egs/jsss of ParallelWaveGAN and ESPnet): recordings in `<part>/wav24kHz16bit/`;
texts of the short parts and of simplification in `<part>/transcript_utf8.txt`, lines of `NAME:text`; of long-form and
summarization in `<part>/transcript_utf8/NAME.txt`, lines of `start<TAB>end<TAB>text`, in seconds.
"""

from pathlib import Path

from koe.corpus.importers.listing import (
    Listing,
    Recording,
    audio_in,
    choose_speakers,
    choose_subsets,
    find_root,
    from_transcript,
    read_transcript,
    require,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines

SPEAKER = "jsss"
WHOLE = {"basic5000": "short-form/basic5000", "onomatopee300": "short-form/onomatopee300",
         "voiceactress100": "short-form/voiceactress100", "simplification": "simplification"}
LABELLED = {"katsura-masakazu": "long-form/katsura-masakazu", "udon": "long-form/udon",
            "washington-dc": "long-form/washington-dc", "summarization": "summarization"}
SUBSETS = WHOLE | LABELLED
TRANSCRIPT = "transcript_utf8"
AUDIO = "wav24kHz16bit"
LICENCE = ("JSSS 1: texts under the licences of their sources (its README); audio for academic institutions, "
           "non-commercial research and personal use, not to be redistributed")


def list_jsss(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists JSSS; labelled recordings as one utterance per label, `NAME-01`, …; files without labels as they are.

    Raises KoeError naming the missing file where a part is missing.
    """
    choose_speakers(name, params, [SPEAKER])
    subsets = choose_subsets(name, params, list(SUBSETS))
    root = find_root(name, params, *(SUBSETS[subset] for subset in subsets))
    listing = Listing([], LICENCE, "ja")
    for subset in subsets:
        folder = root / SUBSETS[subset]
        transcript = folder / (f"{TRANSCRIPT}.txt" if subset in WHOLE else TRANSCRIPT)
        require(name, transcript, f"corpora.{name}.subsets limits it to what is there")
        audio = require(name, folder / AUDIO)
        if subset in WHOLE:
            texts = read_transcript(transcript, listing.notes)
            listing.recordings += from_transcript(name, audio, texts, SPEAKER, "female", quarantine)
        else:
            files = audio_in(audio, f"{name}/{SPEAKER}", quarantine)
            listing.recordings += _labelled(transcript, audio, files, listing.notes)
    return listing


def _labelled(transcripts: Path, audio: Path, found: list[Path], notes: list[str]) -> list[Recording]:
    """One recording for each label of each file; `found`: the files in the folder `audio`."""
    labels = {path.stem: path for path in sorted(transcripts.glob("*.txt"))}
    unrecorded = labels.keys() - {path.stem for path in found}
    recordings = []
    for path in sorted([*found, *(audio / f"{stem}.wav" for stem in unrecorded)], key=lambda path: path.stem):
        spans = _spans(labels[path.stem], notes) if path.stem in labels else [(None, None, "")]
        for number, (start, end, text) in enumerate(spans, start=1):
            sentence = f"{path.stem}-{number:02d}" if path.stem in labels else path.stem
            recordings.append(Recording(SPEAKER, sentence, path, text, "female", start, end))
    return recordings


def _spans(path: Path, notes: list[str]) -> list[tuple[float | None, float | None, str]]:
    """Start, end and text of every label; lines of another form are counted in `notes`."""
    spans: list[tuple[float | None, float | None, str]] = []
    malformed = 0
    for line in read_lines(path):
        try:
            start, end, text = line.split("\t", 2)
            spans.append((float(start), float(end), text.strip()))
        except ValueError:
            malformed += bool(line.strip())
    if malformed:
        notes.append(f"{path}: no start<TAB>end<TAB>text in {malformed} lines")
    return spans
