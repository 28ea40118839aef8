"""Sounds and pictures as they stand in the page."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from koe.report.drawing import (
    BINS,
    Spread,
    _log_ticks,
    _ticks,
    alignment_svg,
    audio_uri,
    bars_svg,
    curves_svg,
    histogram_svg,
    mel_uri,
    paths_svg,
    spreads_svg,
    tracks_svg,
    waveform_svg,
)


def _content(uri: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(uri.partition(",")[2]))


def test_audio_is_lossless(voice: Any) -> None:
    audio = (voice(0.3) * 32767).astype(np.int16)
    uri = audio_uri(audio, 22050)
    decoded, rate = soundfile.read(_content(uri), dtype="int16")
    assert uri.startswith("data:audio/flac;base64,")
    assert rate == 22050
    np.testing.assert_array_equal(decoded, audio)


def test_mel_picture_has_a_pixel_per_frame_and_band_and_low_bands_below() -> None:
    mel = np.full((7, 5), -20.0, np.float32)
    mel[3, 0] = 0.0
    image = Image.open(_content(mel_uri(mel, top=0.0)))
    assert image.size == (7, 5)
    shades = np.asarray(image.convert("L")).astype(int)
    assert np.unravel_index(shades.argmax(), shades.shape) == (4, 3)
    assert shades[0, 0] < 10


def test_waveform_marks_the_cuts_where_they_are() -> None:
    svg = waveform_svg(np.ones(1000, np.int16), [(0, 200), (900, 1000)], "a & b")
    assert re.findall(r'class="cut" x="([\d.]+)" y="0" width="([\d.]+)"', svg) == [("0.0", "200.0"), ("900.0", "100.0")]
    assert re.findall(r'class="edge" x1="([\d.]+)"', svg) == ["200.0", "900.0"]
    assert 'aria-label="a &amp; b"' in svg


def test_alignment_lines_follow_the_durations() -> None:
    svg = alignment_svg(np.array([1, 0, 3]), source_frames=8, target_frames=12, factor=3, label="")
    lines = re.findall(r'class="(\w+)" x1="([\d.]+)" y1="0" x2="([\d.]+)"', svg)
    assert lines == [("link", "0.0", "0.0"), ("skipped", "250.0", "250.0"), ("link", "500.0", "250.0")]
    # the last source step has only 2 of 3 frames, and the longest step is the last
    assert 'class="longest" points="500.0,0 666.7,0 1000.0,100 250.0,100"' in svg


def test_paths_are_drawn_against_the_straight_one() -> None:
    straight, early = np.ones(20, int), np.array([2] * 5 + [0] * 5 + [1] * 10)
    svg = paths_svg({"dtw": straight, "learned": early}, 60, 60, factor=3, frame_rate=60, label="")
    paths = dict(re.findall(r'polyline class="series (\w+)" points="([^"]*)"', svg))
    heights = {kind: [float(point.split(",")[1]) for point in points.split()] for kind, points in paths.items()}
    assert len(set(heights["first"])) == 1
    assert heights["second"][0] == heights["second"][-1] == heights["first"][0]
    assert max(heights["second"]) == heights["second"][5] > heights["first"][0]  # behind, so below


def test_curves_stay_within_their_axes() -> None:
    svg = curves_svg({"train": [(20, 5.0), (400, 0.01)], "validation": [(400, 0.02)]}, "mel")
    paths = re.findall(r'polyline class="[^"]*" points="([^"]*)"', svg)
    points = [tuple(map(float, point.split(","))) for path in paths for point in path.split()]
    assert len(points) == 3
    assert all(54 <= x <= 352 and 8 <= y <= 176 for x, y in points)
    assert 'class="series train"' in svg
    assert 'class="series validation"' in svg


@pytest.mark.parametrize("values", [[0.0, 0.0], [-3.0, 8.0], [1e-3, 1e-3], [0.0, 1e6], [2.0]])
def test_curves_of_any_values_are_drawn(values: list[float]) -> None:
    svg = curves_svg({"train": list(enumerate(values, start=1))}, "")
    assert "nan" not in svg
    assert "inf" not in svg


def test_histogram_counts_every_value_and_bars_are_as_tall_as_counts() -> None:
    svg = histogram_svg(np.array([0.5, 0.5, 0.5, 2.9]), "seconds")
    counts = [int(count) for count in re.findall(r"<title>\S+ to \S+: (\d+)</title>", svg)]
    heights = [float(height) for height in re.findall(r'class="bar"[^>]* height="([\d.]+)"', svg)]
    assert counts == [3, 1]
    assert heights[0] == pytest.approx(3 * heights[1], rel=0.01)
    assert svg.count('class="bar"') <= BINS


@pytest.mark.parametrize("values", [[0.0], [1.0] * 100, [0.3, 2000.0]])
def test_histograms_of_any_values_are_drawn(values: list[float]) -> None:
    svg = histogram_svg(np.array(values), "")
    assert "nan" not in svg
    counts = [int(count) for count in re.findall(r": (\d+)</title>", svg)]
    assert sum(counts) == len(values)


def test_spreads_stand_where_their_values_are_and_mark_what_is_outside() -> None:
    rows = [Spread("ann", 0, 1, 2, 3, 4, limits=(0, 8)), Spread("b & b", 4, 5, 6, 7, 8, outliers=[0.0])]
    svg = spreads_svg(rows, "F0")
    whiskers = re.findall(r'class="whisker" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert whiskers[0][1] == whiskers[1][0]  # 4 in both
    left, right = whiskers[0][0], whiskers[1][1]
    assert re.findall(r'class="limit" x1="([\d.]+)"', svg) == [left, right]
    assert re.findall(r'class="outlier" cx="([\d.]+)"', svg) == [left]
    middle = (float(left) + float(right)) / 2
    assert [float(x) for x in re.findall(r'class="median" x1="([\d.]+)"', svg)] == pytest.approx(
        [middle - (middle - float(left)) / 2, middle + (middle - float(left)) / 2], abs=0.2)
    assert "b &amp; b" in svg


def test_spreads_of_one_value_are_drawn_and_long_names_cut() -> None:
    name = "a speaker with a very long name"
    svg = spreads_svg([Spread(name, 1, 1, 1, 1, 1)], "")
    assert "nan" not in svg
    assert f"<title>{name}</title>" in svg
    assert re.search(r">a speaker with a ve…<", svg)


def test_bars_are_as_long_as_their_counts() -> None:
    svg = bars_svg({"16000 Hz": 10, "<44100>": 30}, "rates")
    widths = [float(width) for width in re.findall(r'class="bar"[^>]* width="([\d.]+)"', svg)]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.01)
    assert "&lt;44100&gt;" in svg


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_and_are_few(low: float, span: float) -> None:
    ticks = _ticks(low, low + span, 4)
    slack = 1e-6 * max(span, abs(low) * 1e-6, ticks[1] - ticks[0])
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8


@given(st.floats(1e-8, 1e3), st.floats(20, 1e7))
def test_logarithmic_ticks_enclose(low: float, ratio: float) -> None:
    ticks = _log_ticks(low, low * ratio)
    assert ticks[0] <= low * 1.0001
    assert ticks[-1] >= low * ratio * 0.9999
    assert ticks == sorted(set(ticks))


def test_curves_have_the_classes_that_they_are_given() -> None:
    svg = curves_svg({"A": [(0, 1.0), (10, 2.0)], "B": [(0, 2.0), (10, 1.0)]}, "", {"A": "run0", "B": "run1"})
    assert re.findall(r'polyline class="series (\w+)"', svg) == ["run0", "run1"]


def test_f0_tracks_have_gaps_where_they_are_unvoiced_and_lie_by_their_own_time() -> None:
    slow, fast = np.array([100, 110, 0, 300, 0, 120, 120]), np.zeros(80) + 100
    svg = tracks_svg({"reference": slow, "run0": fast}, {"reference": 7.0, "run0": 80.0}, "")
    pieces = re.findall(r'polyline class="series (\w+)" points="([^"]+)"', svg)
    assert [name for name, _ in pieces] == ["reference", "reference", "run0"]  # the lone 300 Hz is not drawn
    ends = [float(points.split()[-1].partition(",")[0]) for _, points in pieces]
    assert ends[2] == pytest.approx(1000 - 8, abs=8)  # a second, as is the other
    assert 850 < ends[1] < ends[2]
    assert "300" not in svg


def test_f0_tracks_without_a_voiced_frame_are_empty_axes() -> None:
    assert "polyline" not in tracks_svg({"run0": np.zeros(10)}, {"run0": 10.0}, "")
