"""A copy of dvc.lock is kept while it is whole, and a part of one is told from a whole one."""

import os
import subprocess
from pathlib import Path

import pytest
from dvc.fs import localfs
from dvc.rwlock import rwlock

from koe.errors import KoeError
from koe.pipeline.locks import RWLOCK, damage_of, keep_lock, kept_copy, read_lock, require_unused, require_whole

LOCK = b"""schema: '2.0'
stages:
  one:
    cmd: python one.py
    params:
      params.yaml:
        seed: 1
    outs:
    - path: a.txt
      hash: md5
      md5: c4ca4238a0b923820dcc509a6f75849b
      size: 1
"""


@pytest.fixture()
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_cut_is_damage_where_the_whole_is_known() -> None:
    assert damage_of(LOCK) == damage_of(LOCK, LOCK) == ""
    assert [size for size in range(len(LOCK)) if not damage_of(LOCK[:size], LOCK)] == []
    unknown = [size for size in range(len(LOCK)) if not damage_of(LOCK[:size])]
    assert all(LOCK[size - 1 : size] == b"\n" for size in unknown)  # DVC reads these, too


@pytest.mark.parametrize("text, damage", [
    (b"", "0 bytes"), (bytes(512), "512 bytes, all blank"), (b"\xff\xfe\n", "not YAML"),
    (b"[" * 3000 + b"\n", "not YAML"),
    (b"stages: {}\n", "no lock file of schema 2.0"), (b"schema: '2.0'\nstages:\n  one:\n", "stage one has no command"),
    (b"schema: '2.0'\nstages:\n  one:\n    cmd: x\n    outs:\n", "stage one has no outs"),
    (b"schema: '2.0'\nstages:\n  one:\n    cmd: x\n    outs:\n    - path:\n", "outs without a path"),
    (b"schema: '2.0'\nstages:\n  one:\n    cmd: x\n    params:\n      params.yaml:\n", "no parameters"),
])
def test_damage_is_described(text: bytes, damage: str) -> None:
    assert damage in damage_of(text)


@pytest.mark.parametrize("pipeline", [".", "pipelines/other"])
def test_a_whole_lock_is_kept_and_a_part_of_it_is_not(project: Path, pipeline: str) -> None:
    folder = project / pipeline
    folder.mkdir(parents=True, exist_ok=True)
    keep_lock(folder)  # there is none yet
    newer = LOCK.replace(b"1", b"2")
    for text, kept in ((LOCK, LOCK), (b"", LOCK), (LOCK[:50], LOCK), (newer, newer)):
        (folder / "dvc.lock").write_bytes(text)
        keep_lock(folder)
        copy = kept_copy(folder)
        assert copy is not None and copy.read_bytes() == kept
        assert copy == project / ".dvc/tmp/koe" / pipeline / "dvc.lock"


def test_outside_of_a_project_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_bytes(LOCK)
    keep_lock(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]


@pytest.mark.parametrize("name, whole", [("dvc.lock", LOCK), (".dvc/tmp/rwlock", b'{"write": {}}')])
def test_commands_name_the_doctor(project: Path, monkeypatch: pytest.MonkeyPatch, name: str, whole: bytes) -> None:
    monkeypatch.setattr("koe.pipeline.locks._WRITING", 0)
    (project / name).write_bytes(whole)
    require_whole()
    (project / name).write_bytes(whole[:-1])
    with pytest.raises(KoeError, match=f"{name} is damaged .cut.*koe doctor"):
        require_whole()
    (project / name).write_bytes(b"")
    with pytest.raises(KoeError, match=r"0 bytes.*koe doctor"):
        require_whole()


def test_reading_names_the_doctor(project: Path) -> None:
    (project / "dvc.lock").write_bytes(LOCK)
    assert read_lock(project / "dvc.lock")["one"]["outs"][0]["path"] == "a.txt"
    (project / "dvc.lock").write_bytes(LOCK[:90])
    with pytest.raises(KoeError, match=r"cut after 90 bytes.*koe doctor"):
        read_lock(project / "dvc.lock")


def test_a_stage_by_hand_does_not_empty_what_dvc_hashes(project: Path) -> None:
    outs = [Path("data/out"), Path("data/other")]
    require_unused(outs)
    with rwlock(str(project / ".dvc/tmp"), localfs, "dvc repro", [], [str(project / "data/other")], False):
        with pytest.raises(KoeError, match=rf"data/other is being written by process {os.getpid()} \(dvc"):
            require_unused(outs)
        require_unused(outs[:1])
        dead = subprocess.Popen(["true"])
        dead.wait()
        text = (project / RWLOCK).read_text()
        (project / RWLOCK).write_text(text.replace(f'"pid": {os.getpid()}', f'"pid": {dead.pid}'))
        require_unused(outs)
        (project / RWLOCK).write_text(text)
    require_unused(outs)
