"""Two runs of the whole pipeline have the same bits, whatever else the machine does."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from .conftest import Project, make_project

pytestmark = pytest.mark.slow

THREADS = 2  # sums split over threads differ from others in their last digits
OPTIONS = {  # what computes in more threads than the defaults: aligners' networks, an embedding of every utterance
    "align.method": "learned", "align.compare": "dtw",
    "acoustic.conditioning.by": "encoder", "acoustic.conditioning.level": "utterance",
}


@contextmanager
def load() -> Iterator[None]:
    """Processes that keep as many cores busy as a run has threads."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(THREADS)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def hashes_after_a_run(project: Project, temporary: Path) -> dict[str, str]:
    """DVC's hash of every output of every stage, by stage and path."""
    temporary.mkdir(parents=True)
    project.environment |= {"OMP_NUM_THREADS": str(THREADS), "TMPDIR": str(temporary)}
    project.run("dvc", "repro", seconds=1800)
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return {f"{name}: {out['path']}": out["md5"] for name, stage in lock["stages"].items() for out in stage["outs"]}


def test_two_runs_are_equal_to_the_bit_if_one_is_under_load(tmp_path: Path) -> None:
    quiet = make_project(tmp_path / "quiet/project")
    for name, value in OPTIONS.items():
        quiet.set(name, value)
    busy = Project(Path(shutil.copytree(quiet.folder, tmp_path / "under-load/project")))  # at the same commit
    expected = hashes_after_a_run(quiet, tmp_path / "quiet/temporary")
    with load():
        found = hashes_after_a_run(busy, tmp_path / "another/place/for/temporary/files")
    assert len(expected) == 25
    assert {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)} == set()
