"""Every experiment that the project ships is a valid set of parameters, DVC takes it as it is, and it trains."""

import math
import re
import shutil
from collections.abc import Mapping
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]
from typer.testing import CliRunner

import koe.cli
from koe.acoustic.data import PairReader
from koe.acoustic.nars2s import NARS2S
from koe.acoustic.speakers import Speakers
from koe.acoustic.training import AcousticTrainer
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Normalization, measure
from koe.errors import KoeError, ParameterError
from koe.experiments.named import Experiment, arguments, compose, differences, experiment_names, read_experiment
from koe.params import Params, check_params
from koe.store import ShardWriter
from koe.training.references import split_reference
from koe.training.session import Session

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments"
NAMES = experiment_names(FOLDER)
PRESETS = ["demo", "large", "log", "paper"]
RUNS = [name for name in NAMES if name.startswith("log/")]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())


@cache
def shipped(name: str) -> Experiment:
    return read_experiment(name, FOLDER)


def composed(name: str) -> dict[str, Any]:
    return compose(VALUES, shipped(name))


def params_of(name: str) -> Params:
    return check_params(composed(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_composes_and_checks(name: str) -> None:
    experiment = shipped(name)
    if experiment.refused is None:
        check_params(composed(name))
    else:
        with pytest.raises(ParameterError, match=experiment.refused):
            check_params(composed(name))


def test_there_are_the_presets_and_every_acoustic_run_of_the_log() -> None:
    assert {*PRESETS} <= {*NAMES}
    runs = [shipped(name) for name in RUNS]
    assert [re.match(r"log/nars2s_(\d\d)_", run.name)[1] for run in runs] == [  # type: ignore[index]
        f"{number:02d}" for number in range(1, 46)]
    assert all(run.date and run.found and run.lineage[0].name == "log" for run in runs)
    assert all(before.date <= after.date for before, after in pairwise(runs))  # type: ignore[operator]


def test_the_demo_is_what_params_yaml_says() -> None:
    assert composed("demo") == VALUES
    assert arguments(VALUES, shipped("demo")) == []


def test_there_is_a_many_to_many_configuration() -> None:
    params = params_of("many_to_many")
    assert len(params.corpora["demo"].speakers or []) == 4
    assert (params.pair.rule, params.acoustic.conditioning.by) == ("all", "learned")


def test_lesson_22_the_run_that_mixed_directions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refused = [name for name in RUNS if shipped(name).refused]
    assert refused == ["log/nars2s_22_jsut_to_from_jsss"]
    result = CliRunner().invoke(koe.cli.app, ["exp", "run", refused[0]])
    assert isinstance(result.exception, ParameterError) and "lesson 22" in str(result.exception)


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


@pytest.mark.parametrize("text, message", [
    ("purpose: nothing else\n", "expected purpose.*parameters: Field required"),
    ("just a line\n", "expected purpose"),
    ("purpose: |-\n  two\n  lines\nparameters: {}\n", "purpose"),
    ("purpose: x\nparameters: {}\nfond: of\n", "fond: Extra"),
    ("base: odd\npurpose: x\nparameters: {}\n", "leads back to itself: odd → odd"),
    ("base: gone\npurpose: x\nparameters: {}\n", "gone.yaml does not exist; there are odd"),
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


@pytest.mark.parametrize("name", ["paper", "large", "many_to_many", "log/nars2s_22_jsut_to_from_jsss", RUNS[27]])
def test_dvc_makes_of_params_yaml_what_compose_makes(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", arguments(VALUES, shipped(name))[1::2])
    # as a section, not a tree: DVC writes 1e-09, which YAML 1.1 reads as a text, and pydantic as a number again
    made = Params.model_validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))
    assert made == Params.model_validate(composed(name))


def test_koe_exp_list_groups_by_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = CliRunner().invoke(koe.cli.app, ["exp", "list"]).output.splitlines()
    before, after = lines[: lines.index("log/")], lines[lines.index("log/") + 1 :]
    assert [line.split()[0] for line in before if line] == [name for name in NAMES if "/" not in name]
    assert [line.split()[0] for line in after] == RUNS
    assert "2021-06-29" in after[0]


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


def test_koe_exp_run_gives_dvc_all_overrides_and_a_name_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands: list[list[str]] = []

    class Done:
        returncode = 0

    def run(command: list[str], check: bool) -> Done:
        commands.append(command)
        return Done()

    monkeypatch.setattr("subprocess.run", run)
    result = CliRunner().invoke(koe.cli.app, ["exp", "run", RUNS[1], "--queue"])
    assert result.exit_code == 0, result.output
    command, = commands
    assert command[:5] == ["dvc", "exp", "run", "-n", RUNS[1].replace("/", "-")] and command[-1] == "--queue"
    assert "acoustic.training.batch_size=12" in command and "~corpora.demo" in command
    assert "acoustic.encoder.attention=384" in command


def test_lesson_21_runs_start_from_checkpoints_that_earlier_runs_keep() -> None:
    by_run_name = {shipped(name).run_name: name for name in RUNS}
    started = 0
    for index, name in enumerate(RUNS):
        origin = composed(name)["acoustic"]["init"]["from"]
        if origin is None:
            continue
        started += 1
        where, checkpoint = split_reference(origin)
        earlier = by_run_name[where]
        assert RUNS.index(earlier) < index
        training = params_of(earlier).acoustic.training
        assert checkpoint is not None and training.keep_every is not None and training.steps is not None
        assert int(checkpoint) % training.keep_every == 0 and int(checkpoint) <= training.steps
        params = params_of(name)
        assert params.mel == params_of(earlier).mel
        if params.acoustic.init.strict:
            assert weights_mean(params) == weights_mean(params_of(earlier))
    assert started == 16


def weights_mean(params: Params) -> dict[str, Any]:
    """Everything that says what the network is."""
    return params.acoustic.model_dump(exclude={"training", "init", "loss", "teacher_forcing"})


def size(name: str) -> float:
    """Million parameters."""
    params = params_of(name)
    network = NARS2S(params.acoustic, params.mel.n_mels, speakers=2)
    return sum(tensor.numel() for tensor in network.parameters()) / 1e6


def test_sizes_are_as_said() -> None:
    assert size("log") == pytest.approx(21, abs=1)
    assert 60 < size("large") < 90
    larger, usual = size("log/nars2s_27_jsut_jsss_jvs_2"), size("log/nars2s_26_jsut_jsss_jvs")
    assert larger / usual == pytest.approx(1.5, abs=0.1)


FRAMES = {"first": (31, 34), "second": (28, 25), "third": (26, 30)}


def one_step(params: Params, folder: Path) -> dict[str, float]:
    """Trains an optimizer step on two made-up pairs and validates on a third, with float32 and from random weights."""
    generator = np.random.default_rng(0)
    with ShardWriter(folder / "features/toy", {"mel": params.mel.contract()}) as writer:
        for sentence, lengths in FRAMES.items():
            for speaker, frames in zip("xy", lengths, strict=True):
                f0 = np.where(generator.random(frames) < 0.8, generator.uniform(100, 200, frames), 0)
                writer.add(f"toy/{speaker}/{sentence}", f0=f0.astype(np.float32),
                           mel=generator.normal(-5, 2, (frames, params.mel.n_mels)).astype(np.float32),
                           energy=generator.normal(0, 1, frames).astype(np.float32))
    dataset = Dataset(["toy"], params.mel, folder)
    pairs = [(f"toy/{name}/x-y", f"toy/x/{name}", f"toy/y/{name}") for name in FRAMES]
    acoustic = params.acoustic
    durations = {f"toy/{name}/x-y": even_durations(*lengths, acoustic.reduction.factor)
                 for name, lengths in FRAMES.items()}
    names = {"source": [pair[1] for pair in pairs], "target": [pair[2] for pair in pairs]}
    found = measure(dataset, {**names, "overall": names["source"] + names["target"]}, params.stats.outliers)
    normalization = Normalization(params.stats, **found, speakers={"toy/x": found["source"], "toy/y": found["target"]})
    speakers = Speakers(acoustic.conditioning, (("toy/x", "toy/y"),), normalization, acoustic.normalize_target, {})
    torch.manual_seed(0)
    network = NARS2S(acoustic, params.mel.n_mels, len(speakers.trained))
    positions = {f"toy/{name}/x-y": np.linspace(0, source - 1, target) for name, (source, target) in FRAMES.items()}
    reader = PairReader(dataset, durations, speakers, acoustic.reduction, positions=positions)
    trainer = AcousticTrainer(network, acoustic, reader, pairs[:2], pairs[2:], params.seed, torch.device("cpu"),
                              steps_before=WARMUP_STEPS)  # a schedule must be longer than its warm-up
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    values = trainer.run(Session("acoustic", {}, folder / "curves", trainer.objects, folder / "work"))
    unchanged = {name for name, tensor in network.named_parameters() if torch.equal(tensor, before[name])}
    assert not {name for name in unchanged if name.endswith(".weight")}
    return values


def even_durations(source: int, target: int, factor: int) -> np.ndarray:
    """Durations along the straight line, of reduced steps."""
    steps, total = math.ceil(source / factor), math.ceil(target / factor)
    return np.diff(np.arange(steps + 1) * total // steps).astype(np.int32)


WARMUP_STEPS = 100


def for_one_step(name: str) -> Params:
    """An experiment's parameters at full size, in as little time: one step, nothing compiled, nothing started from."""
    values = composed(name)
    values["acoustic"]["training"] |= {
        "steps": 1, "epochs": None, "batch_size": 2, "batch_frames": None, "accumulate": 1, "precision": "float32",
        "compile": False, "log_every": 1, "validate_every": 1, "checkpoint_every": 1, "keep_every": None,
        "keep_best": False, "pictures": 0}
    values["acoustic"]["training"]["schedule"]["warmup_steps"] = WARMUP_STEPS
    values["acoustic"]["init"] = VALUES["acoustic"]["init"]
    params = Params.model_validate(values)
    return params.model_copy(update={"corpora": {}})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(tmp_path: Path, name: str) -> None:
    assert all(map(math.isfinite, one_step(for_one_step(name), tmp_path).values()))


@pytest.fixture(scope="module")
def trained() -> set[str]:
    """What one step has been made of already."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_every_run_of_the_log_trains(tmp_path: Path, name: str, trained: set[str]) -> None:
    params = for_one_step(name)
    key = f"{params.acoustic!r} {params.mel!r}"
    if key not in trained:
        trained.add(key)
        assert all(map(math.isfinite, one_step(params, tmp_path).values()))
