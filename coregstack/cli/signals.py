"""Signals that ask a command to stop: it ends in order, as by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # other systems have no SIGHUP


class Stopped(KeyboardInterrupt):
    """A command that was asked to stop by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the number of the signal that stopped a command, as a shell gives it.

    Examples
    --------
    >>> exit_code(KeyboardInterrupt()), exit_code(Stopped(signal.SIGTERM))
    (130, 143)
    """
    return 128 + int(stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Stopped`, so that locks, partly written and unpacked files are removed.

    Signals that are ignored, as by ``nohup``, or that the program has handlers for are left alone, as are all
    outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in _STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    # one is enough: another must not interrupt the cleanup
    for each in _STOPPING:
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)
