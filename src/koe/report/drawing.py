"""Sounds as data URIs and arrays as pictures: pure functions from arrays to the page's markup.

Lines and areas are SVG coloured by the page's style sheet, so that they follow its light and dark themes; mels are
small palette PNGs, one pixel per frame and band, scaled by the browser.
"""

import base64
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from markupsafe import Markup, escape
from matplotlib import colormaps
from PIL import Image

from koe.evaluation.metric import MISSING

MEL_RANGE = 9.0  # natural-log units shown below the loudest point: 78 dB
LEVEL_RANGE = 60.0  # dB shown in a waveform


def audio_uri(audio: np.ndarray, rate: int) -> str:
    """16-bit samples as a FLAC data URI, lossless, so that the page plays exactly what was measured."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return _data_uri("audio/flac", buffer.getvalue())


def mel_uri(mel: np.ndarray, top: float) -> str:
    """A log-mel (frames, n_mels) as a PNG data URI, low bands at the bottom, `top` the brightest value."""
    shades = np.clip((mel.T[::-1] - (top - MEL_RANGE)) / MEL_RANGE, 0, 1)
    image = Image.fromarray((shades * 255).astype(np.uint8), "L")
    image.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return picture_uri(buffer.getvalue())


def picture_uri(picture: bytes) -> str:
    """A PNG file as a data URI."""
    return _data_uri("image/png", picture)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def waveform_svg(wave: np.ndarray, cuts: Sequence[tuple[int, int]], label: str, columns: int = 500) -> Markup:
    """A waveform with regions (first and last sample) shaded.

    Its height is in decibels below the peak, so that quiet ends are visible.
    """
    edges = np.linspace(0, len(wave), min(columns, max(len(wave), 1)) + 1).astype(int)
    peak = max(float(np.abs(wave).max(initial=0.0)), 1e-9)
    levels = np.array([np.abs(wave[a:b]).max(initial=0.0) for a, b in itertools.pairwise(edges)])
    heights = 50 * np.clip(1 + 20 * np.log10(np.maximum(levels / peak, 1e-9)) / LEVEL_RANGE, 0.01, 1)
    xs = (edges[:-1] + edges[1:]) / 2 * (1000 / max(len(wave), 1))
    upper = [f"{x:.1f},{50 - h:.1f}" for x, h in zip(xs, heights, strict=True)]
    lower = [f"{x:.1f},{50 + h:.1f}" for x, h in zip(xs[::-1], heights[::-1], strict=True)]
    shapes = [f'<polygon class="wave" points="{" ".join(upper + lower)}"/>']
    for start, end in cuts:
        left, right = 1000 * start / len(wave), 1000 * end / len(wave)
        inner = right if start == 0 else left
        shapes.append(f'<rect class="cut" x="{left:.1f}" y="0" width="{right - left:.1f}" height="100"/>'
                      f'<line class="edge" x1="{inner:.1f}" x2="{inner:.1f}" y1="0" y2="100"/>')
    return _svg("waveform", (1000, 100), shapes, label, stretch=True)


def alignment_svg(durations: np.ndarray, source_frames: int, target_frames: int, factor: int, label: str) -> Markup:
    """Lines from each source step (above) to its place in the target (below), on one time scale.

    `durations` (source steps,) in target steps of `factor` frames. Steps of duration 0 are marked, and the longest
    step is filled.
    """
    longest = max(source_frames, target_frames)
    tops = np.minimum(np.arange(len(durations) + 1) * factor, source_frames) * (1000 / longest)
    ends = np.minimum(np.concatenate([[0], np.cumsum(durations)]) * factor, target_frames) * (1000 / longest)
    worst = int(np.argmax(durations))
    shapes = [f'<polygon class="longest" points="{tops[worst]:.1f},0 {tops[worst + 1]:.1f},0 '
              f'{ends[worst + 1]:.1f},100 {ends[worst]:.1f},100"/>']
    for step, duration in enumerate(durations):
        kind = "skipped" if duration == 0 else "link"
        shapes.append(f'<line class="{kind}" x1="{tops[step]:.1f}" y1="0" x2="{ends[step]:.1f}" y2="100"/>')
    return _svg("alignment", (1000, 100), shapes, label, stretch=True)


Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 200, 54, 8, 8, 24
_WIDE = 1000
PATH_CLASSES = ("first", "second")  # style classes, which set the colours
_ROW, _NAMES, _NAME_LETTERS = 20, 126, 20  # height of a row, width and letters of its name
BINS = 30


def curves_svg(series: Mapping[str, Points], label: str, classes: Mapping[str, str] | None = None) -> Markup:
    """Named curves over optimizer steps with axes; logarithmic if values span more than a factor of 20.

    A curve's style class, which sets its colour, is the one in `classes`, or its `curve_class` without `classes`.
    """
    points = [point for curve in series.values() for point in curve]
    values = [value for _, value in points]
    logarithmic = min(values) > 0 and max(values) / min(values) > 20
    x_ticks = _ticks(0, max(step for step, _ in points), 4)
    y_ticks = _log_ticks(min(values), max(values)) if logarithmic else _ticks(min(values), max(values), 4)
    scale = math.log if logarithmic else float
    bottom, top = scale(y_ticks[0]), scale(y_ticks[-1])

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / x_ticks[-1]

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - scale(value)) / (top - bottom)

    shapes = []
    for tick in y_ticks:
        shapes.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
                      f'<text x="{_LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:.4g}</text>')
    shapes += [_x_tick(x(tick), tick, _HEIGHT) for tick in x_ticks]
    for name, curve in series.items():
        kind = classes[name] if classes else curve_class(name)
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve)
        shapes.append(f'<polyline class="series {kind}" points="{path}"/>')
        if len(curve) <= 12:
            shapes += [f'<circle class="{kind}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5"/>'
                       for step, value in curve]
    return _svg("curves", (_WIDTH, _HEIGHT), shapes, label, stretch=False)


def paths_svg(
    paths: Mapping[str, np.ndarray], source_frames: int, target_frames: int, factor: int, frame_rate: float, label: str
) -> Markup:
    """Alignment paths of one pair over the target's time: how far each is ahead of a straight path in the source, ms.

    `paths`: durations (source steps,) in target steps of `factor` frames, by method; two at most. The straight path is
    subtracted because otherwise two paths that differ by the length of a sound look the same.
    """
    curves = []
    for durations in paths.values():
        ends = np.minimum(np.concatenate([[0], np.cumsum(durations)]) * factor, target_frames)
        places = np.minimum(np.arange(len(durations) + 1) * factor, source_frames)
        ahead = places - ends * (source_frames / target_frames)
        curves.append((ends / frame_rate, 1000 * ahead / frame_rate))
    x_ticks = _ticks(0, target_frames / frame_rate, 8)
    values = np.concatenate([ahead for _, ahead in curves])
    y_ticks = _ticks(float(values.min()), float(values.max()), 4)
    x, y, shapes = _wide_axes(x_ticks, y_ticks)
    for kind, (seconds, ahead) in zip(PATH_CLASSES, curves, strict=False):
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(seconds, ahead, strict=True))
        shapes.append(f'<polyline class="series {kind}" points="{points}"/>')
    return _svg("plot", (_WIDE, _HEIGHT), shapes, label, stretch=False)


def _wide_axes(
    x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> tuple[Callable[[float], float], Callable[[float], float], list[str]]:
    """Functions from a value to its position on the x and the y axis of a wide plot, and the drawn axes; x starts at 0.
    """
    width, height = _WIDE - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + width * value / x_ticks[-1]

    def y(value: float) -> float:
        return _TOP + height * (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0])

    shapes = [f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
              f'<text x="{_LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:.4g}</text>' for tick in y_ticks]
    return x, y, shapes + [_x_tick(x(tick), tick, _HEIGHT, _WIDE) for tick in x_ticks]


def tracks_svg(tracks: Mapping[str, np.ndarray], rates: Mapping[str, float], label: str) -> Markup:
    """F0 tracks in Hz, 0 = unvoiced, each (frames,), on common axes; unvoiced frames are gaps.

    `rates`: frames a second of each. A single voiced frame between unvoiced ones is not drawn. A track's style class,
    which sets its colour, is its name.
    """
    pieces = []
    for name, f0 in tracks.items():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], f0 > 0, [0]])))
        pieces += [(name, (np.arange(start, end) + 0.5) / rates[name], f0[start:end])
                   for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > 1]
    values = np.concatenate([hertz for _, _, hertz in pieces]) if pieces else np.array([0.0, 1.0])
    x_ticks = _ticks(0, max(len(f0) / rates[name] for name, f0 in tracks.items()), 8)
    x, y, shapes = _wide_axes(x_ticks, _ticks(float(values.min()), float(values.max()), 4))
    for name, seconds, hertz in pieces:
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(seconds, hertz, strict=True))
        shapes.append(f'<polyline class="series {name}" points="{points}"/>')
    return _svg("plot", (_WIDE, _HEIGHT), shapes, label, stretch=False)


def number_text(value: float | None, digits: int) -> str:
    """A number with `digits` digits after the point; a dash for what was not measured."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def curve_class(name: str) -> str:
    """The style class of a curve, which sets its colour; unknown names look like training curves."""
    return {"validation": "validation", "validation, teacher-forced": "other", "mean of the best": "best"}.get(
        name, "train")


def histogram_svg(values: np.ndarray, label: str) -> Markup:
    """A histogram of `values` (count,), none of them negative, in BINS equal bins from 0."""
    x_ticks = _ticks(0, float(values.max()), 5)
    counts, edges = np.histogram(values, BINS, (0, x_ticks[-1]))
    y_ticks = _ticks(0, int(counts.max()), 3)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    shapes = []
    for tick in y_ticks:
        y = _TOP + height * (1 - tick / y_ticks[-1])
        shapes.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                      f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>')
    shapes += [_x_tick(_LEFT + width * tick / x_ticks[-1], tick, _HEIGHT) for tick in x_ticks]
    for position, (count, (start, end)) in enumerate(zip(counts, itertools.pairwise(edges), strict=True)):
        tall = height * count / y_ticks[-1]
        if count:
            shapes.append(f'<rect class="bar" x="{_LEFT + width * position / BINS:.1f}" y="{_TOP + height - tall:.1f}" '
                          f'width="{width / BINS - 0.75:.2f}" height="{tall:.1f}">'
                          f"<title>{start:.3g} to {end:.3g}: {count}</title></rect>")
    return _svg("plot", (_WIDTH, _HEIGHT), shapes, label, stretch=False)


@dataclass(frozen=True)
class Spread:
    """A row of `spreads_svg`: a box from the first to the third quartile, whiskers from `low` to `high`."""

    name: str
    low: float
    first: float
    median: float
    third: float
    high: float
    limits: Sequence[float] = ()  # values that should not be reached
    outliers: Sequence[float] = ()


def spreads_svg(rows: Sequence[Spread], label: str) -> Markup:
    """Rows of boxes and whiskers on one linear axis, with limits and outliers marked."""
    values = [value for row in rows for value in (row.low, row.high, *row.limits, *row.outliers)]
    ticks = _ticks(min(values), max(values), 4)
    height = _TOP + _ROW * len(rows) + _BOTTOM

    def x(value: float) -> float:
        return _NAMES + (_WIDTH - _NAMES - _RIGHT) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    shapes = [f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
              + _x_tick(x(tick), tick, height) for tick in ticks]
    for position, row in enumerate(rows):
        y = _TOP + _ROW * (position + 0.5)
        first, third = x(row.first), x(row.third)
        shapes.append(
            _row_name(row.name, y)
            + f'<line class="whisker" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<rect class="box" x="{first:.1f}" y="{y - 4}" width="{max(third - first, 1):.1f}" height="8"/>'
            f'<line class="median" x1="{x(row.median):.1f}" x2="{x(row.median):.1f}" y1="{y - 6}" y2="{y + 6}"/>')
        shapes += [f'<line class="limit" x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{y - 7}" y2="{y + 7}"/>'
                   for limit in row.limits]
        shapes += [f'<circle class="outlier" cx="{x(value):.1f}" cy="{y}" r="2.5"/>' for value in row.outliers]
    return _svg("plot", (_WIDTH, height), shapes, label, stretch=False)


def bars_svg(counts: Mapping[str, int], label: str) -> Markup:
    """A row for each name, with a bar whose length is its count."""
    most, right = max(counts.values()), _WIDTH - 50
    shapes = []
    for position, (name, count) in enumerate(counts.items()):
        y = _TOP + _ROW * (position + 0.5)
        end = _NAMES + (right - _NAMES) * count / most
        shapes.append(_row_name(name, y)
                      + f'<rect class="bar" x="{_NAMES}" y="{y - 4}" width="{end - _NAMES:.1f}" height="8"/>'
                      f'<text x="{end + 6:.1f}" y="{y + 3.5}">{count}</text>')
    return _svg("plot", (_WIDTH, 2 * _TOP + _ROW * len(counts)), shapes, label, stretch=False)


def _row_name(name: str, y: float) -> str:
    """The name at the left of a row, shortened to fit; the whole name appears under the pointer."""
    short = name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"
    return (f'<text x="{_NAMES - 6}" y="{y + 3.5}" text-anchor="end">{escape(short)}'
            f"<title>{escape(name)}</title></text>")


def _x_tick(x: float, value: float, height: int, width: int = _WIDTH) -> str:
    anchor = "end" if x > width - _RIGHT - 1 else "middle"
    return f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{value:.6g}</text>'.replace(">-", ">−")


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that enclose `low` to `high`, in about `count` steps."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(position * step, 12) for position in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 × powers of ten that enclose `low` to `high`; only powers of ten if there are many of these."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(exponents) <= 3 else (1,)
    ticks = [float(f"{step}e{exponent}") for exponent in exponents for step in steps]
    first = max(position for position, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(position for position, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[first : last + 1]


def _svg(kind: str, size: tuple[int, int], shapes: Sequence[str], label: str, stretch: bool) -> Markup:
    ratio = Markup(' preserveAspectRatio="none"') if stretch else ""
    return Markup('<svg class="{}" viewBox="0 0 {} {}"{} role="img" aria-label="{}">{}</svg>').format(
        kind, *size, ratio, label, Markup("".join(shapes)))
