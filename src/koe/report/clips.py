"""Clips of a page: a waveform to play, with a picture of its mel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from koe.audio.mel import log_mel, minimum_samples
from koe.audio.params import MelParams
from koe.audio.samples import from_int16, to_int16
from koe.corpus.dataset import Dataset
from koe.names import corpus_of, speaker_of
from koe.pipeline.declaration import PipelineFolder
from koe.report.drawing import audio_uri, mel_uri


@dataclass(frozen=True)
class Clip:
    """A waveform with its log-mel."""

    audio: np.ndarray  # int16 (samples,)
    mel: np.ndarray  # (frames, n_mels)


def clip_of(audio: np.ndarray, mel_params: MelParams) -> Clip:
    """16-bit samples and their log-mel. Audio too short for a mel, such as a failed conversion, is padded for it."""
    wave = from_int16(np.pad(audio, (0, max(0, minimum_samples(mel_params) - len(audio)))))
    return Clip(audio, log_mel(torch.from_numpy(wave), mel_params).numpy())


def trimmed_clip(dataset: Dataset, utterance: str) -> Clip:
    """A trimmed recording of the corpora, with the mel that was extracted from it."""
    audio, _ = to_int16(dataset.wave(utterance))
    return Clip(audio, dataset.mel(utterance))


def player(clip: Clip, rate: int, longest: float, top: float) -> dict[str, Any]:
    """A clip for the template. The width of its picture is its length in per cent of `longest` frames."""
    return {
        "audio": audio_uri(clip.audio, rate),
        "seconds": len(clip.audio) / rate,
        "mel": mel_uri(clip.mel, top),
        "width": 100 * len(clip.mel) / longest,
    }


def players(clips: Sequence[Clip], rate: int) -> list[dict[str, Any]]:
    """Clips on one time scale and with one colour scale."""
    longest = max((len(clip.mel) for clip in clips), default=1)
    top = max((float(clip.mel.max(initial=-np.inf)) for clip in clips), default=0.0)
    return [player(clip, rate, longest, top) for clip in clips]


@lru_cache(maxsize=1)
def dataset_of(folder: PipelineFolder) -> Dataset:
    """The recordings of a pipeline's corpora. Its parameters must have the sections `corpora` and `mel`."""
    return Dataset(list(folder.params.corpora), folder.params.mel, folder.path / "data")


def texts_of(dataset: Dataset) -> dict[str, str]:
    """Texts by utterance."""
    return dict(zip(dataset.utterances.index, dataset.utterances["text"], strict=True))


def direction_of(source: str, target: str) -> str:
    """`<source speaker> → <target speaker>` of two utterances; with the corpora's names if these differ."""
    same_corpus = corpus_of(source) == corpus_of(target)
    names = (speaker_of(name) if same_corpus else f"{corpus_of(name)}/{speaker_of(name)}" for name in (source, target))
    return " → ".join(names)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spaced, the first and the last included."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]
