"""The table of verdicts: what is seen, how it is told, why, how to verify it, what to type.

To add a verdict: one `Rule` in the file of its family. `docs/diagnosis.md` is generated from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.rules import (
    environment,
    hardware,
    health,
    learning,
    lifecycle,
    loader,
    memory,
    prediction,
    ranks,
    setup,
    step,
)
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, INFO, OK, SEVERITIES, WARNING, Rule

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals import Signals

__all__ = [
    "BY_NAME",
    "CRITICAL",
    "EXPLAINED",
    "HEALTHY",
    "INFO",
    "NOT_HEALTHY",
    "OF_PREDICTIONS",
    "OK",
    "PREDICTION_RULES",
    "RULES",
    "SEVERITIES",
    "WARNING",
    "Rule",
    "of",
]

RULES: tuple[Rule, ...] = (
    *setup.RULES,
    *loader.RULES,
    *step.RULES,
    *memory.RULES,
    *ranks.RULES,
    *hardware.RULES,
    *lifecycle.RULES,
    *learning.RULES,
    *environment.RULES,
    *health.RULES,
)

#: Of predictions, validations on their own and exports: no rule of one table is judged of the others' runs.
PREDICTION_RULES: tuple[Rule, ...] = prediction.RULES

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in (*RULES, *PREDICTION_RULES)}

#: Names of the verdicts on predictions, and those that say that a run is healthy.
OF_PREDICTIONS = frozenset(rule.name for rule in PREDICTION_RULES)
HEALTHY = ("compute_bound", "inference_bound")


def of(s: Signals) -> tuple[Rule, ...]:
    """The rules that are judged of a run of its kind."""
    return PREDICTION_RULES if s.predicts else RULES


#: Verdicts that say little without their cause: it is shown wherever they are.
EXPLAINED = ("failed", "killed", "stalled", "worker_died")

#: With one of these, a rank is not healthy even if its time goes into computing.
NOT_HEALTHY = tuple(rule.name for rule in BY_NAME.values() if rule.severity in (WARNING, CRITICAL) or rule.slows)
