"""What is measured while a vocoder is trained, against vocoders whose faults are known."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.audio.pitch import extract_f0
from koe.tasks.conversion.schema import Params
from koe.vocoder import validation
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import VocoderValidation
from koe.vocoder.validation import ValidationItem, validate

FRAMES, SIZES = 90, [512, 256]
CPU = torch.device("cpu")


class Recites(VocoderNetwork):
    """Answers with a given waveform whatever it hears; copies of it share the list of what that was."""

    heard: ClassVar[list[tuple[Tensor, Tensor | None]]] = []

    def __init__(self, wave: np.ndarray, takes_f0: bool = False) -> None:
        super().__init__()
        self.wave = torch.nn.Parameter(torch.from_numpy(wave))
        self.takes_f0 = takes_f0  # type: ignore[misc]
        self.heard.clear()

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        self.heard.append((mel, source))
        return self.wave[: mel.shape[1] * 256].expand(len(mel), -1)

    def context_frames(self) -> int:
        return 3


def item_of(wave: np.ndarray, params: Params, name: str = "demo/s1/heart-joe") -> ValidationItem:
    mel = log_mel(torch.from_numpy(wave), params.mel).numpy()
    f0 = extract_f0(wave, params.mel.sample_rate, params.mel.hop_length, params.pitch.method, 50, 300)
    return ValidationItem(name, "demo/joe", mel, f0, wave)


@pytest.fixture()
def spoken(voice: Any) -> np.ndarray:
    return voice(1.2)[: FRAMES * 256]


def measured(network: VocoderNetwork, items: list[ValidationItem], params: Params, **changes: Any) -> dict[str, float]:
    asked = VocoderValidation(**{"utterances": 8, "mos": False, "pesq": True, "players": 0} | changes)
    return validate(network, items, params.mel, asked, SIZES, CPU, params.speaker_pitch).values


def test_the_recording_itself_has_no_fault(spoken: np.ndarray, params: Params) -> None:
    network = Recites(spoken).train()
    values = measured(network, [item_of(spoken, params)], params)
    for name in ("mel", "stft", "log_f0_rmse", "vuv_error"):
        assert values[f"validation/{name}"] == pytest.approx(0, abs=1e-6), name
    assert values["validation/pesq"] == pytest.approx(4.64, abs=0.01)
    assert network.training and network.wave.requires_grad and network.wave.grad is None
    mel, _ = network.heard[0]
    assert mel.shape[1] == FRAMES + 3 and bool((mel[:, FRAMES:] == np.log(np.float32(params.mel.floor))).all())


def test_an_utterance_shorter_than_a_window_is_measured(spoken: np.ndarray, params: Params) -> None:
    short = spoken[: 4 * 256]
    asked = VocoderValidation(utterances=1, mos=False, pesq=False, players=0)
    values = [validate(Recites(wave), [item_of(short, params)], params.mel, asked, [4096, 512], CPU,
                       params.speaker_pitch).values["validation/stft"] for wave in (short, short / 2)]
    assert values[0] == pytest.approx(0, abs=1e-6) and values[1] > 0.5


def test_each_fault_moves_its_own_measure(spoken: np.ndarray, params: Params, voice: Any) -> None:
    noise = np.random.default_rng(0).standard_normal(len(spoken)).astype(np.float32)
    item = item_of(spoken, params)
    quiet = measured(Recites(spoken / 2), [item], params)
    assert quiet["validation/mel"] == pytest.approx(np.log(2), rel=0.02)
    assert quiet["validation/log_f0_rmse"] == pytest.approx(0, abs=1e-3)
    semitone = measured(Recites(voice(1.2, f0=120 * 2 ** (1 / 12))[: len(spoken)]), [item], params)
    assert semitone["validation/log_f0_rmse"] == pytest.approx(np.log(2) / 12, rel=0.05)
    hoarse = measured(Recites(0.1 * noise), [item], params)
    assert hoarse["validation/vuv_error"] > 0.5
    assert hoarse["validation/pesq"] < 1.5
    assert hoarse["validation/stft"] > quiet["validation/stft"] > 0


def test_f0_is_looked_for_in_the_speakers_range(voice: Any, params: Params) -> None:
    high = voice(1.2, f0=350.0)[: FRAMES * 256]
    heart = dataclasses.replace(item_of(high, params), speaker="demo/heart", f0=np.full(FRAMES, 350.0))
    assert measured(Recites(high), [heart], params)["validation/log_f0_rmse"] < 0.1
    joe = dataclasses.replace(heart, speaker="demo/joe")  # no further than 300 Hz
    assert measured(Recites(high), [joe], params).get("validation/log_f0_rmse", 1) > 0.1


def test_values_are_means_and_waves_are_in_order(spoken: np.ndarray, params: Params) -> None:
    asked = VocoderValidation(utterances=2, mos=False, pesq=False, players=0)
    items = [item_of(spoken, params), item_of(spoken[: 60 * 256] / 2, params)]
    network = Recites(spoken)
    both = validate(network, items, params.mel, asked, SIZES, CPU, params.speaker_pitch)
    assert [len(wave) for wave in both.waves] == [90 * 256, 60 * 256]
    np.testing.assert_array_equal(both.waves[0], spoken)
    each = [measured(network, [item], params)["validation/mel"] for item in items]
    assert both.values["validation/mel"] == pytest.approx(np.mean(each))
    assert "validation/pesq" not in both.values


def test_silence_has_no_pesq_and_is_left_out_of_it_aloud(
    spoken: np.ndarray, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = item_of(np.zeros_like(spoken), params, "demo/s2/heart-joe")
    alone = measured(Recites(spoken), [item_of(spoken, params)], params)
    values = measured(Recites(spoken), [item_of(spoken, params), silence], params)
    assert values["validation/pesq"] == alone["validation/pesq"]
    assert values["validation/mel"] > alone["validation/mel"]
    printed = capsys.readouterr().out
    assert "pesq of demo/s2/heart-joe" in printed and "log_f0_rmse of demo/s2/heart-joe" in printed
    assert "validation/pesq" not in measured(Recites(spoken), [silence], params)


def test_below_16_khz_there_is_no_pesq(voice: Any, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    low = MelParams(**params.mel.model_dump() | {"sample_rate": 8000, "fmax": 4000.0})
    wave = voice(3.0, rate=8000)[: FRAMES * 256]
    item = ValidationItem("a/b/c", "a/b", log_mel(torch.from_numpy(wave), low).numpy(), np.zeros(FRAMES), wave)
    asked = VocoderValidation(utterances=1, mos=True, pesq=True, players=0)
    monkeypatch.setattr(validation, "estimate_mos", lambda heard: len(heard) / 16000)
    values = validate(Recites(wave), [item], low, asked, SIZES, CPU, params.speaker_pitch).values
    assert "validation/pesq" not in values
    assert values["validation/mos"] == pytest.approx(len(wave) / 8000)  # heard at 16 kHz


def test_the_source_is_the_same_at_every_validation(spoken: np.ndarray, params: Params) -> None:
    item = item_of(spoken, params)
    network = Recites(spoken, takes_f0=True)
    for _ in range(2):
        measured(network, [item], params)
    (_, first), (_, second) = network.heard
    assert first is not None and first.shape == (1, (FRAMES + 3) * 256, 2)
    assert second is not None and torch.equal(first, second)
    voiced = np.repeat(item.f0 > 0, 256)
    assert first[0, : FRAMES * 256][voiced, 0].square().mean() > 0.5
    without = Recites(spoken)
    measured(without, [item], params)
    assert [source for _, source in without.heard] == [None]


@pytest.mark.slow
def test_the_mos_estimate_tells_speech_like_sounds_from_noise(spoken: np.ndarray, params: Params) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(spoken)).astype(np.float32)
    item = item_of(spoken, params)
    values = [measured(Recites(wave), [item], params, mos=True)["validation/mos"] for wave in (spoken, spoken, noise)]
    assert values[0] == values[1] != values[2]
    assert all(1 <= value <= 5 for value in values)
