"""Ctrl-C and SIGTERM end a program in the same way: what is half done is removed, and one line is printed."""

import signal
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. It is handled wherever Ctrl-C is."""


def raise_on_termination() -> None:
    """From now on SIGTERM raises Terminated in the main thread instead of ending the process at once."""
    signal.signal(signal.SIGTERM, _terminated)


def status_of(interruption: KeyboardInterrupt) -> int:
    """The exit status of an interrupted program, as a shell reports it.

    A second Ctrl-C or SIGTERM, while the program ends, ends it at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


def finish() -> None:
    """The work is done: Ctrl-C changes nothing any more, and SIGTERM ends the program at once.

    Either one, while the interpreter ends, would otherwise show a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated
