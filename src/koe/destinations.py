"""Where commands write what a user named: judged before any work begins, so that nothing is lost or done in vain.

Three rules, for every command. No destination may be an input of the same command, under whatever name: a link, another
spelling on a file system that ignores case. An existing file is replaced only if that was asked for (`--overwrite`). A
place where nothing can be written is refused before a model is loaded.

What stages write is not of this kind: their outputs belong to DVC, which protects them.
"""

import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from koe.errors import KoeError
from koe.files import is_file, state_of, temporary_prefix, write_text

PAGE_MARK = '<meta name="generator" content="Koe">'  # in the head of every page that Koe writes
_HEAD = 2000  # bytes of a page, in which the mark stands
_LONGEST_NAME = 255  # bytes; the limit of all usual file systems for one name in a path


class Guard:
    """Judges the destinations of one command, whose `inputs` are protected."""

    def __init__(self, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
        self._inputs = {(status.st_dev, status.st_ino): path for path in inputs if (status := state_of(path))}
        self._overwrite = overwrite

    def check(self, path: Path) -> None:
        """Raises KoeError, naming `path` and what to do, unless a file may be written there."""
        try:
            _check_names(path)
            _check_folder(path.parent)
            status = path.stat() if path.exists() else path.lstat() if path.is_symlink() else None
        except OSError as error:
            raise KoeError(f"{path} cannot be written: {error.strerror}") from error
        if status is None:
            return
        if path.is_dir():
            raise KoeError(f"{path} is a folder; name a file in it")
        given = self._inputs.get((status.st_dev, status.st_ino))
        if given is not None:
            also = "" if given == path else f" (the same file as {given})"
            raise KoeError(f"{path} is an input of this command{also} and would be destroyed; name another output")
        if not S_ISREG(status.st_mode) and not path.is_symlink():
            raise KoeError(f"{path} is not an ordinary file; name another output")
        if not self._overwrite:
            raise KoeError(f"{path} exists already; name another output, or replace it by --overwrite")


def check_distinct(paths: Collection[Path]) -> None:
    """Raises KoeError naming those of several destinations in one folder that would be one file.

    Names that look the same (Unicode in composed and decomposed form) are one, and where the file system ignores case,
    names that differ in case alone.
    """
    if not paths:
        return
    folds = _folds_case(_existing_folder(next(iter(paths)).parent))
    keys = {path: _visible(str(path), folds) for path in paths}
    counts = Counter(_visible(str(path), folds) for path in paths)
    if twice := sorted({path.name for path in paths if counts[keys[path]] > 1}):
        raise KoeError(f"these names occur twice and would overwrite each other in {next(iter(paths)).parent}: "
                       f"{', '.join(twice)}; name different folders")


@contextmanager
def filling(
    folder: Path, names: Iterable[str], inputs: Iterable[Path] = (), overwrite: bool = False
) -> Iterator[Path]:
    """Yields a temporary folder for the files `names` (`name` or `folder/name`), which move into `folder` on success.

    All are written or none. `names` is all that belongs together: what is not written this time is removed from
    `folder`, where an earlier set had it. Raises KoeError before anything is done as `Guard.check` does.
    """
    folder, names = Path(folder), list(names)
    guard = Guard(inputs, overwrite)
    for name in names:
        guard.check(folder / name)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=temporary_prefix()) as temporary:
            yield Path(temporary)
            for name in names:
                written, destination = Path(temporary) / name, folder / name
                if written.exists():
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    written.replace(destination)
                else:
                    destination.unlink(missing_ok=True)
    except BaseException:
        with suppress(OSError):  # one that is not empty stays
            for path in made:
                path.rmdir()
        raise


def check_page(path: Path, overwrite: bool = False) -> None:
    """`Guard.check` for a page.

    A page that Koe wrote is built again without a question, wherever it is: all of it comes from other files. Any other
    file of that name is somebody's work.
    """
    Guard(overwrite=overwrite or _is_page(path)).check(path)


def write_page(path: Path, page: str) -> None:
    """Writes a page, which holds PAGE_MARK; `check_page` comes before the work on it."""
    write_text(path, page)


def _is_page(path: Path) -> bool:
    if not is_file(path):
        return False
    with path.open("rb") as file:
        return PAGE_MARK.encode() in file.read(_HEAD)


def _check_names(path: Path) -> None:
    if "\0" in str(path):
        raise KoeError(f"{str(path)!r}: no file can have a name with a NUL character in it")
    for name in path.parts:
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise KoeError(f"{path}: {name!r} is too long for a file's name: {len(os.fsencode(name))} bytes, and file "
                           f"systems take {_LONGEST_NAME}")


def _check_folder(folder: Path) -> None:
    """Raises KoeError unless a file can be created in `folder`, or in the one in which it would be made."""
    existing = _existing_folder(folder)
    if not existing.is_dir():
        raise KoeError(f"{folder} cannot be a folder: {existing} is a file")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise KoeError(f"{folder}: nothing can be written there ({existing}: {error.strerror}); name another folder"
                       ) from error


def _existing_folder(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())


def _visible(name: str, folds: bool) -> str:
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", composed.casefold()) if folds else composed


def _folds_case(folder: Path) -> bool:
    """Whether the file system of an existing folder takes `a` and `A` for one name."""
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=f"{temporary_prefix()}case") as file:
        path = Path(file.name)
        return path.with_name(path.name.upper()).exists()
    return False
