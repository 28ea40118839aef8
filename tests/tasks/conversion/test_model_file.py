"""A model's folder says all there is to know about it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.cards import change_card
from support.small_training import EMBEDDINGS, make_task, small_params, weights

from koe.audio.grid import mel_contract
from koe.errors import StoreError
from koe.files import read_json, write_json
from koe.tasks.conversion.model_file import AcousticModel, Preparation, load_acoustic, save_acoustic
from koe.tasks.conversion.schema import Params


def test_a_model_folder_says_all_there_is_to_know(tmp_path: Path, values: dict[str, Any]) -> None:
    params = small_params(values)
    task, folder = make_task(tmp_path, params), tmp_path / "model"
    speakers = task.reader.speakers
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    save_acoustic(folder, AcousticModel(task.model, params.acoustic, speakers, preparation, {"revision": "test"}))
    loaded = load_acoustic(folder)
    assert loaded.params == params.acoustic
    assert loaded.preparation.mel == params.mel
    assert loaded.provenance == {"revision": "test"}
    assert loaded.speakers.to_json() == speakers.to_json()
    assert all(np.array_equal(loaded.speakers.embeddings[name], vector) for name, vector in EMBEDDINGS.items())
    before = weights(task.model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.network.state_dict().items())
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="dvc repro"):
        load_acoustic(tmp_path / "nothing")


def test_a_model_of_other_parameters_says_so(tmp_path: Path, values: dict[str, Any]) -> None:
    params = small_params(values)
    task, folder = make_task(tmp_path, params), tmp_path / "model"
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    save_acoustic(folder, AcousticModel(task.model, params.acoustic, task.reader.speakers, preparation, {}))
    change_card(folder / "model.json", lambda card: card["acoustic"].update(hidden=256))
    with pytest.raises(StoreError, match=r"model\.json: acoustic\.hidden: .* parameters are of another version"):
        load_acoustic(folder)


@pytest.fixture()
def saved(tmp_path: Path, values: dict[str, Any]) -> Path:
    """The folder of a model that takes embeddings."""
    params = small_params(values)
    task, folder = make_task(tmp_path, params), tmp_path / "model"
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    save_acoustic(folder, AcousticModel(task.model, params.acoustic, task.reader.speakers, preparation, {}))
    return folder


@pytest.mark.parametrize("file", ["model.safetensors", "speakers.safetensors"])
def test_a_flipped_bit_is_noticed_and_a_folder_of_before_is_read(saved: Path, file: str) -> None:
    data = bytearray((saved / file).read_bytes())
    data[-5] ^= 1
    (saved / file).write_bytes(data)
    with pytest.raises(StoreError, match=rf"{file} is damaged: its checksum is .*copy the model's folder again"):
        load_acoustic(saved)
    assert read_json(saved / "model.json")["checksums"].keys() == {
        "model.safetensors", "speakers.safetensors", "model.json"}
    change_card(saved / "model.json")
    load_acoustic(saved)


def test_a_changed_digit_of_the_card_is_noticed(saved: Path) -> None:
    card = read_json(saved / "model.json")
    card["preparation"]["mel"]["fmin"] += 1
    write_json(saved / "model.json", card)
    with pytest.raises(StoreError, match=r"model\.json is damaged, or was changed by hand: .*copy the model's folder"):
        load_acoustic(saved)


def test_weights_that_are_not_numbers_are_the_models_fault(saved: Path) -> None:
    tensors = load_file(saved / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, saved / "model.safetensors")
    change_card(saved / "model.json")
    with pytest.raises(StoreError, match=rf"model\.safetensors: {name} of .* NaN or infinity"):
        load_acoustic(saved)


@pytest.mark.parametrize("entry", ["acoustic", "preparation", "speakers", "provenance"])
@pytest.mark.parametrize("value", [None, [], {}, 7, "text", {"mel": 1}, {"statistics": {}, "directions": [["a"]]}])
def test_every_entry_of_the_card_is_checked(saved: Path, entry: str, value: Any) -> None:
    if entry == "provenance" and isinstance(value, dict):
        pytest.skip("it may hold anything")
    change_card(saved / "model.json", lambda card: card.update({entry: value}))
    with pytest.raises(StoreError, match=r"model\.json"):
        load_acoustic(saved)


def test_statistics_of_another_number_of_bands_are_refused(saved: Path) -> None:
    def std(card: dict[str, Any]) -> list[float]:
        values: list[float] = card["speakers"]["statistics"]["target"]["mel"]["std"]
        return values

    change_card(saved / "model.json", lambda card: std(card).__setitem__(0, -1.0))
    with pytest.raises(StoreError, match=r"model\.json .*std not below 0"):
        load_acoustic(saved)
    change_card(saved / "model.json", lambda card: std(card).pop())
    with pytest.raises(StoreError, match=r"model\.json .*expected \(80,\)"):
        load_acoustic(saved)


def test_the_model_that_ships_takes_anybody_and_fits_the_defaults(root: Path, params: Params) -> None:
    folder = root / "models/pretrained/anyone"
    model = load_acoustic(folder)
    assert model.speakers.takes_new
    assert mel_contract(model.preparation.mel) == mel_contract(params.mel)
    assert len(model.speakers.directions) == 478
    assert sum(file.stat().st_size for file in folder.iterdir()) < 25e6
