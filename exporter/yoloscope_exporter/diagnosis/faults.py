"""Judging in isolation: what raises for one rank, or in one rule, is counted, said once and passed over."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """What could not be done (`the rule loader_io`), for whom, and the kind of the exception."""

    what: str
    run: str
    rank: str
    error: str

    def __str__(self) -> str:
        """For people."""
        who = text("{run}, rank {rank}", run=self.run, rank=self.rank) if self.run else text("this node")
        return text("{what} failed for {who}: {error}", what=self.what, who=who, error=self.error)


@dataclass
class Faults:
    """The exceptions of a diagnosis.

    Attributes:
        counted: called for each of them.
        seen: how often each came.
    """

    counted: Callable[[], None] = lambda: None
    seen: Counter[Fault] = field(default_factory=Counter)

    def passed_over(self, what: str, run: str, rank: str, part: str = "") -> _PassedOver:
        """A context that is left at an exception, as if it had ended there; `what` is a text about the `part`."""
        return _PassedOver(self, what, run, rank, part)

    def add(self, fault: Fault, error: Exception) -> None:
        """Count a fault, and log the first of its kind."""
        if fault not in self.seen:
            debug = _log.isEnabledFor(logging.DEBUG)
            _log.warning("%s: %s; the rest goes on", fault, error, exc_info=error if debug else None)
        self.seen[fault] += 1
        self.counted()

    def keep(self, keys: Iterable[tuple[str, str]]) -> None:
        """Forget every rank but these."""
        kept = set(keys)
        for fault in [fault for fault in self.seen if (fault.run, fault.rank) not in kept]:
            del self.seen[fault]


class _PassedOver:
    """The context of `Faults.passed_over`; a class, because it is entered for every rule of every rank."""

    __slots__ = ("_faults", "_part", "_rank", "_run", "_what")

    def __init__(self, faults: Faults, what: str, run: str, rank: str, part: str) -> None:
        self._faults, self._what, self._run, self._rank, self._part = faults, what, run, rank, part

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        what = text(self._what, part=self._part) if self._part else text(self._what)
        self._faults.add(Fault(what, self._run, self._rank, type(error).__name__), error)
        return True
