"""A long recording in stretches that follow each other, cut in pauses, so that memory does not grow with its length.

The file is read three times, block by block: for its channels; for its level, loudness and pauses; and for the
stretches. Together they are what `Converter.features` prepares of a whole recording, and every decision is made for all
of it: the mix of the channels, the gain, the head and tail that are cut off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from koe.audio.checks import LEVEL_SECONDS, check_clipping, check_loudest, clipped_share
from koe.audio.downmix import ChannelSurvey, Downmix
from koe.audio.files import audio_info, blocks
from koe.audio.loudness import LoudnessMeter, gain_to
from koe.audio.preparation import prepared_blocks
from koe.audio.trim import STEP_SECONDS, LevelMeter, speech_span
from koe.tasks.conversion.model_file import Preparation

BLOCK_SECONDS = 20.0  # read at once
PAUSE_SECONDS = 0.2  # the quietest of this length is a joint
REACH = 0.1  # a joint is searched so far to either side of its place, as a share of a stretch: 12 s of 120


@dataclass(frozen=True)
class Survey:
    """What is decided about a whole recording."""

    downmix: Downmix
    gain: float  # of the prepared waveform
    bounds: list[int]  # samples at the model's rate: the beginning of speech, joints, its end


def survey_recording(path: Path, preparation: Preparation, seconds: float, unit: int) -> Survey:
    """Reads a recording to cut it into stretches of `seconds`, more or less, by multiples of `unit` samples.

    Raises AudioError if it cannot be read or its content cannot be used, as `koe.audio.preparation.prepare` does.
    """
    rate, params = preparation.mel.sample_rate, preparation.resample
    downmix = _checked_downmix(path, preparation)
    levels, loudness = LevelMeter(rate), LoudnessMeter(rate)
    samples, peak = 0, 0.0
    for block in prepared_blocks(path, rate, params.quality, BLOCK_SECONDS, downmix):
        levels.add(block)
        loudness.add(block)
        samples += len(block)
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
    check_loudest(float(levels.rms(LEVEL_SECONDS).max()), params, "the recording")
    gain_db = 0.0 if params.loudness_lufs is None else gain_to(params.loudness_lufs, loudness.lufs(), peak)
    frames = levels.rms()
    span = speech_span(frames, float(frames.max()), levels.step, samples, rate, preparation.trim)
    bounds = joints(levels.rms(PAUSE_SECONDS), levels.step, span, round(seconds * rate), unit)
    return Survey(downmix, float(10 ** (gain_db / 20)), bounds)


def stretches(path: Path, preparation: Preparation, survey: Survey) -> Iterator[np.ndarray]:
    """Prepared waveforms, float32 (samples,) at the model's rate, between the bounds of the survey.

    Raises AudioError if the file cannot be read.
    """
    held, position = np.zeros(0, np.float32), 0  # what is read and not yielded, and its first sample
    start, *ends = survey.bounds
    for block in prepared_blocks(
            path, preparation.mel.sample_rate, preparation.resample.quality, BLOCK_SECONDS, survey.downmix):
        held = np.concatenate([held, block])
        while ends and position + len(held) >= ends[0]:
            end = ends.pop(0)
            yield held[start - position : end - position] * np.float32(survey.gain)
            held, position, start = held[end - position :], end, end


def joints(levels: np.ndarray, step: int, span: tuple[int, int], longest: int, unit: int) -> list[int]:
    """The samples at which a recording is cut, with the first and the last of `span`.

    `levels`: RMS of stretches of PAUSE_SECONDS, one each `step` samples. Parts are equally long, `longest` at most, but
    for REACH, within which the quietest place is searched; a joint is a multiple of `unit` from the first sample.
    """
    start, end = span
    parts = -(-(end - start) // longest)
    reach = round(REACH * longest)
    bounds = [start]
    for part in range(1, parts):
        middle = start + part * (end - start) // parts
        first = (middle - reach) // step
        quietest = first + int(np.argmin(levels[first : (middle + reach) // step]))
        pause = (quietest + round(PAUSE_SECONDS / STEP_SECONDS / 2)) * step  # its middle
        bounds.append(start + round((pause - start) / unit) * unit)
    return [*bounds, end]


def _checked_downmix(path: Path, preparation: Preparation) -> Downmix:
    survey, clipped = ChannelSurvey(audio_info(path).sample_rate), 0.0
    for block in blocks(path, BLOCK_SECONDS):
        survey.add(block)
        clipped += clipped_share(block) * len(block)
    check_clipping(clipped / audio_info(path).samples, preparation.resample, "the recording")
    return survey.downmix()
