"""From samples to the bytes of `/metrics`, in the text format 0.0.4 and in OpenMetrics 1.0.

Both formats share the lines of the series; only the headers of the families differ. So the lines are made once for a
snapshot, when it is first asked for, and what stays the same from one to the next, name and labels, is kept between.
"""

from __future__ import annotations

import gzip
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_GZIP_LEVEL = 1  # 3 times faster than the default and a tenth larger


class Form(NamedTuple):
    """How a scraper wants its bytes."""

    openmetrics: bool = False
    gzipped: bool = False

    @property
    def content_type(self) -> str:
        """Value of the header Content-Type."""
        return OPENMETRICS_TYPE if self.openmetrics else TEXT_TYPE


class Exposition:
    """One snapshot's bytes. Lines and forms are made when they are first asked for, and kept."""

    def __init__(self, lines: Callable[[], Mapping[str, list[str]]]) -> None:
        """Take what makes the lines of each family, by the metric's name."""
        self._lines = lines
        self._families: Mapping[str, list[str]] | None = None
        self._made: dict[Form, bytes] = {}
        self._lock = threading.Lock()

    def get(self, form: Form) -> bytes:
        """The exposition in `form`."""
        with self._lock:
            if form not in self._made:
                self._made[form] = self._make(form)
            return self._made[form]

    def _make(self, form: Form) -> bytes:
        if form.gzipped:
            plain = Form(form.openmetrics)
            data = self._made.get(plain) or self._make(plain)
            return gzip.compress(data, _GZIP_LEVEL, mtime=0)
        if self._families is None:
            self._families = self._lines()
        header = _openmetrics_header if form.openmetrics else _text_header
        parts = [header(catalog.BY_NAME[name]) + "\n".join(lines) for name, lines in self._families.items()]
        end = "\n# EOF\n" if form.openmetrics else "\n"
        return ("\n".join(parts) + end).lstrip("\n").encode()


def _text_header(metric: Metric) -> str:
    kind = "gauge" if metric.kind == catalog.INFO else metric.kind
    if metric.name.endswith("_count"):  # which this format keeps for histograms: say nothing of the type
        kind = "untyped"
    return f"# HELP {metric.name} {_help(metric)}\n# TYPE {metric.name} {kind}\n"


def _openmetrics_header(metric: Metric) -> str:
    family = metric.name.removesuffix("_total").removesuffix("_info")
    unit = f"# UNIT {family} {metric.unit}\n" if metric.unit else ""
    return f"# HELP {family} {_help(metric)}\n# TYPE {family} {metric.kind}\n{unit}"


def _help(metric: Metric) -> str:
    return metric.help.replace("\\", r"\\").replace("\n", r"\n")


_Key = tuple[str, tuple[str, ...]]
_Known = tuple[tuple[str, ...], "float | HistogramValue", Sequence[str]]


class Renderer:
    """Turns samples into lines, and remembers for each series its lines' beginnings, its value, and its lines."""

    def __init__(self, duplicate: Callable[[], None] = lambda: None) -> None:
        """Call `duplicate` for every series that came twice in what is rendered; the first one is kept."""
        self._duplicate = duplicate
        self._known: dict[_Key, _Known] = {}
        self._lock = threading.Lock()

    def render(self, samples: Sequence[Sample]) -> Exposition:
        """All `samples`, families in order of their first sample; nothing is made before it is asked for."""
        return Exposition(lambda: self._lines(samples))

    def _lines(self, samples: Sequence[Sample]) -> dict[str, list[str]]:
        families: dict[str, list[str]] = {}
        seen: dict[_Key, _Known] = {}
        with self._lock:  # the last snapshot may be asked for while the next one is rendered
            for metric, labels, value in samples:
                key = (metric.name, labels)
                if key in seen:
                    self._duplicate()
                    continue
                known = self._known.get(key)
                if known is None or known[1] != value:
                    heads = known[0] if known else _heads(metric, labels)
                    known = (heads, value, _lines(heads, value))
                seen[key] = known
                lines = families.get(metric.name)
                if lines is None:
                    lines = families[metric.name] = []
                lines += known[2]
            self._known = seen  # what has gone is forgotten
        return families


def _heads(metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of a series without their values."""
    pairs = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(metric.labels, labels, strict=True)]
    if metric.kind != catalog.HISTOGRAM:
        return (_head(metric.name, pairs),)
    bounds = [*(number(bound) for bound in metric.buckets), "+Inf"]
    buckets = [_head(f"{metric.name}_bucket", [*pairs, f'le="{bound}"']) for bound in bounds]
    return (*buckets, _head(f"{metric.name}_sum", pairs), _head(f"{metric.name}_count", pairs))


def _head(name: str, pairs: list[str]) -> str:
    return f"{name}{{{','.join(pairs)}}} " if pairs else f"{name} "


def _lines(heads: tuple[str, ...], value: float | HistogramValue) -> Sequence[str]:
    if not isinstance(value, HistogramValue):
        return (heads[0] + number(value),)
    total = 0.0
    lines = []
    for head, count in zip(heads, value.counts, strict=False):
        total += count
        lines.append(head + number(total))
    lines.append(heads[-2] + number(value.sum))
    lines.append(heads[-1] + number(total))
    return lines


def number(value: float) -> str:
    """A number in the notation of both formats."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
