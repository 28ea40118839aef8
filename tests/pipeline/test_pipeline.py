"""The whole DAG through DVC: what it writes, what it re-runs, what it leaves alone."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from koe.align.tables import COMPARISON
from koe.corpus.pairing import PAIRS
from koe.corpus.tables.utterances import UTTERANCES
from koe.evaluation.measure import EVALUATION
from koe.names import file_name
from koe.store import ShardReader
from koe.training.checkpoint import read_checkpoint

from .conftest import Project

pytestmark = pytest.mark.slow

MEASURES = {
    "mcd_db", "log_f0_rmse", "f0_corr", "vuv_error", "duration_ratio", "speaker_similarity", "wer", "cer", "mos",
}
PARTS = {"mel", "postnet", "duration", "pitch", "energy"}
OPTIONS = {
    "align.method": "learned", "align.compare": "attention", "acoustic.reduction.factor": 2,
    "acoustic.training.batch_size": "null", "acoustic.training.batch_frames": 1200, "acoustic.training.ema": 0.9,
    "acoustic.training.average_best": 2, "acoustic.training.keep_best": "true", "acoustic.training.keep_every": 3,
    "vocoder.model": "hifigan", "evaluation.headline": "griffin_lim",
}


@pytest.fixture(scope="module")
def other(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project after an experiment with OPTIONS."""
    made = Project(Path(shutil.copytree(project.folder, tmp_path_factory.mktemp("other") / "project")))
    changes = [argument for name, value in OPTIONS.items() for argument in ("-S", f"{name}={value}")]
    made.output = made.run("dvc", "exp", "run", "-n", "other", *changes)  # type: ignore[attr-defined]
    return made


def test_every_stage_ran_once(project: Project) -> None:
    stages = project.stages_run(project.output)
    assert len(stages) == len(set(stages)) == 17
    assert stages[:2] == ["scan", "import@demo"]
    assert stages[-1] == "report"


def test_no_out_is_an_empty_folder(project: Project) -> None:
    """Of which DVC would warn each time, as of a fault."""
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"].values()
    outs = [project.folder / out["path"] for stage in stages for out in stage["outs"]]
    assert len(outs) > len(stages)
    assert [out for out in outs if out.is_dir() and not any(out.iterdir())] == []


def test_repro_again_looks_at_the_corpora_and_does_nothing(project: Project) -> None:
    assert project.stages_run(project.run("dvc", "repro")) == ["scan"]


def test_evaluation_has_every_measure_of_every_condition(project: Project) -> None:
    evaluation = json.loads((project.folder / "metrics/evaluation.json").read_text())
    conditions = [evaluation["source"], evaluation["target"]]
    for vocoder in ("griffin_lim", "harmonic_noise"):
        conditions += [evaluation[vocoder]["converted"], evaluation[vocoder]["ceiling"]]
    for condition in conditions:
        assert set(condition) >= MEASURES
    assert evaluation["target"]["mcd_db"] == pytest.approx(0, abs=1e-6)
    assert evaluation["source"]["mcd_db"] > 2
    table = EVALUATION.read(project.folder / "metrics")
    assert len(table) == 2 * 6  # held-out pairs × conditions
    standing = json.loads((project.folder / "metrics/summary.json").read_text())
    assert standing.items() <= evaluation["harmonic_noise"]["converted"].items()


def test_the_vocoder_is_measured_and_heard_while_it_learns(project: Project) -> None:
    metrics = json.loads((project.folder / "metrics/finetune_vocoder/metrics.json").read_text())
    assert {"mel", "stft", "adversarial", "discriminator", "feature_matching"} <= set(metrics["train"])
    assert set(metrics["validation"]) == {"mel", "stft", "log_f0_rmse", "vuv_error", "mos", "pesq"}
    players = sorted((project.folder / "metrics/finetune_vocoder/players").rglob("*.flac"))
    assert [player.stem for player in players] == ["00000002", "00000004"]
    pairs, pair = PAIRS.read(project.folder / "data/pairs"), players[0].parent.name
    target = pairs.set_index(pairs["pair"].map(file_name)).at[pair, "target"]
    frames = ShardReader(project.folder / "data/features/demo").shape(target, "mel")[0]
    assert {len(soundfile.read(player)[0]) for player in players} == {frames * 256}
    page = (project.folder / "metrics/report/index.html").read_text()
    assert page.count(" steps of the vocoder: ") == 2 and page.count("recording of the vocoder: ") == 1


def test_lesson_06_generated_mels_are_as_long_as_the_targets_audio(project: Project) -> None:
    pairs = PAIRS.read(project.folder / "data/pairs")
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
    assert set(metrics["gap"]) == PARTS
    assert 0 <= metrics["padding_ratio"] < 1
    assert metrics["gap"]["mel"] == pytest.approx(metrics["validation"]["mel"] - metrics["train"]["mel"], abs=1e-6)


def test_lesson_28_validation_is_free_of_the_targets_prosody(project: Project) -> None:
    metrics = json.loads((project.folder / "metrics/train_acoustic/metrics.json").read_text())
    assert set(metrics["validation"]) == PARTS | {"mcd_db"}
    assert set(metrics["validation_teacher_forced"]) == PARTS
    assert metrics["validation_teacher_forced"]["postnet"] != metrics["validation"]["postnet"]


def test_every_plot_is_there_and_pictures_come_by_step(project: Project) -> None:
    others = project.folder / "pipelines"  # never run here, of which DVC says that their plots fail to load
    aside = others.rename(project.folder.parent / "aside")
    output = project.run("dvc", "plots", "show", "-o", "work/plots")
    aside.rename(others)
    assert "failed to load" not in output
    page = (project.folder / "work/plots/index.html").read_text()
    pictures = re.findall(r'src="static/workspace_\w+_images_(\w+-\d+_heart-joe)_(\d{8})\.png"', page)
    pairs = sorted({pair for pair, _ in pictures})
    assert len(pairs) == 2
    assert pictures == [(pair, step) for pair in pairs for step in ("00000003", "00000006")]
    shown = (project.folder / "metrics/report/index.html").read_text()
    assert shown.count("after 6 steps, above the target") == 2


def test_convert_a_recording(project: Project, tmp_path: Path) -> None:
    reader = ShardReader(project.folder / "data/corpus/demo")
    table = UTTERANCES.read(project.folder / "data/corpus/demo")
    row = table[table["role"] == "source"].iloc[0]
    soundfile.write(tmp_path / "in.wav", reader.get(row["utterance"], "audio"), int(row["sample_rate"]))
    project.run("koe", "convert", str(tmp_path / "in.wav"), str(tmp_path / "out.wav"))
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 22050
    assert len(wave) % 256 == 0
    assert np.abs(wave).max() > 0.01
    options = ("--pitch", "2", "--speed", "1.5")
    project.run("koe", "convert", str(tmp_path / "in.wav"), str(tmp_path / "fast.wav"), *options)
    fast, _ = soundfile.read(tmp_path / "fast.wav")
    assert len(wave) / len(fast) == pytest.approx(1.5, rel=0.05)


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


def test_aligners_are_trained_and_compared(other: Project) -> None:
    for method in ("learned", "attention"):
        metrics = json.loads((other.folder / f"metrics/train_aligner/{method}/metrics.json").read_text())
        assert 0 < metrics["validation"]["focus"] <= 1
    assert ShardReader(other.folder / "data/alignment").metadata["reduction_factor"] == 2
    table = COMPARISON.read(other.folder / "data/comparison")
    assert len(table) == 12 and {"learned.focus", "attention.focus"} <= set(table.columns)
    page = (other.folder / "metrics/report/index.html").read_text()
    assert "Aligner, learned" in page and "learned and attention on the same pairs" in page


def test_options_of_the_training_reach_the_end(other: Project) -> None:
    card = json.loads((other.folder / "models/acoustic/model.json").read_text())
    assert card["acoustic"]["reduction"]["factor"] == 2
    metrics = json.loads((other.folder / "metrics/train_acoustic/metrics.json").read_text())
    assert set(metrics["average_best"]) == PARTS | {"mcd_db"}
    kept = other.folder / "work" / card["provenance"]["run"] / "kept"
    assert sorted(file.stem for file in kept.iterdir()) == ["00000003", "00000006", "best"]
    evaluation = json.loads((other.folder / "metrics/evaluation.json").read_text())
    assert evaluation["griffin_lim"]["converted"]["mcd_db"] > 0
    assert evaluation["hifigan"]["ceiling"]["mcd_db"] > 0 and "harmonic_noise" not in evaluation
    standing = json.loads((other.folder / "metrics/summary.json").read_text())
    assert standing.items() <= evaluation["griffin_lim"]["converted"].items()


def test_lesson_21_training_goes_on_from_a_kept_checkpoint(other: Project) -> None:
    shutil.copytree(other.folder / "models/acoustic", other.folder / "work/base")
    other.set("acoustic.init.from", "work/base@3")
    other.set("acoustic.init.keep_optimizer", True)
    assert other.stages_run(other.run("dvc", "repro", "train_acoustic")) == ["scan", "train_acoustic"]
    provenance = json.loads((other.folder / "models/acoustic/model.json").read_text())["provenance"]
    before = json.loads((other.folder / "work/base/model.json").read_text())["provenance"]
    assert (provenance["init"]["from"], provenance["init"]["run"]) == ("work/base@3", before["run"])
    kept = other.folder / "work" / provenance["run"] / "kept/00000006.safetensors"
    states = read_checkpoint(kept, ("optimizer",))["optimizer"]["state"].values()
    steps = {int(state["step"]) for state in states if "step" in state}  # Muon's matrices count none
    assert steps == {3 + 6}


def test_what_re_runs_what(project: Project) -> None:
    """In one test, because each part changes the workspace that the next starts from."""
    experiment = project.run("dvc", "exp", "run", "-n", "pitch-flow", "-S", "acoustic.pitch.stop_gradient=false")
    assert project.stages_run(experiment) == [
        "scan", "train_acoustic", "generate_mels", "finetune_vocoder", "evaluate", "report",
    ]
    said = project.run("dvc", "metrics", "diff", "--json", "HEAD", "pitch-flow").splitlines()
    difference = json.loads(said[-1])  # after a line on stderr that pipelines/universal, never run, has no metrics
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
