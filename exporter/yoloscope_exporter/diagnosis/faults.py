"""Judging in isolation: what raises for one rank, or in one rule, is counted, said once and passed over."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """What could not be done (`the rule loader_io`), for whom, and the kind of the exception."""

    what: str
    run: str
    rank: str
    error: str

    def __str__(self) -> str:
        """For people."""
        who = f"{self.run}, rank {self.rank}" if self.run else "this node"
        return f"{self.what} failed for {who}: {self.error}"


@dataclass
class Faults:
    """The exceptions of a diagnosis.

    Attributes:
        counted: called for each of them.
        seen: how often each came.
    """

    counted: Callable[[], None] = lambda: None
    seen: Counter[Fault] = field(default_factory=Counter)

    @contextmanager
    def passed_over(self, what: str, run: str, rank: str) -> Iterator[None]:
        """Leave the block at an exception, as if it had ended there."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the isolation boundary: the other ranks and rules go on
            fault = Fault(what, run, rank, type(error).__name__)
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
