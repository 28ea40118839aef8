"""The state of the files under a corpus's path, in one small file that changes when they do.

DVC would walk a folder of recordings for every `dvc status`, and would fail where the folder is not on the machine. So
one stage scans all corpora before each run, remembering what it has read, and `import` and `resample` depend on its
`data/scan/<corpus>.json`. A machine that has only the cached features uses the recorded state.
"""

import csv
import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from koe.corpus.params import CorpusParams
from koe.errors import KoeError, StoreError
from koe.files import read_json, state_of, write_json
from koe.parallel import thread_map

JUST_NOW = 2 * 10**9  # ns; a file this young may change again within one tick of a coarse clock
THREADS = 8  # they wait for the disk, or for a network mount


class _File(NamedTuple):
    name: str  # path relative to the corpus's path; empty for that path itself, where it is a file
    path: str
    state: os.stat_result | None  # None where it is not a file: a dangling link, a pipe

    @property
    def stamp(self) -> str:
        """Size and time, which reveal a change of the file without reading it."""
        return f"{self.state.st_size} {self.state.st_mtime_ns}" if self.state else ""

    @property
    def identity(self) -> str:
        """What stays the same as long as the file does; valid Unicode, even if its name is not."""
        inode = self.state.st_ino if self.state else 0
        return f"{self.stamp} {inode} {os.fsencode(self.name).decode('utf-8', 'backslashreplace')}"


def scan_corpus(name: str, params: CorpusParams, folder: Path, cache: Path) -> dict[str, Any] | None:
    """Writes `folder/<name>.json`: {"hash", "files", "bytes", "digest"} of what lies under `params.path`.

    The digest covers every file's path relative to `params.path` and, by `params.hash`, its content or its size and
    time. For the importer `table`, whose path is a CSV file, it covers the content of that file and, by `params.hash`,
    the files that its column `path` names. Hidden files and folders are left out, because no importer reads them.
    Hashes of contents are kept in `cache/<name>.json`: a file is read again only if its size, time or inode changed.

    Returns what was written, or None if the corpus is not on this machine (nothing at its path, an empty folder, such
    as a mount point without a mount, or a table none of whose files exists) and the recorded state stays. Raises
    KoeError naming `corpora.<name>.path` if nothing is recorded either, or if the files cannot be read.
    """
    recorded = folder / f"{name}.json"
    try:
        files = sorted(_files_of_table(Path(params.path)) if params.importer == "table" else _files_below(params.path))
    except OSError as error:
        raise KoeError(f"corpora.{name}.path: {error.filename} cannot be read ({error.strerror})") from error
    if not any(file.state for file in files if file.name):
        if recorded.exists():
            read_json(recorded, f"restore it (git checkout {recorded}), or remove it", ["digest"])
            return None
        raise KoeError(f"corpora.{name}.path: there are no recordings at {params.path}, and no recorded state in "
                       f"{recorded}; correct the path, or copy that file from a machine that has the corpus")
    read = [file for file in files if file.state and (params.hash == "content" or not file.name)]
    hashes = _contents(read, cache / f"{name}.json") if read else {}
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(os.fsencode(f"{file.name}\0{hashes.get(file.name, file.stamp)}\0"))
    scan = {"hash": params.hash, "files": len(files), "bytes": sum(file.state.st_size for file in files if file.state),
            "digest": digest.hexdigest()}
    write_json(recorded, scan)
    return scan


def _files_below(root: str) -> Iterator[_File]:
    """All files below a folder, also behind links, but not in cycles; none if there is no such folder.

    What is neither a file nor a folder, or cannot be looked at, has no state, as a dangling link: the importer reports
    it. Raises OSError if the folder itself cannot be read.
    """
    if not os.path.lexists(root):
        return
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        path = Path(root, folder)
        try:
            state = path.stat()
            with os.scandir(path) as listing:
                entries = [] if (state.st_dev, state.st_ino) in above else list(listing)
        except OSError:
            if not folder:
                raise
            yield _File(folder, str(path), None)
            continue
        inner = above | {(state.st_dev, state.st_ino)}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            found = state_of(entry.path)
            if found and stat.S_ISDIR(found.st_mode):
                waiting.append((f"{folder}{entry.name}/", inner))
            else:
                yield _File(folder + entry.name, entry.path, _of_file(found))


def _files_of_table(table: Path) -> Iterator[_File]:
    """A CSV file and the files that its column `path` names, relative to its folder; the importer checks the table."""
    if not table.exists():
        return
    if not (table.is_file() or table.is_dir()):
        raise OSError(errno.EINVAL, "not a file", str(table))
    yield _File("", str(table), table.stat())
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        rows = csv.reader(lines)
        columns = [column.strip() for column in next(rows, [])]
        column = columns.index("path") if "path" in columns else len(columns)
        try:
            names = {row[column].strip() for row in rows if len(row) > column}
        except csv.Error as error:
            raise KoeError(f"{table}, line {rows.line_num}: {error}") from None
    for name in names:
        path = table.parent / name
        yield _File(name, str(path), _of_file(state_of(path)))


def _of_file(state: os.stat_result | None) -> os.stat_result | None:
    """The state of a file; None for anything else: opening a pipe or a device could take for ever."""
    return state if state and stat.S_ISREG(state.st_mode) else None


def _contents(files: list[_File], cache: Path) -> dict[str, str]:
    """Each file's content as a hash, by the file's name; from `cache` where the file is unchanged."""
    known = _remembered(cache)
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


def _remembered(cache: Path) -> dict[str, str]:
    """The hashes of contents by identity; none where they are damaged: all files are read again then."""
    try:
        known = read_json(cache) if cache.exists() else {}
    except StoreError:
        return {}
    return {identity: digest for identity, digest in known.items() if isinstance(digest, str)}


def _content(file: _File) -> str:
    """Hash of a file's content; empty where it cannot be read, which the importer reports."""
    try:
        with Path(file.path).open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""
