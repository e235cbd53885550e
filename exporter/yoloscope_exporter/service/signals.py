"""Signals that `sigwait` receives."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@contextmanager
def blocked(signals: Collection[signal.Signals]) -> Iterator[set[int]]:
    """Block `signals` in this thread and those it starts, until the block is left; the value is the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield {int(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
