"""What lies under a corpus' path, in one small file that changes when it does.

DVC would walk a folder of recordings for every `dvc status`, and cannot do without one that is not on this machine.
So one stage looks at all corpora before each run, remembering what it has read, and `import` and `resample` depend
on its `data/scan/<corpus>.json`. A machine that has only the cached features goes by the recorded state.
"""

import csv
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from koe.corpus.params import CorpusParams
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.parallel import thread_map

JUST_NOW = 2 * 10**9  # ns; a file as young as that may change again within one tick of a coarse clock
THREADS = 8  # they wait for the disk, or for a network mount


class _File(NamedTuple):
    name: str  # its place below the corpus' path; empty for the path itself, where that is a file
    path: str
    state: os.stat_result | None  # None where it is no file: a link that leads nowhere

    @property
    def shows(self) -> str:
        """What tells that the file changed, without reading it."""
        return f"{self.state.st_size} {self.state.st_mtime_ns}" if self.state else ""

    @property
    def identity(self) -> str:
        """What stays the same as long as the file does, in Unicode, which names need not be."""
        inode = self.state.st_ino if self.state else 0
        return f"{self.shows} {inode} {os.fsencode(self.name).decode('utf-8', 'backslashreplace')}"


def scan_corpus(name: str, params: CorpusParams, folder: Path, cache: Path) -> dict[str, Any] | None:
    """Writes `folder/<name>.json`: {"hash", "files", "bytes", "digest"} of what lies under `params.path`.

    The digest covers every file's place below `params.path` with, by `params.hash`, its content or its size and time.
    For the importer `table`, whose path is a CSV, that counts by content, and so do the files that its column `path`
    names, by `params.hash`. Hidden files and folders are left out, for no importer reads them. Hashes of contents are
    kept in `cache/<name>.json`: a file is read again only when its size, time or inode has changed.

    Returns what was written, or None if the corpus is not on this machine (nothing at its path, an empty folder, as
    where nothing is mounted, or a table that names no file that is here) and the recorded state stays. Raises KoeError
    naming `corpora.<name>.path` if nothing is recorded either, or if what is there cannot be read.
    """
    recorded = folder / f"{name}.json"
    try:
        files = sorted(_listed(Path(params.path)) if params.importer == "table" else _found(params.path))
    except OSError as error:
        raise KoeError(f"corpora.{name}.path: {error.filename} cannot be read ({error.strerror})") from error
    if not any(file.state for file in files if file.name):
        if recorded.exists():
            return None
        raise KoeError(f"corpora.{name}.path: there are no recordings at {params.path}, and no {recorded} to go by; "
                       "correct the path, or take that file from where the corpus is")
    read = [file for file in files if params.hash == "content" or not file.name]
    hashes = _contents(read, cache / f"{name}.json") if read else {}
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(os.fsencode(f"{file.name}\0{hashes.get(file.name, file.shows)}\0"))
    scan = {"hash": params.hash, "files": len(files), "bytes": sum(file.state.st_size for file in files if file.state),
            "digest": digest.hexdigest()}
    write_json(recorded, scan)
    return scan


def _found(root: str, place: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[_File]:
    """All files in a folder and those below it, behind links too, but not in circles; none without such a folder."""
    try:
        here = Path(root, place).stat()
    except FileNotFoundError:
        return
    if (here.st_dev, here.st_ino) in above:
        return
    above |= {(here.st_dev, here.st_ino)}
    with os.scandir(Path(root, place)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _found(root, f"{place}{entry.name}/", above)
            else:
                yield _File(place + entry.name, entry.path, entry.stat() if entry.is_file() else None)


def _listed(table: Path) -> Iterator[_File]:
    """A CSV file, and what its column `path` names, from its folder on. Whether it makes sense the importer says."""
    if not table.exists():
        return
    yield _File("", str(table), table.stat())
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        rows = csv.reader(lines)
        columns = [column.strip() for column in next(rows, [])]
        place = columns.index("path") if "path" in columns else len(columns)
        try:
            names = {row[place].strip() for row in rows if len(row) > place}
        except csv.Error as error:
            raise KoeError(f"{table}, line {rows.line_num}: {error}") from None
    for name in names:
        path = table.parent / name
        yield _File(name, str(path), path.stat() if path.is_file() else None)


def _contents(files: list[_File], cache: Path) -> dict[str, str]:
    """Each file's content as a hash, by the file's name; from `cache` where the file is as when it was hashed."""
    known = read_json(cache) if cache.exists() else {}
    by_identity = {file.identity: file for file in files}
    unknown = [identity for identity in by_identity if identity not in known]
    read = dict(zip(unknown, thread_map(_content, map(by_identity.__getitem__, unknown), THREADS), strict=True))
    hashes = {identity: known.get(identity) or read[identity] for identity in by_identity}
    settled = time.time_ns() - JUST_NOW
    remembered = {identity: hashes[identity] for identity, file in by_identity.items()
                  if file.state and file.state.st_mtime_ns < settled and hashes[identity]}
    if remembered != known:
        write_json(cache, remembered)
    return {file.name: hashes[identity] for identity, file in by_identity.items()}


def _content(file: _File) -> str:
    """Hash of a file's content; empty where it cannot be read, which the importer reports."""
    try:
        with Path(file.path).open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""
