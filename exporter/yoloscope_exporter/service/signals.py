"""Signals that a command waits for, and those that ask it to end, as far as this system has them.

Linux and macOS have calls that wait for a signal. On Windows handlers note it, and whoever waits looks often.
"""

from __future__ import annotations

import queue
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator


LOOK_SECONDS = 0.2


def present(*names: str) -> tuple[signal.Signals, ...]:
    """Those of the signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


#: What asks a command to end; SIGBREAK is Ctrl-Break of Windows.
INTERRUPTS = present("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


def hear_children_end() -> None:
    """Let ends of children be told, which whoever started us may have had ignored: no exit code would come then."""
    for number in present("SIGCHLD"):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def hold(signals: Collection[signal.Signals]) -> None:
    """Let `signals` wait until somebody waits for them; without an effect where nothing blocks signals."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)


@contextmanager
def waiting(signals: Collection[signal.Signals]) -> Iterator[Callable[[], int]]:
    """Take `signals` in until the block is left; the value waits for the next one."""
    if hasattr(signal, "sigwait"):
        with blocked(signals):
            yield lambda: signal.sigwait(signals)
        return
    noted: queue.SimpleQueue[int] = queue.SimpleQueue()
    with handled(signals, lambda number, _: noted.put(number)):
        yield lambda: _next(noted)


def _next(noted: queue.SimpleQueue[int]) -> int:
    while noted.empty():  # a handler is called between two pauses, where no signal ends one
        time.sleep(LOOK_SECONDS)
    return noted.get()


def wait(event: threading.Event, seconds: float) -> None:
    """Wait until `event` is set, at most so long; a handler of a signal is called meanwhile, on Windows too."""
    end = time.monotonic() + seconds
    longest = seconds if hasattr(signal, "sigwait") else LOOK_SECONDS
    while (left := end - time.monotonic()) > 0 and not event.wait(min(left, longest)):
        pass


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
    """All of INTERRUPTS unwind the stack like Ctrl-C, so that every child is ended; under `nohup` SIGHUP does not."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ignored = {number for number in present("SIGHUP") if signal.getsignal(number) == signal.SIG_IGN}
    with handled([number for number in INTERRUPTS if number not in ignored], interrupt):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """INTERRUPTS wait until the block is left. A process that is started in it does not inherit that."""
    noted: list[int] = []
    with handled(INTERRUPTS, lambda number, _: noted.append(number)):
        yield
    for late in dict.fromkeys(noted):
        signal.raise_signal(late)
