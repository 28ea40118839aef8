"""Campaigns in which a run of the pipeline is cut off, or is not alone."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from campaigns.project import Command, Outcome, Reference, Trial

TRIES = 4  # a moment that came after the end is drawn again, from a shorter time
RUNNING = "Running stage '{}'"


def stage_of(reference: Reference, number: int) -> str:
    """Stages take turns, so that any number of trials is spread over all of them."""
    return list(reference.seconds)[number % len(reference.seconds)]


def at_a_moment(trial: Trial, stage: str, draw: np.random.Generator, act: Callable[[Command], None]) -> str:
    """Runs the stage by `dvc repro` and acts at a moment of it: from its first line to what DVC does after it."""
    whole = trial.reference.seconds[stage]
    for _ in range(TRIES):
        trial.at_the_beginning_of(stage)
        command = trial.start("dvc", "repro")
        if not command.wait_for(RUNNING.format(stage)):
            command.end()
            trial.problems.append(f"dvc repro did not come to {stage}")
            return stage
        moment = float(draw.uniform(0, whole))
        time.sleep(moment)
        if command.process.poll() is None:
            act(command)
            return f"{stage} after {moment:.2f} s"
        whole *= 0.6
    return f"{stage}, which had ended every time"


def kill(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """SIGKILL of the whole process group at a moment of one stage; every fourth time again at the second attempt."""
    def act(command: Command) -> None:
        command.send(signal.SIGKILL)
        command.end()

    trial, stage = Trial(reference, slot), stage_of(reference, number)
    what = f"SIGKILL in {at_a_moment(trial, stage, draw, act)}"
    if number % 4 == 3:
        moment = float(draw.uniform(0, 1.5 * reference.seconds[stage] + 5))
        again = trial.start("dvc", "repro")
        time.sleep(moment)
        again.send(signal.SIGKILL)
        again.end()
        what += f", and {moment:.2f} s after the start of the next dvc repro"
    trial.wait_for_quiet()
    trial.finish()
    return trial.outcome(what)


SIGNALS = [(number, group) for number in (signal.SIGINT, signal.SIGTERM) for group in (True, False)]


def signals(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """SIGINT or SIGTERM to the whole group (Ctrl-C, a shutdown) or to dvc alone (kill); then dvc repro at once."""
    trial = Trial(reference, slot)
    sent, group = SIGNALS[number % len(SIGNALS)]
    name = f"{sent.name} to {'the group' if group else 'dvc alone'}"

    def act(command: Command) -> None:
        command.send(sent, group)
        if command.end() is None:
            trial.problems.append(f"{name}: it did not end")
        trial.watch(name, command.output)

    what = f"{name} in {at_a_moment(trial, stage_of(reference, number // len(SIGNALS)), draw, act)}"
    trial.finish()
    return trial.outcome(what)


READERS = ("koe check", "koe summary", "koe page --output ../page", "dvc status", "koe check-params")
TRAINED = ("train_acoustic", "finetune_vocoder")


def together(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """A second command beside a run: the same run, the same stage by hand, or a command that reads."""
    kind = ("dvc repro", "the stage's script", "a reader")[number % 3]
    stage = TRAINED[number // 3 % 2] if kind == "the stage's script" else stage_of(reference, number // 3)
    trial = Trial(reference, slot)
    offset = float(draw.uniform(0, reference.seconds[stage]))
    trial.at_the_beginning_of(stage)
    first = trial.start("dvc", "repro")
    first.wait_for(RUNNING.format(stage))
    time.sleep(offset)
    if kind == "a reader":
        second = READERS[number // 3 % len(READERS)]
    else:
        second = "dvc repro" if kind == "dvc repro" else f"python stages/{stage}.py"
    beside = trial.start(*second.split())
    for name, command in ((second, beside), ("dvc repro", first)):
        if command.end() is None:
            trial.problems.append(f"{name} hangs")
        trial.watch(name, command.output)
    if first.process.returncode and beside.process.returncode and kind != "a reader":
        trial.problems.append("each of the two refused because of the other")
    if beside.process.returncode and not beside.output.strip():
        trial.problems.append(f"{second} ended with {beside.process.returncode} without a word")
    trial.finish()
    return trial.outcome(f"{second} beside dvc repro, {offset:.2f} s after {stage} began")
