"""Parameters of training runs, of optimizers and of learning rates."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Protocol

from pydantic import Field

from koe.params.section import Section
from koe.params.types import Positive

CHECKPOINT = re.compile(r"(?P<where>.+)@(?P<checkpoint>\d+|best)")


class OptimizerParams(Section):
    name: Literal["adam", "adamw", "radam", "muon"]
    betas: tuple[float, float]
    epsilon: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]

    def contradictions(self, name: str) -> Iterator[str]:
        if self.name == "adam" and self.weight_decay:
            yield f"{name}.weight_decay: {self.weight_decay:g} with adam; only adamw decouples it, set it to 0"
        if not all(0 <= beta < 1 for beta in self.betas):
            yield f"{name}.betas: {list(self.betas)}; both must be at least 0 and below 1"


class ScheduleParams(Section):
    """Learning rate; the name says what it counts (lesson 16). See `koe.training.schedules`."""

    name: Literal["cosine_per_step", "noam_per_step", "exponential_per_step", "exponential_per_epoch", "constant"]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    final_learning_rate: Annotated[float, Field(ge=0)]
    decay: Annotated[float, Field(gt=0, le=1)]
    anneal_steps: list[Positive]
    anneal_rate: Annotated[float, Field(gt=0, le=1)]

    def contradictions(self, name: str) -> Iterator[str]:
        if self.name == "noam_per_step" and self.warmup_steps == 0:
            yield f"{name}.warmup_steps: 0; noam_per_step rises over at least 1"
        if self.name == "cosine_per_step" and self.final_learning_rate > self.learning_rate:
            yield f"{name}.final_learning_rate: above {name}.learning_rate, which is the peak"
        if self.anneal_steps != sorted(set(self.anneal_steps)):
            yield f"{name}.anneal_steps: {self.anneal_steps}; each once, rising"


class TrainingSettings(Protocol):
    """What the section of every training run has, whatever else is in it (see `TrainingParams`)."""

    @property
    def optimizer(self) -> OptimizerParams: ...

    @property
    def schedule(self) -> ScheduleParams: ...

    @property
    def gradient_clip(self) -> float | None: ...

    @property
    def ema(self) -> float | None: ...

    @property
    def precision(self) -> str: ...

    @property
    def log_every(self) -> int: ...

    @property
    def validate_every(self) -> int: ...

    @property
    def checkpoint_every(self) -> int: ...

    @property
    def keep_every(self) -> int | None: ...

    @property
    def keep_best(self) -> bool: ...


class TrainingParams(Section):
    """How one network is trained: the section of a task without parameters of its own."""

    steps: Positive  # optimizer steps
    batch_size: Positive  # items in a batch
    optimizer: OptimizerParams
    schedule: ScheduleParams
    gradient_clip: Annotated[float, Field(gt=0)] | None  # largest norm of all gradients together; null: no limit
    ema: Annotated[float, Field(ge=0, lt=1)] | None  # decay per step of the weights' moving average; null: no average
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    log_every: Positive  # steps, as in the following
    validate_every: Positive
    checkpoint_every: Positive  # for a killed run to continue from
    keep_every: Positive | None  # checkpoints for other runs to start from
    keep_best: bool

    def contradictions(self, name: str) -> Iterator[str]:
        yield from warmup_contradictions(self.schedule, self.steps, name)


def warmup_contradictions(schedule: ScheduleParams, steps: int | None, training: str) -> Iterator[str]:
    """Contradictions between a schedule and the steps of its run, if known; `training`: the name of that section."""
    if steps is not None and schedule.warmup_steps >= steps:
        yield (f"{training}.schedule.warmup_steps: {schedule.warmup_steps} is not below {training}.steps ({steps})")


def names_checkpoint(origin: str) -> bool:
    """Whether `init.from` names a kept checkpoint of a run, `<model>@<step>` or `<model>@best`."""
    return CHECKPOINT.fullmatch(origin) is not None
