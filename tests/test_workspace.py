"""Where work/ is: of each pipeline, in the main checkout, also from a temporary one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from koe.workspace import claim, holder, is_claimed, main_checkout, project_root, release, work_root

CLAIMING = """
import sys
from pathlib import Path
from koe.workspace import claim, release
folder = Path(sys.argv[1])
file = claim(folder, "acoustic", 0.05)
print("claimed", flush=True)
sys.stdin.read(1)
release(folder, file)
"""


@pytest.mark.parametrize("pipeline", [".", "pipelines/universal"])
@pytest.mark.parametrize("checkout", [".dvc/tmp/exps/tmpab", ".dvc/tmp/exps/standalone/tmpab",
                                      ".dvc/tmp/exps/verify-x/checkout"])
def test_temporary_checkouts_share_work_with_the_main_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str, checkout: str
) -> None:
    monkeypatch.delenv("KOE_WORK", raising=False)
    for root in (tmp_path, tmp_path / checkout):
        (root / ".dvc").mkdir(parents=True, exist_ok=True)
        (root / pipeline).mkdir(parents=True, exist_ok=True)
    here = tmp_path / checkout / pipeline
    assert project_root(here) == tmp_path / checkout
    assert main_checkout(here) == main_checkout(tmp_path / pipeline) == (tmp_path / pipeline).resolve()
    assert work_root(here) == (tmp_path / pipeline).resolve() / "work"


def test_outside_of_a_project_the_folder_itself(tmp_path: Path) -> None:
    assert project_root(tmp_path) is None
    assert main_checkout(tmp_path) == tmp_path


def claiming(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CLAIMING, str(folder)], text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_folder_is_one_process_s_own_until_it_is_released(tmp_path: Path) -> None:
    folder = tmp_path / "acoustic-1"
    first = claiming(folder)
    assert first.stdout and first.stdout.readline() == "claimed\n"
    assert is_claimed(folder) and holder(folder) == f"process {first.pid}"
    second = claiming(folder)
    assert second.stderr and f"acoustic: waiting for process {first.pid}, which uses" in second.stderr.readline()
    first.communicate("x")
    assert second.stdout and second.stdout.readline() == "claimed\n"
    second.communicate("x")
    assert (first.returncode, second.returncode) == (0, 0) and not folder.exists()


def test_the_claim_of_a_killed_process_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "acoustic-1"
    first = claiming(folder)
    assert first.stdout and first.stdout.readline() == "claimed\n"
    first.kill()
    first.wait()
    assert not is_claimed(folder)
    (folder / "kept").touch()
    file = claim(folder, "acoustic")
    assert holder(folder) == f"process {os.getpid()}"
    release(folder, file)
    assert [path.name for path in folder.iterdir()] == ["kept"]
