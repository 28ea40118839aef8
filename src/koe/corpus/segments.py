"""Cutting long recordings at pauses into pieces, each an utterance of its own with its place in the recording.

Off unless a corpus sets `segments` (lesson 9). Which part of the text a piece contains is not known, so pieces have no
text. Recordings of one sentence, in all styles, are cut together, at pauses that all of them have, so that pieces of
one name have the same content. Called by `koe.corpus.importers.registry`.

Times are seconds from the beginning of the file. A recording's pauses are an array (places, 2) of the beginning and the
end of each: the silence before the first speech, those in between, and the silence after the last speech.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from koe.audio.checks import naming
from koe.audio.downmix import Downmix
from koe.audio.files import read_channels, resample
from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.audio.preparation import downmix_of_file, remove_subsonic
from koe.audio.vad import RATE, SHORTEST_PAUSE, speech_spans
from koe.corpus.params import SegmentParams
from koe.corpus.quarantine import Quarantine
from koe.dtw import distances, dtw, source_positions
from koe.errors import AudioError, KoeError
from koe.names import utterance_name
from koe.parallel import thread_map
from koe.progress import progress

NO_SPEECH = "no_speech"
NO_PAUSE = "no_pause"
TOO_SHORT = "too_short"
LONG_SILENCE = "long_silence"
TOO_LONG_TO_ALIGN = "too_long_to_align"
NOT_PARALLEL = "not_parallel"
NAME_TAKEN = "name_taken"

BLOCK = 120.0  # s that are read at a time
MARGIN = 1.0  # s: the longest silence before and after a piece's speech; the rest of a longer pause is left out
ALIGN_RATE = 10  # frames per second: at 10 or 17, 9 of 10 ends of sentences are mapped to within 0.07 s
ALIGN_LONGEST = 900.0  # s; the matrix of distances then takes 0.3 GB, and 1 GB while it is computed
ALIGN_BAND = 0.15  # of the duration: how far one speaker may be ahead of the other
ALIGN_DEPTH = 5.0  # nepers (43 dB) below the loudest; softer than that is each recording's own noise
ALIGN_PENALTY = 0.1
TOLERANCE = 0.25  # s between the expected place of a pause and the actual one
SAME_TEXT = 0.92  # of the cost by chance; demo voices (from 40 s): up to 0.91 for one text, from 0.96 for two

_MEL = MelParams(sample_rate=RATE, n_fft=1024, hop_length=320, win_length=1024, n_mels=40, fmin=60, fmax=7600,
                 floor=1e-5)
_POOLED = RATE // _MEL.hop_length // ALIGN_RATE  # mel frames to a frame of the alignment


@dataclass(frozen=True)
class _Recording:
    row: dict[str, Any]  # of the utterance table
    pauses: np.ndarray  # s, (places, 2)
    downmix: Downmix

    @property
    def utterance(self) -> str:
        return self.row["utterance"]


def cut_long(
    name: str, table: pd.DataFrame, params: SegmentParams, quarantine: Quarantine
) -> tuple[pd.DataFrame, list[str]]:
    """The utterance table of corpus `name` with pieces instead of long recordings, and lines to print.

    Where one recording of a sentence is longer than `longer_than`, all its recordings are cut, together. Pieces are
    named `<sentence>_000` and so on, and last `min_seconds` to `max_seconds` each. Cuts lie in the middle of pauses,
    which are at least `min_pause_seconds` long where that is possible. The rest is quarantined with its place. Raises
    KoeError for a long recording that is not a file.
    """
    long = set(table.loc[table["seconds"] > params.longer_than, "sentence"])
    if not long:
        return table, []
    chosen = table["sentence"].isin(long)
    rows = table[chosen].sort_values(["sentence", "speaker", "style"]).to_dict("records")
    if packed := [row["utterance"] for row in rows if not row["path"]]:
        raise KoeError(f"corpora.{name}.segments: {packed[0]} is not a file of its own; only files are cut")
    by_sentence: dict[str, list[_Recording]] = {sentence: [] for sentence in sorted(long)}
    results = progress(thread_map(_find_pauses, rows), f"pauses {name}", len(rows), "recording")
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, AudioError):
            quarantine.add(row["utterance"], result.reason, result.detail)
        else:
            by_sentence[row["sentence"]].append(result)
    taken = set(table["sentence"])
    pieces = [piece for recordings in by_sentence.values()
              for piece in _cut_together(name, recordings, taken, params, quarantine)]
    with_pieces = pd.concat([table[~chosen], pd.DataFrame(pieces, columns=table.columns)], ignore_index=True)
    return with_pieces, [_note(rows, pieces, params)]


def _note(rows: list[dict[str, Any]], pieces: list[dict[str, Any]], params: SegmentParams) -> str:
    hours, kept = (sum(row["seconds"] for row in part) / 3600 for part in (rows, pieces))
    return (f"{len(rows)} recordings ({hours:.2f} h) cut into {len(pieces)} pieces ({kept:.2f} h) of "
            f"{params.min_seconds:g} to {params.max_seconds:g} s")


def _find_pauses(row: dict[str, Any]) -> _Recording | AudioError:
    """The recording with its pauses, or the error if it cannot be read or has no speech."""
    start, end = _extent(row)
    try:
        with naming(row["path"]):
            downmix = downmix_of_file(row["path"], BLOCK, start, end)
            spans = np.array(list(_spans(row["path"], start, end, downmix)))
            if not len(spans):
                raise AudioError(NO_SPEECH, f"{row['path']}: no speech in {start:.1f}–{end:.1f} s")
    except AudioError as error:
        return error
    pauses = np.stack([np.append(start, spans[:, 1]), np.append(spans[:, 0], end)], axis=1)
    return _Recording(row, pauses, downmix)


def _extent(row: dict[str, Any]) -> tuple[float, float]:
    start = 0.0 if pd.isna(row["start"]) else float(row["start"])
    return start, start + float(row["seconds"])


def _read(path: str, start: float, end: float, downmix: Downmix) -> np.ndarray:
    """A part of a file as one waveform (samples,) at RATE, for the detector and the alignment."""
    channels, rate = read_channels(path, start, end)
    return remove_subsonic(resample(downmix(channels), rate, RATE), RATE)


def _block_end(start: float, end: float) -> float:
    return start + BLOCK if start + BLOCK + 1 < end else end  # so that no block has only a few samples


def _spans(path: str, start: float, end: float, downmix: Downmix) -> Iterator[tuple[float, float]]:
    """Stretches of speech in a file, which is read in blocks that begin in pauses, so that memory is bounded."""
    running = None  # speech that reached the end of a block without a pause
    while start < end:
        stop = _block_end(start, end)
        spans = [(start + first, start + last) for first, last in speech_spans(_read(path, start, stop, downmix), RATE)]
        if running and spans and spans[0][0] - start < SHORTEST_PAUSE:
            spans[0] = (running[0], spans[0][1])
        elif running:
            yield running
        running = None
        if stop < end and len(spans) > 1:
            stop = (spans[-2][1] + spans[-1][0]) / 2
            del spans[-1]
        elif stop < end and spans:
            running = spans.pop()
        yield from spans
        start = stop
    if running:
        yield running


def _cut_together(
    name: str, recordings: list[_Recording], taken: set[str], params: SegmentParams, quarantine: Quarantine
) -> list[dict[str, Any]]:
    """The rows of the pieces of one sentence's recordings; quarantines what is in no piece."""
    recordings, pauses = _with_common_pauses(recordings, params, quarantine)
    if not recordings:
        return []
    pieces = choose_pieces(pauses, params)
    sentence = recordings[0].row["sentence"]
    names = [f"{sentence}_{number:03d}" for number in range(len(pieces))]
    if clash := taken & set(names):
        for recording in recordings:
            quarantine.add(recording.utterance, NAME_TAKEN, f"a piece of it would be called {min(clash)}, as another "
                           "sentence is; rename one of them")
        return []
    _account_for_rest(recordings, pauses, pieces, params, quarantine)
    rows = []
    for recording, begins, ends in zip(recordings, *_edges(pauses), strict=True):
        for piece, (first, last) in zip(names, pieces, strict=True):
            start, end = float(begins[first]), float(ends[last])
            utterance = utterance_name(name, recording.row["speaker"], piece, recording.row["style"])
            rows.append(recording.row | {"utterance": utterance, "sentence": piece, "text": "", "start": start,
                                         "end": end, "seconds": end - start})
    return rows


def _with_common_pauses(
    recordings: list[_Recording], params: SegmentParams, quarantine: Quarantine
) -> tuple[list[_Recording], np.ndarray]:
    """The recordings that can be cut together, and the pauses that all of them have, (recordings, places, 2).

    All are aligned to the first one. Quarantines those that are too long to align or have another text.
    """
    if len(recordings) > 1:
        recordings = _short_enough(recordings, quarantine)
    if not recordings:
        return [], np.empty((0, 0, 2))
    reference, *others = recordings
    features = _features(reference) if others else np.empty(0)
    together, places = [reference], [np.arange(len(reference.pauses))]
    for other in others:
        try:
            partners = _partners(reference, features, other)
        except AudioError as error:
            quarantine.add(other.utterance, error.reason, error.detail)
        else:
            together.append(other)
            places.append(partners)
    common = (np.stack(places) >= 0).all(axis=0)
    return together, np.stack([recording.pauses[own[common]] for recording, own in zip(together, places, strict=True)])


def _short_enough(recordings: list[_Recording], quarantine: Quarantine) -> list[_Recording]:
    """The recordings that are short enough to be aligned; quarantines the others."""
    kept = []
    for recording in recordings:
        seconds = recording.pauses[-1, 0] - recording.pauses[0, 1]
        if seconds <= ALIGN_LONGEST:
            kept.append(recording)
        else:
            quarantine.add(recording.utterance, TOO_LONG_TO_ALIGN, f"{recording.row['path']}: {seconds:.0f} s; "
                           f"recordings of one sentence are aligned up to {ALIGN_LONGEST:g} s")
    return kept


def _partners(reference: _Recording, features: np.ndarray, other: _Recording) -> np.ndarray:
    """For each pause of the reference the index of the same pause of the other, -1 where there is none: int64.

    features: the reference's. Raises AudioError (not parallel) if the two have different texts.
    """
    frames = _align(features, _features(other))
    if frames is None:
        raise AudioError(NOT_PARALLEL, f"{other.row['path']} does not say what {reference.row['path']} says: aligned "
                         "backwards it fits about as well; give them different sentence names, or take one away")
    middles = (reference.pauses[1:-1].mean(axis=1) - reference.pauses[0, 1]) * ALIGN_RATE - 0.5
    expected = other.pauses[0, 1] + (np.interp(middles, np.arange(len(frames)), frames) + 0.5) / ALIGN_RATE
    partners = np.full(len(reference.pauses), -1)
    partners[1:-1] = _nearest(expected, other.pauses[1:-1])
    partners[0], partners[-1] = 0, len(other.pauses) - 1
    return partners


def _align(reference: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """The position in the other of each frame of the reference, in frames, never decreasing; None if the texts differ.

    How well two recordings fit depends also on voices, noise and pauses; played backwards, the other keeps these and
    loses the text, which gives the cost by chance.
    """
    band = round(ALIGN_BAND * len(reference))
    path, cost = dtw(distances(other, reference), ALIGN_PENALTY, band)
    _, by_chance = dtw(distances(other[::-1].copy(), reference), ALIGN_PENALTY, band)
    return source_positions(path) if cost < SAME_TEXT * by_chance else None


def _nearest(expected: np.ndarray, pauses: np.ndarray) -> np.ndarray:
    """For each expected time (times,) the pause within TOLERANCE, counted from 1 and used once; -1 for none."""
    matches = np.full(len(expected), -1)
    if not len(pauses) or not len(expected):
        return matches
    begins, ends = pauses.T
    distance = np.maximum(0, np.maximum(begins - expected[:, None], expected[:, None] - ends))
    nearest = distance.argmin(axis=1)
    for place in np.unique(nearest):
        near = np.flatnonzero(nearest == place)
        closest = near[np.abs(expected[near] - pauses[place].mean()).argmin()]
        if distance[closest, place] <= TOLERANCE:
            matches[closest] = place + 1
    return matches


def _features(recording: _Recording) -> np.ndarray:
    """Features for alignment, from the first to the last speech: float32, (frames, mel bands), at ALIGN_RATE.

    Log-mel averaged over time, without properties of the single recording: the noise far below its speech, and the
    mean and deviation of every band.
    """
    size = _POOLED * _MEL.hop_length
    start, end = recording.pauses[0, 1], recording.pauses[-1, 0]
    parts = []
    while start < end:
        stop = _block_end(start, end)
        wave, start = _read(recording.row["path"], start, stop, recording.downmix), stop
        frames = max(1, round(len(wave) / size))  # a whole number, or blocks would not join
        wave = np.pad(wave, (0, size))[:frames * size]
        parts.append(log_mel(torch.from_numpy(wave), _MEL).numpy().reshape(frames, _POOLED, -1).mean(axis=1))
    mel = np.concatenate(parts)
    mel = np.maximum(mel, float(np.percentile(mel.max(axis=1), 95)) - ALIGN_DEPTH)
    return (mel - mel.mean(axis=0)) / np.maximum(mel.std(axis=0), 1e-3)


def _edges(pauses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pause the beginning of a piece that starts there, and the end of one that stops there: (..., places).

    Both are the pause's middle, unless that leaves more silence than MARGIN, rounded to 0.01 s.
    """
    middle = pauses.mean(axis=-1)
    begins, ends = np.maximum(middle, pauses[..., 1] - MARGIN), np.minimum(middle, pauses[..., 0] + MARGIN)
    return np.round(begins, 2), np.round(ends, 2)


def choose_pieces(pauses: np.ndarray, params: SegmentParams) -> list[tuple[int, int]]:
    """Pieces of recordings of the same text, in order, as (place where it starts, place where it ends).

    pauses: (recordings, places, 2). Every piece lasts `min_seconds` to `max_seconds` in every recording. The choice
    loses the least speech; among equals, its pauses fall least short of `min_pause_seconds`; among equals again, its
    lengths are the most even and its pauses the longest. Computed by dynamic programming over the places.
    """
    begins, ends = _edges(pauses)
    speech = np.rint(1000 * (pauses[:, 1:, 0] - pauses[:, :-1, 1]).sum(axis=0)).astype(int)  # ms: exact in sums
    cuts = [_cut_price(lengths, params) for lengths in np.diff(pauses, axis=2)[..., 0].min(axis=0)]
    cuts[0] = cuts[-1] = (0, 0.0)
    best = [(0, 0, 0.0)]  # up to each place: ms of speech lost, ms by which pauses are too short, unevenness
    steps = [(0, False)]  # for each place: the one before, and whether there is a piece between them
    for last in range(1, pauses.shape[1]):
        lost, missing, uneven = best[last - 1]
        options = [((lost + int(speech[last - 1]), missing, uneven), (last - 1, False))]
        for first in range(last - 1, -1, -1):
            lengths = ends[:, last] - begins[:, first]
            if lengths.max() > params.max_seconds:
                break
            if lengths.min() >= params.min_seconds:
                lost, missing, uneven = best[first]
                price = (missing + cuts[first][0] + cuts[last][0],
                         uneven + cuts[first][1] + cuts[last][1] + _unevenness(lengths, params))
                options.append(((lost, *price), (first, True)))
        least, step = min(options)
        best.append(least)
        steps.append(step)
    return _pieces_of(steps)


def _pieces_of(steps: list[tuple[int, bool]]) -> list[tuple[int, int]]:
    pieces, place = [], len(steps) - 1
    while place > 0:
        start, is_piece = steps[place]
        if is_piece:
            pieces.append((start, place))
        place = start
    return pieces[::-1]


def _cut_price(pause: float, params: SegmentParams) -> tuple[int, float]:
    """The cost of a cut in a pause of `pause` seconds: ms by which it is too short, and 0.5 (short) to 0 (long)."""
    missing = round(1000 * max(0.0, params.min_pause_seconds - pause))
    return missing, 0.5 * min(1.0, params.min_pause_seconds / max(pause, 1e-3))


def _unevenness(lengths: np.ndarray, params: SegmentParams) -> float:
    """How far a piece's lengths (recordings,) are from the middle of the allowed range: 0 to 1."""
    half = (params.max_seconds - params.min_seconds) / 2
    return float(np.mean(np.square((lengths - params.min_seconds) / half - 1)))


def _account_for_rest(
    recordings: list[_Recording], pauses: np.ndarray, pieces: list[tuple[int, int]], params: SegmentParams,
    quarantine: Quarantine,
) -> None:
    """Quarantines what is between first and last speech but in no piece: speech, and silence beyond MARGIN."""
    begins, ends = _edges(pauses)
    left = np.column_stack([pauses[:, 0, 1], ends[:, 1:]])
    entered = np.column_stack([begins[:, :-1], pauses[:, -1, 0]])
    edges = [0, *(place for piece in pieces for place in piece), pauses.shape[1] - 1]
    for before, after in zip(edges[::2], edges[1::2], strict=True):  # where a piece ends, and where the next one starts
        reason = NO_PAUSE if (ends[:, after] - begins[:, before]).max() > params.max_seconds else TOO_SHORT
        for recording, first, last in zip(recordings, left[:, before], entered[:, after], strict=True):
            place = f"{recording.row['path']}: {first:.2f}–{last:.2f} s"
            if before < after:
                quarantine.add(recording.utterance, reason, f"{place} make no piece of {params.min_seconds:g} to "
                               f"{params.max_seconds:g} s (segments.min_seconds, segments.max_seconds)")
            elif first < last:
                quarantine.add(recording.utterance, LONG_SILENCE, f"{place} are silent and in no piece")
