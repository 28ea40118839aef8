"""Cutting long recordings: the choice of pieces on pauses made up, the files with tones, the alignment with voices."""

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.long_recordings import LongRecording, long_recording

from koe.corpus import segments
from koe.corpus.params import SegmentParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.segments import choose_pieces, cut_long
from koe.corpus.sentences_file import read_sentences
from koe.errors import KoeError

PARAMS = SegmentParams(longer_than=20, min_seconds=3, max_seconds=15, min_pause_seconds=0.3)
RATE = 16000
NEAR = 0.011  # s; tables hold 1/100 s


def _pauses(speech: list[float], silence: list[float]) -> np.ndarray:
    """Places (speech + 1, 2) of a recording that begins with silence[0]."""
    lengths = np.zeros(2 * len(speech) + 1)
    lengths[::2], lengths[1::2] = silence[:len(speech) + 1], speech
    times = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.stack([times[:-1:2], times[1::2]], axis=1)


def _lengths(pauses: np.ndarray, first: int, last: int) -> np.ndarray:
    begins, ends = segments._edges(pauses)
    return ends[:, last] - begins[:, first]


@st.composite
def _recordings(draw: st.DrawFn, longest: float) -> np.ndarray:
    """Pauses (recordings, places, 2) of one to three recordings of a text."""
    count = draw(st.integers(1, 25))
    speech, silence = st.floats(0.3, longest), st.floats(0.1, 3.0)
    return np.stack([
        _pauses(draw(st.lists(speech, min_size=count, max_size=count)),
                draw(st.lists(silence, min_size=count + 1, max_size=count + 1)))
        for _ in range(draw(st.integers(1, 3)))
    ])


@settings(deadline=None)
@given(_recordings(longest=20.0))
def test_pieces_are_in_order_within_the_limits_and_leave_nothing_that_fits(pauses: np.ndarray) -> None:
    pieces = choose_pieces(pauses, PARAMS)
    edges = [0, *(place for piece in pieces for place in piece), pauses.shape[1] - 1]
    assert edges == sorted(edges)
    for first, last in pieces:
        assert first < last
        assert _lengths(pauses, first, last).min() >= PARAMS.min_seconds
        assert _lengths(pauses, first, last).max() <= PARAMS.max_seconds
    for before, after in zip(edges[::2], edges[1::2], strict=True):
        lost = _lengths(pauses, before, after)
        assert before == after or lost.min() < PARAMS.min_seconds or lost.max() > PARAMS.max_seconds


@settings(deadline=None)
@given(_recordings(longest=3.0).filter(lambda pauses: _lengths(pauses, 0, -1).min() >= PARAMS.min_seconds))
def test_nothing_is_lost_of_one_speaker_who_pauses_often(pauses: np.ndarray) -> None:
    pieces = choose_pieces(pauses[:1], PARAMS)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == pauses.shape[1] - 1
    assert all(one[1] == other[0] for one, other in pairwise(pieces))


def test_no_runt_is_left_at_the_end_and_long_pauses_are_preferred() -> None:
    evenly = _pauses([1.6] * 8, [0.4] * 9)  # 16 s: 14 and 2 for who fills the first piece
    assert [round(float(_lengths(evenly[None], *piece)[0])) for piece in choose_pieces(evenly[None], PARAMS)] == [8, 8]
    other = _pauses([1.6] * 8, [0.4] * 3 + [1.5] + [0.4] * 5)
    assert choose_pieces(other[None], PARAMS)[0] == (0, 3)


def test_short_pauses_serve_only_where_there_are_no_long_ones() -> None:
    some = _pauses([2.0] * 20, [0.15, *[0.15, 0.15, 0.15, 0.15, 0.5] * 4])
    assert {last for _, last in choose_pieces(some[None], PARAMS)[:-1]} <= {5, 10, 15}
    none = _pauses([2.0] * 20, [0.15] * 21)
    pieces = choose_pieces(none[None], PARAMS)
    assert (pieces[0][0], pieces[-1][1]) == (0, 20)


# Files: tones for speech, and a detector that hears them.

def _loud(wave: np.ndarray, rate: int) -> list[tuple[float, float]]:
    frames = np.abs(wave[:len(wave) // 160 * 160].reshape(-1, 160)).max(axis=1) > 0.01
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frames, [False]]).astype(int)))
    return [(start / 100, end / 100) for start, end in edges.reshape(-1, 2)]


@pytest.fixture()
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "speech_spans", _loud)


def _tones(path: Path, speech: list[float], silence: list[float]) -> Path:
    parts = [np.zeros(round(silence[0] * RATE))]
    for tone, pause in zip(speech, silence[1:], strict=True):
        parts += [0.5 * np.sin(np.arange(round(tone * RATE)) * 0.3), np.zeros(round(pause * RATE))]
    soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")
    return path


def _row(path: Path, speaker: str = "ann", sentence: str = "long", **values: Any) -> dict[str, Any]:
    info = soundfile.info(path)
    return {"utterance": f"corpus/{speaker}/{sentence}", "speaker": speaker, "gender": "female",
            "sentence": sentence, "style": "", "text": "What it says.", "language": "en", "role": "source",
            "path": str(path), "start": np.nan, "end": np.nan, "seconds": info.duration,
            "sample_rate": info.samplerate, "channels": 1, "format": "WAV/PCM_16"} | values


def _cut(*rows: dict[str, Any]) -> tuple[pd.DataFrame, Quarantine]:
    quarantine = Quarantine("import")
    table, _ = cut_long("corpus", pd.DataFrame(rows), PARAMS, quarantine)
    return table.sort_values("utterance", ignore_index=True), quarantine


def test_pieces_are_rows_of_their_own_and_short_recordings_stay(tones: None, tmp_path: Path) -> None:
    long = _row(_tones(tmp_path / "long.wav", [2.0] * 12, [0.5] * 13))
    short = _row(_tones(tmp_path / "short.wav", [2.0], [0.5] * 2), sentence="short")
    table, quarantine = _cut(long, short)
    assert table.iloc[-1].to_dict() == pytest.approx(short, nan_ok=True)
    assert list(table["utterance"][:-1]) == [f"corpus/ann/long_{number:03d}" for number in range(len(table) - 1)]
    piece = table.iloc[1]
    assert (piece["sentence"], piece["text"], piece["path"], piece["role"]) == ("long_001", "", long["path"], "source")
    assert piece["seconds"] == piece["end"] - piece["start"]
    assert len(quarantine) == 0


@pytest.mark.parametrize("block", [4.0, 120.0])
def test_pieces_join_in_the_middle_of_pauses_whatever_the_block(
    tones: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: float
) -> None:
    monkeypatch.setattr(segments, "BLOCK", block)
    table, _ = _cut(_row(_tones(tmp_path / "long.wav", [2.0, 9.0] * 4, [0.5] * 9)))
    starts, ends = table["start"].to_numpy(), table["end"].to_numpy()
    assert np.allclose(starts[1:], ends[:-1])
    middles = np.cumsum([2.5, 9.5] * 4) + 0.25
    assert np.abs(starts[1:, None] - middles).min(axis=1).max() <= NEAR
    assert starts[0] <= 0.5 and ends[-1] >= 46.0


def test_a_part_of_a_file_is_cut_at_the_files_own_times(tones: None, tmp_path: Path) -> None:
    path = _tones(tmp_path / "long.wav", [2.0] * 20, [0.5] * 21)
    table, _ = _cut(_row(path, start=10.25, end=35.25, seconds=25.0))
    assert table["start"].min() == pytest.approx(10.37, abs=0.02)
    assert table["end"].max() == pytest.approx(35.13, abs=0.02)
    assert np.abs(table["start"] % 2.5 - 0.25)[1:].max() <= NEAR


def test_what_has_no_pause_is_quarantined_with_its_place_and_the_rest_kept(tones: None, tmp_path: Path) -> None:
    table, quarantine = _cut(_row(_tones(tmp_path / "long.wav", [5.0, 18.0, 5.0], [0.5] * 4)))
    assert [(start, end) for start, end in table[["start", "end"]].to_numpy()] == [
        (pytest.approx(0.25, abs=NEAR), pytest.approx(5.75, abs=NEAR)),
        (pytest.approx(24.25, abs=NEAR), pytest.approx(29.75, abs=NEAR)),
    ]
    [row] = quarantine.rows
    assert (row["utterance"], row["reason"]) == ("corpus/ann/long", "no_pause")
    assert "long.wav: 5.75–24.25 s" in row["detail"]


def test_long_silence_is_left_out_and_said_so(tones: None, tmp_path: Path) -> None:
    table, quarantine = _cut(_row(_tones(tmp_path / "long.wav", [5.0, 5.0], [4.0, 30.0, 4.0])))
    assert list(table["seconds"]) == [pytest.approx(7.0, abs=0.03)] * 2
    assert [(row["reason"], row["detail"].split(": ")[1][:13]) for row in quarantine.rows] == [
        ("long_silence", "10.00–38.00 s")]


def test_a_recording_that_cannot_be_read_or_says_nothing_is_quarantined_alone(tones: None, tmp_path: Path) -> None:
    good = _row(_tones(tmp_path / "good.wav", [2.0] * 12, [0.5] * 13))
    silent = _row(_tones(tmp_path / "silent.wav", [], [25.0]), sentence="silent")
    table, quarantine = _cut(good, silent, good | {"path": str(tmp_path / "no.wav"), "sentence": "gone"})
    assert set(table["path"]) == {good["path"]}
    assert quarantine.counts() == {"unreadable": 1, "no_speech": 1}


def test_a_piece_does_not_take_the_name_of_a_sentence(tones: None, tmp_path: Path) -> None:
    long = _row(_tones(tmp_path / "long.wav", [2.0] * 12, [0.5] * 13))
    short = _row(_tones(tmp_path / "short.wav", [2.0], [0.5] * 2), sentence="long_001")
    table, quarantine = _cut(long, short)
    assert list(table["sentence"]) == ["long_001"]
    assert quarantine.counts() == {"name_taken": 1}


def test_styles_of_a_sentence_are_cut_together(tones: None, tmp_path: Path) -> None:
    """Pieces of one name say the same in all styles, so that the split keeps them together."""
    path = _tones(tmp_path / "long.wav", [1.0, 3.0, 2.0, 1.5, 2.5, 4.0, 1.2, 2.2, 3.3, 1.7], [0.5] * 11)
    table, quarantine = _cut(_row(path), _row(path, style="whisper", utterance="corpus/ann/long/whisper"))
    assert len(quarantine) == 0
    names = {style: list(rows["sentence"]) for style, rows in table.groupby("style")}
    assert names[""] == names["whisper"] and len(names[""]) > 1
    assert set(table["utterance"]) == {f"corpus/ann/{name}{style}" for name in names[""] for style in ("", "/whisper")}


def test_packed_audio_is_not_cut() -> None:
    row = {"utterance": "corpus/ann/long", "speaker": "ann", "sentence": "long", "style": "", "path": "",
           "seconds": 30.0}
    with pytest.raises(KoeError, match=r"corpora\.corpus\.segments: corpus/ann/long is not a file"):
        cut_long("corpus", pd.DataFrame([row]), PARAMS, Quarantine("import"))


def test_what_is_too_long_to_align_is_quarantined(
    tones: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "ALIGN_LONGEST", 40.0)
    rows = [_row(_tones(tmp_path / f"{count}.wav", [2.0] * count, [0.5] * (count + 1)), speaker)
            for speaker, count in (("ann", 12), ("bob", 20))]
    table, quarantine = _cut(*rows)
    assert set(table["speaker"]) == {"ann"}
    assert [(row["utterance"], row["reason"]) for row in quarantine.rows] == [("corpus/bob/long", "too_long_to_align")]


# Voices: recordings of the same text by two speakers, with pauses of their own.

@pytest.fixture(scope="module")
def spoken(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LongRecording]:
    folder = tmp_path_factory.mktemp("long")
    texts = list(read_sentences(root / "src/koe/corpus/sentences/en.tsv").values())
    return {
        "heart": long_recording(folder / "heart.wav", "heart", texts[:16], seed=1),
        "joe": long_recording(folder / "joe.wav", "joe", texts[:16], seed=2),
        "other": long_recording(folder / "other.wav", "joe", texts[16:32], seed=3),
    }


@pytest.mark.slow
def test_two_speakers_are_cut_in_the_same_pauses(spoken: dict[str, LongRecording]) -> None:
    table, quarantine = _cut(*(_row(spoken[speaker].path, speaker) for speaker in ("heart", "joe")))
    assert len(quarantine) == 0
    said = {}
    for speaker in ("heart", "joe"):
        own = table[table["speaker"] == speaker]
        assert own["seconds"].between(PARAMS.min_seconds, PARAMS.max_seconds).all()
        assert all(spoken[speaker].in_a_pause(start) for start in own["start"][1:])
        said[speaker] = {row.sentence: spoken[speaker].said_in(row.start, row.end) for row in own.itertuples()}
    assert said["heart"] == said["joe"]
    assert list(chain(*said["heart"].values())) == list(range(16))


@pytest.mark.slow
def test_recordings_of_different_texts_are_not_cut_as_one(spoken: dict[str, LongRecording]) -> None:
    table, quarantine = _cut(_row(spoken["heart"].path, "heart"), _row(spoken["other"].path, "joe"))
    assert set(table["speaker"]) == {"heart"}
    assert [(row["utterance"], row["reason"]) for row in quarantine.rows] == [("corpus/joe/long", "not_parallel")]
