"""Exceptions that are the user's although our code was interrupted by them: those of the user's signal handlers.

Python runs a handler between two lines of whatever goes on. One that raises means to end the training, or a part of it:
a limit of time by SIGALRM, a preemption by SIGUSR1. Where that hits a hook it goes on, as KeyboardInterrupt does.
"""

from __future__ import annotations

import functools
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


def raised(error: BaseException) -> bool:
    """Whether a signal's handler, called since the `try` that has caught it, has raised the exception."""
    try:
        return _is_in_trace(error)
    except Exception:  # no room for another call, say
        return False


def _is_in_trace(error: BaseException) -> bool:
    codes = {_code(handler) for handler in map(signal.getsignal, signal.valid_signals()) if callable(handler)} - {None}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _code(handler: Any) -> Any:
    """The code of a function, a method, a partial or an object that can be called; None of those in C."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    return getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)


class Quietly:
    """Lets no exception out but those."""

    def __enter__(self) -> None:
        """Nothing is kept."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Whether it stays in."""
        return isinstance(error, Exception) and not raised(error)
