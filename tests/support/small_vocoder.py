"""A vocoder's training run that takes seconds, on a small made-up corpus."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from koe.audio.grid import mel_contract
from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.audio.samples import to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.tables.cuts import CUTS
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import Params, check_params
from koe.training.references import ModelReference
from koe.training.session import Session
from koe.vocoder.data import Item, MelAudio
from koe.vocoder.hifigan import Generator
from koe.vocoder.initial import initial_models
from koe.vocoder.training import VocoderTask
from support.filled_tables import write_filled
from support.parameters import change

Corpus = tuple[Dataset, list[Item], ShardReader]

FRAMES = (70, 64, 40, 90, 33)  # of the recordings; segments in these tests have 32 frames, or more than 33
SMALL: dict[str, Any] = {
    "vocoder.model": "hifigan",
    "vocoder.hifigan.upsample_channels": 16,
    "vocoder.hifigan.resblock_kernels": [3],
    "vocoder.hifigan.resblock_dilations": [[1, 2]],
    "vocoder.harmonic_noise.layers": 1,
    "vocoder.harmonic_noise.hidden": 16,
    "vocoder.harmonic_noise.feed_forward": 32,
    "vocoder.discriminators.periods": [2, 3],
    "vocoder.discriminators.period_channels": 2,
    "vocoder.discriminators.scales": 2,
    "vocoder.discriminators.scale_channels": 4,
    "vocoder.discriminators.spectra": [256],
    "vocoder.discriminators.spectrum_channels": 2,
    "vocoder.loss.stft_sizes": [512, 128],
    "vocoder.training.batch_size": 2,
    "vocoder.training.segment_size": 32 * 256,
    "vocoder.training.true_mels": 0.0,
    "vocoder.training.spectral_steps": 2,
    "vocoder.training.steps": 6,
    "vocoder.training.schedule.warmup_steps": 0,
    "vocoder.training.precision": "float32",
    "vocoder.training.log_every": 2,
    "vocoder.training.validate_every": 4,
    "vocoder.training.checkpoint_every": 3,
    "vocoder.training.validation.mos": False,
    "vocoder.training.validation.pesq": False,
    "vocoder.init.from": None,
}


def small_params(values: dict[str, Any], changes: dict[str, Any] | None = None) -> Params:
    """The project's parameters (a tree, which is changed) for a small vocoder; names in `changes` are dotted."""
    return check_params(change(values, {**SMALL, **(changes or {})}))


def write_corpus(data: Path, mel: MelParams) -> Corpus:
    """Five recordings, the first 100 samples of each cut off by the trim, and generated mels of them."""
    items, cuts = [], []
    with (
        ShardWriter(data / "resampled" / "toy") as audio,
        ShardWriter(data / "features" / "toy", {"mel": mel_contract(mel)}) as features,
        ShardWriter(data / "generated", {"mel": mel_contract(mel)}) as generated,
    ):
        for index, frames in enumerate(FRAMES):
            utterance, samples = f"toy/target/{index:03d}", frames * mel.hop_length
            wave, _ = to_int16(_voice(samples + 200, 100 + 20 * index, mel.sample_rate))
            audio.add(utterance, audio=wave)
            cuts.append((utterance, 100, 100 + samples + 37))  # not a whole number of hops: rounded down
            true = torch.from_numpy(wave[100 : 100 + samples].astype(np.float32) / 32768)
            spectrum = log_mel(true, mel).numpy()
            f0 = np.full(frames, 100 + 20 * index, np.float32)
            f0[:5] = 0
            features.add(utterance, mel=spectrum, f0=f0)
            items.append((f"toy/{index:03d}/source-target", utterance))
            generated.add(items[-1][0], mel=spectrum + np.float32(0.01))
    write_filled(CUTS, data / "trim" / "toy", pd.DataFrame(cuts, columns=["utterance", "start", "end"]))
    return Dataset(["toy"], mel, data), items, ShardReader(data / "generated")


def _voice(samples: int, f0: float, rate: int) -> np.ndarray:
    phase = 2 * np.pi * f0 / rate * np.arange(samples)
    harmonics = sum(np.sin(number * phase) / number for number in range(1, int(4000 / f0)))
    return 0.2 * harmonics + 1e-3 * np.random.default_rng(int(f0)).standard_normal(samples)


def as_loud_as_speech(generator: Generator, mel: np.ndarray) -> None:
    """Makes what an untrained generator says of `mel` (frames, n_mels) vary, 0.1 in the root mean square.

    As drawn its output is a constant and next to nothing beside it: biases are louder than what the mel brings.
    """
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        loudness = generator(torch.from_numpy(mel)[None]).std()
    generator.conv_post.parametrizations.weight.original0.data.mul_(0.1 / loudness)


def make_task(
    corpus: Corpus, params: Params, seed: int = 3, start: ModelReference | None = None
) -> VocoderTask:
    """A training on three of the recordings, watched on the fourth."""
    dataset, items, generated = corpus
    initial = initial_models(params.vocoder, dataset.mel_params, seed, start)
    return VocoderTask(
        initial.generator, initial.discriminators, params.vocoder, MelAudio(dataset, items[:3], generated),
        MelAudio(dataset, items[3:4], generated), seed, torch.device("cpu"), params.speaker_pitch,
        initial.optimizer_states,
    )


def make_session(root: Path, task: VocoderTask) -> Session:
    """A session of the run that these parameters name, with its curves and its work folder in `root`."""
    identity = {"seed": task.seed, "vocoder": task.params.model_dump(mode="json")}
    return Session("vocoder", identity, root / "curves", root / "work")
