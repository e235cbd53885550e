"""The alert rules as one Python table: what they ask, why, and what to tell whom.

`python -m deploy.prometheus.generate` renders it into the rules, the PrometheusRule and the runbooks. To add an alert:
one `Alert` in the file of its category, its numbers in `yoloscope_exporter.measures.thresholds`, what it says in
Chinese in `yoloscope_exporter/language/zh_cn/alerts.py`, a fault in `tests/deploy/scenarios/faults.py`.
"""

from __future__ import annotations

from . import data, distributed, hardware, host, inference, liveness, memory, ourselves, utilisation
from .model import Alert, Category

#: In the order of the runbooks.
CATEGORIES = (
    Category("utilisation", "Utilization", utilisation.ALERTS),
    Category("data", "Data pipeline", data.ALERTS),
    Category("memory", "Memory", memory.ALERTS),
    Category("liveness", "Liveness", liveness.ALERTS),
    Category("inference", "Inference", inference.ALERTS),
    Category("distributed", "Distributed training", distributed.ALERTS),
    Category("hardware", "Hardware", hardware.ALERTS),
    Category("host", "Host", host.ALERTS),
    Category("ourselves", "yoloscope itself", ourselves.ALERTS),
)

ALERTS: tuple[Alert, ...] = tuple(alert for category in CATEGORIES for alert in category.alerts)

__all__ = ["ALERTS", "CATEGORIES"]
