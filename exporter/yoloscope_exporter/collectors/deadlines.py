"""Runs calls that may block in a thread of their own, each with a deadline."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneError
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class IsolatedThread:
    """A daemon thread that makes one call at a time. If a call blocks, the thread is left to it and replaced.

    Not a ThreadPoolExecutor: the interpreter joins that one's threads at exit, so a blocked driver would keep the
    process from ending.
    """

    def __init__(self, name: str) -> None:
        """Start no thread yet."""
        self.name = name
        self._calls: SimpleQueue[Callable[[], None] | None] | None = None

    def call(self, function: Callable[[], T], seconds: float) -> Future[T]:
        """Call `function` and wait for its end, at most `seconds`; what is returned may not be done yet."""
        future: Future[T] = Future()
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_serve, args=(self._calls,), name=self.name, daemon=True).start()
        self._calls.put(partial(_settle, future, function))
        try:
            future.exception(max(0.0, seconds))
        except NotDoneError:
            self.close()
        return future

    def close(self) -> None:
        """End the thread after the call under way. The next call starts another one."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # nothing is kept alive while waiting for the next one


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - the isolation boundary: handed on to the caller
        future.set_exception(error)
