"""What `koe exp run` asks of DVC; DVC's own part is played by a function that sets parameters as it does."""

from itertools import pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]
from support.parameters import PIPELINE
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError, ParameterError
from koe.experiments import running
from koe.experiments.dvc import RunReference, git
from koe.experiments.named import compose, read_experiment
from koe.experiments.running import run
from koe.params.reading import read_values

EXPERIMENTS = {
    "flow": "{acoustic.pitch.stop_gradient: false}",
    "slow": "{acoustic.training.steps: 3000, pitch.floor: 60.0}",
    "wrong": "{acoustic.training.steps: -1}",
    "log/deep": "{acoustic.pitch.layers: 7, acoustic.training.steps: 9000}",
}


class Asked:
    """What DVC was asked, and the parameters that it found after setting them."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.parameters: list[dict[str, object]] = []
        self.fails = ""

    def __call__(self, *arguments: str) -> int:
        self.commands.append([*arguments])
        settings = [value for option, value in pairwise(arguments) if option == "-S"]
        apply_overrides("params.yaml", settings)
        self.parameters.append(read_values())
        return int(arguments[3] == self.fails)


@pytest.fixture()
def asked(commits: list[str], monkeypatch: pytest.MonkeyPatch) -> Asked:
    for name, parameters in EXPERIMENTS.items():
        Path(f"experiments/{name}.yaml").write_text(f"purpose: …\nparameters: {parameters}\n")
    Path("experiments/demo.yaml").write_text("purpose: …\nparameters: {}\n")
    made = Asked()
    monkeypatch.setattr(running, "dvc_aloud", made)
    monkeypatch.setattr(running, "_queued", lambda: {"waiting"})
    return made


def test_each_is_run_from_the_parameters_before_the_first(asked: Asked) -> None:
    before = read_values()
    run(PIPELINE, ["flow", "log/deep", "slow"], options=["--temp"])
    assert [command[:4] for command in asked.commands] == [
        ["exp", "run", "-n", name] for name in ("flow", "log-deep", "slow")]
    assert all(command[-1] == "--temp" for command in asked.commands)
    assert asked.parameters == [compose(before, read_experiment(name)) for name in ("flow", "log/deep", "slow")]


def test_an_experiment_that_names_a_pipeline_is_told_where_it_belongs(asked: Asked) -> None:
    Path("experiments/alone.yaml").write_text("purpose: …\npipeline: universal/dvc.yaml\nparameters: {seed: 2}\n")
    with pytest.raises(KoeError, match=r"alone\.yaml: pipeline: .* move it to pipelines/<name>/experiments"):
        run(PIPELINE, ["alone"])


def test_all_are_checked_before_the_first_starts(asked: Asked) -> None:
    with pytest.raises(ParameterError, match=r"acoustic\.training\.steps"):
        run(PIPELINE, ["flow", "wrong"])
    with pytest.raises(KoeError, match=r"nothing\.yaml does not exist"):
        run(PIPELINE, ["flow", "nothing"])
    assert asked.commands == []


def test_two_that_have_one_name_in_dvc_are_not_run(asked: Asked) -> None:
    for name in ("a/b-c", "a-b/c"):
        path = Path(f"experiments/{name}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text("purpose: …\nparameters: {seed: 2}\n")
    with pytest.raises(KoeError, match="a-b/c and a/b-c are both a-b-c in DVC"):
        run(PIPELINE, ["a-b/c"])
    assert asked.commands == []


def test_one_that_fails_does_not_keep_the_next_from_running(asked: Asked) -> None:
    asked.fails = "flow"
    with pytest.raises(KoeError, match="1 of 2 failed, see above: flow"):
        run(PIPELINE, ["flow", "slow"])
    assert len(asked.commands) == 2


def test_what_was_run_or_waits_is_told_and_forced(
    asked: Asked, commits: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    git("update-ref", RunReference("flow", commits[2], "").reference, commits[2])
    git("update-ref", RunReference("slow", commits[1], "").reference, commits[2])  # from another commit
    with pytest.raises(KoeError, match=r"run from this commit already: flow \(.*with -f"):
        run(PIPELINE, ["flow", "slow"])
    Path("experiments/waiting.yaml").write_text("purpose: …\nparameters: {}\n")
    with pytest.raises(KoeError, match="queued or running: waiting"):
        run(PIPELINE, ["waiting"])
    with pytest.raises(KoeError, match="given twice: slow"):
        run(PIPELINE, ["slow", "slow"])
    assert asked.commands == []
    run(PIPELINE, ["flow", "waiting"], options=["-f"])
    assert [command[-1] for command in asked.commands] == ["-f", "-f"]


def test_names_come_first_and_options_of_dvc_anywhere_after(asked: Asked) -> None:
    result = CliRunner().invoke(koe.cli.app, [
        "exp", "run", "log/deep", "flow", "-S", "seed=3", "--queue", "--on", "demo", "-m", "two words"])
    assert result.exit_code == 0, result.output
    first, second = asked.commands
    assert first == ["exp", "run", "-n", "log-deep-on-demo", "-S", "acoustic.pitch.layers=7", "-S",
                     "acoustic.init.from=null", "--queue", "-S", "seed=3", "-m", "two words"]
    assert second[3] == "flow-on-demo"
    assert ("log-deep-on-demo: …\n  acoustic.pitch.layers: 5 → 7\n"
            "  acoustic.init.from: models/pretrained/anyone → None\n  as in demo: acoustic.training.steps\n"
            in result.output)
    assert "queued: log-deep-on-demo, flow-on-demo. Start them with dvc queue start" in result.output
    refused = CliRunner().invoke(koe.cli.app, ["exp", "run", "-S", "seed=3", "flow"])
    assert "give the names of experiments first" in str(refused.exception)


def test_the_queue_is_read_as_dvc_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = ["Task     Name    Created    Status", "44ca5e6  flow    04:20 PM   Running",
               "aa2fb4a          04:21 PM   Queued", "8da926f  slow    04:18 PM   Failed", "",
               "Worker status: 1 active, 0 idle"]
    monkeypatch.setattr(running, "dvc", lambda *arguments: printed)
    assert "flow" in running._queued() and "slow" not in running._queued()
