"""Verdicts and states in one order: higher is worse, and is shown where there is room for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.rules import CRITICAL, INFO, OK, PREDICTION_RULES, RULES, WARNING
from yoloscope_exporter.measures.promql import Expr, Scope, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.diagnosis.rules import Rule

LEVEL: Final = {OK: 1, INFO: 2, WARNING: 3, CRITICAL: 4}


def _by_level(rules: Sequence[Rule]) -> dict[int, tuple[str, ...]]:
    return {level: tuple(rule.name for rule in rules if rule.severity == severity) for severity, level in LEVEL.items()}


#: Level -> names of verdicts, on trainings and on predictions.
SEVERITIES: Final = _by_level(RULES)
OF_PREDICTIONS: Final = {level: names for level, names in _by_level(PREDICTION_RULES).items() if names}
#: States of a rank in the same levels: `finished` is as good as `train`, the pauses between are neither good nor bad.
#: A prediction that was `stopped` is as good as one that has finished: that is how a stream ends.
STATES: Final = {1: ("train", "finished"), 2: ("setup", "validate", "checkpoint"), 4: ("failed", "killed")}
PREDICT_STATES: Final = {1: (*catalog.PREDICTIONS, "finished", catalog.STOPPED), 4: ("failed", "killed")}


def severity(on: Scope, *by: str) -> Expr:
    """The verdicts that hold, with their severity (1 healthy to 4 broken) as value; `by` includes `verdict`."""
    return _levels(on, catalog.TRAIN_VERDICT, "verdict", SEVERITIES, by)


def states(on: Scope, *by: str) -> Expr:
    """The states that ranks are in, with their severity as value; `by` includes `state`."""
    return _levels(on, catalog.TRAIN_STATE, "state", STATES, by)


def predict_severity(on: Scope, *by: str) -> Expr:
    """The same as `severity`, of verdicts on predictions."""
    return _levels(on, catalog.PREDICT_VERDICT, "verdict", OF_PREDICTIONS, by)


def predict_states(on: Scope, *by: str) -> Expr:
    """The same as `states`, of what predicts, validates on its own or exports."""
    return _levels(on, catalog.PREDICT_STATE, "state", PREDICT_STATES, by)


def _levels(
    on: Scope, metric: catalog.Metric, label: str, levels: Mapping[int, tuple[str, ...]], by: tuple[str, ...]
) -> Expr:
    """The level of each value of `label` that is true now, instead of the 1 that the metric gives it."""
    parts = [
        total("max", on(metric, **{label: f"=~{'|'.join(names)}"}), *by).equals(1) * level
        for level, names in levels.items()
    ]
    return Expr(" or ".join(f"({part})" for part in parts), "", metric.help)
