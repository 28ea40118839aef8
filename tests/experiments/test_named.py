"""Every experiment that the project ships is a valid set of parameters, and DVC takes it as it is."""

import re
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]
from support.parameters import make_pipeline_folder
from support.shipped_experiments import NAMES, ROOT, RUNS, VALUES, composed, params_of, shipped
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError, ParameterError
from koe.experiments.named import Experiment, arguments, compose, differences, experiment_names, read_experiment
from koe.params.reading import check, read_values
from koe.pipeline.declaration import load_pipeline
from koe.pipeline.writing import pipeline_folders
from koe.tasks.conversion.schema import Params, check_params


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_composes_and_checks(name: str) -> None:
    experiment = shipped(name)
    if experiment.refused is None:
        check_params(composed(name))
    else:
        with pytest.raises(ParameterError, match=experiment.refused):
            check_params(composed(name))


def test_the_demo_is_what_params_yaml_says() -> None:
    assert composed("demo") == VALUES
    assert arguments(VALUES, shipped("demo")) == []


def test_there_is_a_many_to_many_configuration() -> None:
    params = params_of("many_to_many")
    assert len(params.corpora["demo"].speakers or []) == 4
    assert (params.pair.rule, params.acoustic.conditioning.by) == ("all", "learned")


def test_overrides_leave_the_rest_and_the_original_alone(values: dict[str, Any]) -> None:
    experiment = Experiment(name="x", purpose="…", parameters={"mel.fmax": 7600.0, "pair.chosen": [["a", "b"]]})
    after = compose(values, experiment)
    assert (after["mel"]["fmax"], values["mel"]["fmax"]) == (7600.0, 8000.0)
    assert arguments(values, experiment) == ["-S", "mel.fmax=7600.0", "-S", 'pair.chosen=[["a", "b"]]']


def test_bases_come_first_and_a_section_can_be_replaced(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/base.yaml").write_text(
        "purpose: base\nparameters: {corpora: {a: {importer: jsut, path: x, source: null}}, mel.fmax: 7000.0}\n")
    (tmp_path / "top.yaml").write_text(
        "base: below/base\npurpose: top\nparameters: {corpora.a.source: jsut, mel.fmax: 7600.0}\n")
    assert experiment_names(tmp_path) == ["top", "below/base"]
    experiment = read_experiment("top", tmp_path)
    after = compose(values, experiment)
    assert after["corpora"] == {"a": {"importer": "jsut", "path": "x", "source": "jsut"}}
    assert after["mel"]["fmax"] == 7600.0
    said = {difference.parameter: experiment.origin(difference.parameter) for difference in differences(values, after)}
    assert said == {"corpora.demo": "below/base", "corpora.a": "top", "mel.fmax": "top"}
    assert read_experiment("below/base", tmp_path).run_name == "below-base"

    (tmp_path / "several.yaml").write_text("base: [top, narrow]\npurpose: both\nparameters: {}\n")
    (tmp_path / "narrow.yaml").write_text("purpose: narrow\nparameters: {mel.fmax: 4000.0}\n")
    several = read_experiment("several", tmp_path)
    assert compose(values, several)["mel"]["fmax"] == 4000.0
    assert several.origin("mel.fmax") == "narrow" and several.origin("corpora.a") == "top"


@pytest.mark.parametrize("text, message", [
    ("purpose: nothing else\n", "expected purpose.*parameters: field required"),
    ("just a line\n", "expected purpose"),
    ("purpose: |-\n  two\n  lines\nparameters: {}\n", "purpose"),
    ("purpose: x\nparameters: {}\nfond: of\n", "fond: extra"),
    ("base: odd\npurpose: x\nparameters: {}\n", "leads back to itself: odd → odd"),
    ("base: 3\npurpose: x\nparameters: {}\n", "base: "),
    ("base: gone\npurpose: x\nparameters: {}\n", "gone.yaml does not exist; there are: odd"),
])
def test_a_file_that_is_no_experiment_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(KoeError, match=message):
        read_experiment("odd", tmp_path)


@pytest.mark.parametrize("name", ["mel.f_max", "mell.fmax", "mel.fmax.more"])
def test_unknown_names_are_refused(values: dict[str, Any], name: str) -> None:
    with pytest.raises(ParameterError, match=f"experiment x: params.yaml has no {name}"):
        compose(values, Experiment(name="x", purpose="…", parameters={name: 1}))


def through_dvc(before: Mapping[str, Any], experiment: Experiment, path: Path) -> Any:
    """What DVC makes of a parameter file when it is given the experiment's arguments."""
    path.write_text(yaml.safe_dump(before, allow_unicode=True))
    apply_overrides(path, arguments(before, experiment)[1::2])
    return yaml.safe_load(path.read_text())


SCALARS = ["learned", None, True, 3, 1.5, -42.0, "null", "3", "a, b", "it's [x] {y}: z=1", "話者 ü"]
LISTS: list[Any] = [[], [0.5, 2.0], [["a", "b"], ["c/d", "e f"]]]
MAPPINGS: list[Any] = [{"n": None, "list": [1], "deep": {"text": "a: b", "k-1": 0.1}}, {}]


@pytest.mark.parametrize("was, value", [
    *product([None, "before"], SCALARS + LISTS + MAPPINGS), *product([[1]], [*LISTS, None]),
    *product([{"n": 1, "gone": {"x": 1}}], [*MAPPINGS, None]),
], ids=repr)
def test_dvc_takes_every_kind_of_value(tmp_path: Path, was: Any, value: Any) -> None:
    before = {"a": {"b": was, "c": 1}}
    experiment = Experiment(name="x", purpose="…", parameters={"a.b": value})
    assert through_dvc(before, experiment, tmp_path / "params.yaml") == {"a": {"b": value, "c": 1}}


@pytest.mark.parametrize("name", [
    "paper", "large", "many_to_many", "log/hifigan_14_jsut_jsss_jvs_2", "log/nars2s_22_jsut_to_from_jsss",
    "log/nars2s_28_n2c",
])
def test_dvc_makes_of_params_yaml_what_compose_makes(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", arguments(VALUES, shipped(name))[1::2])
    made = Params.model_validate(read_values(tmp_path / "params.yaml"))
    assert made == Params.model_validate(composed(name))


def test_koe_exp_list_goes_on_after_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments/log").mkdir(parents=True)
    for name, content in {"first": b"purpose: \xff", "log/second": b"[" * 2000,
                          "log/third": b"purpose: x\npurpose: y\n",
                          "whole": b"purpose: a line\nparameters: {}\n"}.items():
        (tmp_path / f"experiments/{name}.yaml").write_bytes(content)
    (tmp_path / "experiments/folder.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("koe.experiments.listing.run_references", list)
    result = CliRunner().invoke(koe.cli.app, ["exp", "list"])
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines() if "  " in line}
    assert rows.keys() == {"first", "folder", "whole", "log/second", "log/third"}
    assert rows["whole"].endswith("a line")
    for name, message in {"first": "not UTF-8", "folder": "folder.yaml", "log/second": "nested too deeply",
                          "log/third": "in line 2: purpose is there twice"}.items():
        assert re.search(f"cannot be read: .*{message}", rows[name])


def test_koe_exp_list_groups_by_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = CliRunner().invoke(koe.cli.app, ["exp", "list"]).output.splitlines()
    before, after = lines[: lines.index("log/")], lines[lines.index("log/") + 1 :]
    assert [line.split()[0] for line in before if line] == [name for name in NAMES if "/" not in name]
    assert [line.split()[0] for line in after] == [name for name in RUNS if name in NAMES]
    assert all(re.fullmatch(r"\S+ +2021-0[67]-\d\d  \S.*", line) for line in after)


def test_koe_exp_show_says_where_each_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(koe.cli.app, ["exp", "show", "log/nars2s_05_jsut_2_jsss_4"]).output
    assert "found: pitch overfits badly" in shown
    assert re.search(r"  acoustic.energy.layers: 2 → 8$", shown, re.M)
    assert "  acoustic.energy.kernel: 3 → 5  (log/nars2s_03_jsut_2_jsss_2)" in shown
    assert "  acoustic.encoder.attention: 256 → 384  (log)" in shown
    assert re.search(r"corpora.demo: .* → nothing  \(log\)", shown)
    refused = CliRunner().invoke(koe.cli.app, ["exp", "show", "log/nars2s_22_jsut_to_from_jsss"])
    assert refused.exit_code == 0 and "is refused: " in refused.output and "lesson 22" in refused.output


def test_a_fault_in_params_yaml_is_not_the_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "experiments", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").unlink()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("\ncorpora:", "\ncorpoza:"))
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(koe.cli.app, ["exp", "show", "paper"])
    assert isinstance(refused.exception, ParameterError)
    assert re.match(r"params\.yaml:(?s:.*)corpoza: no such parameter", str(refused.exception))


def test_a_purpose_does_not_act_on_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'purpose: "\\e[31mred \\r\\u009b2J"\nfound: "\\e[2J"\nparameters: {seed: "\\e[1m"}\n'
    make_pipeline_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "odd\x1b[7m.yaml").write_text(text)
    monkeypatch.setattr("koe.experiments.listing.run_references", lambda: [])
    monkeypatch.setattr("koe.experiments.listing.run_of", lambda name: None)
    monkeypatch.setattr("koe.experiments.listing.check_composed", lambda *_: None)
    printed = [CliRunner().invoke(koe.cli.app, ["exp", *words]).output for words in (["list"], ["show", "odd\x1b[7m"])]
    assert all("\\x1b[31mred \\r\\x9b2J" in text for text in printed)
    assert r"odd\x1b[7m" in printed[0] and r"found: \x1b[2J" in printed[1] and r"→ \x1b[1m" in printed[1]
    assert not any({"\x1b", "\r", "\x9b"} & set(text) for text in printed)


def test_koe_exp_run_gives_dvc_all_overrides_and_a_name_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr("koe.experiments.running.dvc_aloud", lambda *command: commands.append(command) or 0)
    result = CliRunner().invoke(koe.cli.app, ["exp", "run", "log/nars2s_02_jsut_2_jsss", "-f"])  # -f: run before or not
    assert result.exit_code == 0, result.output
    command, = commands
    assert command[:4] == ("exp", "run", "-n", "log-nars2s_02_jsut_2_jsss") and command[-1] == "-f"
    assert "acoustic.training.batch_size=12" in command and "~corpora.demo" in command
    assert "acoustic.encoder.attention=384" in command


@pytest.mark.parametrize("folder", pipeline_folders(ROOT), ids=lambda folder: folder.name)
def test_every_experiment_of_every_pipeline_composes_and_is_valid(folder: Path) -> None:
    schema, values = load_pipeline(folder).params, read_values(folder / "params.yaml")
    check(schema, values)
    for name in experiment_names(folder / "experiments"):
        experiment = read_experiment(name, folder / "experiments")
        try:
            check(schema, compose(values, experiment), name)
        except ParameterError as error:
            assert experiment.refused and re.search(experiment.refused, str(error)), error
        else:
            assert not experiment.refused
