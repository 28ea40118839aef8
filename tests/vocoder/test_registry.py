import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from koe.errors import ContractError, StoreError
from koe.params import Params, VocoderParams
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.grouping import groups_by_length
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.registry import load_vocoder


@pytest.fixture()
def model(params: Params, small: VocoderParams) -> VocoderModel:
    torch.manual_seed(1)
    return VocoderModel(
        Generator(small.generator, params.mel.n_mels), Discriminators(small.discriminators), small, params.mel,
        steps=42, provenance={"revision": "abc", "inputs": "0123"},
    )


@pytest.fixture()
def folder(model: VocoderModel, tmp_path: Path) -> Path:
    save_vocoder(tmp_path / "vocoder", model)
    return tmp_path / "vocoder"


def random_mels(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(-4, 2, (length, 80)).astype(np.float32) for length in lengths]


def test_a_model_comes_back_whole(model: VocoderModel, folder: Path) -> None:
    again = read_vocoder(folder)
    assert (again.params, again.mel, again.steps) == (model.params, model.mel, model.steps)
    assert again.discriminators is not None and model.discriminators is not None
    for ours, theirs in ((again.generator, model.generator), (again.discriminators, model.discriminators)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_files_have_the_published_names(folder: Path) -> None:
    names = load_file(folder / "generator.safetensors").keys()
    assert {"conv_pre.weight_g", "conv_pre.weight_v", "conv_pre.bias", "resblocks.0.convs1.0.weight_g"} <= names


def test_lesson_01_the_card_says_what_the_model_came_from(folder: Path, params: Params, small: VocoderParams) -> None:
    card = json.loads((folder / "vocoder.json").read_text())
    assert card["vocoder"] == small.model_dump(mode="json")
    assert card["contract"] == params.mel.contract()
    assert card["provenance"] == {"revision": "abc", "inputs": "0123"}
    assert card["steps"] == 42


def test_lesson_13_a_vocoder_of_other_mel_settings_is_refused(folder: Path, params: Params) -> None:
    with pytest.raises(ContractError, match=r"fmin: 0\.0 in .*vocoder, 20\.0 in"):
        load_vocoder(folder, params.mel.model_copy(update={"fmin": 20.0}))


def test_lesson_31_others_in_the_batch_change_nothing(folder: Path, params: Params) -> None:
    vocoder = load_vocoder(folder, params.mel, device="cpu")
    mels = random_mels(50, 380, 61, 1)
    for mel, together in zip(mels, vocoder.synthesize(mels), strict=True):
        assert together.shape == (len(mel) * params.mel.hop_length,)  # 380 frames stay 380 (lesson 6)
        [alone] = vocoder.synthesize([mel])
        assert np.abs(alone - together).max() < 1e-5


def test_by_name(params: Params, folder: Path) -> None:
    griffin_lim = load_vocoder("griffin_lim", params.mel, params.griffin_lim, params.seed)
    assert griffin_lim.name == "griffin_lim"
    assert griffin_lim.contract == params.mel.contract()
    trained = load_vocoder(folder, params.mel)
    assert trained.name == "hifigan"
    assert trained.contract == params.mel.contract()


def test_a_folder_without_a_vocoder_is_named(tmp_path: Path, params: Params) -> None:
    with pytest.raises(StoreError, match=r"nothing.*griffin_lim"):
        load_vocoder(tmp_path / "nothing", params.mel)


def test_damage_is_named(folder: Path, params: Params) -> None:
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"generator\.safetensors cannot be read"):
        load_vocoder(folder, params.mel)


def test_weights_that_do_not_fit_the_card_are_named(folder: Path, params: Params) -> None:
    card: dict[str, Any] = json.loads((folder / "vocoder.json").read_text())
    card["vocoder"]["generator"]["upsample_channels"] = 32
    (folder / "vocoder.json").write_text(json.dumps(card))
    with pytest.raises(StoreError, match=r"generator\.safetensors has another shape.*conv_pre"):
        load_vocoder(folder, params.mel)


def test_groups_hold_every_utterance_once_and_keep_to_the_limit() -> None:
    lengths = [30, 10, 200, 12, 90, 11]
    groups = groups_by_length(lengths, most_frames=60)
    assert [[lengths[index] for index in group] for group in groups] == [[10, 11, 12], [30], [90], [200]]
    assert groups_by_length([]) == []
