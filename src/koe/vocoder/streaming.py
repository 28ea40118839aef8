"""Waveforms piece by piece: the same as of the whole utterance, in memory that its length does not change.

A piece is computed with as many frames before and after it as it depends on, and these are cut off again. At the very
beginning there is nothing before it, as in a whole utterance, and after the end comes the silence that
`koe.vocoder.synthesis` puts there too. Used by it for long utterances, and by whoever speaks while mels still arrive.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch

from koe.audio.params import MelParams
from koe.vocoder.network import VocoderNetwork

CHUNK_FRAMES = 1000  # 12 s at the usual rate: what is computed twice is little beside it

Chunk = tuple[np.ndarray, np.ndarray | None]  # log-mel (frames, n_mels) and its part of the source, see VocoderNetwork


def chunks_of(
    mel: np.ndarray, source: np.ndarray | None, hop_length: int, frames: int = CHUNK_FRAMES
) -> Iterator[Chunk]:
    """Cuts a log-mel (T, n_mels) and its source (T * hop_length, 2), if there is one, into chunks of so many frames."""
    for start in range(0, len(mel), frames):
        end = start + frames
        yield mel[start:end], None if source is None else source[start * hop_length : end * hop_length]


def silent_chunk(mel_params: MelParams, frames: int, takes_f0: bool) -> Chunk:
    """What follows the end of every utterance: no sound, and a source that has none."""
    silence = np.full((frames, mel_params.n_mels), np.log(mel_params.floor), np.float32)
    return silence, np.zeros((frames * mel_params.hop_length, 2), np.float32) if takes_f0 else None


def stream(
    network: VocoderNetwork, chunks: Iterable[Chunk], mel_params: MelParams, device: torch.device
) -> Iterator[np.ndarray]:
    """Speaks an utterance while it arrives: chunks of any sizes in, float32 waveforms (samples,) out.

    Together the waveforms are what `koe.vocoder.synthesis.NeuralVocoder.synthesize` makes of the whole, to rounding.
    Each comes as soon as `network.context_frames()` frames after it are known; they are as many as the chunks, or
    fewer: nothing comes of a chunk that ends before that. `network` is on `device`, in evaluation mode. Of networks
    that take F0 each chunk carries its part of one source of the whole utterance.
    """
    context = network.context_frames()
    heard: np.ndarray = np.empty((0, mel_params.n_mels), np.float32)
    source = np.empty((0, 2), np.float32) if network.takes_f0 else None
    spoken = 0  # frames at the beginning of `heard` that are there as context only
    for more, more_source in chain(chunks, [silent_chunk(mel_params, context, network.takes_f0)]):
        heard = np.concatenate([heard, more], dtype=np.float32)
        if source is not None:
            assert more_source is not None and len(more_source) == len(more) * mel_params.hop_length
            source = np.concatenate([source, more_source])
        known = len(heard) - context
        if known <= spoken:
            continue
        wave = _speak(network, heard, source, device)
        yield wave[spoken * mel_params.hop_length : known * mel_params.hop_length].copy()
        spoken = min(context, known)
        heard = heard[known - spoken :]
        if source is not None:
            source = source[(known - spoken) * mel_params.hop_length :]


@torch.inference_mode()
def _speak(network: VocoderNetwork, mel: np.ndarray, source: np.ndarray | None, device: torch.device) -> np.ndarray:
    """The waveform (frames * hop_length,) of what is there."""
    tensors = [None if values is None else torch.from_numpy(values)[None].to(device) for values in (mel, source)]
    return network(*tensors)[0].float().cpu().numpy()
