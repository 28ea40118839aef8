"""Learning rates as pure functions of the optimizer step or of the epoch; the name says which (lesson 16).

`step` counts optimizer steps done, so the first step has `step` 0; `epoch` counts times through the data, from 0.
"""

import math

from koe.training.params import ScheduleParams


def rate(schedule: ScheduleParams, step: int, epoch: int, total_steps: int, hidden: int) -> float:
    """Learning rate of the optimizer step after `step` steps, in a run of `total_steps`.

    All but noam_per_step, which has a warm-up of its own, rise linearly during `schedule.warmup_steps`. After each of
    `schedule.anneal_steps` steps the rate is multiplied by `schedule.anneal_rate`. Only noam_per_step uses `hidden`.
    """
    peak, warmup = schedule.learning_rate, schedule.warmup_steps
    annealed = schedule.anneal_rate ** sum(step >= each for each in schedule.anneal_steps)
    match schedule.name:
        case "noam_per_step":
            return annealed * noam_per_step(step, peak, warmup, hidden)
        case "cosine_per_step":
            return annealed * cosine_per_step(step, peak, warmup, total_steps, schedule.final_learning_rate)
        case "exponential_per_step":
            return annealed * warmup_per_step(step, warmup) * exponential_per_step(step, peak, schedule.decay)
        case "exponential_per_epoch":
            return annealed * warmup_per_step(step, warmup) * exponential_per_epoch(epoch, peak, schedule.decay)
        case "constant":
            return annealed * warmup_per_step(step, warmup) * peak


def warmup_per_step(step: int, warmup_steps: int) -> float:
    """Factor that rises linearly to 1 over `warmup_steps`; the first step's is already above 0."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def cosine_per_step(step: int, peak: float, warmup_steps: int, steps: int, final: float) -> float:
    """Linear warm-up to `peak` over `warmup_steps`, then half a cosine down to `final` at `steps`."""
    if step < warmup_steps:
        return peak * warmup_per_step(step, warmup_steps)
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def noam_per_step(step: int, factor: float, warmup_steps: int, hidden: int) -> float:
    """`factor * hidden ** -0.5 * min(n ** -0.5, n * warmup_steps ** -1.5)`, n = step + 1 (Vaswani et al., 2017)."""
    count = step + 1
    return factor * hidden**-0.5 * min(count**-0.5, count * warmup_steps**-1.5)


def exponential_per_step(step: int, initial: float, decay: float) -> float:
    """`initial * decay ** step`."""
    return initial * decay**step


def exponential_per_epoch(epoch: int, initial: float, decay: float) -> float:
    """`initial * decay ** epoch`, the published HiFi-GAN schedule with decay 0.999; constant within an epoch."""
    return initial * decay**epoch
