"""How long a training run will take: a few of its steps, and a validation, done and thrown away."""

import statistics
import time
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch

from koe.training.averaging import update_average
from koe.training.loop import Task

STEPS = 4  # that are timed, after one that is not


def seconds_of_steps(task: Task[Any, Any], steps: Iterable[int]) -> float:
    """The median time of these steps, the first one left out."""
    spent = []
    with task.resources():
        for step in steps:
            batch = task.read(step)
            start = time.perf_counter()
            task.step(step, batch)
            if task.average is not None:
                update_average(task.average, task.network, task.training.ema or 0.0, step - 1)
            spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


def seconds_of_validation(task: Task[Any, Any]) -> float:
    """The time of a validation."""
    network = task.watched.eval()
    start = time.perf_counter()
    with torch.no_grad(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # remarks on what was made up
        task.validate(network)
    return time.perf_counter() - start


def validations(task: Task[Any, Any]) -> int:
    """How often a run is validated: at regular steps, and at the last."""
    return -(-task.total_steps // task.training.validate_every)
