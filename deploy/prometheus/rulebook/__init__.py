"""The alert rules as one Python table: what they ask, why, and what to tell whom.

`python -m deploy.prometheus.generate` renders it into the rules, the PrometheusRule and the runbooks. To add an alert:
one `Alert` in the file of its category, its numbers in `yoloscope_exporter.measures.thresholds`, a fault in
`tests/deploy/scenarios/faults.py`.
"""

from __future__ import annotations

from . import data, distributed, hardware, host, inference, liveness, memory, ourselves, utilisation
from .model import Alert, Category

#: In the order of the runbooks.
CATEGORIES = (
    Category("utilisation", "Utilization", "利用率", utilisation.ALERTS),
    Category("data", "Data pipeline", "数据管道", data.ALERTS),
    Category("memory", "Memory", "内存与显存", memory.ALERTS),
    Category("liveness", "Liveness", "存活", liveness.ALERTS),
    Category("inference", "Inference", "推理", inference.ALERTS),
    Category("distributed", "Distributed training", "分布式训练", distributed.ALERTS),
    Category("hardware", "Hardware", "硬件", hardware.ALERTS),
    Category("host", "Host", "主机", host.ALERTS),
    Category("ourselves", "yoloscope itself", "yoloscope 自身", ourselves.ALERTS),
)

ALERTS: tuple[Alert, ...] = tuple(alert for category in CATEGORIES for alert in category.alerts)

__all__ = ["ALERTS", "CATEGORIES"]
