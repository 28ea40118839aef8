"""A run that is really killed, at any moment and more than once, ends as if it had not been (lesson 34).

Runs are processes of their own, forked from one that has loaded torch already, and killed with SIGKILL.
"""

import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from safetensors.torch import save_file
from support import small_vocoder
from support.small_training import files_in, make_session, make_task, small_params

from koe.tasks.conversion.schema import Params
from koe.training import loop as training_loop

pytestmark = pytest.mark.slow
KILLS = 4
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["koe.tasks.conversion.training", "koe.tasks.conversion.initial", "koe.vocoder.training", "koe.vocoder.initial",
     "torch._dynamo", "dvc.repo", "pytest"])
Train = Callable[[str, Params], None]


def params_of(**training: Any) -> Params:
    """Everything that has a state of its own, at once."""
    values = yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())
    values["acoustic"]["teacher_forcing"] |= {"start": 1.0, "end": 0.0, "from_step": 10, "until_step": 50}
    values["acoustic"]["encoder"]["norm"] = "batch"
    values["acoustic"]["training"]["replicas"] = 1  # which that norm wants
    values["acoustic"]["training"]["schedule"] |= {"name": "noam_per_step", "anneal_steps": [30], "anneal_rate": 0.5}
    return small_params(values, **{
        "steps": 60, "batch_size": None, "batch_frames": 100, "accumulate": 2, "ema": 0.9, "average_best": 3,
        "log_every": 7, "validate_every": 5, "checkpoint_every": 3, "early_stopping": 100, "keep_every": 20,
        "keep_best": True, "pictures": 1, **training,
    })


def train(root: str, params: Params) -> None:
    """What the process does: a whole run, and its result and curves in `root`."""
    folder = Path(root)
    task = make_task(folder, params)
    session = make_session(folder, task)
    (folder / "started").touch()
    training_loop.train(task, session)
    save_file(task.model.state_dict(), folder / "model.safetensors")
    save_file(task.network.state_dict(), folder / "network.safetensors")
    session.finish()


def vocoder_params() -> Params:
    """A vocoder's, with everything that has a state of its own."""
    values = yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())
    return small_vocoder.small_params(values, {f"vocoder.training.{name}": value for name, value in {
        "steps": 24, "spectral_steps": 6, "ema": 0.9, "r1": {"weight": 1e-4, "every": 4}, "true_mels": 0.5,
        "segment_size": 8 * 256, "log_every": 5, "validate_every": 8, "checkpoint_every": 2, "keep_every": 10,
        "keep_best": True,
    }.items()})


def train_vocoder(root: str, params: Params) -> None:
    """What the process does: a whole run of a vocoder, and its result and curves in `root`."""
    folder = Path(root)
    shutil.rmtree(folder / "features", ignore_errors=True)  # the data, half written if it was killed early
    task = small_vocoder.make_task(small_vocoder.write_corpus(folder / "features", params.mel), params)
    session = small_vocoder.make_session(folder, task)
    (folder / "started").touch()
    training_loop.train(task, session)
    for name in ("model", "generator", "discriminators"):
        save_file(getattr(task, name).state_dict(), folder / f"{name}.safetensors")
    session.finish()


@contextmanager
def running(root: Path, params: Params, train: Train = train) -> Iterator[BaseProcess]:
    """The process, from the moment its training starts."""
    (root / "started").unlink(missing_ok=True)
    process = processes.Process(target=train, args=(str(root), params))
    process.start()
    wait_for((root / "started").exists, process)
    yield process
    process.join()


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> bool:
    """Whether the condition came true before the process ended."""
    while process.is_alive():
        if condition():
            return True
        time.sleep(0.0005)
    return condition()


def finish(root: Path, params: Params, train: Train = train) -> float:
    """Runs to the end; returns how long the training took, seconds."""
    with running(root, params, train) as process:
        start = time.monotonic()
    assert process.exitcode == 0
    return time.monotonic() - start


def results(root: Path) -> dict[str, bytes]:
    """Every file that the run leaves behind: weights, curves, metrics, pictures, kept checkpoints."""
    return {name: content for name, content in files_in(root).items() if not name.startswith(("features", "started"))}


class Whole(NamedTuple):
    """A run that nobody interrupts: its parameters, what it leaves behind, and how long it trains."""

    params: Params
    results: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root, params = tmp_path_factory.mktemp("whole"), params_of()
    seconds = finish(root, params)
    return Whole(params, results(root), seconds)


def assert_the_same(root: Path, expected: dict[str, bytes], told: str) -> None:
    found = results(root)
    assert found.keys() == expected.keys(), told
    assert [name for name, content in found.items() if content != expected[name]] == [], told


@pytest.mark.parametrize("seed", [0, 1])
def test_lesson_34_killed_at_random_moments(tmp_path: Path, whole: Whole, seed: int) -> None:
    moments = np.random.default_rng(seed).uniform(0, whole.seconds / 2, KILLS).round(4).tolist()
    for moment in moments:
        with running(tmp_path, whole.params) as process:
            process.join(moment)
            process.kill()
    finish(tmp_path, whole.params)
    assert_the_same(tmp_path, whole.results, f"killed {moments} seconds after each start")


@pytest.mark.parametrize("file", [".koe-*", "curves.jsonl", "kept/.*", "pictures/*/.*"])
def test_lesson_34_killed_while_it_writes(tmp_path: Path, whole: Whole, file: str) -> None:
    killed = []
    for delay in np.random.default_rng(3).uniform(0, 0.004, KILLS):
        with running(tmp_path, whole.params) as process:
            begun = time.time()
            seen = wait_for(lambda: written_since(begun, tmp_path / "work", file), process)  # noqa: B023
            time.sleep(delay)
            process.kill()
            killed.append((seen, round(delay, 5)))
    finish(tmp_path, whole.params)
    assert killed[0][0], "never seen writing"
    assert_the_same(tmp_path, whole.results, f"killed so many seconds after writing {file}: {killed}")


def written_since(moment: float, work: Path, file: str) -> bool:
    """Whether a run's file of such a name was written after `moment`, if only for an instant."""
    try:
        return any(path.stat().st_mtime > moment for path in work.glob(f"*/{file}"))
    except FileNotFoundError:
        return True


def test_a_run_with_other_parameters_never_sees_the_old_checkpoint(tmp_path: Path, whole: Whole) -> None:
    other = params_of(ema=0.5, steps=12)
    alone = tmp_path / "alone"
    alone.mkdir()
    finish(alone, other)
    with running(tmp_path, whole.params) as process:
        assert wait_for(lambda: any((tmp_path / "work").glob("*/last.safetensors")), process)
        process.kill()
    finish(tmp_path, other)
    after, expected = results(tmp_path), results(alone)
    for name in ("model.safetensors", "network.safetensors", "curves/metrics.json"):
        assert after[name] == expected[name], name


def test_lesson_34_a_vocoder_killed_at_random_moments(tmp_path: Path) -> None:
    params, alone = vocoder_params(), tmp_path / "alone"
    alone.mkdir()
    seconds = finish(alone, params, train_vocoder)
    moments = np.random.default_rng(5).uniform(0, seconds / 2, KILLS).round(4).tolist()
    killed = tmp_path / "killed"
    killed.mkdir()
    for moment in moments:
        with running(killed, params, train_vocoder) as process:
            process.join(moment)
            process.kill()
    finish(killed, params, train_vocoder)
    assert_the_same(killed, results(alone), f"killed {moments} seconds after each start")
