import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.cards import change_card
from support.parameters import project_values

from koe.audio.grid import mel_contract
from koe.errors import ContractError, StoreError
from koe.tasks.conversion.schema import Params
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.networks import make_network
from koe.vocoder.params import GRIFFIN_LIM
from koe.vocoder.registry import load_vocoder


@pytest.fixture(params=["hifigan", "harmonic_noise"])
def model(request: pytest.FixtureRequest, params: Params, with_params: Callable[..., Params]) -> VocoderModel:
    torch.manual_seed(1)
    chosen = with_params({"vocoder.model": request.param}).vocoder
    return VocoderModel(make_network(chosen, params.mel), Discriminators(chosen.discriminators), chosen, params.mel,
                        steps=42, provenance={"revision": "abc", "inputs": "0123"})


only_hifigan = pytest.mark.parametrize("model", ["hifigan"], indirect=True)


@pytest.fixture()
def folder(model: VocoderModel, tmp_path: Path) -> Path:
    save_vocoder(tmp_path / "vocoder", model)
    return tmp_path / "vocoder"


def test_a_model_comes_back_whole(model: VocoderModel, folder: Path) -> None:
    again = read_vocoder(folder)
    assert (again.params, again.mel, again.steps) == (model.params, model.mel, model.steps)
    assert again.discriminators is not None and model.discriminators is not None
    for ours, theirs in ((again.generator, model.generator), (again.discriminators, model.discriminators)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@only_hifigan
def test_files_have_the_published_names(folder: Path) -> None:
    names = load_file(folder / "generator.safetensors").keys()
    assert {"conv_pre.weight_g", "conv_pre.weight_v", "conv_pre.bias", "resblocks.0.convs1.0.weight_g"} <= names


def test_lesson_01_the_card_says_what_the_model_came_from(
    model: VocoderModel, folder: Path, params: Params
) -> None:
    card = json.loads((folder / "vocoder.json").read_text())
    assert card["vocoder"] == model.params.model_dump(mode="json")
    assert card["contract"] == mel_contract(params.mel)
    assert card["provenance"] == {"revision": "abc", "inputs": "0123"}
    assert card["steps"] == 42


def test_cards_that_differ_in_what_is_not_chosen_read_the_same(
    model: VocoderModel, folder: Path, params: Params
) -> None:
    """As cards were before they held the chosen network alone, and of versions whose other networks differ."""
    card = json.loads((folder / "vocoder.json").read_text())
    sections = project_values()["vocoder"]
    other, = {"hifigan", "harmonic_noise"} - {model.params.model}
    assert other not in card["vocoder"]
    for unused in (sections[other], {"sizes": "of another version"}):
        change_card(folder / "vocoder.json", lambda card, unused=unused: card["vocoder"].update({other: unused}))
        again = read_vocoder(folder)
        assert again.params == model.params
        assert again.params.model_dump() == model.params.model_dump()
        assert load_vocoder(folder, params.mel, device="cpu").name == model.params.model


def test_lesson_13_a_vocoder_of_other_mel_settings_is_refused(folder: Path, params: Params) -> None:
    with pytest.raises(ContractError, match=r"fmin: 0\.0 in .*vocoder, 20\.0 in"):
        load_vocoder(folder, params.mel.model_copy(update={"fmin": 20.0}))


def test_griffin_lim_by_name(params: Params) -> None:
    vocoder = load_vocoder("griffin_lim", params.mel, params.griffin_lim, params.seed)
    assert vocoder.name == "griffin_lim"
    assert vocoder.contract == mel_contract(params.mel)


def test_griffin_lim_without_parameters_is_the_one_of_params_yaml(params: Params) -> None:
    assert params.griffin_lim == GRIFFIN_LIM


def test_a_trained_one_by_its_folder(model: VocoderModel, folder: Path, params: Params) -> None:
    vocoder = load_vocoder(folder, params.mel, device="cpu")
    assert vocoder.name == model.params.model
    assert vocoder.contract == mel_contract(params.mel)
    mel, f0 = np.full((30, 80), -5, np.float32), np.full(30, 120, np.float32)
    [wave] = vocoder.synthesize([mel], [f0])
    assert wave.shape == (30 * params.mel.hop_length,)
    assert np.isfinite(wave).all()


def test_a_folder_without_a_vocoder_is_named(tmp_path: Path, params: Params) -> None:
    with pytest.raises(StoreError, match=r"nothing is neither griffin_lim nor"):
        load_vocoder(tmp_path / "nothing", params.mel)
    with pytest.raises(StoreError, match=r"nothing.*vocoder\.json does not exist; expected the folder"):
        read_vocoder(tmp_path / "nothing")


def test_a_model_without_discriminators_takes_the_place_of_one_that_had_some(
    model: VocoderModel, folder: Path
) -> None:
    save_vocoder(folder, dataclasses.replace(model, discriminators=None))
    assert read_vocoder(folder).discriminators is None


def test_weights_in_half_precision_are_read_as_float32(model: VocoderModel, tmp_path: Path) -> None:
    save_vocoder(tmp_path / "half", model, half=True)
    again = read_vocoder(tmp_path / "half").generator.state_dict()
    assert {value.dtype for value in again.values()} == {torch.float32}
    for name, value in model.generator.state_dict().items():
        assert torch.allclose(again[name], value, rtol=1e-3, atol=1e-4), name


def test_damage_is_named(folder: Path, params: Params) -> None:
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"generator\.safetensors is damaged: its checksum is"):
        load_vocoder(folder, params.mel)


@only_hifigan
def test_weights_that_do_not_fit_the_card_are_named(folder: Path, params: Params) -> None:
    change_card(folder / "vocoder.json", lambda card: card["vocoder"]["hifigan"].update(upsample_channels=32))
    with pytest.raises(StoreError, match=r"(?s)generator\.safetensors does not fit vocoder\.hifigan in .*conv_pre"):
        load_vocoder(folder, params.mel)
