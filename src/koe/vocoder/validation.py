"""Validation of a vocoder on whole utterances that it is not trained on: measures, and waveforms to listen to.

`validate` is called by the trainer, always with the same utterances. The mel that goes in may be the recording's own
or one that an acoustic model generated with the recording's timing; what comes out is compared to the recording.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from koe.audio.mel import log_mel
from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import extract_f0, pitch_range
from koe.evaluation.f0 import f0_metrics
from koe.evaluation.pesq import wide_band_pesq
from koe.listeners.mos import estimate_mos
from koe.listeners.packaged import SAMPLE_RATE, at_16_khz, mos_predictor
from koe.parallel import thread_map
from koe.vocoder.losses import mel_loss, stft_loss
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import VocoderValidation
from koe.vocoder.synthesis import NeuralVocoder


@dataclass(frozen=True)
class ValidationItem:
    """An utterance to synthesise and to compare to its recording."""

    name: str  # of a pair or an utterance
    speaker: str  # `<corpus>/<speaker>`
    mel: np.ndarray  # (frames, n_mels)
    f0: np.ndarray  # (frames,) of the recording in Hz, 0 = unvoiced
    wave: np.ndarray  # (frames * hop_length,) of the recording


@dataclass(frozen=True)
class Validation:
    """Results of a validation."""

    values: dict[str, float]  # means over utterances, by `validation/<name>`, without measures that no utterance has
    waves: list[np.ndarray]  # synthesised, float32 (frames * hop_length,), in the order of the items


def validate(
    network: VocoderNetwork, items: Sequence[ValidationItem], mel_params: MelParams, params: VocoderValidation,
    stft_sizes: Sequence[int], device: torch.device, pitch: SpeakerPitch,
) -> Validation:
    """Synthesises every item in full, as a finished vocoder does in float32, and compares it to its recording.

    Values: `mel` and `stft`, as in the training's loss; `log_f0_rmse` (natural logarithm) and `vuv_error` (share),
    frame by frame; `mos`, estimated, and `pesq`, wide band, if `params` asks for them. PESQ is of 16 kHz: projects at
    a lower rate have none. The same network and items give the same values. The network stays as it is.
    """
    vocoder = NeuralVocoder("in training", deepcopy(network), mel_params, device, precision="float32")
    waves = vocoder.synthesize([item.mel for item in items], [item.f0 for item in items])
    if params.mos:
        mos_predictor()  # before threads could load it twice

    def measure(made: tuple[ValidationItem, np.ndarray]) -> list[tuple[str, float | None]]:
        return list(_measures(*made, mel_params, params, stft_sizes, pitch))

    values: dict[str, list[float]] = defaultdict(list)
    measures = thread_map(measure, zip(items, waves, strict=True))
    for item, item_measures in zip(items, measures, strict=True):
        for name, value in item_measures:
            if value is None:
                print(f"validation: {name} of {item.name} is not defined and left out")
            else:
                values[f"validation/{name}"].append(value)
    return Validation({name: float(np.mean(each)) for name, each in values.items()}, waves)


def _measures(
    item: ValidationItem, wave: np.ndarray, mel_params: MelParams, params: VocoderValidation, stft_sizes: Sequence[int],
    pitch: SpeakerPitch,
) -> Iterator[tuple[str, float | None]]:
    made, real = torch.from_numpy(wave), torch.from_numpy(item.wave)
    yield "mel", float(mel_loss(log_mel(real, mel_params), log_mel(made, mel_params)))
    silence = (0, max(0, max(stft_sizes) - len(real)))  # after utterances that are shorter than a window
    yield "stft", float(stft_loss(F.pad(real, silence)[None], F.pad(made, silence)[None], stft_sizes))
    floor, ceiling = pitch_range(pitch, item.speaker)
    f0 = extract_f0(wave, mel_params.sample_rate, mel_params.hop_length, pitch.method, floor, ceiling)
    frame_by_frame = np.repeat(np.arange(len(f0))[:, None], 2, axis=1)
    compared = f0_metrics(f0, item.f0, frame_by_frame)
    yield from ((name, compared[name]) for name in ("log_f0_rmse", "vuv_error"))
    resampled = at_16_khz(wave, mel_params.sample_rate)
    if params.mos:
        yield "mos", estimate_mos(resampled)
    if params.pesq and mel_params.sample_rate >= SAMPLE_RATE:
        yield "pesq", wide_band_pesq(resampled, at_16_khz(item.wave, mel_params.sample_rate))
