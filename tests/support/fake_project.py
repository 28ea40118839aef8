"""A small, complete project as the stages would leave it, of synthetic voices: for tests of what reads it.

Two speakers, seven sentences. s1 to s5 are pairs (s1, s2 train, s3 validation, s4, s5 test). s6 was too short for
the source, so its target has no partner; s7 could not be read at all for the target, and its source was dropped
for the same reason. The source was recorded at 16 kHz, the target at 44.1 kHz. bob's s1 is quiet, his s2 clips,
his s3 is cut short, and his s6 holds the samples of his s5.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from koe.align.tables import ALIGNMENT
from koe.audio.grid import mel_contract
from koe.audio.mel import mel_and_energy
from koe.audio.samples import to_int16
from koe.corpus.pairing import PAIRS
from koe.corpus.quarantine import Quarantine
from koe.corpus.tables.cuts import CUTS
from koe.corpus.tables.features import FEATURES
from koe.corpus.tables.resampled import RESAMPLED
from koe.corpus.tables.utterances import UTTERANCES
from koe.evaluation.measure import DIRECTIONS, EVALUATION
from koe.files import write_json
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params
from koe.training.pictures import mel_picture
from support.filled_tables import write_filled

SPLITS = {"s1": "train", "s2": "train", "s3": "validation", "s4": "test", "s5": "test"}
TEXTS = {f"s{number}": f"This is sentence number {number}." for number in range(1, 8)} | {
    "s4": "Is <script>alert(1)</script> read & \"said\" aloud?"}
SPEAKERS = {"ann": ("source", 210.0, 16000), "bob": ("target", 120.0, 44100)}
GENDERS = {"ann": "female", "bob": "male"}
F0_RANGE = (0.9, 1.2)  # 5th and 95th percentile over the median
PRESSED = {"ann": 0.0, "bob": 0.25}
TONE_SECONDS = {"ann": 0.9, "bob": 1.1}
SILENCE_SECONDS = 0.3
MARGIN_SECONDS = 0.05
METRICS: dict[str, dict[str, float | None]] = {
    "source": {"mcd_db": 11.0, "log_f0_rmse": 0.55, "f0_corr": 0.2, "vuv_error": 0.21, "duration_ratio": 0.82,
               "speaker_similarity": 0.51, "wer": 0.03, "cer": 0.01, "mos": 4.1},
    "griffin_lim.converted": {"mcd_db": 5.9, "log_f0_rmse": 0.19, "f0_corr": 0.6, "vuv_error": 0.12,
                              "duration_ratio": 1.01, "speaker_similarity": 0.84, "wer": 0.24, "cer": 0.13, "mos": 2.2},
    "griffin_lim.ceiling": {"mcd_db": 2.1, "log_f0_rmse": 0.03, "f0_corr": 0.98, "vuv_error": 0.04,
                            "duration_ratio": 1.0, "speaker_similarity": 0.93, "wer": 0.05, "cer": 0.02, "mos": 2.9},
    "harmonic_noise.converted": {"mcd_db": 12.4, "log_f0_rmse": None, "f0_corr": None, "vuv_error": 0.3,
                                 "duration_ratio": 1.01, "speaker_similarity": 0.6, "wer": 0.9, "cer": 0.7,
                                 "mos": None},
    "harmonic_noise.ceiling": {"mcd_db": 7.5, "log_f0_rmse": 0.1, "f0_corr": 0.9, "vuv_error": 0.1,
                               "duration_ratio": 1.0, "speaker_similarity": 0.7, "wer": 0.6, "cer": 0.4, "mos": 1.4},
    "target": {"mcd_db": 0.0, "log_f0_rmse": 0.0, "f0_corr": 1.0, "vuv_error": 0.0, "duration_ratio": 1.0,
               "speaker_similarity": 1.0, "wer": 0.02, "cer": 0.01, "mos": 4.0},
}


def write_project(root: Path, params: Params, voice: Callable[..., np.ndarray]) -> None:
    """Writes `root/data` and `root/metrics` for corpus `demo`, with the mel settings of `params`.

    `voice` is conftest's `synthetic_voice`.
    """
    rate = params.mel.sample_rate
    waves = {f"demo/{speaker}/{sentence}": voice(
                 TONE_SECONDS[speaker] + 0.1 * int(sentence[1]), f0, rate, SILENCE_SECONDS, seed=int(sentence[1]))
             for speaker, (_, f0, _) in SPEAKERS.items() for sentence in TEXTS
             if sentence != "s7"}
    waves["demo/ann/s6"] = waves["demo/ann/s6"][:2000]
    audio = {name: to_int16(wave)[0] for name, wave in waves.items()}
    _corpus(root / "data/corpus/demo", audio, rate)
    kept = {name: wave for name, wave in audio.items() if name != "demo/ann/s6"}
    _resampled(root / "data/resampled/demo", kept, rate)
    trimmed = _trim(root / "data/trim/demo", kept, params)
    mels = _features(root / "data/features/demo", trimmed, params)
    pairs = _pairs(root / "data/pairs")
    _alignment(root / "data/alignment", pairs, mels, params.acoustic.reduction.factor)
    _evaluation(root, pairs, trimmed)
    vocoder = root / "metrics/finetune_vocoder"
    _curves(vocoder, ("mel", "stft", "adversarial"), {"mos": [1.2, 2, 2.9, 3.4], "pesq": [1.1, 1.5, 1.9, 2.2]})
    _players(vocoder / "players", pairs[pairs["split"] == "validation"], trimmed, rate)
    acoustic = root / "metrics/train_acoustic"
    _curves(acoustic, ("mel", "postnet", "duration", "pitch", "energy"), {"mcd_db": [9, 8, 7, 6.5]},
            teacher_forced=True)
    _pictures(acoustic / "plots/images", pairs[pairs["split"] == "validation"], mels)


def _corpus(folder: Path, audio: dict[str, np.ndarray], rate: int) -> None:
    rows = []
    for name, wave in audio.items():
        _, speaker, sentence = name.split("/")
        role, _, native = SPEAKERS[speaker]
        rows.append({"utterance": name, "speaker": speaker, "gender": GENDERS[speaker], "sentence": sentence,
                     "style": "", "text": TEXTS[sentence], "language": "en", "role": role,
                     "path": f"{speaker}/{sentence}.wav", "start": None, "end": None, "seconds": len(wave) / rate,
                     "sample_rate": native, "channels": 1, "format": "WAV/PCM_16"})
    UTTERANCES.write(folder, pd.DataFrame(rows))
    write_json(folder / "corpus.json", {"importer": "folders", "licence": "CC0, <ours>", "language": "en"})
    quarantine = Quarantine("import")
    for speaker in SPEAKERS:
        quarantine.add(f"demo/{speaker}/s7", "unreadable", f"{speaker}/s7.wav: not <audio>")
    quarantine.write(folder)


def _resampled(folder: Path, audio: dict[str, np.ndarray], rate: int) -> None:
    with ShardWriter(folder, {"sample_rate": rate}) as writer:
        for name, wave in audio.items():
            writer.add(name, audio=wave)
    RESAMPLED.write(folder, pd.DataFrame([
        {"utterance": name, "seconds": len(wave) / rate, "samples": len(wave), "peak_db": -10.5, "rms_db": -22.0,
         "clipped": 0.001 if name == "demo/bob/s2" else 0.0, "native_rate": SPEAKERS[name.split("/")[1]][2],
         "lufs": -36.0 if name == "demo/bob/s1" else -24.0 + 0.1 * int(name[-1]), "noise_db": -70.0 + int(name[-1]),
         "channels": "right inverted" if name == "demo/bob/s3" else "mono", "downmix_db": 0.0,
         "note": "cut" if name == "demo/bob/s4" else "", "gain_db": 0.0,
         "digest": "1234567890123456" if name in ("demo/bob/s5", "demo/bob/s6") else f"{number:016x}"}
        for number, (name, wave) in enumerate(audio.items())]))
    quarantine = Quarantine("resample")
    quarantine.add("demo/ann/s6", "too_short", "0.09 s, resample.min_seconds is 0.3")
    quarantine.write(folder)


def _trim(folder: Path, audio: dict[str, np.ndarray], params: Params) -> dict[str, np.ndarray]:
    rate, hop = params.mel.sample_rate, params.mel.hop_length
    outside = round((SILENCE_SECONDS - MARGIN_SECONDS) * rate)
    rows, trimmed = [], {}
    for name, wave in audio.items():
        suspect = name == "demo/bob/s3"
        start, end = outside, len(wave) - outside - (6000 if suspect else 0)
        trimmed[name] = wave[start : start + (end - start) // hop * hop]
        rows.append({"utterance": name, "start": start, "end": end, "head_seconds": start / rate,
                     "tail_seconds": (len(wave) - end) / rate, "outside_head_db": -66.0,
                     "outside_tail_db": -4.0 if suspect else -64.0, "voicing_head": 0.05,
                     "voicing_tail": 0.97 if suspect else 0.08, "suspect": int(suspect),
                     "why": "tail: up to -4 dB outside the cut" if suspect else ""})
    CUTS.write(folder, pd.DataFrame(rows))
    Quarantine("trim").write(folder)
    return trimmed


def _features(folder: Path, audio: dict[str, np.ndarray], params: Params) -> dict[str, np.ndarray]:
    mels, rows = {}, []
    with ShardWriter(folder, {"mel": mel_contract(params.mel)}) as writer:
        for name, wave in audio.items():
            parts = mel_and_energy(torch.from_numpy(wave / np.float32(32768)), params.mel)
            mel, energy = (part.numpy() for part in parts)
            mels[name] = mel
            f0 = np.full(len(mel), SPEAKERS[name.split("/")[1]][1], np.float32)
            writer.add(name, mel=mel, f0=f0, energy=energy)
            rows.append({"utterance": name, "frames": len(mel), "voiced": 0.8, "f0_median": f0[0],
                         "f0_low": F0_RANGE[0] * f0[0], "f0_high": F0_RANGE[1] * f0[0],
                         "f0_pressed": PRESSED[name.split("/")[1]]})
    FEATURES.write(folder, pd.DataFrame(rows))
    Quarantine("extract").write(folder)
    return mels


def _pairs(folder: Path) -> pd.DataFrame:
    pairs = pd.DataFrame([
        {"pair": f"demo/{sentence}/ann-bob", "sentence": sentence, "source": f"demo/ann/{sentence}",
         "target": f"demo/bob/{sentence}", "split": split} for sentence, split in SPLITS.items()])
    PAIRS.write(folder, pairs)
    quarantine = Quarantine("pair")
    quarantine.add("demo/bob/s6", "partner_missing", "demo/ann/s6 was excluded by resample: too_short")
    quarantine.write(folder)
    return pairs


def _alignment(folder: Path, pairs: pd.DataFrame, mels: dict[str, np.ndarray], factor: int) -> None:
    rows = []
    with ShardWriter(folder, {"reduction_factor": factor}) as writer:
        for pair in pairs.itertuples():
            frames = [len(mels[side]) for side in (pair.source, pair.target)]
            source_steps, target_steps = (-(-count // factor) for count in frames)
            edges = np.round(np.linspace(0, target_steps, source_steps + 1) + 0.8 * np.sin(np.arange(source_steps + 1)))
            edges[[0, -1]] = 0, target_steps
            durations = np.diff(np.maximum.accumulate(np.clip(edges, 0, target_steps))).astype(np.int32)
            writer.add(pair.pair, durations=durations)
            suspect = pair.sentence == "s2"
            rows.append({
                "pair": pair.pair, "source_frames": frames[0], "target_frames": frames[1], "source_steps": source_steps,
                "target_steps": target_steps, "cost": 0.9 if suspect else 0.4, "slope": frames[1] / frames[0],
                "longest_run": float(durations.max() * factor * 256 / 22050), "skipped": float(np.mean(durations == 0)),
                "focus": None, "suspect": int(suspect), "why": "cost 0.90, 2.25 times the median" if suspect else ""})
    ALIGNMENT.write(folder, pd.DataFrame(rows))
    Quarantine("align").write(folder)


def _evaluation(root: Path, pairs: pd.DataFrame, audio: dict[str, np.ndarray]) -> None:
    test = pairs[pairs["split"] == "test"]
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    with ShardWriter(root / "data/reference") as reference, ShardWriter(root / "data/evaluation") as evaluation:
        for pair in test.itertuples():
            source, target = audio[pair.source], audio[pair.target]
            noisy = (target * generator.uniform(0.6, 1.0, len(target))).astype(np.int16)
            reference.add(pair.pair, **{"source": source, "target": target, "griffin_lim.ceiling": noisy})
            evaluation.add(pair.pair, **{"griffin_lim.converted": noisy, "harmonic_noise.ceiling": noisy,
                                         "harmonic_noise.converted": noisy[::2].copy()})
            text = TEXTS[pair.sentence]
            rows += [{"pair": pair.pair, "condition": condition, "seconds": 1.0, **METRICS[condition], "text": text,
                      "transcript": _heard(text, condition), "missing": ""} for condition in METRICS]
    write_filled(EVALUATION, root / "metrics", pd.DataFrame(rows))
    summary: dict[str, Any] = {}
    for condition, values in METRICS.items():
        vocoder, _, kind = condition.rpartition(".")
        place = summary.setdefault(vocoder, {}) if vocoder else summary
        place[kind] = {**values, "utterances": len(test)}
    write_filled(DIRECTIONS, root / "metrics", pd.DataFrame([
        {"source": "demo/ann", "target": "demo/bob", "condition": condition, **METRICS[condition],
         "utterances": len(test)} for condition in METRICS]))
    write_json(root / "metrics/evaluation.json", {**summary, "utterances": len(test)})


def _heard(text: str, condition: str) -> str:
    return "" if condition == "harmonic_noise.converted" else text.replace("sentence", "sentences")


def _curves(
    folder: Path, parts: tuple[str, ...], validated: dict[str, list[float]], teacher_forced: bool = False
) -> None:
    steps = np.arange(20, 401, 20)
    curves = {f"train/{part}": 0.3 + np.exp(-steps / 90) * (5 if part == "mel" else 1) for part in parts}
    curves |= {f"validation/{part}": curves[f"train/{part}"][4::5] * 1.15 for part in parts}
    curves |= {f"gap/{part}": curves[f"validation/{part}"] - curves[f"train/{part}"][4::5] for part in parts}
    if teacher_forced:
        curves |= {f"validation_teacher_forced/{part}": curves[f"validation/{part}"] * 0.9 for part in parts}
        curves |= {f"average_best/{part}": curves[f"validation/{part}"][-1:] * 0.95 for part in parts}
    curves |= {f"validation/{name}": np.array(values) for name, values in validated.items()}
    curves |= {"learning_rate": np.where(steps < 100, steps * 1e-5, 1e-3 * np.cos((steps - 100) / 250))}
    for name, values in curves.items():
        path = folder / "plots/metrics" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        at = {20: steps, 4: steps[4::5], 1: steps[-1:]}[len(values)]
        lines = [f"step\t{path.stem}", *(f"{step}\t{value}" for step, value in zip(at, values, strict=True))]
        path.write_text("\n".join(lines) + "\n")


def _pictures(folder: Path, pairs: pd.DataFrame, mels: dict[str, np.ndarray]) -> None:
    for pair in pairs.itertuples():
        place = folder / pair.pair.replace("/", "_")
        place.mkdir(parents=True)
        for step in range(50, 401, 50):
            converted = mels[pair.target] - 400 / step
            mel_picture(converted[: 10 + step], mels[pair.target]).save(place / f"{step:08d}.png")


def _players(folder: Path, pairs: pd.DataFrame, audio: dict[str, np.ndarray], rate: int) -> None:
    for pair in pairs.itertuples():
        place = folder / pair.pair.replace("/", "_")
        place.mkdir(parents=True)
        for step in (200, 400):
            soundfile.write(place / f"{step:08d}.flac", audio[pair.target] // (1000 // step), rate)
