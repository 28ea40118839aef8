"""Ten corpora of short utterances from import to extract: memory, time, and the cost of a no-op and of one more file.

    python benchmarks/scale.py --utterances 100000

Writes synthetic voices (about a second, 16 kHz, 16 bit; two speakers a corpus) and runs the project's own stages on
them in a DVC project of its own in a temporary folder (TMPDIR; 100 000 utterances take 30 GB). Prints, for each stage,
the seconds of all corpora and the peak memory of its largest process; seconds of `dvc status` and of `dvc repro`
without a change; the stages that run, and the number of files that are pushed, after one utterance was added; and last,
against one file for every array (see benchmarks/store.py), lines `ratio scale_<step> <files over shards>`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml
from store import compare, unpack

from koe.store import ShardReader

CORPORA = [f"corpus{number}" for number in range(10)]
SPEAKERS = {"low": 110.0, "high": 210.0}  # Hz
STAGES = ("scan", "import", "resample", "trim", "extract")
RATE = 16000
LOG = "measured.csv"
MEASURED = f"""
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
with open("{LOG}", "a") as log:
    print(sys.argv[1].split("/")[-1], time.perf_counter() - start, peak, sep=",", file=log)
raise SystemExit(status)
"""


def voice(f0: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """A vowel-like tone of gliding F0, with 0.1 s of near-silence at both ends, float (samples,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    track = f0 * (1 + 0.1 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * time + generator.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(track) / RATE
    formants = generator.uniform([300, 900, 2200], [800, 1800, 2900])
    harmonics = np.arange(1, int(5000 / f0))[:, None]
    gains = np.exp(-(((harmonics * f0 - formants) / 250) ** 2)).sum(axis=1) + 0.02
    wave = gains @ np.sin(harmonics * phase)
    wave *= np.minimum(1, np.minimum(time, time[::-1]) / 0.02) * 0.3 / np.abs(wave).max()
    return np.pad(wave, round(0.1 * RATE))


def write_corpora(root: Path, utterances: int) -> None:
    """Writes root/<corpus>/<speaker>/<number>.wav. Each is one of a few waveforms with a gain and noise of its own."""
    generator = np.random.default_rng(0)
    voices = {speaker: [voice(f0 * generator.uniform(0.8, 1.2), generator.uniform(0.6, 1.0), generator)
                        for _ in range(50)] for speaker, f0 in SPEAKERS.items()}
    noise = 1e-3 * generator.standard_normal(10 * RATE)
    for corpus in CORPORA:
        for speaker in SPEAKERS:
            (root / corpus / speaker).mkdir(parents=True)
            for number in range(utterances // len(CORPORA) // len(SPEAKERS)):
                wave = voices[speaker][generator.integers(50)] * generator.uniform(0.5, 1.0)
                start = generator.integers(len(noise) - len(wave))
                path = root / corpus / speaker / f"{number:06d}.wav"
                soundfile.write(path, wave + noise[start:start + len(wave)], RATE, "PCM_16")


class Project:
    """A DVC project with this project's stages up to `extract`, run as a user would run it."""

    def __init__(self, folder: Path, recordings: Path) -> None:
        self.folder = folder
        for name in ("src", "stages"):
            shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".gitignore", ".dvcignore"):
            shutil.copy(name, folder)
        (folder / "measured.py").write_text(MEASURED)
        self._write("dvc.yaml", {"stages": _measured_stages()})
        params = yaml.safe_load(Path("params.yaml").read_text())
        params["corpora"] = {corpus: {"importer": "folders", "path": str(recordings / corpus)} for corpus in CORPORA}
        params["pair"]["rule"] = "all"  # stages after extract do not run, but all parameters are checked
        params["acoustic"]["conditioning"]["by"] = "learned"
        self._write("params.yaml", params)
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "remote", "add", "--quiet", "--default", "disk", str(folder.with_name("remote")))
        self.run("git", "add", ".")

    def _write(self, name: str, values: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(values, sort_keys=False))

    def run(self, *command: str) -> tuple[float, str]:
        """Runs a command; returns its seconds and its output."""
        start = time.perf_counter()
        result = subprocess.run(command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)}:\n{result.stdout[-4000:]}")
        return time.perf_counter() - start, result.stdout

    def measured(self) -> pd.DataFrame:
        """Seconds, and MiB of the largest process, by stage."""
        table = pd.read_csv(self.folder / LOG, names=["stage", "seconds", "peak_mib"])
        return table.groupby("stage", sort=False).agg({"seconds": "sum", "peak_mib": "max"})


def _measured_stages() -> dict[str, Any]:
    """The stages of dvc.yaml up to `extract`, their commands measured."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    chosen = {name: stages[name] for name in STAGES}
    for stage in chosen.values():
        inner = stage.get("do", stage)
        inner["cmd"] = inner["cmd"].replace("python stages/", f"{sys.executable} measured.py stages/")
    return chosen


def run_project(project: Project, recordings: Path) -> None:
    """Prints the cost of a first run, of runs without a change, and of one more utterance."""
    seconds, _ = project.run("dvc", "repro")
    print(project.measured().to_string(float_format="{:.1f}".format))
    print(f"dvc repro, everything: {seconds:.1f} s")
    for command in ("status", "repro"):
        seconds, _ = project.run("dvc", command)
        print(f"dvc {command}, nothing changed: {seconds:.1f} s")
    features = [f"data/features/{corpus}" for corpus in CORPORA]
    project.run("dvc", "push", *features)
    added = recordings / CORPORA[3] / "low" / "one more.wav"
    shutil.copy(recordings / CORPORA[3] / "low" / "000000.wav", added)
    seconds, output = project.run("dvc", "repro")
    ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    print(f"dvc repro, one utterance added: {seconds:.1f} s; ran {', '.join(ran)}")
    _, output = project.run("dvc", "push", *features)
    shards = len(list(project.folder.glob(f"data/features/{CORPORA[3]}/*.safetensors")))
    print(f"dvc push after it: {output.strip()}; {CORPORA[3]} has {shards} shards of features")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=100_000, help="of all corpora (default: %(default)s)")
    utterances = parser.parse_args().utterances
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        write_corpora(root / "recordings", utterances)
        print(f"{utterances} recordings written in {time.perf_counter() - start:.0f} s", flush=True)
        project = Project(root / "project", root / "recordings")
        run_project(project, root / "recordings")
        packed = root / "packed"
        (root / "project" / "data" / "features").rename(packed)
        shutil.rmtree(root / "project")
        readers = [ShardReader(packed / corpus) for corpus in CORPORA]
        table = compare({"shards": lambda data: shutil.copytree(packed, data),
                         "files": lambda data: unpack(readers, data)}, root)
    print("features of all corpora, seconds a step:")
    print(table.to_string(float_format="{:.1f}".format))
    for step in ("push", "pull"):
        print(f"ratio scale_{step} {table.loc[step, 'files'] / table.loc[step, 'shards']:.2f}")


if __name__ == "__main__":
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    main()
