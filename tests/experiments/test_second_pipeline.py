"""A second pipeline's declaration, of other stages and metrics, drives its page, comparisons and sweeps."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.second_pipeline import DECLARATION, ITEMS, write_finished, write_pipeline
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError, ParameterError
from koe.experiments.comparison import compare
from koe.experiments.comparison_page import build_comparison_page
from koe.experiments.outcome import Outcome
from koe.experiments.sweep import define
from koe.params.reading import check, read_values
from koe.pipeline.declaration import Pipeline, PipelineFolder
from koe.report.page import build_page, write_page


@pytest.fixture()
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished second pipeline, in which the test is."""
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    folder = tmp_path / "pipelines/copy"
    write_finished(folder)
    monkeypatch.chdir(folder)
    return folder


def opened(folder: Path, pipeline: Pipeline) -> PipelineFolder:
    return PipelineFolder(pipeline, check(pipeline.params, read_values(folder / "params.yaml")), folder)


def outcome_of(folder: Path, better: float = 0.0) -> Outcome:
    pipeline = write_finished(folder, better)
    return Outcome(folder.name, None, lambda path: folder / path, pipeline)


def test_the_declaration_is_short() -> None:
    assert DECLARATION.partition("PIPELINE = ")[2].count("\n") <= 25


def test_its_page_has_results_players_curves_and_parameters(tmp_path: Path) -> None:
    page = build_page(opened(tmp_path / "copy", write_finished(tmp_path / "copy")), "0123abc")
    assert re.findall(r'<section id="(\w+)"', page) == ["results", "listen", "training", "parameters"]
    assert re.findall(r'<a href="#(\w+)">', page) == ["results", "listen", "training", "parameters"]
    assert "<h1>Koe: what copy synthesis sounds like</h1>" in page
    assert re.search(r"<dt>copier.width</dt><dd>\s*4", page)
    table = re.search(r'<table class="results">.*?</table>', page, re.DOTALL)
    assert table is not None
    assert re.findall(r'<tr class="(\w+)"><th scope="row">(\w+)', table[0]) == [
        ("recording", "recording"), ("converted", "copied"), ("converted", "copied_worse")]
    assert re.findall(r"<td>([\d.]+)", table[0])[:2] == ["9.0", "50.0"]
    assert page.count("<audio") == 3 * len(ITEMS)
    assert "<del>zero</del>" in page  # a word of the text that the transcript lacks
    assert ">clarity</strong>" in page
    words = re.sub(r"data:[^\"]*", "", page)
    assert "MCD" not in words and "vocoder" not in words.lower()


def test_its_page_without_results_says_so_and_is_where_summary_looks(folder: Path) -> None:
    empty = folder.parent / "empty"
    path = write_page(opened(empty, write_pipeline(empty)))
    text = path.read_text()
    assert all(line in text for line in ("Nothing was evaluated.", "No held-out sentences.", "No curves."))
    result = CliRunner().invoke(koe.cli.app, ["summary"])
    assert result.exit_code == 0 and "copied_worse" in result.output and "points ↑" in result.output


def test_its_runs_are_compared_by_its_headline(tmp_path: Path) -> None:
    comparison = compare([outcome_of(tmp_path / "one"), outcome_of(tmp_path / "two", better=1.0)])
    assert [table.title for table in comparison.tables] == ["copied", "copied_worse"]
    clarity, wer = comparison.tables[0].measured
    assert (clarity.metric.name, clarity.cells[1].verdict, wer.cells[0].value) == ("clarity", "better", 0.5)
    assert comparison.tables[1].measured[0].cells[1].verdict == "equal"
    assert list(comparison.trainings) == ["Copier"]
    assert [row.part for row in comparison.trainings["Copier"].equal_steps] == ["clarity"]
    assert not comparison.missing and not comparison.warnings
    sentence = comparison.sentences[0]
    assert [item.rendering.condition for item in sentence.renderings] == ["recording", "copied", "copied"]
    page = build_comparison_page(comparison)
    assert 'class="f0"' not in page and 'id="blind"' in page and "Copier" in page and "sentence 3" in page


def test_its_sweeps_go_by_its_training_and_its_metrics(folder: Path) -> None:
    values = read_values()
    sweep = define("s", values, settings=["copier.width=1..8"])
    assert (sweep.metric, sweep.direction) == ("fit/validation/clarity", "maximize")
    assert (sweep.objective.target, sweep.objective.curve) == ("fit", "validation/clarity")
    assert define("t", values, settings=["copier.width=1..8"], metric="wer").direction == "minimize"
    assert define("t", values, settings=["copier.width=1..8"], metric="clarity").objective.target == "judge"
    with pytest.raises(KoeError, match="such as clarity, or <stage>/<curve> with a stage of fit, such as fit/val"):
        define("t", values, settings=["copier.width=1..8"], metric="train_acoustic/validation/mcd_db")
    with pytest.raises(ParameterError, match="no such parameter"):
        define("t", values, settings=["acoustic.encoder.layers=1..8"])


def test_its_experiments_and_parameters_are_its_own(folder: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/wide.yaml").write_text("purpose: wider\nparameters: {copier.width: 16}\n")
    shown = CliRunner().invoke(koe.cli.app, ["check-params"])
    assert shown.output == "params.yaml: every parameter is valid, and none contradicts another\n"
    Path("experiments/wrong.yaml").write_text("purpose: wider\nparameters: {copier.width: many}\n")
    refused = CliRunner().invoke(koe.cli.app, ["exp", "show", "wrong"])
    assert isinstance(refused.exception, ParameterError) and "copier.width" in str(refused.exception)


def test_without_audio_there_is_nothing_to_listen_to(tmp_path: Path) -> None:
    pipeline = write_finished(tmp_path / "read")
    silent = replace(pipeline, evaluation=replace(pipeline.evaluation, audio=False))
    page = build_page(opened(tmp_path / "read", silent))
    assert re.findall(r'<section id="(\w+)"', page) == ["results", "training", "parameters"]
    runs = [replace(outcome_of(tmp_path / name), pipeline=silent) for name in ("one", "two")]
    assert compare(runs).sentences == []
