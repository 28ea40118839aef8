"""The training loop, one for everything that is trained.

A `Task` says what is trained: it reads the batches of a step, does the step, validates. `train` does the rest: it
resumes a run that was killed, averages weights, draws curves, keeps checkpoints, stops early, and explains errors.
`koe.training.network_task.NetworkTask` is the task of one network with one optimizer, which leaves little to write.

A step's batches, random numbers and learning rate are functions of the seed and the step, and everything else that
decides a step is in the checkpoint. So a run that was killed and continued ends with the weights and the curves of one
that never was, to the bit on a CPU.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from koe.device import described, is_out_of_memory, resolve_precision
from koe.errors import KoeError
from koe.parallel import thread_pool
from koe.progress import progress_bar
from koe.randomness import seed_for
from koe.training.averaging import BestWeights, averaged_copy, update_average
from koe.training.checkpoint import Stateful
from koe.training.means import RunningMeans
from koe.training.params import TrainingSettings
from koe.training.session import Session

Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


class Sound(NamedTuple):
    """A waveform to listen to."""

    wave: np.ndarray  # float32 (samples,)
    sample_rate: int  # Hz


@dataclass(frozen=True)
class ValidationReport:
    """Results of a validation."""

    values: Mapping[str, float]  # by the names of their curves, `validation/<name>`
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)  # by name, one of a series over the steps
    sounds: Mapping[str, Sound] = field(default_factory=dict)  # by name, one of a series over the steps


class Outcome(NamedTuple):
    """The end of a training run."""

    steps: int  # optimizer steps done, fewer than the task's `total_steps` if it stopped early
    values: dict[str, float]  # of the last validation; also of the mean of the best weights, as `average_best/<name>`


class Task(ABC, Generic[Network, Batch]):
    """What is trained. Steps count from 1.

    Args:
        name: names the task in messages and its random draws, e.g. `acoustic`.
        network: the network that is validated, averaged and returned. A task may train others beside it.
        training: its section of the parameters.
        total_steps: optimizer steps of a run that is not stopped early.
        average_best: return the mean of the weights at this many best validations; None: those of the last step.
        section: name of `training` in the parameter file; `<name>.training` if not given.
    """

    judged_by = "validation/loss"  # the curve that validations are compared by; lower is better
    early_stopping: int | None = None  # validations without improvement after which a run stops; None: never
    steps_before = 0  # steps of the run that this one continues; kept checkpoints count on from them
    gap_parts: tuple[str, ...] = ()  # losses with a curve `gap/<loss>`: validation minus training (lesson 4)
    on_bar: tuple[str, ...] = ()  # losses shown on the progress bar; empty: all
    lower_in_validation = "the number or the length of the items to validate on"  # if out of memory

    def __init__(
        self, name: str, network: Network, training: TrainingSettings, total_steps: int, seed: int,
        device: torch.device, average_best: int | None = None, section: str | None = None,
    ) -> None:
        self.name = name
        self.section = section or f"{name}.training"
        self.network = network.to(device)
        self.training = training
        self.total_steps = total_steps
        self.seed = seed
        self.device = device
        self.precision = resolve_precision(training.precision, device, f"{self.section}.precision")
        self.average = None if training.ema is None else averaged_copy(self.network)
        self.best = None if average_best is None else BestWeights(average_best)

    @abstractmethod
    def read(self, step: int) -> Batch:
        """The data of a step. Called in a thread, one step ahead, so it may use only what never changes in the task."""

    @abstractmethod
    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Does an optimizer step. Returns the losses, unweighted, and the norms of the gradients."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Learning rate of a step."""

    @abstractmethod
    def validate(self, network: Network) -> ValidationReport:
        """Measures `network` (one like `self.network`, in evaluation mode; gradients are off)."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, Stateful]:
        """The networks and optimizers that are trained, by name: what kept checkpoints hold."""

    @abstractmethod
    def sizes(self, step: int) -> str:
        """The data of a step in messages: how many items, how long, and their names."""

    @property
    def lower(self) -> str:
        """The parameters to lower if the run is out of memory, with their values."""
        return f"{self.section}.batch_size"

    @property
    def lower_if_diverged(self) -> str:
        """The parameters to lower if losses or gradients are not finite."""
        clip = "gradient_clip" if self.training.gradient_clip else "gradient_clip (now null: set it)"
        return f"{self.section}.schedule.learning_rate or {self.section}.{clip}"

    @property
    def notes(self) -> Mapping[str, float]:
        """Numbers of the run as a whole, written to its metrics."""
        return {}

    def resources(self) -> AbstractContextManager[Any]:
        """Resources that are held while steps are done, such as threads."""
        return nullcontext()

    @property
    def watched(self) -> Network:
        """The network as it is validated: the moving average of its weights, if there is one."""
        return self.network if self.average is None else self.average

    @property
    def model(self) -> Network:
        """The network that is the result."""
        if self.best is None:
            return self.watched
        model = copy.deepcopy(self.watched)
        model.load_state_dict(self.best.mean())
        return model

    @property
    def kept(self) -> dict[str, Stateful]:
        """Contents of kept checkpoints, which other runs can start from."""
        return self.parts if self.average is None else {**self.parts, "ema": self.average}

    @property
    def objects(self) -> dict[str, Stateful]:
        """Contents of the checkpoint of a killed run: everything that decides the next step."""
        return self.kept if self.best is None else {**self.kept, "best": self.best}

    def check(self, step: int, values: Mapping[str, float]) -> None:
        """Raises KoeError if a loss or a gradient is not finite."""
        if not np.isfinite([*values.values()]).all():
            raise KoeError(f"{self.name} training diverged: losses or gradients are not finite "
                           f"{self.described(step, values)}. Lower {self.lower_if_diverged}")

    def described(self, step: int, values: Mapping[str, float]) -> str:
        """A step in words: its number, its batch and its values."""
        listed = ", ".join(f"{name} {value:g}" for name, value in values.items())
        return f"at step {step}, batch of {self.sizes(step)}; losses and gradients: {listed}"


def train(task: Task[Any, Any], session: Session) -> Outcome:
    """Trains to the end, resuming where an earlier run of this session was killed, if one was.

    Raises KoeError if it runs out of memory or diverges; the last checkpoint stays.
    """
    training, means = task.training, RunningMeans()
    state = {**task.objects, "means": means}
    values: dict[str, float] = {}
    torch.manual_seed(seed_for(task.seed, f"{task.name} training"))  # a checkpoint restores its own state
    session.note(task.notes)
    done = session.resume(state)
    print(f"{task.name}: on {described(task.device, task.precision, training.precision)}")

    with task.resources(), progress_bar(session.name, task.total_steps, "step", done) as bar:
        for step, batch in _read_ahead(task, done + 1):
            with _explaining_out_of_memory(task, step):
                losses = task.step(step, batch)
            task.check(step, losses)
            if task.average is not None:
                update_average(task.average, task.network, training.ema or 0.0, step - 1)
            means.add(losses)
            bar.update()

            last = step == task.total_steps
            if step % training.log_every == 0 or last:
                taken = means.take()
                session.log(step, {**{f"train/{name}": value for name, value in taken.items()},
                                   "learning_rate": task.learning_rate(step)})
                bar.set_postfix({name: f"{taken[name]:.3f}" for name in task.on_bar or taken})
            if step % training.validate_every == 0 or last:
                values = _validate(task, session, step)
                last = last or _has_stopped_improving(task, session)
            if training.keep_every and step % training.keep_every == 0:
                session.keep(f"{step:08d}", task.steps_before + step, task.kept)
            if last:
                break
            if step % training.checkpoint_every == 0:
                session.save(step, state)

    return Outcome(step, {**values, **_validate_mean_of_best(task, session, step)})


def _read_ahead(task: Task[Any, Batch], first: int) -> Iterator[tuple[int, Batch]]:
    """The steps from `first` on with their data; the data of the next step are read while a step is done."""
    with thread_pool(1) as thread:
        ahead = thread.submit(task.read, first)
        for step in range(first, task.total_steps + 1):
            with _explaining_out_of_memory(task, step):
                batch = ahead.result()
            if step < task.total_steps:
                ahead = thread.submit(task.read, step + 1)
            yield step, batch


def _validate(task: Task[Any, Any], session: Session, step: int) -> dict[str, float]:
    """Curves, pictures and sounds of the network as it is now; it is kept if it is the best."""
    report = _report(task, task.watched, step)
    train = session.latest("train/")
    gaps = {f"gap/{part}": report.values[f"validation/{part}"] - train[f"train/{part}"]
            for part in task.gap_parts if f"train/{part}" in train}
    session.log(step, {**report.values, **gaps})
    for name, picture in report.pictures.items():
        session.show(step, name, picture)
    for name, sound in report.sounds.items():
        session.play(step, name, sound.wave, sound.sample_rate)
    if task.best is not None:
        task.best.offer(report.values[task.judged_by], task.watched)
    if task.training.keep_best and _validations_since_best(task, session) == 0:
        session.keep("best", task.steps_before + step, task.kept)
    return dict(report.values)


def _validate_mean_of_best(task: Task[Any, Any], session: Session, step: int) -> dict[str, float]:
    """The validation's values for the mean of the best weights, if that is the result, under names of their own."""
    if task.best is None:
        return {}
    values = {f"average_best/{name.removeprefix('validation/')}": value
              for name, value in _report(task, task.model, step).values.items() if name.startswith("validation/")}
    session.log(step, values)
    return values


@torch.no_grad()
def _report(task: Task[Network, Any], network: Network, step: int) -> ValidationReport:
    with _explaining_out_of_memory(task, step, in_validation=True):
        report = task.validate(network.eval())
    judged = task.training.keep_best or task.best is not None or task.early_stopping is not None
    if judged and task.judged_by not in report.values:
        raise KoeError(f"the validation of {task.name} has no value {task.judged_by}, by which the best is chosen; it "
                       f"has {', '.join(report.values)}: name one of them in {type(task).__name__}.judged_by")
    return report


def _has_stopped_improving(task: Task[Any, Any], session: Session) -> bool:
    return task.early_stopping is not None and _validations_since_best(task, session) >= task.early_stopping


def _validations_since_best(task: Task[Any, Any], session: Session) -> int:
    """How many validations ago the best one was; of equal ones the first. 0: the newest is the best."""
    judged = session.series(task.judged_by)
    return len(judged) - 1 - judged.index(min(judged))


@contextmanager
def _explaining_out_of_memory(task: Task[Any, Any], step: int, in_validation: bool = False) -> Iterator[None]:
    """Turns an out-of-memory error into a KoeError that says where it was and what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = "in validation" if in_validation else f"batch of {task.sizes(step)}"
        lower = task.lower_in_validation if in_validation else task.lower
        reason = str(error).partition("\n")[0]
        raise KoeError(f"{task.name} training ran out of memory at step {step}, {where}. Lower {lower} "
                       f"({reason})") from error
