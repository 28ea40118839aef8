"""A campaign in which one file of a finished project is damaged: by the pipeline's own run, and by every command.

Every fourth trial damages what a run stands on and lets `dvc repro` put it right. The others damage a file that a
command reads; it must refuse and name the file, or give what it gave before. A command that shows numbers of DVC's
outs may show other numbers (DVC knows their hashes, and `dvc repro` writes them again), a model may not.
"""

import hashlib
import shutil
import signal
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from support.faults import DAMAGE, damage

from campaigns import forked
from campaigns.interrupting import RUNNING
from campaigns.project import Outcome, Reference, Trial
from koe.corpus.tables.utterances import UTTERANCES
from koe.store import ShardReader

FROM_GIT = ("dvc.yaml", "params.yaml", ".dvc/config")  # what a person takes back from git
PIPELINE = (
    "dvc.lock", ".dvc/cache/files/md5/*/*", "data/*/demo/*.safetensors", "data/*/demo/*.csv", "params.yaml",
    "models/*/*", "a checkpoint", ".dvc/tmp/rwlock", "data/*/*.csv", "metrics/*.json", "dvc.yaml", "data/scan/*.json",
    "work/scan/*", "data/*/*.safetensors", "metrics/*/*", ".dvc/config",
)
CONVERT = "koe convert ../inputs/in.wav ../out/a.wav"
VOCODE = "koe vocode ../inputs/mel.npy ../out/v.wav --f0 ../inputs/f0.npy"
READ = (
    ("models/acoustic/*", CONVERT), ("models/vocoder/generator.safetensors", CONVERT),
    ("models/vocoder/*", VOCODE), ("../inputs/*.npy", VOCODE), ("../inputs/in.wav", CONVERT),
    ("models/acoustic/model.safetensors", CONVERT), ("models/vocoder/vocoder.json", CONVERT),
    ("models/vocoder/*", "koe pack models/vocoder ../out/packed"),
    ("data/*/demo/*.csv", "koe check"), ("data/features/demo/*.safetensors", "koe check"),
    ("metrics/evaluation.json", "koe summary"), ("metrics/*.*", "koe page --output ../out"),
    ("data/*/*", "koe page --output ../out"), ("data/*/demo/*", "koe page --output ../out"),
    ("metrics/*/*", "koe page --output ../out"), ("params.yaml", "koe check-params"),
    ("experiments/*.yaml", "koe exp list"), ("params.yaml", "koe exp show paper"),
    ("models/acoustic/*", "koe export-onnx ../out/exported"),
)
BELIEVED = ("models/",)  # whose damage must be noticed; a WAV or an array has no checksum, and may be another one


@dataclass
class Readers:
    """A copy of the project whose files are damaged and put back, and what each command gives on whole files."""

    folder: Path
    expected: dict[str, tuple[int, str]] = field(default_factory=dict)

    def result(self, command: str) -> tuple[forked.Ended, str]:
        """How the command ended, and a hash of everything that it wrote and printed."""
        shutil.rmtree(self.folder.parent / "out", ignore_errors=True)
        (self.folder.parent / "out").mkdir()
        ended = forked.run(self.folder, *command.split())
        total = hashlib.sha256(ended.output.encode())
        for path in sorted((self.folder.parent / "out").rglob("*")):
            if path.is_file() and path.suffix != ".onnx":
                total.update(f"{path.relative_to(self.folder.parent)}\0".encode() + path.read_bytes())
        return ended, total.hexdigest()

    def undamaged(self, command: str) -> tuple[int, str]:
        if command not in self.expected:
            ended, digest = self.result(command)
            if ended.status:
                raise SystemExit(f"{command} fails without any damage:\n{ended.output[-3000:]}")
            self.expected[command] = ended.status, digest
        return self.expected[command]


@cache
def readers_of(reference: Reference, slot: Path) -> Readers:
    folder = slot / "readers/project"
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(reference.project, folder, symlinks=True)
    inputs = folder.parent / "inputs"
    inputs.mkdir()
    table, audio = UTTERANCES.read(folder / "data/corpus/demo"), ShardReader(folder / "data/corpus/demo")
    row = table[table["role"] == "source"].iloc[0]
    soundfile.write(inputs / "in.wav", audio.get(row["utterance"], "audio"), int(row["sample_rate"]))
    features = ShardReader(folder / "data/features/demo")
    for name in ("mel", "f0"):
        np.save(inputs / f"{name}.npy", features.get(row["utterance"], name))
    return Readers(folder)


def damaged(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """One file is damaged in one way."""
    kind = list(DAMAGE)[int(draw.integers(len(DAMAGE)))]
    if number % 4 == 0:
        return _run_again(reference, slot, PIPELINE[number // 4 % len(PIPELINE)], kind, draw)
    return _read(reference, slot, *READ[number % len(READ)], kind, draw)


def _chosen(folder: Path, pattern: str, draw: np.random.Generator) -> Path:
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size)
    if not paths:
        raise FileNotFoundError(f"the tiny project has no {pattern}")
    return paths[int(draw.integers(len(paths)))]


def _read(
    reference: Reference, slot: Path, pattern: str, command: str, kind: str, draw: np.random.Generator
) -> Outcome:
    readers = readers_of(reference, slot)
    before = readers.undamaged(command)
    base = readers.folder.parent if pattern.startswith("../") else readers.folder
    path = _chosen(base, pattern.removeprefix("../"), draw)
    content = path.read_bytes()
    problems = []
    try:
        damage(path, kind, draw)
        ended, digest = readers.result(command)
    finally:
        path.unlink()
        path.write_bytes(content)
    what = f"{path.relative_to(base)} {kind}: {command.partition(' ../')[0]}"
    if ended.problem:
        problems.append(ended.problem)
    elif ended.status and path.name not in ended.output and path.parent.name not in ended.output:
        problems.append(f"refused without naming the file: {ended.output.strip()[-200:]}")
    elif ended.status:
        what += " refuses"
    elif (ended.status, digest) == before:
        what += " gives the same"
    elif pattern.startswith(BELIEVED):
        problems.append("the damage is not noticed, and the result is another")
    else:
        what += " shows what is there"
    return Outcome(what, problems)


def _run_again(
    reference: Reference, slot: Path, pattern: str, kind: str, draw: np.random.Generator
) -> Outcome:
    trial = Trial(reference, slot)
    if pattern == "a checkpoint":
        trial.at_the_beginning_of("train_acoustic")
        command = trial.start("dvc", "repro")
        command.wait_for(RUNNING.format("train_acoustic"))
        while command.process.poll() is None and not list(trial.folder.glob("work/acoustic-*/last.safetensors")):
            time.sleep(0.001)
        command.send(signal.SIGKILL)
        command.end()
        pattern = "work/acoustic-*/*"
        if not list(trial.folder.glob(pattern)):
            return trial.outcome("a checkpoint was gone before it could be damaged")
    path = _chosen(trial.folder, pattern, draw)
    name = path.relative_to(trial.folder).as_posix()
    damage(path, kind, draw)
    what = f"{name} {kind}: dvc repro"
    if name in FROM_GIT:
        status, output = trial.run("dvc", "repro", "--dry")
        if status and Path(name).name not in output and "config" not in output:
            trial.problems.append(f"refused without naming {name}: {output.strip()[-200:]}")
        trial.run("git", "checkout", "--", name)
        what += f" {'refuses' if status else 'goes on'}; then git checkout {name}"
    trial.finish()
    return trial.outcome(what)
