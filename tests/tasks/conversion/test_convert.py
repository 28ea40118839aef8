"""Conversion of recordings: source, target, and speakers that the model was not trained on."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.small_parameters import shrink_acoustic
from support.small_vocoder import as_loud_as_speech
from typer.testing import CliRunner

from koe.audio.files import read_audio, write_audio
from koe.audio.grid import mel_contract
from koe.cli import app
from koe.corpus import extraction
from koe.corpus.statistics import Normalization, Statistics
from koe.errors import AudioError, KoeError
from koe.names import Direction
from koe.statistics import Moments
from koe.tasks.conversion import convert as module
from koe.tasks.conversion.convert import Converter, SpeechFeatures, convert_file, convert_files, features_of_file
from koe.tasks.conversion.inference import Adjustment
from koe.tasks.conversion.model_file import AcousticModel, Preparation, build_network, save_acoustic
from koe.tasks.conversion.schema import check_params
from koe.tasks.conversion.speakers import Speakers
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel, save_vocoder
from koe.vocoder.networks import make_network
from koe.vocoder.registry import load_vocoder

GRIFFIN_LIM = ["--vocoder", "griffin_lim"]
RATE = 22050
DIRECTIONS = (Direction("c/ann", "c/bob"), Direction("c/bob", "c/ann"))


def statistics(hertz: float) -> Statistics:
    mel, energy = (Moments(9, np.full(shape, -5.0), np.full(shape, 2.0)) for shape in ((80,), ()))
    return Statistics(mel, Moments(9, np.log(hertz), np.array(0.1)), energy)


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the speaker encoder: the waveform's zero crossings, which tell a high voice from a low one."""
    def embed(wave: np.ndarray) -> np.ndarray:
        crossings = np.count_nonzero(np.diff(np.signbit(wave))) / len(wave)
        return np.full(256, crossings, np.float32) / 16

    monkeypatch.setattr(module, "embed", embed)


@pytest.fixture()
def make(tmp_path: Path, values: dict[str, Any]) -> Any:
    """A function that writes an untrained model with the given conditioning and returns its folder."""

    def write(by: str, directions: tuple[Direction, ...] = DIRECTIONS, **resample: Any) -> Path:
        shrink_acoustic(values["acoustic"], 16)
        level = "utterance" if by == "encoder" else "speaker"
        values["acoustic"]["conditioning"] |= {"by": by, "level": level, "size": 4}
        values["stats"]["pitch"] = "speaker"
        values["resample"] |= resample
        params = check_params(values)
        known = {"c/ann": statistics(200.0), "c/bob": statistics(100.0)}
        sides = [statistics(150.0)] * 3
        embeddings = {name: np.full(256, 0.01, np.float32) for name in known} if by == "encoder" else {}
        speakers = Speakers(params.acoustic.conditioning, directions, Normalization(params.stats, *sides, known), True,
                            embeddings)
        torch.manual_seed(0)
        network = build_network(params.acoustic, 80, 2)
        preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
        save_acoustic(tmp_path / "models/acoustic", AcousticModel(network, params.acoustic, speakers, preparation, {}))
        return tmp_path / "models"

    return write


class Silent:
    """A vocoder that says how long what it was given is, in near silence: a sample of each hop is the mel's mean."""

    name = "silent"

    def __init__(self, contract: dict[str, Any]) -> None:
        self.contract = contract

    def synthesize(self, mels: list[np.ndarray], f0s: Any = None) -> list[np.ndarray]:
        return [np.kron(mel.mean(axis=1) / 100, np.eye(1, 256)[0]).astype(np.float32) for mel in mels]


def load(models: Path) -> Converter:
    loaded = Converter.load(models / "acoustic", device="cpu")
    return Converter.load(models / "acoustic", Silent(mel_contract(loaded.model.preparation.mel)), device="cpu")


def test_one_direction_needs_no_names(make: Any, voice: Any) -> None:
    converter = load(make("none", DIRECTIONS[:1]))
    wave = converter.convert(voice(0.8), RATE)
    assert len(wave) and len(wave) % 256 == 0
    with pytest.raises(KoeError, match=r"--to: no speaker 'eve'; there are c/ann, c/bob"):
        converter.convert(voice(0.8), RATE, target="eve")


def test_several_directions_need_names(make: Any, voice: Any) -> None:
    converter = load(make("learned"))
    with pytest.raises(KoeError, match=r"which source speaker\? .*c/ann, c/bob.*--from"):
        converter.convert(voice(0.8), RATE, target="ann")
    with pytest.raises(KoeError, match=r"which voice\? .*c/ann, c/bob.*--to"):
        converter.convert(voice(0.8), RATE, source="ann")
    assert len(converter.convert(voice(0.8), RATE, "ann", "c/bob"))


def test_the_named_target_decides_the_pitch(make: Any, voice: Any) -> None:
    converter = load(make("learned"))
    features = converter.features(voice(0.8, 150.0), RATE, "c/ann")
    high, low = converter.convert_features([features] * 2, DIRECTIONS[::-1])
    pitch = [np.median(item.f0[item.f0 > 0]) for item in (high, low)]
    assert pitch[0] > 1.5 * pitch[1]  # 200 Hz and 100 Hz, the statistics of the two


def test_a_speaker_nobody_heard_in_training(make: Any, voice: Any) -> None:
    converter = load(make("encoder"))
    unnamed = converter.convert(voice(0.8, 180.0), RATE, target="bob")
    assert len(unnamed)
    namesake = converter.with_speaker("bob", [converter.features(voice(0.8), RATE)])
    assert len(namesake.convert(voice(0.8), RATE, "ann", "bob"))
    known = converter.with_speaker("eve", [converter.features(voice(0.8, f0), RATE) for f0 in (230.0, 250.0)])
    features = known.features(voice(0.8), RATE, "c/ann")
    [conversion] = known.convert_features([features], [Direction("c/ann", "eve")])
    assert 200 < np.median(conversion.f0[conversion.f0 > 0]) < 280
    assert "eve" not in converter.model.speakers.known
    with pytest.raises(KoeError, match=r"cannot take a new speaker \(eve\)"):
        load(make("learned")).with_speaker("eve", [features])


def test_loudness_is_prepared_as_in_training(make: Any, voice: Any) -> None:
    loud, quiet = voice(0.8), 0.1 * voice(0.8)
    plain, normalised = load(make("none", DIRECTIONS[:1])), load(make("none", DIRECTIONS[:1], loudness_lufs=-23.0))

    def difference(converter: Converter) -> float:
        one, other = (converter.features(wave, RATE).energy for wave in (loud, quiet))
        return float(np.abs(one - other).mean())

    assert difference(plain) > 2 > 0.1 > difference(normalised)


def test_the_command_line_takes_names_or_recordings(make: Any, voice: Any, tmp_path: Path) -> None:
    models = str(make("encoder"))
    for name, f0 in (("in", 180.0), ("eve1", 240.0), ("eve2", 260.0)):
        write_audio(tmp_path / f"{name}.wav", voice(0.8, f0), RATE)
    files = [str(tmp_path / f"{name}.wav") for name in ("in", "eve1", "eve2", "out", "other")]
    run = CliRunner().invoke
    for options in (["--to", "bob"], ["--to", files[1], "--to", files[2], "--from", "ann"]):
        result = run(app, ["convert", files[0], files[3], "--overwrite", "--models", models, *GRIFFIN_LIM, *options])
        assert result.exit_code == 0, result.output
        wave, rate = read_audio(files[3])
        assert rate == RATE and np.abs(wave).max() > 0
    failed = run(app, ["convert", files[0], files[4], "--models", models, *GRIFFIN_LIM, "--to", "nobody"])
    assert isinstance(failed.exception, KoeError) and "no speaker 'nobody'" in str(failed.exception)
    people = ["--to", files[1], "--to", "gone.wav"]
    failed = run(app, ["convert", files[0], files[4], "--models", models, *GRIFFIN_LIM, *people])
    assert "no such file: gone.wav" in str(failed.exception)


def test_a_recording_that_cannot_introduce_anybody_is_named(make: Any, tmp_path: Path) -> None:
    write_audio(tmp_path / "nothing.wav", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(AudioError, match=r"silence.*nothing\.wav"):
        features_of_file(load(make("encoder")), tmp_path / "nothing.wav")


def test_recordings_longer_than_those_of_training_go_in_windows(make: Any, voice: Any) -> None:
    converter = load(make("none", DIRECTIONS[:1], max_seconds=1.0))
    features = {seconds: converter.features(voice(seconds), RATE) for seconds in (1.0, 6.0)}

    def convert(seconds: float, converter: Converter) -> Any:
        return converter.convert_features([features[seconds]], DIRECTIONS[:1])[0]

    whole = replace(converter, window_seconds=60.0)
    assert np.array_equal(convert(1.0, converter).mel, convert(1.0, whole).mel)
    short, long, unbroken = convert(1.0, converter), convert(6.0, converter), convert(6.0, whole)
    assert len(long.durations) == len(unbroken.durations) and not np.array_equal(long.durations, unbroken.durations)
    assert len(long.mel) == len(long.f0) == 3 * long.durations.sum()
    assert len(long.mel) == pytest.approx(6 * len(short.mel), rel=0.1)


@pytest.mark.parametrize("by", ["learned", "encoder"])
@pytest.mark.parametrize("group_seconds", [0.1, 2.0, 300.0])
def test_files_convert_together_as_they_do_alone(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, group_seconds: float
) -> None:
    monkeypatch.setattr(module, "GROUP_SECONDS", group_seconds)
    converter = load(make(by))
    source = "ann" if by == "learned" else None
    paths = [tmp_path / f"{name}.wav" for name in ("long", "broken", "short", "middle")]
    for path, seconds in zip(paths, (1.6, 0.1, 0.5, 0.9), strict=True):
        write_audio(path, voice(seconds, 150.0 + 50 * seconds), RATE)
    results = list(convert_files(converter, paths, tmp_path / "together", source, "bob"))
    assert [path for path, _ in results] == paths
    assert isinstance(results[1][1], AudioError) and "broken.wav" in str(results[1][1])
    for path in (paths[0], *paths[2:]):
        convert_file(converter, path, tmp_path / "alone.wav", source, "bob", overwrite=True)
        together, alone = (read_audio(file)[0] for file in (tmp_path / "together" / path.name, tmp_path / "alone.wav"))
        assert len(together) == len(alone)
        assert np.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("arguments, message", [
    (["rec/a.wav", "rec/b.wav", "rec"], "none of the recordings can be converted"),
    (["rec/a.wav", "rec/a.wav"], "input"), (["rec/a.wav", "rec/"], "input"),
    (["rec/a.wav", "rec/b.wav"], "exists already"),
    (["rec/a.wav", "rec/b.wav", "rec/c.wav"], "reads as a recording"), (["rec/a.wav", "out.mp3"], r"\.wav or \.flac"),
    (["rec/a.wav", "results_v1.0"], r"results_v1\.0/"), (["rec/a.wav", "rec/a.wav/out"], "is a file"),
    (["rec/a.wav", "x" * 252 + ".wav"], "too long"), (["gone.wav", "out.wav"], "no such file"),
    (["rec/a.wav", "rec/b.wav", "--to", "rec/b.wav", "--overwrite"], "input"),
])
def test_destinations_are_judged_before_a_model_is_loaded(
    voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_audio(f"rec/{name}.wav", voice(0.5), RATE)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    result = CliRunner().invoke(app, ["convert", *arguments, "--models", "nowhere"])
    assert isinstance(result.exception, KoeError) and re.search(message, str(result.exception))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_one_recording_may_go_into_a_folder_whose_name_has_a_dot(make: Any, voice: Any, tmp_path: Path) -> None:
    models = make("none", DIRECTIONS[:1])
    for name in ("a", "b", "x" * 240):
        write_audio(tmp_path / f"{name}.flac", voice(0.5), RATE)
    a, b, long = (str(tmp_path / f"{name}.flac") for name in ("a", "b", "x" * 240))
    for recordings, folder in (([a], "one_v1.0/"), ([a, b, long], "several_v1.0")):
        run("convert", *recordings, f"{tmp_path}/{folder}", "--models", str(models), *GRIFFIN_LIM)
        assert len(list((tmp_path / folder).glob("*.wav"))) == len(recordings)
    again = CliRunner().invoke(app, ["convert", a, b, f"{tmp_path}/one_v1.0", "--models", str(models), *GRIFFIN_LIM])
    assert again.exit_code == 1 and "a.wav exists already" in again.output  # and b is converted all the same
    assert (tmp_path / "one_v1.0" / "b.wav").is_file()


@pytest.mark.parametrize("error", [RuntimeError("no codec"), AssertionError(), OSError("gone"), ZeroDivisionError()])
def test_no_error_of_one_recording_loses_the_others(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    converter = load(make("none", DIRECTIONS[:1]))
    paths = [tmp_path / f"{name}.wav" for name in ("one", "unreadable", "odd", "blocked", "last")]
    for path, seconds in zip(paths, (0.5, 0.5, 0.9, 0.5, 0.5), strict=True):
        write_audio(path, voice(seconds), RATE)
    (tmp_path / "out" / "blocked.wav").mkdir(parents=True)
    read, synthesize = module.read_channels, Silent.synthesize
    usual, odd = (len(converter.convert(voice(seconds), RATE)) // 256 for seconds in (0.5, 0.9))
    assert usual != odd

    def failing_read(path: Path) -> Any:
        if path.stem == "unreadable":
            raise error
        return read(path)

    def failing_synthesis(self: Silent, mels: list[np.ndarray], f0s: Any = None) -> list[np.ndarray]:
        if any(len(mel) == odd for mel in mels):
            raise error
        return synthesize(self, mels, f0s)

    monkeypatch.setattr(module, "read_channels", failing_read)
    monkeypatch.setattr(Silent, "synthesize", failing_synthesis)
    results = dict(convert_files(converter, paths, tmp_path / "out"))
    assert list(results) == paths
    assert [isinstance(result, KoeError) for result in results.values()] == [False, True, True, True, False]
    assert all(path.name in str(results[path]) for path in paths[1:4])
    assert paths[0].is_file() and sorted(path.stem for path in (tmp_path / "out").glob("*.wav")) == [
        "blocked", "last", "one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), torch.OutOfMemoryError("CUDA out of memory")])
def test_an_interruption_and_a_full_memory_end_the_batch(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Silent, "synthesize", fail)
    write_audio(tmp_path / "a.wav", voice(0.5), RATE)
    with pytest.raises(type(error)):
        list(convert_files(load(make("none", DIRECTIONS[:1])), [tmp_path / "a.wav"], tmp_path / "out"))


def spoken_for_long(voice: Any, path: Path, seconds: float) -> None:
    """Stereo, at another rate than the model's, with pauses and a silent head and tail."""
    rate, parts = 32000, []
    while sum(map(len, parts)) < seconds * rate:
        parts.append(voice(0.9, 120.0 + 10 * len(parts), rate, silence=0.15, seed=len(parts)))
    wave = np.concatenate([np.zeros(rate // 2, np.float32), *parts, np.zeros(rate // 2, np.float32)])
    soundfile.write(path, np.stack([wave, 0.5 * wave], axis=1), rate, subtype="PCM_16")


@pytest.mark.parametrize("by, source", [("learned", "ann"), ("encoder", "ann"), ("encoder", None)])
def test_a_long_recording_is_converted_in_stretches_as_it_is_as_a_whole(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, source: str | None
) -> None:
    converter = load(make(by, loudness_lufs=-23.0))
    spoken_for_long(voice, tmp_path / "long.wav", 18.0)
    convert_file(converter, tmp_path / "long.wav", tmp_path / "whole.wav", source, "bob")
    monkeypatch.setattr(module, "LONGEST_SECONDS", 8.0)
    monkeypatch.setattr(module, "STRETCH_SECONDS", 5.0)
    sizes: list[int] = []
    features = Converter.features_of_speech

    def counting(self: Converter, wave: np.ndarray, speaker: str | None = None) -> SpeechFeatures:
        sizes.append(len(wave))
        return features(self, wave, speaker)

    monkeypatch.setattr(Converter, "features_of_speech", counting)
    [(_, written)] = convert_files(converter, [tmp_path / "long.wav"], tmp_path / "out", source, "bob")
    whole, pieces = (read_audio(path)[0] for path in (tmp_path / "whole.wav", written))
    assert len(sizes) >= 4 and max(sizes) < 6.5 * RATE  # no stretch is longer than 5 s and what a pause takes
    assert len(pieces) == pytest.approx(len(whole), rel=0.02)
    assert np.abs(pieces).max() == pytest.approx(np.abs(whole).max(), rel=0.2)


def test_a_long_whisper_is_converted_where_something_else_is_voiced(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 3.0)
    monkeypatch.setattr(module, "STRETCH_SECONDS", 2.0)
    converter = load(make("none", DIRECTIONS[:1]))
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    extract_f0 = extraction.extract_f0

    def without_mistakes(wave: np.ndarray, *arguments: Any) -> np.ndarray:
        whispered = np.count_nonzero(np.diff(np.signbit(wave))) > 0.3 * len(wave)
        return extract_f0(wave, *arguments) * (not whispered)

    monkeypatch.setattr(extraction, "extract_f0", without_mistakes)
    write_audio(tmp_path / "noise.wav", noise, RATE)
    with pytest.raises(AudioError, match=r"noise\.wav: no F0"):
        convert_file(converter, tmp_path / "noise.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()
    write_audio(tmp_path / "both.wav", np.concatenate([voice(2.0), noise]), RATE)
    convert_file(converter, tmp_path / "both.wav", tmp_path / "out.wav")
    assert len(read_audio(tmp_path / "out.wav")[0]) > 3 * RATE


def test_names_are_looked_at_before_any_file(make: Any, tmp_path: Path) -> None:
    with pytest.raises(KoeError, match="no speaker 'eve'"):
        list(convert_files(load(make("learned")), [tmp_path / "missing.wav"], tmp_path, "ann", "eve"))


def test_the_command_line_adjusts(make: Any, voice: Any, tmp_path: Path) -> None:
    models, source, out = str(make("none", DIRECTIONS[:1])), str(tmp_path / "in.wav"), str(tmp_path / "out.wav")
    write_audio(source, voice(1.5), RATE)

    def convert(*options: str) -> np.ndarray:
        result = CliRunner().invoke(
            app, ["convert", source, out, "--overwrite", "--models", models, *GRIFFIN_LIM, *options])
        assert result.exit_code == 0, result.output
        return read_audio(out)[0]

    plain = convert()
    assert np.array_equal(plain, convert("--pitch", "0", "--energy", "1", "--speed", "1"))
    assert len(convert("--speed", "2")) == pytest.approx(len(plain) / 2, rel=0.1)
    lower = convert("--pitch", "-4.5")
    assert len(lower) == len(plain) and not np.array_equal(lower, plain)
    failed = CliRunner().invoke(app, ["convert", source, out, "--models", "nowhere", "--speed", "5"])
    assert isinstance(failed.exception, KoeError) and "--speed 5: expected a number from 0.25 to 4" in str(
        failed.exception)


def test_what_ships_speaks_as_anybody_where_no_model_was_trained_that_can(
    make: Any, voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, here = tmp_path / "shipped", tmp_path / "here"
    here.mkdir()
    shipped.mkdir()
    shutil.move(make("encoder") / "acoustic", shipped / "anyone")
    monkeypatch.chdir(here)
    monkeypatch.setattr("koe.cli.SHIPPED", shipped)
    write_audio("in.wav", voice(1.5), RATE)
    write_audio("somebody.wav", voice(1.2), RATE)

    def convert(*options: str) -> tuple[bool, str]:
        result = CliRunner().invoke(app, ["convert", "in.wav", "out.wav", "--overwrite", *GRIFFIN_LIM, *options])
        said = str(result.exception) if isinstance(result.exception, KoeError) else result.stdout
        return f"by the models that ship, {shipped}" in result.stderr, said

    assert convert("--to", "somebody.wav") == (True, "out.wav\n")
    assert convert("--to", "bob")[0]
    assert "which voice?" in convert()[1]
    (here / "models").mkdir()
    shutil.move(make("none", DIRECTIONS[:1]) / "acoustic", here / "models/acoustic")
    assert convert() == (False, "out.wav\n")
    assert convert("--to", "somebody.wav")[0]  # whom the model here cannot take
    assert convert("--to", "somebody.wav", "--models", "models") == (
        False, "this model cannot take a new speaker (somebody): acoustic.conditioning.by is none; it knows c/ann, "
        "c/bob. Train one with encoder")
    shutil.rmtree(here / "models/acoustic")
    shutil.move(make("encoder") / "acoustic", here / "models/acoustic")
    assert convert("--to", "somebody.wav") == (False, "out.wav\n")


def write_vocoder(models: Path, values: dict[str, Any], model: str) -> None:
    """An untrained, small vocoder beside the acoustic model."""
    vocoder = values["vocoder"]
    vocoder["model"] = model
    vocoder["hifigan"] |= {"upsample_channels": 16, "resblock_kernels": [3], "resblock_dilations": [[1, 3]]}
    vocoder["harmonic_noise"] |= {"layers": 1, "hidden": 8, "feed_forward": 8}
    params = check_params(values)
    network = make_network(params.vocoder, params.mel)
    if isinstance(network, Generator):
        as_loud_as_speech(network, np.random.default_rng(0).normal(-5, 2, (60, 80)).astype(np.float32))
    save_vocoder(models / "vocoder", VocoderModel(network, None, params.vocoder, params.mel, 0))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("model", ["hifigan", "harmonic_noise"])
def test_exported_models_convert_as_their_originals_do(
    make: Any, voice: Any, values: dict[str, Any], tmp_path: Path, model: str, auto_precision: str
) -> None:
    pytest.importorskip("onnx")
    from koe.onnx import runtime

    models = make("learned", max_seconds=1.0)  # so that there are windows
    write_vocoder(models, values, model)
    source, out, onnx = (str(tmp_path / name) for name in ("in.wav", "out.wav", "onnx"))
    write_audio(source, voice(2.5), RATE)
    assert onnx in run("export-onnx", onnx, "--models", str(models))
    original = Converter.load(models / "acoustic", device="cpu")
    vocoder = load_vocoder(models / "vocoder", original.model.preparation.mel, device="cpu")
    features = original.features(*read_audio(source), "c/ann")
    ours, theirs = (converter.convert_features([features], DIRECTIONS[:1])[0]
                    for converter in (original, runtime.load_converter(onnx)))
    # The acoustic model is float32 in both: some roundings of log-mels and of logarithms of F0, up to 9, by 5e-7 each.
    assert np.array_equal(ours.durations, theirs.durations)
    assert np.abs(ours.mel - theirs.mel).max() < 2e-5  # measured: 3e-6
    assert np.allclose(ours.f0, theirs.f0, rtol=5e-6)  # measured: 5e-7
    # Pulses add F0 up. A rounding of it, by 6e-8, turns the highest harmonic by 2 pi * 11025 Hz * 1.4 s * 6e-8 = 6e-3
    # until the end of the recording, which is heard by nobody and measured as 6e-4. So waves are made of the same F0.
    [expected] = vocoder.synthesize([theirs.mel], [theirs.f0])
    run("convert", source, out, "--from", "ann", "--to", "bob", "--onnx", onnx)
    wave = read_audio(out)[0]
    assert wave.shape == expected.shape and expected.std() > 0.02
    if model == "hifigan" and auto_precision == "bfloat16":  # the original alone: layers of numbers rounded by 2 ** -8
        assert 0.002 < (wave - expected).std() / expected.std() < 0.02  # measured: 0.011
    else:  # half a step of 16 bits, and rounding in float32
        assert np.abs(wave - expected).max() < 0.5 / 32768 + 1e-6


def test_a_model_exported_without_a_vocoder_speaks_with_another(make: Any, voice: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    source, out, onnx = (str(tmp_path / name) for name in ("in.wav", "out.wav", "onnx"))
    write_audio(source, voice(0.8), RATE)
    run("export-onnx", onnx, "--models", str(make("none", DIRECTIONS[:1])), *GRIFFIN_LIM)
    run("convert", source, out, "--onnx", onnx, *GRIFFIN_LIM)
    assert np.abs(read_audio(out)[0]).max() > 0
    failed = CliRunner().invoke(app, ["convert", source, out, "--onnx", onnx, "--overwrite"])
    assert "vocoder.json does not exist" in str(failed.exception)


def test_a_long_recording_is_spoken_in_pieces(
    make: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make("none", DIRECTIONS[:1])
    write_vocoder(models, values, "hifigan")
    converter = Converter.load(models / "acoustic", device="cpu")
    mel = converter.model.preparation.mel
    vocoder = load_vocoder(models / "vocoder", mel, device="cpu")
    converter = replace(converter, vocoder=vocoder)
    frames = 3000
    generator = np.random.default_rng(0)
    features = SpeechFeatures(
        generator.normal(-5, 2, (frames, 80)).astype(np.float32), np.full(frames, 150.0, np.float32),
        generator.normal(-5, 2, frames).astype(np.float32))
    sizes: list[int] = []
    forward = Generator.forward

    def counting(self: Generator, mel: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        sizes.append(mel.shape[1])
        return forward(self, mel, source)

    monkeypatch.setattr(Generator, "forward", counting)
    [wave] = converter.convert_utterances([features], adjustment=Adjustment(speed=0.3))
    assert len(wave) > 2 * 256 * max(sizes)
    assert max(sizes) < 2000


@pytest.mark.parametrize(("gain", "lines"), [(0.0, 2), (0.3, 0)])
def test_a_result_far_quieter_than_its_recording_is_told(
    make: Any, voice: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], gain: float, lines: int
) -> None:
    class Steady(Silent):
        def synthesize(self, mels: list[np.ndarray], f0s: Any = None) -> list[np.ndarray]:
            return [np.full(len(mel) * 256, gain, np.float32) for mel in mels]

    converter = load(make("none", DIRECTIONS[:1]))
    converter = replace(converter, vocoder=Steady(mel_contract(converter.model.preparation.mel)))
    write_audio(tmp_path / "a.wav", voice(0.8), RATE)
    convert_file(converter, tmp_path / "a.wav", tmp_path / "b.wav")
    assert all(isinstance(result, Path) for _, result in convert_files(
        converter, [tmp_path / "a.wav"], tmp_path / "out"))
    assert capsys.readouterr().err.count("dB quieter than the recording") == lines
