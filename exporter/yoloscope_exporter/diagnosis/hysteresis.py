"""Hysteresis: verdicts neither appear nor vanish by a single window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yoloscope_exporter.diagnosis.engine import Key


@dataclass
class _Memory:
    holds: bool = False
    since: float = 0.0  # since when the condition has differed from `holds`
    differs: bool = False


@dataclass
class Hysteresis:
    """Remembers verdicts, so that they neither appear nor vanish by a single window.

    Attributes:
        enter, leave: seconds for which a condition must be met, or not be met, to change the verdict. Events do both
            at once.
    """

    enter: float
    leave: float
    memory: dict[Key, dict[str, _Memory]] = field(default_factory=dict)

    def update(self, key: Key, judged: Mapping[str, bool], now: float) -> dict[str, bool]:
        """Verdicts of one rank after the window that ends `now`; what was not judged is not among them."""
        known = self.memory.setdefault(key, {})
        for name in set(known) - set(judged):
            del known[name]
        return {name: self._one(known.setdefault(name, _Memory()), name, now, met=met) for name, met in judged.items()}

    def _one(self, memory: _Memory, name: str, now: float, *, met: bool) -> bool:
        if met == memory.holds:
            memory.differs = False
            return memory.holds
        if not memory.differs:
            memory.differs, memory.since = True, now
        patience = 0.0 if rules.BY_NAME[name].event else self.enter if met else self.leave
        if now - memory.since >= patience:
            memory.holds, memory.differs = met, False
        return memory.holds

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget every rank but these."""
        kept = set(keys)
        for key in list(self.memory):
            if key not in kept:
                del self.memory[key]


def holding(verdicts: Mapping[str, bool]) -> list[str]:
    """Names of the verdicts that hold."""
    return [name for name, holds in verdicts.items() if holds]
