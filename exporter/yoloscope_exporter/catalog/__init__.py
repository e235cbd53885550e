"""Every metric yoloscope publishes, once: name, kind, unit, help, labels, buckets.

The exporter, the dashboards, the tests of the alert rules and `docs/metrics.md` read this package; no metric name is
written anywhere else. One file per area; those of a training stand in `yoloscope_record.catalog`, where the hooks read
them too.

To add a metric: one constant in its area's file, named as the metric without its prefix, in upper case.
"""

from yoloscope_record.catalog import *
from yoloscope_record.metrics import *
from yoloscope_record.metrics import Metric

from yoloscope_exporter.catalog.cgroup import *
from yoloscope_exporter.catalog.exporter import *
from yoloscope_exporter.catalog.gpu import *
from yoloscope_exporter.catalog.host import *
from yoloscope_exporter.catalog.process import *
from yoloscope_exporter.catalog.verdict import *

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
