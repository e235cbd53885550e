"""Signals that `sigwait` receives, and those that ask a command to end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


#: What asks a command to end.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def blocked(signals: Collection[signal.Signals]) -> Iterator[set[int]]:
    """Block `signals` in this thread and those it starts, until the block is left; the value is the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield {int(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def handled(signals: Collection[signal.Signals], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handler` for `signals` until the block is left; only in the main thread."""
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def interruptible() -> Iterator[None]:
    """All of INTERRUPTS unwind the stack like Ctrl-C, so that every child is ended."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handled(INTERRUPTS, interrupt):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """INTERRUPTS wait until the block is left. A process that is started in it does not inherit that."""
    noted: list[int] = []
    with handled(INTERRUPTS, lambda number, _: noted.append(number)):
        yield
    for late in dict.fromkeys(noted):
        signal.raise_signal(late)
