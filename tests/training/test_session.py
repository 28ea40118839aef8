"""A killed run continues by itself and exactly; a run with other parameters never sees its checkpoint."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from koe.errors import KoeError
from koe.training.session import Session, fingerprint


def _session(root: Path, identity: dict[str, object]) -> Session:
    return Session("acoustic", identity, root / "curves", root / "work")


def _objects() -> dict[str, torch.nn.Module]:
    return {"network": torch.nn.Linear(2, 2)}


def test_lesson_34_a_killed_run_finds_its_own_checkpoint(tmp_path: Path) -> None:
    network, other = _objects(), _objects()
    session = _session(tmp_path, {"lr": 1})
    assert session.resume(network) == 0
    session.log(5, {"train/mel": 0.5})
    session.save(5, network)
    session.log(7, {"train/mel": 0.1})  # after the checkpoint: the run was killed here

    resumed = _session(tmp_path, {"lr": 1})
    assert resumed.resume(other) == 5
    assert torch.equal(other["network"].weight, network["network"].weight)
    resumed.log(7, {"train/mel": 0.2})
    rows = (tmp_path / "curves/plots/metrics/train/mel.tsv").read_text().split()
    assert rows == ["step", "mel", "5", "0.5", "7", "0.2"]


def test_pictures_ahead_of_the_checkpoint_are_left_out(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1})
    for step in (5, 7):
        session.show(step, "a_x-y", Image.new("L", (3, step)))
        if step == 5:
            session.save(step, _objects())
    resumed = _session(tmp_path, {"lr": 1})
    assert not list((tmp_path / "curves").rglob("*.png"))
    resumed.resume(_objects())
    assert [path.name for path in (tmp_path / "curves/plots/images/a_x-y").iterdir()] == ["00000005.png"]
    resumed.finish()
    assert not resumed.folder.exists()


def test_sounds_ahead_of_the_checkpoint_are_left_out(tmp_path: Path) -> None:
    wave = np.linspace(-1.5, 1.5, 640, dtype=np.float32)
    session = _session(tmp_path, {"lr": 1})
    for step in (5, 7):
        session.play(step, "a_x", wave, 16000)
        if step == 5:
            session.save(step, _objects())
    heard, rate = soundfile.read(tmp_path / "curves/players/a_x/00000007.flac")
    assert rate == 16000 and np.allclose(heard, wave.clip(-1, 1), atol=1e-4)
    resumed = _session(tmp_path, {"lr": 1})
    assert not list((tmp_path / "curves").rglob("*.flac"))
    resumed.resume(_objects())
    assert [path.name for path in (tmp_path / "curves/players/a_x").iterdir()] == ["00000005.flac"]
    resumed.finish()
    assert not resumed.folder.exists() and (tmp_path / "curves/players/a_x/00000005.flac").exists()


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1})
    session.keep("best", 1, _objects())
    for name in (".last.safetensors.abc.safetensors", "kept/.best.safetensors.abc.safetensors"):
        (session.folder / name).write_bytes(b"half")
    session.resume(_objects())
    assert {path.name for path in session.folder.rglob("*") if path.is_file()} == {"best.safetensors", "lock"}


def test_notes_are_metrics_without_a_curve(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1})
    session.note({"padding_ratio": 0.25})
    session.log(5, {"train/mel": 0.5})
    metrics = json.loads((tmp_path / "curves/metrics.json").read_text())
    assert metrics == {"padding_ratio": 0.25, "train": {"mel": 0.5}, "step": 5}
    assert not list((tmp_path / "curves").rglob("padding_ratio.tsv"))


class Writer:
    """Stands for TensorBoard's, which is not installed here."""

    rows: ClassVar[list[tuple[str, float, int]]] = []

    def __init__(self, folder: str) -> None:
        assert folder.endswith("curves/tensorboard")
        self.rows.clear()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.append((name, value, step))

    def close(self) -> None:
        pass


def test_tensorboard_gets_the_same_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))  # type: ignore
    session = Session("acoustic", {}, tmp_path / "curves", tmp_path / "work", tensorboard=True)
    session.log(5, {"train/mel": 0.5})
    session.save(5, _objects())
    session.log(6, {"train/mel": 0.4})
    resumed = Session("acoustic", {}, tmp_path / "curves", tmp_path / "work", tensorboard=True)
    resumed.resume(_objects())
    assert Writer.rows == [("train/mel", 0.5, 5)]
    resumed.finish()


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(KoeError, match=r"acoustic\.training\.tensorboard.*pip install tensorboard"):
        Session("acoustic", {}, tmp_path / "curves", tmp_path / "work", tensorboard=True)


def test_other_parameters_do_not_see_it(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1})
    session.save(5, _objects())
    assert _session(tmp_path, {"lr": 2}).resume(_objects()) == 0


def test_a_finished_run_trains_again_when_forced(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1})
    session.save(5, _objects())
    session.keep("00000005", 5, _objects())
    session.finish()
    assert _session(tmp_path, {"lr": 1}).resume(_objects()) == 0
    assert (session.folder / "kept" / "00000005.safetensors").exists()  # lesson 21


def test_fingerprint_follows_contents_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = fingerprint([tmp_path])
    (tmp_path / "a").write_text("2")
    second = fingerprint([tmp_path])
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint([tmp_path])}) == 3


@pytest.mark.parametrize("damaged, step, rows", [
    (["last.safetensors"], 5, ["5", "0.5"]), (["last.safetensors", "before.safetensors"], 0, None),
    (["curves.jsonl"], 0, None),
])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: list[str], step: int, rows: list[str] | None
) -> None:
    session, states = _session(tmp_path, {"lr": 1}), {5: _objects(), 7: _objects()}
    for at, objects in states.items():
        session.log(at, {"train/mel": at / 10})
        session.save(at, objects)
    for name in damaged:
        path = session.folder / name
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 128]) + data[-8:])
    resumed, found = _session(tmp_path, {"lr": 1}), _objects()
    before = found["network"].weight.clone()
    assert resumed.resume(found) == step
    assert torch.equal(found["network"].weight, states[step]["network"].weight if step else before)
    said = capsys.readouterr().out
    assert all(name in said for name in damaged) and "removed" in said
    resumed.log(9, {"train/mel": 0.9})
    curve = (tmp_path / "curves/plots/metrics/train/mel.tsv").read_text().split()
    assert curve == ["step", "mel", *(rows or []), "9", "0.9"]
    resumed.finish()
    assert not resumed.folder.exists()
