"""Resampling a corpus: from packed audio and from files, with every refusal in the quarantine."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.filled_tables import write_filled

from koe.audio.loudness import integrated_loudness
from koe.audio.preparation import remove_subsonic
from koe.audio.samples import to_int16
from koe.corpus import resampling
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.resampling import loudness_note, rates_note, resample_corpus
from koe.corpus.tables.resampled import RESAMPLED
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import KoeError
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import Params

RATE = 22050


def _corpus(folder: Path, recordings: dict[str, tuple[np.ndarray, int]], packed: bool) -> Path:
    """A corpus as `import` leaves it: waveforms by sentence, packed or as float WAV files."""
    corpus, rows = folder / "corpus" / "my", []
    corpus.mkdir(parents=True)
    for sentence, (wave, rate) in recordings.items():
        path = "" if packed else f"{folder}/{sentence}.wav"
        if not packed:
            soundfile.write(path, wave, rate, subtype="FLOAT")
        rows.append({"utterance": f"my/ann/{sentence}", "speaker": "ann", "sentence": sentence, "text": "",
                     "role": "", "path": path, "start": None, "end": None, "seconds": len(wave) / rate,
                     "sample_rate": rate, "channels": 1, "format": ""})
    if packed:
        with ShardWriter(corpus) as writer:
            for sentence, (wave, _) in recordings.items():
                writer.add(f"my/ann/{sentence}", audio=to_int16(wave)[0])
    write_filled(UTTERANCES, corpus, pd.DataFrame(rows))
    return corpus


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_recordings_of_any_rate_arrive_at_one(
    voice, params: Params, tmp_path: Path, packed: bool, threads: int
) -> None:
    recordings = {f"at{rate}": (voice(0.5, rate=rate), rate) for rate in (16000, 22050, 48000)}
    corpus = _corpus(tmp_path, recordings, packed)
    table, quarantine = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, threads)
    assert len(quarantine) == 0
    assert list(table.columns) == list(RESAMPLED.columns)
    store = ShardReader(tmp_path / "out")
    assert store.metadata == {"sample_rate": RATE}
    for row in table.to_dict("records"):
        audio = store.get(row["utterance"], "audio")
        assert (audio.dtype, len(audio)) == (np.int16, row["samples"])
        assert row["seconds"] == pytest.approx(0.5, abs=1e-3)
        assert row["peak_db"] == pytest.approx(20 * np.log10(0.3), abs=0.5)
        assert row["peak_db"] > row["rms_db"] > -40
        assert row["clipped"] == row["gain_db"] == 0.0
        assert row["lufs"] == pytest.approx(integrated_loudness(audio / 32768, RATE), abs=1e-3)
        assert row["noise_db"] < row["rms_db"]
    assert table.set_index("utterance")["native_rate"].to_dict() == {
        "my/ann/at16000": 16000, "my/ann/at22050": 22050, "my/ann/at48000": 48000}
    assert rates_note(table, RATE) == "to 22050 Hz: 1 downsampled, 1 upsampled (from 16000 Hz), 1 left as they were"
    same = store.get("my/ann/at22050", "audio")
    assert np.abs(same / 32768 - remove_subsonic(recordings["at22050"][0], RATE)).max() < 4e-5


def test_lesson_23_every_refusal_is_a_row(voice, params: Params, tmp_path: Path) -> None:
    bad = voice(0.5)
    bad[100] = np.nan
    recordings = {"good": voice(0.5), "short": voice(0.1), "long": np.resize(voice(1.0), 21 * RATE),
                  "silent": np.zeros(RATE), "clipped": np.clip(voice(0.5) * 20, -1, 1), "nan": bad,
                  "integers": voice(0.5) * 32768, "cut": voice(0.5), "gone": voice(0.5)}
    corpus = _corpus(tmp_path, {name: (wave, RATE) for name, wave in recordings.items()}, packed=False)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-2000])
    (tmp_path / "gone.wav").unlink()
    table, _ = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 1)
    assert list(table["utterance"]) == ["my/ann/good"] == ShardReader(tmp_path / "out").utterances()
    rows = QUARANTINE.read(tmp_path / "out")
    assert rows.set_index("utterance")["reason"].to_dict() == {
        "my/ann/short": "too_short", "my/ann/long": "too_long", "my/ann/silent": "silence_only",
        "my/ann/clipped": "clipping", "my/ann/nan": "nan_or_infinity", "my/ann/integers": "out_of_range",
        "my/ann/cut": "truncated", "my/ann/gone": "unreadable"}
    for row in rows.to_dict("records"):
        assert f"{row['utterance'].rpartition('/')[2]}.wav" in row["detail"]
        assert row["stage"] == "resample"


def test_a_corpus_of_nothing_usable_stops(params: Params, tmp_path: Path) -> None:
    recordings = {"a": (np.zeros(RATE), RATE), "b": (np.zeros(RATE), RATE), "c": (np.ones(100), RATE)}
    corpus = _corpus(tmp_path, recordings, packed=True)
    with pytest.raises(KoeError, match=r"silence_only 2, too_short 1.*(?s:.)*quarantine\.csv"):
        resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 1)
    assert len(QUARANTINE.read(tmp_path / "out")) == 3


def test_the_same_corpus_gives_the_same_bytes(voice, params: Params, tmp_path: Path) -> None:
    recordings = {f"s{number}": (voice(0.4, f0=100 + number, rate=48000), 48000) for number in range(5)}
    corpus = _corpus(tmp_path, recordings, packed=True)
    for threads in (1, 2):
        resample_corpus(corpus, tmp_path / str(threads), RATE, params.resample, threads)
    names = ["00000.safetensors", "table.csv"]
    assert [(tmp_path / "1" / name).read_bytes() for name in names] == [
        (tmp_path / "2" / name).read_bytes() for name in names]


def test_a_place_in_a_file_is_a_recording(voice, params: Params, tmp_path: Path) -> None:
    wave = np.concatenate([voice(0.5, f0=100), voice(0.6, f0=200), np.resize(voice(1.0), 21 * RATE)])
    corpus = _corpus(tmp_path, {"all": (wave, RATE), "piece": (wave, RATE), "rest": (wave, RATE)}, packed=False)
    table = UTTERANCES.read(corpus)
    table.loc[1, ["start", "end"]] = 0.5, 1.1
    table.loc[2, "start"] = 21.5
    UTTERANCES.write(corpus, table)
    resampled, quarantine = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 1)
    assert resampled.set_index("utterance")["samples"].to_dict() == {
        "my/ann/piece": round(0.6 * RATE), "my/ann/rest": len(wave) - round(21.5 * RATE)}
    assert [(row["utterance"], row["reason"]) for row in quarantine.rows] == [("my/ann/all", "too_long")]
    piece = ShardReader(tmp_path / "out").get("my/ann/piece", "audio")
    expected = remove_subsonic(wave[round(0.5 * RATE):round(1.1 * RATE)], RATE)
    np.testing.assert_allclose(piece / 32768, expected, atol=2e-5)


def test_equal_samples_have_equal_digests(voice, params: Params, tmp_path: Path) -> None:
    wave = voice(0.5)
    other = wave.copy()
    other[1000] += 1e-3
    corpus = _corpus(tmp_path, {"a": (wave, RATE), "b": (wave, RATE), "c": (other, RATE)}, packed=True)
    table, _ = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 2)
    first, second, third = table["digest"]
    assert first == second != third
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in table["digest"])


def test_loudness_is_brought_to_one_value_and_the_gain_kept(voice, params: Params, tmp_path: Path) -> None:
    loud = voice(0.5)
    peaked = 0.05 * loud
    peaked[3000] = 0.9  # a click leaves no room
    recordings = {"loud": (loud, RATE), "quiet": (0.1 * loud, RATE), "peaked": (peaked, RATE)}
    corpus = _corpus(tmp_path, recordings, packed=True)
    limits = params.resample.model_copy(update={"loudness_lufs": -20.0})
    table, _ = resample_corpus(corpus, tmp_path / "out", RATE, limits, 1)
    rows = table.set_index("utterance")
    assert rows["lufs"].loc[["my/ann/loud", "my/ann/quiet"]].tolist() == pytest.approx([-20.0, -20.0], abs=0.02)
    gains = rows["gain_db"]
    assert gains["my/ann/quiet"] - gains["my/ann/loud"] == pytest.approx(20.0, abs=0.05)
    assert gains["my/ann/peaked"] == pytest.approx(-20 * np.log10(0.9), abs=0.02)
    assert rows["clipped"].max() == 0.0
    assert rows["peak_db"].max() <= 0.0
    store = ShardReader(tmp_path / "out")
    for name, (wave, _) in recordings.items():
        undone = store.get(f"my/ann/{name}", "audio") / 32768 / 10 ** (gains[f"my/ann/{name}"] / 20)
        np.testing.assert_allclose(undone, remove_subsonic(wave, RATE), atol=4e-5)
    assert loudness_note(table, -20.0).endswith("1 stay quieter, because their peaks are at full scale")


def test_the_channels_used_and_notes_on_the_file_are_in_the_table(voice, params: Params, tmp_path: Path) -> None:
    """Right = -left was averaged to silence, and a dead channel cost 6 dB (issue 15)."""
    wave = voice(0.5)
    recordings = {"mono": (wave, RATE), "inverted": (np.stack([wave, -0.98 * wave], axis=1), RATE),
                  "dead": (np.stack([np.zeros_like(wave), wave], axis=1), RATE)}
    corpus = _corpus(tmp_path, recordings, packed=False)
    content = bytearray((tmp_path / "dead.wav").read_bytes())
    content[content.index(b"data") + 4:content.index(b"data") + 8] = bytes(4)
    (tmp_path / "dead.wav").write_bytes(content)
    table, _ = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 1)
    rows = table.set_index("utterance")
    assert rows["channels"].to_dict() == {
        "my/ann/mono": "mono", "my/ann/inverted": "right inverted", "my/ann/dead": "right"}
    assert rows["rms_db"].max() - rows["rms_db"].min() < 0.1
    assert rows["downmix_db"].max() - rows["downmix_db"].min() < 0.1
    assert rows["note"].ne("").to_dict() == {"my/ann/mono": False, "my/ann/inverted": False, "my/ann/dead": True}


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large"), RuntimeError("of a library")])
def test_no_error_of_one_recording_loses_the_others(
    voice, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(path: object, *_: object) -> tuple[np.ndarray, int]:
        if "bad" in str(path):
            raise error
        return voice(0.5)[:, None], RATE

    corpus = _corpus(tmp_path, {"bad": (voice(0.5), RATE), "good": (voice(0.5), RATE)}, packed=False)
    monkeypatch.setattr(resampling, "read_channels", fail)
    table, quarantine = resample_corpus(corpus, tmp_path / "out", RATE, params.resample, 2)
    assert list(table["utterance"]) == ["my/ann/good"]
    [row] = quarantine.rows
    assert (row["utterance"], row["reason"]) == ("my/ann/bad", "unreadable")
    assert f"{tmp_path}/bad.wav" in row["detail"]
