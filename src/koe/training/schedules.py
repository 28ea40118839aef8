"""Learning rates as pure functions of the optimizer step or of the epoch; the name says which (lesson 16)."""

import math


def warmup_cosine_per_step(step: int, peak: float, warmup_steps: int, steps: int, final: float) -> float:
    """Linear warm-up to `peak` over `warmup_steps`, then half a cosine down to `final` at `steps`.

    `step` counts optimizer steps from 0; the first step already has a rate above 0.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def exponential_per_epoch(epoch: int, initial: float, decay: float) -> float:
    """`initial * decay ** epoch`, the published HiFi-GAN schedule with decay 0.999; constant within an epoch."""
    return initial * decay**epoch
