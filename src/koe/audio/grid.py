"""The frame grid (how samples become frames, for mel, F0 and energy alike: lessons 6 and 24) and the mel contract."""

from typing import Any

from koe.audio.params import MelParams


def frame_count(samples: int, mel_params: MelParams) -> int:
    """Frames of a waveform of that many samples; the remainder at its end belongs to no frame."""
    return samples // mel_params.hop_length


def frame_rate(mel_params: MelParams) -> float:
    """Frames per second."""
    return mel_params.sample_rate / mel_params.hop_length


def mel_contract(mel_params: MelParams) -> dict[str, Any]:
    """Every mel setting, and the conventions that are not parameters.

    Stored with mels, and compared wherever mels of two origins are used together (lesson 13).
    """
    return {**mel_params.model_dump(), "scale": "slaney", "log": "natural", "magnitude": "amplitude",
            "padding": "reflect, (n_fft - hop_length) / 2, not centred", "normalized": False}
