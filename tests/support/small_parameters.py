"""The project's parameters, made small enough to train in a test."""

from typing import Any

# What tests count on, whatever the project's defaults are; `training` of a test comes last.
PINNED = {"shift": False, "ema": None}


def shrink_acoustic(acoustic: dict[str, Any], hidden: int, warmup_steps: int = 2, **training: Any) -> None:
    """Makes the `acoustic` section of a parameter tree one block deep and `hidden` wide, from scratch.

    `training` is merged in.
    """
    acoustic["init"]["from"] = None  # what ships is larger
    acoustic["reduction"]["factor"] = 3
    for name in ("encoder", "decoder"):
        acoustic[name] |= {"layers": 1, "hidden": hidden, "attention": hidden, "heads": 2, "feed_forward": 2 * hidden,
                           "convolution": hidden}
    for name in ("duration", "pitch", "energy", "postnet"):
        acoustic[name] |= {"layers": 2, "filter": hidden}
    acoustic["training"]["schedule"]["warmup_steps"] = warmup_steps
    acoustic["training"] |= PINNED | training
