"""After any accident `koe doctor` lets `dvc repro` go on, and nothing runs that was computed already."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from koe.pipeline.doctor import examine

STAGE = """
    from pathlib import Path
    from koe.pipeline.stage import Stage, StageFiles, StageParameters

    class Parameters(StageParameters):
        seed: int

    class Inputs(StageFiles):
        before: Path = Path("{before}")

    class Outputs(StageFiles):
        after: Path = Path("{name}.txt")

    STAGE = Stage("{name}", "counts", Parameters, Inputs, Outputs)

    def main(params, inputs, outputs):
        outputs.after.write_text(inputs.before.read_text() + str(params.seed))

    if __name__ == "__main__":
        STAGE.run(main)
"""
pytestmark = pytest.mark.slow
ENDED = 2**22 + 1  # no process has this number


class Project:
    """A git and DVC repository with three small stages of Koe, after `dvc repro`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stages").mkdir()
        (folder / "params.yaml").write_text("seed: 1\n")
        (folder / "start.txt").write_text("0")
        stages, before = {}, "start.txt"
        for name in ("one", "two", "three"):
            (folder / f"stages/{name}.py").write_text(dedent(STAGE.format(name=name, before=before)))
            stages[name] = {"cmd": f"{sys.executable} stages/{name}.py", "deps": [before, f"stages/{name}.py"],
                            "params": ["seed"], "outs": [f"{name}.txt"]}
            before = f"{name}.txt"
        (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        self.run("git", "init", "-q")
        self.run(*DVC, "init", "-q")
        self.run(*DVC, "repro")

    def run(self, *command: str, status: int = 0) -> str:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull,
                       "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"), "HOME": str(self.folder.parent)}
        result = subprocess.run(command, cwd=self.folder, env=environment, text=True, timeout=120, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert result.returncode == status, result.stdout
        return result.stdout

    def doctor(self, *options: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "koe.cli", "doctor", *options, status=status)

    def goes_on(self) -> None:
        """`dvc repro` works, and takes everything from the lock or the run cache."""
        printed = self.run(*DVC, "repro")
        assert "Running stage" not in printed
        assert (self.folder / "three.txt").read_text() == "0111"
        assert "up to date" in self.run(*DVC, "status")


DVC = (sys.executable, "-m", "dvc")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("accidents") / "project"
    folder.mkdir()
    return Project(folder)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.97], ids=lambda share: f"{share:.0%}")
def test_a_cut_lock_is_put_back_from_the_copy(project: Project, share: float) -> None:
    lock = project.folder / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: round(share * len(whole))].rstrip(b"\n"))
    if not share:  # a part may be YAML, and DVC goes on with it
        project.run(*DVC, "repro", status=255)
    before = lock.read_bytes()
    assert "put back: the copy that the last stage kept" in project.doctor("--dry-run")
    assert lock.read_bytes() == before
    project.doctor()
    project.goes_on()
    assert lock.read_bytes() == whole
    assert (project.folder / ".dvc/tmp/koe/damaged/dvc.lock").exists() == bool(share)


def test_without_the_copy_git_has_it_and_without_both_the_run_cache(project: Project) -> None:
    lock, kept = project.folder / "dvc.lock", project.folder / ".dvc/tmp/koe/dvc.lock"
    whole, copy = lock.read_bytes(), kept.read_bytes()
    kept.write_bytes(copy[:70])  # damaged itself
    lock.write_bytes(b"")
    assert "removed; what was computed is in DVC's run cache" in project.doctor()
    project.goes_on()
    assert lock.read_bytes() == whole
    project.run("git", "add", "dvc.lock")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "lock")
    lock.write_bytes(whole[:-30])
    assert "put back: git's version" in project.doctor()
    project.goes_on()
    kept.write_bytes(copy)
    os.utime(kept, (0, 0))  # older than the commit, as after git pull
    lock.write_bytes(b"")
    assert "put back: git's version" in project.doctor()
    assert lock.read_bytes() == whole
    os.utime(kept)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"write": {"a": {"pid": "x"}}}'])
def test_a_damaged_rwlock_is_removed(project: Project, content: str) -> None:
    (project.folder / ".dvc/tmp/rwlock").write_text(content)
    assert "rwlock" in project.doctor()
    (project.folder / "two.txt").unlink()
    project.goes_on()


def test_dead_users_of_files_are_taken_out_and_living_ones_are_respected(project: Project) -> None:
    path = project.folder / ".dvc/tmp/rwlock"
    dead, reused = {"pid": ENDED, "cmd": "dvc repro"}, {"pid": os.getpid(), "cmd": "/bin/dvc repro"}
    path.write_text(json.dumps({"write": {"/a": dead}, "read": {"/b": [dead]}}))
    project.doctor()
    assert json.loads(path.read_text()) == {"write": {}, "read": {}}
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"])
    try:
        path.write_text(json.dumps({"read": {"/b": [dead, {"pid": sleeper.pid, "cmd": "dvc repro"}]}}))
        assert f"DVC is running in this project (process {sleeper.pid}" in project.doctor(status=1)
    finally:
        sleeper.kill()
        sleeper.wait()
    path.write_text(json.dumps({"write": {"/a": reused}, "read": {}}))
    project.doctor()
    project.goes_on()


def test_while_dvc_works_nothing_is_touched(project: Project) -> None:
    lock = project.folder / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(b"")
    with (project.folder / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "DVC is running" in project.doctor(status=1)
    assert lock.read_bytes() == b""
    lock.write_bytes(whole)


def test_what_killed_processes_left_is_removed_and_the_rest_is_not(project: Project) -> None:
    (project.folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    left = [f"metrics/.koe-{ENDED}-abcdefgh.json", f"work/acoustic-1/kept/.koe-{ENDED}-abcdefgh",
            "work/acoustic-2/lock", ".dvc/tmp/exps/run/a/a.run"]
    kept = [f"metrics/.koe-{os.getpid()}-abcdefgh.json", "metrics/.koe", "work/acoustic-1/lock",
            "work/acoustic-1/last.safetensors"]
    for name in (*left, *kept):
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    project.doctor()
    assert [name for name in left if (project.folder / name).exists()] == []
    assert [name for name in kept if not (project.folder / name).exists()] == []
    assert project.doctor() == "koe doctor: nothing is damaged or left over\n"


def test_gits_lock_is_only_told(project: Project) -> None:
    path = project.folder / ".git/index.lock"
    path.touch()
    assert examine(project.folder) == []  # git may be running
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    assert f"rm {path}" in project.doctor(status=1)
    assert path.exists()
    path.unlink()
