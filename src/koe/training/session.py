"""A training run's state: where its checkpoints live, how it resumes, its curves, pictures and sounds.

A running training stage keeps its state in `work/<stage>-<key>/`, outside DVC and git. The key is a hash of everything
that decides the result (parameters, inputs, code), so a killed run finds its own checkpoint again, from the
workspace or from a temporary one, and a run with other parameters never sees it.
When the run ends its checkpoint is removed: forcing the stage to run again trains from the start. A second process with
the same key (a stage that its DVC left behind, or two experiments that begin with the same training run) waits for the
first.

A run can be killed between any two writes. Curves, pictures and sounds are written before the checkpoint and so may be
ahead of it, never behind; what is ahead is left out on resuming, and written again. The checkpoint before the last is
kept too: a last one that is damaged, which its checksum tells, is not continued from.
"""

import hashlib
import json
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from dvclive import Live
from PIL import Image

from koe.errors import KoeError, StoreError
from koe.files import read_text, replacing, understood, write_text
from koe.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from koe.workspace import claim, release, work_root


def fingerprint(paths: list[Path]) -> str:
    """Hash of the names and contents of files, and of all files in folders; order does not matter."""
    total = hashlib.blake2b(digest_size=16)
    entries = {entry for path in paths for entry in (path.rglob("*") if path.is_dir() else [path])}
    files = sorted(entry for entry in entries if entry.is_file())
    if not files:
        raise KoeError(f"nothing to read in {', '.join(map(str, paths))}; run the stages before this one (dvc repro)")
    for file in files:
        total.update(f"{file}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


class Session:
    """One training run: `resume`, then for each step `log` and `save` as due, then `finish`.

    Args:
        name: names the run in messages and its work folder (`acoustic`, `vocoder`).
        identity: everything that decides the result, JSON-able.
        curves: DVCLive's folder; its old contents are replaced.
        root: where work folders live; `work_root()` if not given.
        tensorboard: write the curves for TensorBoard too, in `curves`/tensorboard. Raises KoeError if it is missing.
    """

    def __init__(
        self, name: str, identity: Mapping[str, Any], curves: Path, root: Path | None = None, tensorboard: bool = False,
    ) -> None:
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.name = name
        self.folder = (root or work_root()) / f"{name}-{key}"
        # Released at `finish`, or when the process ends by an error; the kernel does so if it is killed.
        self._release = weakref.finalize(self, release, self.folder, claim(self.folder, name))
        self._live = Live(dir=str(curves), dvcyaml=None, report=None, save_dvc_exp=False, resume=False)
        self._curve_players = curves / "players"
        for folder in (curves / "tensorboard", self._curve_players):
            shutil.rmtree(folder, ignore_errors=True)
        self._tensorboard = _tensorboard_writer(name, curves / "tensorboard") if tensorboard else None
        self._history: list[dict[str, Any]] = []

    @property
    def _last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def _before(self) -> Path:
        """The checkpoint before the last one, for the accident that damages that one."""
        return self.folder / "before.safetensors"

    @property
    def _curves(self) -> Path:
        return self.folder / "curves.jsonl"

    @property
    def _pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def _players(self) -> Path:
        return self.folder / "players"

    def resume(self, objects: Mapping[str, Stateful]) -> int:
        """Continues from the checkpoint that a killed run left, if there is one: restores the states of `objects`
        (models, optimizers and what else decides a step). Returns the number of steps already done.
        """
        for half_written in self.folder.rglob(".*"):
            half_written.unlink()
        step = self._restored(objects)
        if step == 0:
            return 0
        for path in sorted(self._pictures.rglob("*.png")):
            if int(path.stem) <= step:
                self._live.log_image(path.relative_to(self._pictures).as_posix(), path)
        for path in sorted(self._players.rglob("*.flac")):
            if int(path.stem) <= step:
                self._publish(path)
        print(f"{self.name}: continuing a run that was interrupted, from step {step} ({self.folder})")
        return step

    def _restored(self, objects: Mapping[str, Stateful]) -> int:
        """The step of the newest checkpoint that is whole, whose states and curves are taken; 0 if there is none.

        Damaged ones are named and removed.
        """
        for path in (self._last, self._before):
            if not path.exists():
                continue
            try:
                rows = _read_rows(self._curves)
                step = load_checkpoint(path, objects)
            except StoreError as error:
                print(f"{self.name}: {error}. {path.name} is removed, and the run starts from the checkpoint before it "
                      "or, if that is not whole, from the beginning")
                path.unlink()
                continue
            for row in rows:
                if row["step"] <= step:
                    self._record(row["step"], row["values"])
            return step
        return 0

    def note(self, values: Mapping[str, float]) -> None:
        """Adds values that do not change during the run, such as sizes, to the metrics. Call it before `resume`."""
        for name, value in values.items():
            self._live.log_metric(name, value, plot=False)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values to the curves at `step` (optimizer steps done)."""
        self._record(step, {name: float(value) for name, value in values.items()})

    def show(self, step: int, folder: str, picture: Image.Image) -> None:
        """Adds a picture to those beside the curves, one of a series in `folder`, named by its step."""
        name = f"{folder}/{step:08d}.png"
        with replacing(self._pictures / name) as temporary:
            picture.save(temporary)
        self._live.log_image(name, self._pictures / name)

    def play(self, step: int, name: str, wave: np.ndarray, sample_rate: int) -> None:
        """Adds a sound, float32 (samples,), to those beside the curves: `players/<name>/<step>.flac`, one of a series.

        What is outside [-1, 1] is clipped.
        """
        path = self._players / name / f"{step:08d}.flac"
        with replacing(path) as temporary:
            soundfile.write(temporary, wave, sample_rate, format="FLAC", subtype="PCM_16")
        self._publish(path)

    def _publish(self, path: Path) -> None:
        copy = self._curve_players / path.relative_to(self._players)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)

    def latest(self, prefix: str = "") -> dict[str, float]:
        """The newest value of every curve whose name starts with `prefix`."""
        merged: dict[str, float] = {}
        for row in self._history:
            merged |= {name: value for name, value in row["values"].items() if name.startswith(prefix)}
        return merged

    def series(self, name: str) -> list[float]:
        """All values of a curve so far."""
        return [row["values"][name] for row in self._history if name in row["values"]]

    def _record(self, step: int, values: dict[str, float]) -> None:
        self._history.append({"step": step, "values": values})
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
            if self._tensorboard:
                self._tensorboard.add_scalar(name, value, step)
        self._live.make_summary()

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        """Writes the checkpoint that a killed run continues from. Curves are written first: they may be ahead of it."""
        write_text(self._curves, "".join(json.dumps(row) + "\n" for row in self._history))
        if self._last.exists():
            self._last.replace(self._before)
        save_checkpoint(self._last, step, objects)

    def keep(self, label: str, step: int, objects: Mapping[str, Stateful]) -> None:
        """Keeps the present state of `objects` as `<label>.safetensors`, to start other runs from (lesson 21)."""
        save_checkpoint(self.folder / "kept" / f"{label}.safetensors", step, objects)

    def finish(self) -> None:
        """Ends the run: closes the curves and removes the checkpoint. What was kept stays."""
        self._live.end()
        if self._tensorboard:
            self._tensorboard.close()
        self._last.unlink(missing_ok=True)
        self._before.unlink(missing_ok=True)
        self._curves.unlink(missing_ok=True)
        for folder in (self._pictures, self._players):
            shutil.rmtree(folder, ignore_errors=True)
        self._release()


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of curves. Raises StoreError naming the file if it is missing or damaged."""
    with understood(path, "without its curves no checkpoint can be continued from"):
        rows = [json.loads(line) for line in read_text(path).splitlines()]
        for row in rows:
            numbers = all(type(value) in (int, float) for value in row["values"].values())
            if type(row["step"]) is not int or not numbers:
                raise ValueError(f"{row!s:.60}")
    return rows


def _tensorboard_writer(name: str, folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise KoeError(f"{name}.training.tensorboard: the package tensorboard is not installed; pip install "
                       "tensorboard, or set it to false") from error
    return SummaryWriter(str(folder))
