"""Where conversions are written: judged before a model is loaded (koe.destinations)."""

from collections.abc import Collection
from pathlib import Path

from koe.audio.checks import UNREADABLE
from koe.audio.files import require_suffix
from koe.destinations import Guard, check_distinct
from koe.errors import AudioError, KoeError
from koe.files import is_file, is_folder

_SHOWN = 5  # errors of a batch in which nothing is left to do


def output_file(
    path: Path, destination: Path, protected: Collection[Path] = (), overwrite: bool = False
) -> Path:
    """The file to which the recording `path` is converted.

    Raises AudioError if there is no recording, KoeError for a suffix that is not written, or if the file may not be
    written: it is the recording itself or one of `protected`, or exists and `overwrite` is false.
    """
    return _judged(path, destination, Guard([path, *protected], overwrite))


def outputs_in(
    folder: Path, paths: Collection[Path], protected: Collection[Path] = (), overwrite: bool = False
) -> dict[Path, Path | KoeError]:
    """The files in `folder` to which recordings are converted, or what stands against it, by the recordings.

    Raises KoeError if two of them would be one file.
    """
    destinations = [folder / f"{path.stem}.wav" for path in paths]
    check_distinct(destinations)
    guard = Guard([*paths, *protected], overwrite)
    outputs: dict[Path, Path | KoeError] = {}
    for path, destination in zip(paths, destinations, strict=True):
        try:
            outputs[path] = _judged(path, destination, guard)
        except KoeError as error:
            outputs[path] = error
    return outputs


def require_some(outputs: dict[Path, Path | KoeError]) -> None:
    """Raises KoeError, with the reasons, if none of the recordings can be converted."""
    errors = [error for error in outputs.values() if isinstance(error, KoeError)]
    if len(errors) == 1 == len(outputs):
        raise errors[0]
    if len(errors) == len(outputs):
        further = [f"and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
        raise KoeError("\n  ".join(["none of the recordings can be converted:", *map(str, errors[:_SHOWN]), *further]))


def _judged(path: Path, destination: Path, guard: Guard) -> Path:
    if is_folder(path):
        raise AudioError(UNREADABLE, f"{path} is a folder; name the recordings in it")
    if not is_file(path):
        raise AudioError(UNREADABLE, f"{path}: no such file")
    guard.check(require_suffix(destination))
    return destination
