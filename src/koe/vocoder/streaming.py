"""Waveforms piece by piece: equal to those of the whole utterance, in memory that does not grow with its length.

A piece is computed with as many frames before and after it as it depends on, and these are cut off again. At the very
beginning there is nothing before it, as in a whole utterance, and after the end comes the silence that
`koe.vocoder.synthesis`, which uses this for long utterances, puts there too, or nothing. It also serves mels that still
arrive.
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
    """Cuts a log-mel (T, n_mels) and its source (T * hop_length, 2), if there is one, into chunks of `frames`."""
    for start in range(0, len(mel), frames):
        end = start + frames
        yield mel[start:end], None if source is None else source[start * hop_length : end * hop_length]


def silent_chunk(mel_params: MelParams, frames: int, takes_f0: bool) -> Chunk:
    """What follows the end of every utterance: silence, and a source of zeros."""
    silence = np.full((frames, mel_params.n_mels), np.log(mel_params.floor), np.float32)
    source = np.zeros((frames * mel_params.hop_length, 2), np.float32) if takes_f0 else None
    return silence, source


def stream(
    network: VocoderNetwork, chunks: Iterable[Chunk], mel_params: MelParams, device: torch.device,
    ends_in_silence: bool = True,
) -> Iterator[np.ndarray]:
    """Synthesises an utterance while it arrives: chunks of any sizes in, float32 waveforms (samples,) out.

    Together the waveforms are what `koe.vocoder.synthesis.NeuralVocoder.synthesize` makes of the whole, to rounding; if
    the utterance does not end in silence, what the network makes of it alone.
    Each is returned as soon as the `network.context_frames()` frames after it have arrived, so there are as many as
    chunks, or fewer. `network` is on `device`, in evaluation mode. For networks that take F0 each chunk carries its
    part of one source of the whole utterance.
    """
    context = network.context_frames()
    mel: np.ndarray = np.empty((0, mel_params.n_mels), np.float32)
    source = np.empty((0, 2), np.float32) if network.takes_f0 else None
    done = 0  # frames at the beginning of `mel` that are context only
    tail = context if ends_in_silence else 0
    last = silent_chunk(mel_params, tail, network.takes_f0)
    for chunk in chain(chunks, [last]):
        next_mel, next_source = chunk
        mel = np.concatenate([mel, next_mel], dtype=np.float32)
        if source is not None:
            assert next_source is not None and len(next_source) == len(next_mel) * mel_params.hop_length
            source = np.concatenate([source, next_source])
        ready = len(mel) - (tail if chunk is last else context)  # frames whose context is complete
        if ready <= done:
            continue
        wave = _synthesize(network, mel, source, device)
        yield wave[done * mel_params.hop_length : ready * mel_params.hop_length].copy()
        done = min(context, ready)
        mel = mel[ready - done :]
        if source is not None:
            source = source[(ready - done) * mel_params.hop_length :]


@torch.inference_mode()
def _synthesize(
    network: VocoderNetwork, mel: np.ndarray, source: np.ndarray | None, device: torch.device
) -> np.ndarray:
    """The waveform (frames * hop_length,) of a mel and its source, computed at once."""
    mels = torch.from_numpy(mel)[None].to(device)
    sources = None if source is None else torch.from_numpy(source)[None].to(device)
    return network(mels, sources)[0].float().cpu().numpy()
