"""Comparing runs: parameters, differences with their uncertainty, equal steps, and the page as text."""

import io
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console
from support.compared_runs import VALUES, Voice, write_finished, write_run, write_two_runs
from support.fake_project import METRICS as MEASURED
from support.parameters import PIPELINE
from typer.testing import CliRunner

from koe.errors import KoeError
from koe.evaluation.measure import EVALUATION
from koe.experiments.cli import experiments
from koe.experiments.comparison import (
    ABSENT,
    common_pairs,
    compare,
    compare_training,
    conditions_of,
    differing_parameters,
    largest_differences,
    measured,
)
from koe.experiments.comparison_page import build_comparison_page
from koe.experiments.comparison_summary import print_comparison
from koe.experiments.outcome import Outcome

HEADLINE = "harmonic_noise.converted"
ACOUSTIC = next(training for training in PIPELINE.trainings if training.stage == "train_acoustic")
Make = Callable[..., Outcome]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, voice: Voice) -> Path:
    """A finished project, to be read only."""
    folder = tmp_path_factory.mktemp("finished")
    write_finished(folder, voice)
    return folder


@pytest.fixture()
def make_outcome(finished: Path, tmp_path: Path) -> Make:
    """A function that makes a run of a name; a second argument changes its parameters."""

    def make(name: str, change: Callable[[dict[str, Any]], None] = lambda tree: None) -> Outcome:
        values = deepcopy(VALUES)
        change(values)
        return write_run(tmp_path / name, finished, values)

    return make


def change_table(project: Path, change: Callable[[Any], Any]) -> None:
    EVALUATION.write(project / "metrics", change(EVALUATION.read(project / "metrics")))


def in_other_units(table: Any, condition: str, metric: str, change: Callable[[Any], Any]) -> Any:
    rows = table["condition"] == condition
    table.loc[rows, metric] = change(table.loc[rows, metric])
    return table


def many_pairs(table: Any, count: int = 30) -> Any:
    """The rows of one pair under many names, MCD drawn around what it was."""
    import pandas as pd

    generator = np.random.default_rng(0)
    one = table[table["pair"] == table["pair"].iloc[0]]
    copies = []
    for number in range(count):
        noise = generator.normal()
        copies.append(one.assign(pair=f"demo/s{number:03d}/ann-bob", mcd_db=one["mcd_db"] + noise))
    return pd.concat(copies, ignore_index=True)


def of(outcomes: list[Outcome], metric: str) -> Any:
    conditions = [HEADLINE] * len(outcomes)
    rows = measured(outcomes, conditions, common_pairs(outcomes))
    return next(row for row in rows if row.metric.name == metric)


def test_only_parameters_that_differ_are_shown_with_a_value_for_each_run(make_outcome: Make) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["vocoder"]["training"]["steps"] = 7
        del tree["seed"]

    found = differing_parameters([make_outcome("one"), make_outcome("two", change), make_outcome("three")])
    steps = found["vocoder.training.steps"]
    assert set(found) == {"vocoder.training.steps", "seed"}
    assert steps[1] == 7 != steps[0] == steps[2]
    assert found["seed"][1] is ABSENT


def test_identical_runs_differ_in_nothing(make_outcome: Make) -> None:
    comparison = compare([make_outcome("one"), make_outcome("two")])
    assert not comparison.parameters
    assert not comparison.warnings
    assert not comparison.missing
    cells = [row.cells[1] for table in comparison.tables for row in table.measured]
    assert {cell.difference for cell in cells} == {0.0, None}
    assert {cell.verdict for cell in cells} == {None}  # of two pairs nothing can be said


def test_many_pairs_of_identical_runs_are_equal(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    for outcome in outcomes:
        change_table(outcome.files("."), many_pairs)
    assert of(outcomes, "mcd_db").cells[1].verdict == "equal"
    assert of(outcomes, "mcd_db").cells[1].interval == (0.0, 0.0)


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "worse"), (-0.3, "better"), (0.0, "within noise")])
def test_a_difference_beyond_its_uncertainty_is_said_to_be_one(make_outcome: Make, shift: float, verdict: str) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    noise = np.random.default_rng(1).normal(0, 0.4, 30)
    change_table(outcomes[0].files("."), many_pairs)
    change_table(outcomes[1].files("."), lambda table: in_other_units(
        many_pairs(table), HEADLINE, "mcd_db", lambda values: values + shift + noise - noise.mean()))
    row = of(outcomes, "mcd_db")
    assert row.pairs == 30
    assert row.cells[1].verdict == verdict
    assert row.cells[1].difference == pytest.approx(shift, abs=1e-3)
    low, high = row.cells[1].interval
    assert low < shift < high
    assert 0.1 < high - low < 0.5  # 0.3 for a deviation of 0.4; unpaired it were about 1


def test_a_ratio_is_better_nearer_to_one(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    for outcome, ratio in zip(outcomes, (1.2, 0.95), strict=True):
        change_table(outcome.files("."), lambda table, ratio=ratio: in_other_units(
            many_pairs(table), HEADLINE, "duration_ratio", lambda values: values * 0 + ratio))
    cell = of(outcomes, "duration_ratio").cells[1]
    assert cell.difference == pytest.approx(-0.25)
    assert cell.verdict == "better"


def test_word_errors_are_pooled(make_outcome: Make) -> None:
    outcome = make_outcome("one")
    change_table(outcome.files("."), lambda table: table.assign(
        word_errors=[1 if pair == table["pair"].iloc[0] else 8 for pair in table["pair"]],
        words=[4 if pair == table["pair"].iloc[0] else 16 for pair in table["pair"]]))
    assert of([outcome, outcome], "wer").cells[0].value == pytest.approx(9 / 20)


def test_what_one_run_did_not_measure_has_a_dash_and_the_others_are_compared(make_outcome: Make) -> None:
    outcomes = [make_outcome(name) for name in ("one", "two", "three")]
    change_table(outcomes[1].files("."), lambda table: table.assign(speaker_similarity=None))
    cells = of(outcomes, "speaker_similarity").cells
    assert cells[1].value is None
    assert cells[2].difference == 0.0


def test_the_headline_comes_first_and_vocoders_of_other_kinds_stand_side_by_side(make_outcome: Make) -> None:
    def other(tree: dict[str, Any]) -> None:
        tree["evaluation"]["headline"] = "griffin_lim"
        tree["vocoder"]["model"] = "hifigan"

    plain, changed = make_outcome("one"), make_outcome("two", other)
    assert conditions_of([plain, changed])[0] == ("Converted by the trained vocoder", [HEADLINE, "hifigan.converted"])
    assert conditions_of([changed, plain])[0] == ("Converted by Griffin-Lim", ["griffin_lim.converted"] * 2)


def test_lesson_37_trainings_are_compared_at_the_last_step_that_all_have_validated(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    folder = outcomes[1].files("metrics/train_acoustic/plots/metrics/validation")
    (folder / "mel.tsv").write_text("step\tmel\n100\t0.7\n200\t0.6\n250\t0.5\n")
    (folder / "pitch.tsv").write_text("step\tpitch\n150\t0.7\n")
    rows = {row.part: row for row in compare_training(outcomes, ACOUSTIC, []).equal_steps}
    mel = rows["mel"]
    assert mel.step == 200
    assert mel.values[1] == 0.6
    assert [step for step, _ in mel.last] == [400, 250]
    assert (rows["pitch"].step, rows["pitch"].values) == (None, [None, None])


def test_what_makes_a_comparison_doubtful_is_said(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    change_table(outcomes[1].files("."), lambda table: table[table["pair"] != table["pair"].iloc[0]])
    change_table(outcomes[1].files("."), lambda table: table.assign(seconds=2.0))
    lock = yaml.safe_load(outcomes[1].files("dvc.lock").read_text())
    lock["stages"]["import@demo"]["outs"][0]["md5"] = "other"
    lock["stages"]["evaluate"]["deps"][0]["md5"] = "other"
    lock["stages"]["evaluate"]["params"]["params.yaml"]["seed"] = 99
    outcomes[1].files("dvc.lock").write_text(yaml.safe_dump(lock))
    said = "\n".join(compare(outcomes).warnings)
    assert "two: params.yaml was changed after the results were made (seed)" in said
    assert "one and two: the corpora differ (data/corpus/demo)" in said
    assert "one and two: the held-out sentences differ: 2 and 1 pairs, 1 in both" in said
    assert "one and two: the same held-out pairs have other recordings or texts (demo/s5/ann-bob)" in said
    assert "one and two: they were made by different code (src/koe/convert.py)" in said


def test_runs_without_recordings_or_curves_are_compared_by_numbers(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    shutil.rmtree(outcomes[1].files("data/evaluation"))
    shutil.rmtree(outcomes[1].files("metrics/train_acoustic"))
    comparison = compare(outcomes)
    assert comparison.tables[0].measured[0].cells[1].value == MEASURED[HEADLINE]["mcd_db"]
    assert any("two" in line and "data/evaluation" in line for line in comparison.missing)
    assert any("two" in line and "metrics/train_acoustic" in line for line in comparison.missing)
    assert [item.run for item in comparison.sentences[0].renderings] == [None, None, 0]
    page = build_comparison_page(comparison)
    assert all(line.replace("'", "&#39;") in page for line in comparison.missing)
    assert 'id="blind-form"' not in page  # one run is no choice


def test_runs_that_share_no_held_out_pair_cannot_be_compared(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    change_table(outcomes[1].files("."), lambda table: table.assign(pair=table["pair"].str.replace("demo", "other")))
    with pytest.raises(KoeError, match="one and two have no held-out pair in common"):
        compare(outcomes)
    with pytest.raises(KoeError, match="takes 2 to 6 runs, got 1"):
        compare(outcomes[:1])


def test_the_largest_difference_to_the_first_run_counts_and_what_was_not_measured_does_not(make_outcome: Make) -> None:
    outcome = make_outcome("one")
    rows = outcome.utterances[outcome.utterances["condition"] == HEADLINE].set_index("pair")
    tables = [rows.assign(mcd_db=values) for values in ([5.0, 5.0], [5.5, 5.1], [4.0, None])]
    found = largest_differences(tables, PIPELINE.evaluation.metrics)
    assert [found[pair]["mcd_db"] for pair in rows.index] == pytest.approx([1.0, 0.1])
    assert all("mos" not in values for values in found.values())


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, voice: Voice) -> list[Outcome]:
    return write_two_runs(tmp_path_factory.mktemp("runs"), voice)


@pytest.fixture(scope="module")
def page(two_runs: list[Outcome]) -> str:
    return build_comparison_page(compare(two_runs))


def test_the_page_takes_nothing_from_outside_and_escapes_texts(page: str) -> None:
    assert not re.search(r"https?:|url\(|@import|srcset|<iframe|<object", page)
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_names_and_notes_are_neither_markup_nor_commands(
    two_runs: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "</script><script>alert(2)</script>\x1b[31m [bold]"
    monkeypatch.setattr("koe.experiments.comparison.remarks", lambda outcome: [f"purpose {evil}", f"note {evil}"])
    comparison = compare([replace(two_runs[0], name=evil), two_runs[1]])
    page = build_comparison_page(comparison)
    assert "<script>alert(2)" not in page and "</script><script>" not in page
    assert page.count("&lt;script&gt;alert(2)") >= 3
    console = Console(width=200, file=io.StringIO(), color_system=None)
    print_comparison(comparison, console)
    assert "\x1b" not in console.file.getvalue() and r"\x1b[31m [bold]" in console.file.getvalue()


def test_the_page_has_every_part_in_its_order(page: str) -> None:
    places = [page.index(f'<section id="{name}"') for name in ("parameters", "metrics", "training", "listen", "blind")]
    assert places == sorted(places)
    assert "vocoder.training.steps" in page
    assert page.count('<article class="sentence"') == 2
    assert page.count("data:audio/flac") == 2 * 4
    assert page.count('class="series reference"') >= 2


def test_the_same_runs_give_the_same_page(page: str, two_runs: list[Outcome]) -> None:
    assert build_comparison_page(compare(two_runs)) == page


def test_the_terminal_shows_values_intervals_and_verdicts(make_outcome: Make) -> None:
    outcomes = [make_outcome("one"), make_outcome("two")]
    change_table(outcomes[0].files("."), many_pairs)
    change_table(outcomes[1].files("."), lambda table: in_other_units(
        many_pairs(table), HEADLINE, "mcd_db", lambda values: values - 3))
    console = Console(width=120, record=True)
    print_comparison(compare(outcomes), console)
    text = console.export_text()
    assert "A: one" in text
    assert re.search(r"MCD dB ↓ +1\d\.\d\d +\d\.\d\d +−3\.000, −3\.000 +better", text)


def test_the_command_writes_the_page_and_says_where(
    two_runs: list[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {outcome.name: outcome for outcome in two_runs}
    monkeypatch.setattr("koe.experiments.outcome.open_outcome", lambda name, pipeline: by_name[name])
    result = CliRunner().invoke(experiments, ["compare", "one", "two", "--output", str(tmp_path / "here")])
    assert result.exit_code == 0
    assert f"listen: {tmp_path / 'here' / 'index.html'}" in result.output.replace("\n", "")
    assert (tmp_path / "here" / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
