"""Calls the parts of the hooks so that none of their errors reaches the training."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from yoloscope_record import catalog, log

from yoloscope_hooks import users_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_record.writer import Writer

    Result = TypeVar("Result")

ERROR_LIMIT = 3  # the same part fails that often: it is left out from then on


class Guard:
    """Counts errors by part; the first one of a training is one warning.

    Attributes:
        off: names of the parts that are left out, because they kept failing.
    """

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        self.off: set[str] = set()
        self._errors: Counter[str] = Counter()
        self._writer = writer
        self._total = writer.slot(catalog.TRAIN_HOOK_ERRORS_TOTAL, *who)

    def __call__(self, name: str, function: Callable[..., Result], *arguments: Any) -> Result | None:
        """Call one part; None if it fails, or is left out."""
        if name in self.off:
            return None
        try:
            return function(*arguments)
        except Exception as error:  # a hook never raises into a training
            if users_signals.raised(error):
                raise
            self.count(name, error)
            return None

    def count(self, name: str, error: Exception) -> None:
        """Count an error of a part. Never raises."""
        with suppress(Exception):
            if not self._errors:
                log.warning("yoloscope: %s failed, training goes on: %r", name, error)
            self._errors[name] += 1
            if self._errors[name] >= ERROR_LIMIT:
                self.off.add(name)
            self._writer.values[self._total] += 1.0
            self._writer.end(time.time())
