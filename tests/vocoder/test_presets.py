"""Presets of HiFi-GAN, published and for other sample rates: each trains, its hop and its rates agree."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from support.filled_tables import write_filled

from koe.audio.grid import mel_contract
from koe.audio.mel import log_mel
from koe.audio.samples import to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.tables.cuts import CUTS
from koe.experiments.named import compose, experiment_names, read_experiment
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params, check_params
from koe.vocoder.data import MelAudio
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.networks import make_network
from koe.vocoder.training import VocoderTask

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments"
NAMES = [name for name in experiment_names(FOLDER) if name.startswith("hifigan_")]
OF_OTHER_RATES = {"hifigan_16k": (16000, 160), "hifigan_24k": (24000, 300), "hifigan_44k": (44100, 512),
                  "hifigan_48k": (48000, 480)}


@cache
def preset(name: str) -> dict[str, Any]:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    return compose(values, read_experiment(name, FOLDER))


def thin(name: str) -> Params:
    """A preset at a small width and batch; rates, kernels, periods and segment are its own."""
    tree: Any = yaml.safe_load(yaml.safe_dump(preset(name)))
    vocoder = tree["vocoder"]
    vocoder["hifigan"]["upsample_channels"] = 32
    vocoder["discriminators"] |= {"period_channels": 1, "scale_channels": 4}
    vocoder["training"]["batch_size"] = 2
    return check_params(tree)


def task_of(params: Params, data: Path, recordings: int = 3) -> VocoderTask:
    """The task on noise, each recording a little longer than a segment."""
    mel, frames = params.mel, params.vocoder.training.segment_size // params.mel.hop_length + 3
    draw = np.random.default_rng(0)
    utterances = [f"toy/x/{index}" for index in range(recordings)]
    with (ShardWriter(data / "resampled/toy") as audio,
          ShardWriter(data / "features/toy", {"mel": mel_contract(mel)}) as features):
        for utterance in utterances:
            wave, _ = to_int16(draw.normal(0, 0.1, frames * mel.hop_length).clip(-1, 1).astype(np.float32))
            audio.add(utterance, audio=wave)
            spectrum = log_mel(torch.from_numpy(wave.astype(np.float32) / 32768), mel).numpy()
            features.add(utterance, mel=spectrum, f0=np.full(frames, 150, np.float32))
    cuts = [(utterance, 0, frames * mel.hop_length) for utterance in utterances]
    write_filled(CUTS, data / "trim/toy", pd.DataFrame(cuts, columns=["utterance", "start", "end"]))
    audio_of = MelAudio(Dataset(["toy"], mel, data), [(utterance, utterance) for utterance in utterances])
    torch.manual_seed(0)
    return VocoderTask(make_network(params.vocoder, mel), Discriminators(params.vocoder.discriminators),
                       params.vocoder, audio_of, audio_of, 0, torch.device("cpu"), params.speaker_pitch)


@pytest.mark.parametrize("name", NAMES)
def test_lesson_38_every_preset_trains(name: str, tmp_path: Path) -> None:
    task = task_of(thin(name), tmp_path)
    before = {name: parameter.clone() for name, parameter in task.generator.named_parameters()}
    values = task.step(1, task.read(1))
    assert {"mel", "feature_matching", "adversarial", "discriminator"} <= values.keys() and "stft" not in values
    assert all(map(math.isfinite, values.values()))
    assert not [name for name, after in task.generator.named_parameters() if torch.equal(after, before[name])]


def test_lesson_38_there_are_presets_for_the_usual_rates() -> None:
    assert set(NAMES) == {"hifigan_v1", "hifigan_v2", "hifigan_v3", *OF_OTHER_RATES}
    for name, (rate, hop) in OF_OTHER_RATES.items():
        params = check_params(preset(name))
        assert (params.mel.sample_rate, params.mel.hop_length) == (rate, hop)
    assert preset("hifigan_44k")["vocoder"]["discriminators"]["periods"] == [3, 5, 7, 11, 17, 23, 37]


@pytest.mark.parametrize("name", NAMES)
def test_lesson_38_a_segment_is_32_frames(name: str) -> None:
    params = check_params(preset(name))
    assert params.vocoder.training.segment_size == 32 * params.mel.hop_length
    assert params.vocoder.model == "hifigan"


def test_lesson_16_the_published_rate_falls_by_the_epoch(tmp_path: Path) -> None:
    task = task_of(thin("hifigan_v1"), tmp_path)
    assert task.sampler.batching.batches_per_epoch == 2  # three recordings, batches of two
    for step in (0, 1, 2, 3, 20, 2001, 400_000):
        assert task.learning_rate(step + 1) == pytest.approx(2e-4 * 0.999 ** (step // 2), rel=1e-12)
    for optimizer in (task.generator_optimizer, task.discriminator_optimizer):
        assert isinstance(optimizer, torch.optim.AdamW)
        assert all(tuple(group["betas"]) == (0.8, 0.99) for group in optimizer.param_groups)
    task.step(3, task.read(3))
    for optimizer in (task.generator_optimizer, task.discriminator_optimizer):
        assert all(group["lr"] == pytest.approx(2e-4 * 0.999) for group in optimizer.param_groups)


@pytest.mark.parametrize("name", NAMES)
def test_lesson_39_every_value_of_a_preset_has_its_source_beside_it(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("parameters:\n")[2].splitlines()
    assert len(lines) == len(read_experiment(name, FOLDER).parameters)
    assert not [line for line in lines if " # " not in line]
