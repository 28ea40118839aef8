"""Checkpoints bring back models, optimizers and generators exactly."""

from pathlib import Path

import pytest
import torch

from koe.errors import StoreError
from koe.training.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint


def _objects(seed: int) -> dict[str, object]:
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    return {"network": network, "optimizer": torch.optim.AdamW(network.parameters(), lr=0.1, betas=(0.8, 0.99))}


def _train(objects: dict[str, object], steps: int) -> None:
    network, optimizer = objects["network"], objects["optimizer"]
    for _ in range(steps):
        loss = network(torch.randn(3, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_resumed_run_equals_one_never_interrupted(tmp_path: Path) -> None:
    whole = _objects(1)
    _train(whole, 3)
    save_checkpoint(tmp_path / "last.safetensors", 3, whole)
    _train(whole, 4)
    resumed = _objects(2)
    torch.randn(100)  # another place in the generator
    assert load_checkpoint(tmp_path / "last.safetensors", resumed) == 3
    _train(resumed, 4)
    for name, tensor in whole["network"].state_dict().items():
        assert torch.equal(tensor, resumed["network"].state_dict()[name]), name


def test_optimizer_settings_come_back(tmp_path: Path) -> None:
    before = _objects(1)
    _train(before, 1)
    before["optimizer"].param_groups[0]["lr"] = 0.0125
    save_checkpoint(tmp_path / "last.safetensors", 1, before)
    after = _objects(1)
    load_checkpoint(tmp_path / "last.safetensors", after)
    assert after["optimizer"].param_groups[0]["lr"] == 0.0125
    assert tuple(after["optimizer"].param_groups[0]["betas"]) == (0.8, 0.99)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(StoreError, match=r"last\.safetensors"):
        load_checkpoint(path, {})


def test_every_damaged_bit_is_noticed_before_a_state_changes(tmp_path: Path) -> None:
    path, generator = tmp_path / "last.safetensors", torch.Generator().manual_seed(0)
    save_checkpoint(path, 3, _objects(1))
    whole, other = path.read_bytes(), _objects(2)
    before = {name: tensor.clone() for name, tensor in other["network"].state_dict().items()}
    for place in torch.randint(0, len(whole), (60,), generator=generator).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1:])
        with pytest.raises(StoreError, match=r"last\.safetensors"):
            load_checkpoint(path, other)
        with pytest.raises(StoreError, match=r"last\.safetensors"):
            read_checkpoint(path, ["network"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in other["network"].state_dict().items())
