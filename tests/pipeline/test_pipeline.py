"""The whole DAG through DVC: what it writes, what it re-runs, what it leaves alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from koe.files import read_table
from koe.store import ShardReader

from .conftest import Project

pytestmark = pytest.mark.slow

MEASURES = {
    "mcd_db", "log_f0_rmse", "f0_corr", "vuv_error", "duration_ratio", "speaker_similarity", "wer", "cer", "mos",
}


def test_every_stage_ran_once(project: Project) -> None:
    stages = project.stages_run(project.output)
    assert len(stages) == len(set(stages)) == 16
    assert stages[:2] == ["scan", "import@demo"]
    assert stages[-1] == "report"


def test_repro_again_looks_at_the_corpora_and_does_nothing(project: Project) -> None:
    assert project.stages_run(project.run("dvc", "repro")) == ["scan"]


def test_evaluation_has_every_measure_of_every_condition(project: Project) -> None:
    evaluation = json.loads((project.folder / "metrics/evaluation.json").read_text())
    conditions = [evaluation["source"], evaluation["target"]]
    for vocoder in ("griffin_lim", "hifigan"):
        conditions += [evaluation[vocoder]["converted"], evaluation[vocoder]["ceiling"]]
    for condition in conditions:
        assert set(condition) >= MEASURES
    assert evaluation["target"]["mcd_db"] == pytest.approx(0, abs=1e-6)
    assert evaluation["source"]["mcd_db"] > 2
    table = read_table(project.folder / "metrics/evaluation.csv")
    assert len(table) == 2 * 6  # held-out pairs × conditions


def test_lesson_06_generated_mels_are_as_long_as_the_targets_audio(project: Project) -> None:
    pairs = read_table(project.folder / "data/pairs/pairs.csv")
    generated = ShardReader(project.folder / "data/generated")
    features = ShardReader(project.folder / "data/features/demo")
    assert len(pairs) == 12
    for pair, target in zip(pairs["pair"], pairs["target"], strict=True):
        assert generated.shape(pair, "mel") == features.shape(target, "mel")


def test_lesson_01_models_say_what_they_came_from(project: Project) -> None:
    card = json.loads((project.folder / "models/acoustic/model.json").read_text())
    assert {"inputs", "code", "revision", "steps", "seed"} <= set(card["provenance"])
    assert card["acoustic"]["training"]["steps"] == 6


def test_lesson_04_gaps_are_metrics(project: Project) -> None:
    metrics = json.loads((project.folder / "metrics/train_acoustic/metrics.json").read_text())
    assert set(metrics["gap"]) == {"mel", "postnet", "duration", "pitch", "energy"}
    assert metrics["gap"]["mel"] == pytest.approx(metrics["validation"]["mel"] - metrics["train"]["mel"], abs=1e-6)


def test_lesson_28_validation_is_free_of_the_targets_prosody(project: Project) -> None:
    metrics = json.loads((project.folder / "metrics/train_acoustic/metrics.json").read_text())
    assert {"postnet", "postnet_teacher_forced", "mcd_db"} <= set(metrics["validation"])


def test_convert_a_recording(project: Project, tmp_path: Path) -> None:
    reader = ShardReader(project.folder / "data/corpus/demo")
    table = read_table(project.folder / "data/corpus/demo/table.csv")
    row = table[table["role"] == "source"].iloc[0]
    soundfile.write(tmp_path / "in.wav", reader.get(row["utterance"], "audio"), int(row["sample_rate"]))
    project.run("koe", "convert", str(tmp_path / "in.wav"), str(tmp_path / "out.wav"))
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 22050
    assert len(wave) % 256 == 0
    assert np.abs(wave).max() > 0.01


def test_convert_names_a_file_it_cannot_read(project: Project, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    output = project.run("koe", "convert", str(tmp_path / "broken.wav"), str(tmp_path / "out.wav"), check=False)
    assert "broken.wav" in output
    assert "Traceback" not in output
    assert not (tmp_path / "out.wav").exists()


def test_a_wrong_parameter_stops_before_any_work(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "-S", "vocoder.training.segment_size=8000", check=False)
    assert "vocoder.training.segment_size" in output
    assert "multiple of mel.hop_length" in output
    project.run("git", "checkout", "-q", "params.yaml")


def test_what_re_runs_what(project: Project) -> None:
    """In one test, because each part changes the workspace that the next starts from."""
    experiment = project.run("dvc", "exp", "run", "-n", "pitch-flow", "-S", "acoustic.pitch.stop_gradient=false")
    assert project.stages_run(experiment) == [
        "scan", "train_acoustic", "generate_mels", "finetune_vocoder", "evaluate", "report",
    ]
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json", "HEAD", "pitch-flow"))
    assert "mcd_db" in json.dumps(difference)
    plots = project.run("dvc", "plots", "diff", "HEAD", "pitch-flow", "-o", "plots")
    assert "index.html" in plots
    shown = project.run("dvc", "exp", "show", "--csv")
    assert "pitch-flow" in shown

    (project.folder / "README.md").write_text("another line\n")
    assert project.stages_run(project.run("dvc", "repro")) == ["scan"]

    pitch = project.folder / "src/koe/audio/pitch.py"
    pitch.write_text(pitch.read_text() + "\n# touched\n")
    stages = project.stages_run(project.run("dvc", "repro", "--dry"))
    assert "extract@demo" in stages
    assert {"import@demo", "resample@demo", "trim@demo"}.isdisjoint(stages)
