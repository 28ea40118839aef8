"""Long recordings with known pauses: sentences of the demo's voices one after the other, faint noise throughout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from koe.corpus.voices import VOICES, speak

NOISE_DB = -60.0


@dataclass(frozen=True)
class LongRecording:
    path: Path
    sentences: np.ndarray  # (sentences, 2), seconds: where each begins and ends

    def said_in(self, start: float, end: float) -> list[int]:
        """The sentences of which the middle lies in a part of the recording."""
        middles = self.sentences.mean(axis=1)
        return [int(number) for number in np.flatnonzero((middles > start) & (middles < end))]

    def in_a_pause(self, time: float) -> bool:
        between = self.sentences.ravel()[1:-1].reshape(-1, 2)
        return bool(((between[:, 0] <= time) & (time <= between[:, 1])).any())


def long_recording(path: Path, voice: str, texts: list[str], seed: int) -> LongRecording:
    """Speaks the texts with pauses of 0.35 to 0.9 s, other ones for every seed, and writes a WAV file."""
    generator = np.random.default_rng(seed)
    rate = VOICES[voice].sample_rate
    parts, sentences = [np.zeros(rate // 2)], []
    for audio, _ in speak(VOICES[voice], 0, texts):
        loud = np.flatnonzero(np.abs(audio.astype(int)) > 32768 * 10 ** (-45 / 20))
        start = sum(map(len, parts))
        parts += [audio[loud[0]:loud[-1] + 1] / 32768, np.zeros(round(generator.uniform(0.35, 0.9) * rate))]
        sentences.append((start / rate, (start + len(parts[-2])) / rate))
    wave = np.concatenate(parts)
    soundfile.write(path, wave + 10 ** (NOISE_DB / 20) * generator.standard_normal(len(wave)), rate, subtype="PCM_16")
    return LongRecording(path, np.array(sentences))
