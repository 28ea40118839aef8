"""Any recordings, listed in a CSV file: path, speaker, sentence, text, style, and their place in their files."""

from pathlib import Path

from koe.corpus.importers.listing import Listing, Recording, choose_speakers, is_there
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_csv
from koe.errors import KoeError

REQUIRED = ("path", "speaker", "sentence")
OPTIONAL = ("text", "start", "end", "gender", "language", "style")
LICENCE = "not stated: recordings of your own"


def list_table(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists the rows of the CSV file at `corpora.<name>.path`; paths in it are relative to its folder.

    Raises KoeError naming file and line if it is malformed.
    """
    file = Path(params.path)
    if not is_there(file) or not file.is_file():
        raise KoeError(f"corpora.{name}.path: {file} is not a file; expected CSV with columns {', '.join(REQUIRED)} "
                       f"and optionally {', '.join(OPTIONAL)}")
    recordings = [_recording(file, line, row) for line, row in read_csv(file, REQUIRED, OPTIONAL)]
    speakers = set(choose_speakers(name, params, sorted({recording.speaker for recording in recordings})))
    return Listing([recording for recording in recordings if recording.speaker in speakers], LICENCE, "")


def _recording(file: Path, line: int, row: dict[str, str]) -> Recording:
    if row["gender"] not in ("", "female", "male"):
        raise KoeError(f"{file}, line {line}: gender {row['gender']!r}; expected female, male or nothing")
    start, end = (_seconds(file, line, row, column) for column in ("start", "end"))
    return Recording(row["speaker"], row["sentence"], file.parent / row["path"], row["text"], row["gender"], start, end,
                     row["language"], row["style"])


def _seconds(file: Path, line: int, row: dict[str, str], column: str) -> float | None:
    try:
        return float(row[column]) if row[column] else None
    except ValueError:
        raise KoeError(f"{file}, line {line}: {column} {row[column]!r}; expected seconds, or nothing") from None
