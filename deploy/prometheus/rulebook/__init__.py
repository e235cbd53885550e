"""The alert rules as one Python table: what they ask, why, and what to tell whom.

`python -m deploy.prometheus.generate` renders it into the rules, the PrometheusRule and the runbooks. To add an alert:
one `Alert` in the file of its group, its numbers in `thresholds.py`, a fault in tests/deploy/faults.py.
"""

from __future__ import annotations

from . import records, utilisation
from .model import Alert, Group

GROUPS: tuple[Group, ...] = (
    Group("yoloscope-training", "", "", records=records.RECORDS),
    Group("yoloscope-levels", "", "", records=(records.LEVEL,), interval="1m"),
    utilisation.GROUP,
)

ALERTS: tuple[Alert, ...] = tuple(alert for group in GROUPS for alert in group.alerts)

__all__ = ["ALERTS", "GROUPS"]
