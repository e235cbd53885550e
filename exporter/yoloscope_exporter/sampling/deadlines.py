"""Calls that may hang, kept apart from everybody else."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a call ended: with a `value`, or with an `error`."""

    value: T | None
    error: Exception | None
    seconds: float


class Lane(Generic[T]):
    """A daemon thread that makes one call at a time. If a call hangs, so does this thread, and nothing else."""

    def __init__(self, name: str) -> None:
        """Start no thread yet."""
        self.name = name
        self._thread: threading.Thread | None = None
        self._calls: SimpleQueue[Callable[[], T] | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._outcome: Outcome[T] | None = None

    @property
    def idle(self) -> bool:
        """Whether the last call has returned."""
        return self._idle.is_set()

    def start(self, call: Callable[[], T]) -> None:
        """Begin a call; only while idle."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
            self._thread.start()
        self._outcome = None
        self._idle.clear()
        self._calls.put(call)

    def wait(self, seconds: float) -> bool:
        """Wait for the call's end, at most so long; says whether it has ended."""
        return self._idle.wait(max(0.0, seconds))

    def take(self) -> Outcome[T] | None:
        """What the last call came to, once; None if it is under way or was taken."""
        if not self.idle:
            return None
        taken, self._outcome = self._outcome, None
        return taken

    def close(self) -> None:
        """End the thread after the call under way; harmless when called twice."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            self._outcome = outcome(call)
            del call
            self._idle.set()


def outcome(call: Callable[[], T]) -> Outcome[T]:
    """Make the call here and now."""
    start = time.perf_counter()
    try:
        value = call()
    except Exception as error:  # noqa: BLE001 - the isolation boundary: handed on, logged by who asked
        return Outcome(None, error, time.perf_counter() - start)
    return Outcome(value, None, time.perf_counter() - start)
