"""`koe check`: metrics/data.json in a terminal of 80 columns."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.parameters import make_pipeline_folder
from typer.testing import CliRunner

from koe.cli import app, main
from koe.errors import KoeError
from koe.files import read_json
from koe.report.health import print_health


@pytest.fixture()
def counts(project: Path) -> dict[str, Any]:
    return read_json(project / "metrics/data.json")


def _printed(counts: dict[str, Any], corpus: str | None = None) -> str:
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as captured:
        print_health(counts, corpus, console)
    return captured.get()


def _row(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(start)).split()


def test_everything_of_the_small_project_is_there(counts: dict[str, Any]) -> None:
    text = _printed(counts)
    assert "11 of 12 utterances kept" in text
    assert "pairs: 2 train, 1 validation, 2 test" in text
    assert "licence: CC0, <ours>" in text
    assert "16000 Hz (6), 44100 Hz (6); formats: WAV/PCM_16 (12)" in text
    assert _row(text, "bob")[1:] == ["6", "0.00", "−25.7", "4.6", "−66", "1", "108", "120", "144", "15.4"]
    assert _row(text, "all")[1] == "11"
    assert _row(text, "resample") == ["resample", "too_short", "1"]
    assert _row(text, "demo/ann → demo/bob")[-3:] == ["1", "0.95", "demo/s3/ann-bob"]
    assert "- demo/bob/s5 = demo/bob/s6" in text
    assert "- demo: 5 of 12 recordings were made at less than mel.sample_rate" in text


def test_it_fits_a_terminal_whatever_names_there_are(counts: dict[str, Any]) -> None:
    speakers = counts["corpora"]["demo"]["speakers"]
    name = "a speaker of [bold]many[/bold] words and/or digits 1234567890"
    speakers[name] = copy.deepcopy(speakers["ann"]) | {"noise_db": None, "letters_per_second": None}
    counts["directions"][f"demo/ann → demo/{name}"] = copy.deepcopy(counts["directions"]["demo/ann → demo/bob"])
    text = _printed(counts)
    assert max(map(len, text.splitlines())) <= 80
    assert "[bold]" in text
    assert "…" not in text


def test_a_long_list_is_cut_and_says_so(counts: dict[str, Any]) -> None:
    text = _printed({**counts, "warnings": [f"demo: warning {number}" for number in range(50)]})
    assert "warning 19" in text
    assert "warning 20" not in text
    assert "and 30 more, in metrics/data.json" in text


def test_one_corpus_alone(counts: dict[str, Any]) -> None:
    other = copy.deepcopy(counts["corpora"]["demo"]) | {"quarantined": {"total": 1, "resample": {"clipping": 1}}}
    counts["corpora"]["other"] = other
    counts["directions"]["other/ann → other/bob"] = copy.deepcopy(counts["directions"]["demo/ann → demo/bob"])
    counts["warnings"].append("other: 5 of 5 recordings clip somewhere")
    text = _printed(counts, "other")
    assert "clipping" in text
    assert "other: 5 of 5 recordings clip" in text
    assert "other/ann → other/bob" in text
    assert "utterances kept" not in text
    assert "demo/ann" not in text
    assert "partner_missing" not in text
    assert "demo: 5 of 12" not in text
    with pytest.raises(KoeError, match="there are no counts of 'nobody'; expected one of demo, other"):
        _printed(counts, "nobody")


def test_nothing_to_complain_of(counts: dict[str, Any]) -> None:
    quiet = {**counts, "warnings": [], "directions": {}, "quarantined": {"total": 0},
             "duplicates": {"utterances": 0, "groups": 0, "largest": []}}
    text = _printed(quiet)
    assert "Quarantine: 0" in text
    assert "outliers in 0 of 0 directions" in text
    assert "Warnings" not in text
    assert "Duplicates" not in text


def test_names_are_neither_markup_nor_commands(counts: dict[str, Any]) -> None:
    counts["warnings"] = ["demo: \x1b[31m [bold]"]
    counts["corpora"]["demo"]["licence"] = "\x9b2J"
    text = _printed(counts)
    assert r"- demo: \x1b[31m [bold]" in text and r"licence: \x9b2J" in text and not {"\x1b", "\x9b"} & set(text)


def test_the_command_reads_the_pipeline_s_metrics(project: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--metrics", str(project / "metrics"), "--corpus", "demo"])
    assert result.exit_code == 0
    assert "licence: CC0" in result.output


def test_without_metrics_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["koe", "check", "--metrics", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert f"{tmp_path / 'data.json'} does not exist, and data/features holds none of the corpora" in printed


def test_where_pairing_failed_the_recordings_are_counted_all_the_same(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    make_pipeline_folder(tmp_path)
    for path in ("pairs/pairs.csv", "alignment/alignment.csv"):
        (tmp_path / "data" / path).unlink()
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(app, ["check"]).output
    assert "11 of 12 utterances kept" in printed and "not paired yet" in printed
    assert "partner_missing" in printed  # what pairing had written before it stopped


def test_a_pipeline_without_corpora_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/pipeline.py").write_text(
        "from koe.params.section import Section\nfrom koe.pipeline.declaration import Pipeline\n\n\n"
        "class Params(Section):\n    seed: int\n\n\nPIPELINE = Pipeline(Params, ())\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KoeError, match="koe check is for pipelines with corpora"):
        CliRunner().invoke(app, ["check"], catch_exceptions=False)
