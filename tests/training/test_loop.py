"""The training loop, on a task of its own: what every task gets from it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.small_training import files_in, weights
from torch import Tensor, nn

from koe.device import is_out_of_memory
from koe.errors import KoeError
from koe.params.section import all_contradictions
from koe.training.batching import Batching
from koe.training.checkpoint import read_checkpoint
from koe.training.loop import Outcome, Sound, ValidationReport, train
from koe.training.network_task import NetworkTask, Place
from koe.training.params import TrainingParams
from koe.training.session import Session

STEPS = 7
VALUES: dict[str, Any] = {
    "steps": STEPS, "batch_size": 3, "gradient_clip": 1.0, "ema": None, "precision": "float32",
    "optimizer": {"name": "adamw", "betas": [0.9, 0.99], "epsilon": 1e-8, "weight_decay": 0.01},
    "schedule": {"name": "cosine_per_step", "learning_rate": 0.01, "warmup_steps": 2, "final_learning_rate": 0.0,
                 "decay": 1.0, "anneal_steps": [], "anneal_rate": 1.0},
    "log_every": 2, "validate_every": 3, "checkpoint_every": 2, "keep_every": None, "keep_best": False,
}


class Copying(NetworkTask[nn.Sequential, Tensor]):
    """Eight vectors are to come out as they went in."""

    judged_by = "validation/mel"
    gap_parts = ("mel",)

    def __init__(self, average_best: int | None = None, **changes: Any) -> None:
        params = TrainingParams.model_validate(VALUES | changes)
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 4))
        batching = Batching((1,) * 8, params.batch_size, seed=1)
        super().__init__("copying", network, params, params.steps, batching, 1, torch.device("cpu"), average_best)
        *self.vectors, self.held_out = torch.randn(9, 4, generator=torch.Generator().manual_seed(3))

    def batch(self, items: list[int], place: Place) -> Tensor:
        return torch.stack([self.vectors[item] for item in items])

    def losses(self, batch: Tensor, place: Place) -> dict[str, Tensor]:
        output = self.forward(batch).float()
        return {"mel": F.l1_loss(output, batch), "size": output.square().mean()}

    def validate(self, network: nn.Sequential) -> ValidationReport:
        output = network(self.held_out)
        return ValidationReport({"validation/mel": float(F.l1_loss(output, self.held_out))},
                                {"output": Image.fromarray(output[None].numpy().astype(np.uint8))},
                                {"output": Sound(output.numpy(), 16000)})


def session_in(root: Path) -> Session:
    return Session("copying", {}, root / "curves", root / "work")


def run_in(root: Path, task: Copying) -> Outcome:
    """A whole run, with its curves and what it keeps in `root`."""
    session = session_in(root)
    outcome = train(task, session)
    session.finish()
    return outcome


def same(left: nn.Module, right: nn.Module) -> bool:
    theirs = weights(right)
    return all(torch.equal(tensor, theirs[name]) for name, tensor in weights(left).items())


def at_step(step: int, work: Callable[..., Any], failure: BaseException) -> Callable[..., Any]:
    """`work`, which fails at `step`: its first argument is the step, or its last the place."""
    def work_or_fail(*arguments: Any) -> Any:
        if step == (arguments[-1].step if isinstance(arguments[-1], Place) else arguments[0]):
            raise failure
        return work(*arguments)

    return work_or_fail


@pytest.mark.parametrize("average_best", [None, 2])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_lesson_34_a_run_killed_at_any_step_ends_as_if_it_had_not_been(
    tmp_path: Path, step: int, average_best: int | None
) -> None:
    options = {"average_best": average_best, "ema": 0.9, "keep_every": 3, "keep_best": True, "validate_every": 2}
    whole, killed, resumed = (Copying(**options) for _ in range(3))
    expected = run_in(tmp_path / "whole", whole)
    killed.step = at_step(step, killed.step, KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "killed", killed)
    torch.manual_seed(99)
    assert run_in(tmp_path / "killed", resumed) == expected
    assert same(whole.model, resumed.model)
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "whole")
    names = {path.name for path in tmp_path.glob("whole/work/*/kept/*")}
    assert names == {"00000003.safetensors", "00000006.safetensors", "best.safetensors"}


def test_curves_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[int, list[str]]] = []
    log = Session.log
    monkeypatch.setattr(Session, "log", lambda self, step, values: (rows.append((step, list(values))),
                                                                    log(self, step, values)))
    outcome = run_in(tmp_path, Copying())
    trained = ["train/mel", "train/size", "train/gradient_norm", "learning_rate"]
    validated = ["validation/mel", "gap/mel"]
    assert rows == [(2, trained), (3, validated), (4, trained), (6, trained), (6, validated), (7, trained),
                    (7, validated)]
    assert outcome.steps == STEPS and outcome.values.keys() == {"validation/mel"}


def test_a_value_on_a_curve_is_the_mean_since_the_last(tmp_path: Path) -> None:
    task, means, every = Copying(), session_in(tmp_path / "means"), session_in(tmp_path / "every")
    train(task, means)
    train(Copying(log_every=1), every)
    losses = every.series("train/mel")
    assert means.series("train/mel") == pytest.approx([*np.mean([losses[:6:2], losses[1:6:2]], axis=0), losses[6]])
    assert means.series("learning_rate") == [task.learning_rate(step) for step in (2, 4, 6, 7)]


def test_each_step_reads_its_batch_once(tmp_path: Path) -> None:
    task, steps = Copying(), []
    read = task.read
    task.read = lambda step: (steps.append(step), read(step))[1]  # type: ignore[method-assign]
    run_in(tmp_path, task)
    assert steps == list(range(1, STEPS + 1))


def test_the_moving_average_is_validated_and_the_result(tmp_path: Path) -> None:
    task = Copying(ema=0.9, keep_every=7)
    moved, step = [], task.step
    task.step = lambda *arguments: (step(*arguments), moved.append(weights(task.network)))[0]  # type: ignore
    start = weights(task.network)
    outcome = run_in(tmp_path, task)
    for count, new in enumerate(moved):
        decay = min(0.9, (1 + count) / (10 + count))
        start = {name: decay * start[name] + (1 - decay) * tensor for name, tensor in new.items()}
    for name, tensor in weights(task.model).items():
        assert torch.allclose(tensor, start[name], atol=1e-6), name
    with torch.no_grad():
        assert outcome.values == task.validate(task.model).values != task.validate(task.network.eval()).values
    (kept,) = tmp_path.rglob("00000007.safetensors")
    assert read_checkpoint(kept, ["network", "ema", "optimizer"]).keys() == {"step", "network", "ema", "optimizer"}


def scripted(task: Copying, values: Iterable[float]) -> list[dict[str, Tensor]]:
    """Makes validations of the watched network say these values, and collects its weights at each."""
    seen: list[dict[str, Tensor]] = []
    validate, values = task.validate, iter(values)

    def say(network: nn.Sequential) -> ValidationReport:
        if network is not task.watched:
            return validate(network)
        seen.append(weights(network))
        return ValidationReport({"validation/mel": next(values)})

    task.validate = say  # type: ignore[method-assign]
    return seen


def test_lesson_21_the_best_and_every_so_many_steps_are_kept(tmp_path: Path) -> None:
    task = Copying(validate_every=2, keep_best=True, keep_every=3)
    task.steps_before = 100
    seen = scripted(task, [5.0, 3.0, 3.0, 4.0])
    run_in(tmp_path, task)
    kept = {path.stem: read_checkpoint(path, ["network"]) for path in tmp_path.rglob("kept/*")}
    assert {name: found["step"] for name, found in kept.items()} == {"00000003": 103, "00000006": 106, "best": 104}
    assert torch.equal(kept["best"]["network"]["0.weight"], seen[1]["0.weight"])  # the first of two equal ones
    assert torch.equal(kept["00000006"]["network"]["0.weight"], seen[2]["0.weight"])


def test_the_mean_of_the_best_is_the_result(tmp_path: Path) -> None:
    task = Copying(average_best=2, validate_every=2)
    seen = scripted(task, [5.0, 3.0, 6.0, 4.0])
    outcome = run_in(tmp_path, task)
    for name, tensor in weights(task.model).items():
        assert torch.allclose(tensor, (seen[1][name] + seen[3][name]) / 2, atol=1e-6), name
    assert outcome.values.keys() == {"validation/mel", "average_best/mel"}


def test_it_stops_when_validation_no_longer_improves(tmp_path: Path) -> None:
    for stop in (None, 3):  # killed before step 3, or not
        task = Copying(steps=20, validate_every=1)
        task.early_stopping = 2
        values, folder = [5.0, 4.0, 4.0, 3.0, 3.5, 3.2, 2.0], tmp_path / str(stop)
        if stop:
            killed = Copying(steps=20, validate_every=1)
            scripted(killed, values)
            killed.step = at_step(stop, killed.step, KeyboardInterrupt())  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                run_in(folder, killed)
            values = values[2:]  # the first two are in the checkpoint
        scripted(task, values)
        assert run_in(folder, task).steps == 6


def test_what_is_judged_by_must_be_among_the_values(tmp_path: Path) -> None:
    task = Copying(keep_best=True)
    task.judged_by = "validation/loss"
    with pytest.raises(KoeError, match=r"has no value validation/loss.*it has validation/mel.*Copying\.judged_by"):
        run_in(tmp_path, task)


def test_a_warm_up_is_shorter_than_the_run() -> None:
    params = TrainingParams.model_validate(VALUES | {"steps": 2})
    assert list(all_contradictions(params, "copying.training")) == [
        "copying.training.schedule.warmup_steps: 2 is not below copying.training.steps (2)"]


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    MemoryError("Unable to allocate 2 GiB"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["losses", "batch"])
def test_lesson_26_full_memory_names_step_items_and_what_to_lower(
    tmp_path: Path, error: BaseException, where: str
) -> None:
    task = Copying()
    setattr(task, where, at_step(5, getattr(task, where), error))
    with pytest.raises(KoeError, match=r"copying training ran out of memory at step 5, batch of \d: item \d, item \d.*"
                                       r"\. Lower copying\.training\.batch_size \((CUDA|\[enf|Unable)"):
        run_in(tmp_path, task)
    (last,) = tmp_path.rglob("last.safetensors")
    assert read_checkpoint(last, [])["step"] == 4


def test_full_memory_in_validation_is_said(tmp_path: Path) -> None:
    task = Copying()
    task.validate = lambda _: torch.empty(2**50)  # type: ignore[method-assign, assign, return-value]
    with pytest.raises(KoeError, match=r"out of memory at step 3, in validation\. Lower the number or the length of"):
        run_in(tmp_path, task)


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    task, error = Copying(), RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    task.losses = at_step(2, task.losses, error)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError) as raised:
        run_in(tmp_path, task)
    assert raised.value is error


def test_errors_of_full_memory_are_told_from_others() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**50)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert is_out_of_memory(full.value) and not is_out_of_memory(other.value)
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))


@pytest.mark.parametrize(("clip", "lower"), [(1.0, "gradient_clip"), (None, r"gradient_clip \(now null: set it\)")])
def test_divergence_names_step_items_values_and_parameters(tmp_path: Path, clip: float | None, lower: str) -> None:
    task = Copying(gradient_clip=clip)
    losses, before = task.losses, []

    def diverge(batch: Tensor, place: Place) -> dict[str, Tensor]:
        before[:] = [weights(task.network)]
        return losses(batch * (float("nan") if place.step == 5 else 1), place)

    task.losses = diverge  # type: ignore[method-assign]
    with pytest.raises(KoeError, match=r"copying training diverged: .* at step 5, batch of \d: item \d, item \d.*"
                                       r"; losses and gradients: mel nan, size nan, gradient_norm nan\. Lower "
                                       rf"copying\.training\.schedule\.learning_rate or copying\.training\.{lower}"):
        run_in(tmp_path, task)
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in weights(task.network).items())
    (last,) = tmp_path.rglob("last.safetensors")
    assert read_checkpoint(last, [])["step"] == 4


def test_a_step_of_a_task_that_does_not_check_is_checked(tmp_path: Path) -> None:
    task = Copying()
    task.step = lambda step, batch: {"mel": float("inf")}  # type: ignore[method-assign]
    with pytest.raises(KoeError, match=r"at step 1.*mel inf"):
        run_in(tmp_path, task)


def test_weights_of_losses_are_those_of_their_gradients(tmp_path: Path) -> None:
    gradients = []
    for weighted in ({}, {"size": 0.0}, {"mel": 0.0}):
        task = Copying(gradient_clip=None)
        task.weights = weighted
        torch.manual_seed(5)
        task.step(1, task.read(1))
        gradients.append(task.network[2].weight.grad)
    assert torch.allclose(gradients[0], gradients[1] + gradients[2], atol=1e-6)


def test_accumulated_batches_count_by_their_size() -> None:
    parts, whole = Copying(gradient_clip=None, batch_size=2), Copying(gradient_clip=None)
    for task in (parts, whole):
        task.network[1].p = 0.0
        task.size = lambda batch: torch.tensor(len(batch))  # type: ignore[method-assign]
    vectors = torch.stack(whole.vectors)
    values = [task.step(1, batch) for task, batch in ((parts, [vectors[:2], vectors[2:]]), (whole, [vectors]))]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert torch.allclose(parts.network[2].weight.grad, whole.network[2].weight.grad, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_task_learns(tmp_path: Path, precision: str) -> None:
    often = {"log_every": 25, "validate_every": 100, "checkpoint_every": 100}
    task, session = Copying(steps=200, precision=precision, **often), session_in(tmp_path)
    task.network[1].p = 0.0
    train(task, session)
    losses = session.series("train/mel")
    assert losses[-1] < 0.7 * losses[0]
