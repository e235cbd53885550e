"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yoloscope_exporter.diagnosis.advice import Advice
    from yoloscope_exporter.diagnosis.signals.signal import Signal
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

OK, INFO, WARNING, CRITICAL = "ok", "info", "warning", "critical"
SEVERITIES = (OK, INFO, WARNING, CRITICAL)

SHM = "/dev/shm"  # noqa: S108 - a name for people

#: What a rule about a step needs at least.
STEP = (Signals.data_wait_share, Signals.step_seconds, Signals.batches)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One verdict.

    Attributes:
        needs: signals without which the rule abstains; all others are asked for with `get` or after `has`.
        when: whether it holds.
        thresholds: names of those it uses, for the documentation.
        evidence: a sentence with numbers.
        cause: why, or what says why from the signals.
        fix: computes the remedy from the signals.
        remedy: the same in general, for the documentation.
        verify: a command or a place to look that shows the same.
        states: states of the rank in which it is judged.
        event: it is worth telling however short it was.
        requires: the evidence without which it is never told, for the documentation.
        confused_with: what looks alike, and how it is told apart, for the documentation.
        slows: the GPU could do more; then nobody calls the run healthy. So does every warning.
        waste: phases whose time is lost when it holds, for the account of wasted GPU time.
    """

    name: str
    title: str
    severity: str
    needs: tuple[Signal, ...] = ()
    when: Callable[[Signals, Thresholds], bool]
    thresholds: tuple[str, ...] = ()
    evidence: Callable[[Signals, Thresholds], str]
    cause: str | Callable[[Signals, Thresholds], str]
    verify: str
    fix: Callable[[Signals], Advice | None]
    remedy: str
    states: tuple[str, ...] = ("train", "validate", "checkpoint")
    event: bool = False
    requires: str
    confused_with: Mapping[str, str]
    slows: bool = False
    waste: tuple[str, ...] = ()

    @cached_property
    def _needed(self) -> frozenset[str]:
        return frozenset(signal.name for signal in self.needs)

    def applies(self, s: Signals) -> bool:
        """Whether it is evaluated in the rank's state, and its signals are known."""
        return s.state in self.states and self._needed <= s.numbers.keys()

    def missing(self, s: Signals) -> tuple[str, ...]:
        """Names of the signals it needs and this rank lacks."""
        if self._needed <= s.numbers.keys():
            return ()
        return tuple(signal.name for signal in self.needs if not s.has(signal))
