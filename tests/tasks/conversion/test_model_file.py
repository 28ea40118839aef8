"""A model's folder says all there is to know about it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_training import EMBEDDINGS, make_task, small_params, weights

from koe.errors import StoreError
from koe.files import read_json, write_json
from koe.tasks.conversion.model_file import AcousticModel, Preparation, load_acoustic, save_acoustic


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
    card = read_json(folder / "model.json")
    card["acoustic"] |= {"hidden": 256}
    write_json(folder / "model.json", card)
    with pytest.raises(StoreError, match=r"model\.json: acoustic\.hidden: .* parameters are of another version"):
        load_acoustic(folder)
