"""The project's parameters, made small enough to train in a test."""

from typing import Any


def shrink_acoustic(acoustic: dict[str, Any], hidden: int, **training: Any) -> None:
    """Makes the `acoustic` section of a parameter tree one block deep and `hidden` wide; `training` is merged in."""
    acoustic["hidden"] = hidden
    for name in ("encoder", "decoder"):
        acoustic[name] |= {"layers": 1, "heads": 2, "feed_forward": 2 * hidden}
    for name in ("duration", "pitch", "energy", "postnet"):
        acoustic[name] |= {"layers": 2, "filter": hidden}
    acoustic["training"] |= training
