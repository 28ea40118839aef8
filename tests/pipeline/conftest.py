"""A project of its own in a temporary folder: the real DAG on a few utterances with tiny models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.small_parameters import shrink_acoustic

ROOT = Path(__file__).resolve().parents[2]


class Project:
    """A git and DVC repository with the project's own DAG, stages and code, run as a user runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"], "DVC_NO_ANALYTICS": "1",
            "HOME": str(folder.parent), "GIT_CONFIG_GLOBAL": os.devnull, "CI": "true", "PYTHONWARNINGS": "ignore",
            "NUMBA_CACHE_DIR": str(folder.parent / "numba"), "DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"),
        }
        self.environment.pop("KOE_WORK", None)

    def run(self, *command: str, check: bool = True, seconds: int = 900) -> str:
        """Runs a command in the project and returns what it printed; a failure shows it."""
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, timeout=seconds, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout[-6000:]}")
        return result.stdout

    def set(self, name: str, value: Any) -> None:
        """Changes a parameter, named with dots, in params.yaml."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        *sections, last = name.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[last] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def stages_run(self, output: str) -> list[str]:
        """Names of the stages that `dvc repro` or `dvc exp run` ran, in order."""
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def tiny_parameters(values: dict[str, Any]) -> dict[str, Any]:
    """The project's parameters at a size that runs in seconds."""
    values["corpora"]["demo"]["utterances"] = 12
    values["pair"] |= {"validation": 2, "test": 2}
    shrink_acoustic(values["acoustic"], 32, steps=6, warmup_steps=2, batch_size=4, log_every=2, validate_every=3,
                    checkpoint_every=3)
    for name in ("attention", "learned"):
        values["align"][name] |= {"layers": 1, "hidden": 16}
        values["align"][name]["training"] |= {"steps": 4, "warmup_steps": 1, "batch_size": 4, "log_every": 2,
                                              "validate_every": 2, "checkpoint_every": 2}
    tiny_vocoder(values["vocoder"])
    values["griffin_lim"]["iterations"] = 8
    values["report"] |= {"utterances": 2, "alignments": 2, "trims": 2}
    return values


def tiny_vocoder(vocoder: dict[str, Any]) -> None:
    """Makes a vocoder's section tiny, in place, and starts from scratch."""
    vocoder["model"] = "harmonic_noise"
    vocoder["harmonic_noise"] |= {"layers": 1, "hidden": 16, "feed_forward": 32}
    vocoder["hifigan"] |= {"upsample_channels": 16, "resblock_kernels": [3], "resblock_dilations": [[1]]}
    vocoder["discriminators"] |= {"periods": [2], "period_channels": 2, "scales": 1, "scale_channels": 4,
                                  "spectra": [256], "spectrum_channels": 2}
    vocoder["loss"] |= {"stft_sizes": [512, 128]}
    vocoder["training"] |= {"steps": 4, "spectral_steps": 2, "batch_size": 2, "segment_size": 8192, "log_every": 2,
                            "validate_every": 2, "checkpoint_every": 2}
    vocoder["training"]["schedule"]["warmup_steps"] = 1
    vocoder["training"]["validation"] |= {"utterances": 2, "players": 1}
    vocoder["init"]["from"] = None


def make_project(folder: Path) -> Project:
    """Lays out a tiny project in `folder`, committed, nothing run yet."""
    folder.mkdir(parents=True)
    for name in ("src", "stages", "experiments", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(
            "__pycache__", "*.egg-info", "data", "models", "metrics", "work", "dvc.lock"))
    for name in ("dvc.yaml", ".gitignore", "README.md", ".dvcignore"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    values = tiny_parameters(yaml.safe_load((ROOT / "params.yaml").read_text()))
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    project = Project(folder)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "config", "core.analytics", "false")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    project.run("git", "config", "user.name", "Koe")
    project.run("git", "config", "user.email", "koe@example.org")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "start")
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project after `dvc repro`."""
    made = make_project(tmp_path_factory.mktemp("pipeline") / "project")
    made.output = made.run("dvc", "repro")  # type: ignore[attr-defined]
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "first run")
    return made
