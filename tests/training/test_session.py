"""A killed run continues by itself and exactly; a run with other parameters never sees its checkpoint."""

from pathlib import Path

import pytest
import torch

from koe.training.session import Session, fingerprint
from koe.workspace import work_root


def _session(root: Path, identity: dict[str, object], network: torch.nn.Module) -> Session:
    return Session("acoustic", identity, root / "curves", {"network": network}, root / "work")


def test_lesson_34_a_killed_run_finds_its_own_checkpoint(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    session = _session(tmp_path, {"lr": 1}, network)
    assert session.resume() == 0
    session.log(5, {"train/mel": 0.5})
    session.save(5)
    session.log(7, {"train/mel": 0.1})  # after the checkpoint: the run was killed here

    other = torch.nn.Linear(2, 2)
    resumed = _session(tmp_path, {"lr": 1}, other)
    assert resumed.resume() == 5
    assert torch.equal(other.weight, network.weight)
    resumed.log(7, {"train/mel": 0.2})
    rows = (tmp_path / "curves/plots/metrics/train/mel.tsv").read_text().split()
    assert rows == ["step", "mel", "5", "0.5", "7", "0.2"]


def test_other_parameters_do_not_see_it(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1}, torch.nn.Linear(2, 2))
    session.save(5)
    assert _session(tmp_path, {"lr": 2}, torch.nn.Linear(2, 2)).resume() == 0


def test_a_finished_run_trains_again_when_forced(tmp_path: Path) -> None:
    session = _session(tmp_path, {"lr": 1}, torch.nn.Linear(2, 2))
    session.save(5)
    session.keep("00000005", 5)
    session.finish()
    assert _session(tmp_path, {"lr": 1}, torch.nn.Linear(2, 2)).resume() == 0
    assert (session.folder / "kept" / "00000005.safetensors").exists()  # lesson 21


def test_work_folder_is_the_main_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOE_WORK", raising=False)
    temporary = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "abc"
    temporary.mkdir(parents=True)
    assert work_root(temporary) == tmp_path / "project" / "work"
    assert work_root(tmp_path / "project") == tmp_path / "project" / "work"


def test_fingerprint_follows_contents_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = fingerprint([tmp_path])
    (tmp_path / "a").write_text("2")
    second = fingerprint([tmp_path])
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint([tmp_path])}) == 3
