"""The table of verdicts: what is seen, how it is told, why, how to verify it, what to type.

To add a verdict: one `Rule` in the file of its family. `docs/diagnosis.md` is generated from here.
"""

from __future__ import annotations

from yoloscope_exporter.diagnosis.rules import (
    environment,
    hardware,
    health,
    learning,
    lifecycle,
    loader,
    memory,
    ranks,
    setup,
    step,
)
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, INFO, OK, SEVERITIES, WARNING, Rule

__all__ = ["BY_NAME", "CRITICAL", "EXPLAINED", "INFO", "NOT_HEALTHY", "OK", "RULES", "SEVERITIES", "WARNING", "Rule"]

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

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}

#: Verdicts that say little without their cause: it is shown wherever they are.
EXPLAINED = ("failed", "killed", "stalled", "worker_died")

#: With one of these, a rank is not healthy even if its time goes into computing.
NOT_HEALTHY = tuple(rule.name for rule in RULES if rule.severity in (WARNING, CRITICAL) or rule.slows)
