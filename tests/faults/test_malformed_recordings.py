"""Malformed recordings: each is read as audio, or refused as AudioError; the good ones beside it are never lost."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import RATE, malformed_recordings, whole_recordings

from koe.audio.files import audio_info, read_channels
from koe.corpus.importers.registry import import_corpus
from koe.corpus.params import CorpusParams
from koe.corpus.resampling import resample_corpus
from koe.corpus.scan import scan_corpus
from koe.errors import AudioError
from koe.tasks.conversion.schema import Params

SUFFIXES = ("wav", "flac", "ogg", "opus", "mp3", "m4a", "aac", "webm")


@pytest.fixture(scope="module")
def whole(voice: Any) -> dict[str, bytes]:
    return whole_recordings(voice(1.0, rate=RATE, silence=0.1))


@pytest.mark.parametrize("seed", [3, 5, 6, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 40))])
def test_every_malformed_recording_is_read_or_refused(tmp_path: Path, whole: dict[str, bytes], seed: int) -> None:
    outcomes, unexpected = set(), {}
    for name, content in malformed_recordings(whole, np.random.default_rng(seed)):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            info = audio_info(path)
            samples, rate = read_channels(path)
        except AudioError as error:
            assert name in error.detail
            outcomes.add(error.reason)
        except Exception as error:
            unexpected[name] = f"{type(error).__name__}: {error}"
        else:
            assert samples.dtype == np.float32 and samples.shape[1] == info.channels and rate == info.sample_rate, name
            assert len(samples) and np.isfinite(samples).all() and np.abs(samples).max() <= 1, name
            outcomes.add("read")
        path.unlink()
    assert unexpected == {}
    assert outcomes >= {"read", "unreadable", "truncated", "zero_samples", "nan_or_infinity", "out_of_range"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_good_survive_beside_the_malformed(
    tmp_path: Path, whole: dict[str, bytes], params: Params, suffix: str
) -> None:
    speaker = tmp_path / "rec/ann"
    speaker.mkdir(parents=True)
    (speaker / "good.wav").write_bytes(whole["pcm.wav"])
    (speaker / "also good.flac").write_bytes(whole["flac.flac"])
    chosen = [(name, content) for name, content in malformed_recordings(whole, np.random.default_rng(0), cuts=4)
              if name.endswith(suffix)]
    for name, content in chosen:
        (speaker / name).write_bytes(content)
    corpus = CorpusParams(importer="folders", path=str(tmp_path / "rec"))
    imported = import_corpus("mine", corpus, tmp_path / "corpus")
    kept, quarantine = resample_corpus(tmp_path / "corpus", tmp_path / "resampled", 22050, params.resample)
    assert {"mine/ann/good", "mine/ann/also good"} <= set(kept["utterance"])
    excluded = {row["utterance"] for row in (*imported.quarantine.rows, *quarantine.rows)}
    assert {f"mine/ann/{Path(name).stem}" for name, _ in chosen} <= excluded | set(kept["utterance"])


ENTRIES: dict[str, Any] = {
    "fifo.wav": os.mkfifo, "loop.wav": lambda path: path.symlink_to(path), "folder.wav": Path.mkdir,
    "device.wav": lambda path: path.symlink_to("/dev/zero"), "gone.wav": lambda path: path.symlink_to("nowhere"),
    "up": lambda path: path.symlink_to(".."), "a\nb.wav": Path.touch, "\udcff.wav": Path.touch,
    "\x1b[31m.wav": Path.touch, "x" * 246 + ".wav": Path.touch,
}


@pytest.mark.parametrize("name", ENTRIES, ids=lambda name: repr(name[:12]))
def test_an_odd_entry_among_recordings_harms_no_other(tmp_path: Path, whole: dict[str, bytes], name: str) -> None:
    speaker = tmp_path / "rec/ann"
    speaker.mkdir(parents=True)
    (speaker / "good.wav").write_bytes(whole["pcm.wav"])
    ENTRIES[name](speaker / name)
    corpus = CorpusParams(importer="folders", path=str(tmp_path / "rec"))
    scanned = scan_corpus("mine", corpus, tmp_path / "scan", tmp_path / "cache")
    assert scanned is not None and scanned["files"] >= 1
    assert list(import_corpus("mine", corpus, tmp_path / "corpus").table["utterance"]) == ["mine/ann/good"]
