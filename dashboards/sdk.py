"""The parts of grafana-foundation-sdk that are used, imported in one place.

Version 0.0.21 warns at import that its classic builders are not the newest; the classic model is what Grafana 9 to 13
all read, so the warning is silenced here, for this import only.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        common,
        heatmap,
        prometheus,
        stat,
        statetimeline,
        table,
        timeseries,
        trend,
    )
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig as ThresholdsBuilder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prom

Panel = models.Panel

__all__ = [
    "JSONEncoder",
    "Panel",
    "ThresholdsBuilder",
    "builders",
    "common",
    "common_models",
    "heatmap",
    "heatmap_models",
    "models",
    "prom",
    "prometheus",
    "stat",
    "statetimeline",
    "table",
    "timeseries",
    "trend",
]
