"""CMU ARCTIC: eighteen speakers of English, the same 1132 prompts of public-domain books.

Layout, as each speaker's archive unpacks: `cmu_us_<speaker>_arctic/etc/txt.done.data` with lines of
`( arctic_a0001 "text" )`, `cmu_us_<speaker>_arctic/wav/arctic_a0001.wav`. The path is the folder that holds the
speakers' folders, or one of those. Some prompts have no recording.
"""

import re
from pathlib import Path

from koe.corpus.importers.listing import (
    Listing,
    choose_speakers,
    contents,
    entries_in,
    from_transcript,
    is_there,
    require,
)
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_lines
from koe.errors import KoeError
from koe.files import is_folder

FOLDER = re.compile(r"cmu_us_([a-z0-9]+)_arctic")
PROMPTS = "etc/txt.done.data"
PROMPT = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)\s*')
# Not in the archives; this is the table of pyroomacoustics (datasets/cmu_arctic.py), the first seven also in the
# publisher's report.
GENDERS = {
    "bdl": "male", "slt": "female", "clb": "female", "rms": "male", "jmk": "male", "awb": "male", "ksp": "male",
    "aew": "male", "ahw": "male", "aup": "male", "axb": "female", "eey": "female", "fem": "male", "gka": "male",
    "ljm": "female", "lnh": "female", "rxr": "male", "slp": "female",
}
LICENCE = "CMU ARCTIC: free for any use if Carnegie Mellon University's copyright notice is kept"


def list_cmu_arctic(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists the speakers of CMU ARCTIC that exist at the path. Raises KoeError naming the missing file if none does."""
    speakers = _folders(name, params)
    listing = Listing([], LICENCE, "en")
    for speaker in choose_speakers(name, params, sorted(speakers)):
        texts = _prompts(require(name, speakers[speaker] / PROMPTS), listing.notes)
        audio = require(name, speakers[speaker] / "wav")
        listing.recordings += from_transcript(name, audio, texts, speaker, GENDERS.get(speaker, ""), quarantine)
    return listing


def _folders(name: str, params: CorpusParams) -> dict[str, Path]:
    """{speaker: folder}: the path itself, folders in it, or folders one deeper."""
    path = Path(params.path)
    folders = [path] if is_folder(path) else []
    for _ in range(3):
        found = {match[1]: folder for folder in folders
                 if is_there(folder / PROMPTS) and (match := FOLDER.match(folder.resolve().name))}
        if found:
            return found
        unreadable = Quarantine("import")  # not one of the corpus's folders, so no loss
        folders = [inner for folder in folders for inner in entries_in(folder, name, unreadable)
                   if is_folder(inner)]
    raise KoeError(f"corpora.{name}.path: looked for {path}/cmu_us_<speaker>_arctic/{PROMPTS}; "
                   + (f"{path} holds {contents(path)}" if is_folder(path) else f"{path} is not a folder"))


def _prompts(path: Path, notes: list[str]) -> dict[str, str]:
    lines = [line for line in read_lines(path) if line.strip()]
    texts = {match[1]: match[2].replace('\\"', '"') for match in map(PROMPT.fullmatch, lines) if match}
    if len(texts) < len(lines):
        notes.append(f'{path}: no ( NAME "text" ), or a repeated name, in {len(lines) - len(texts)} lines')
    return texts
