"""From samples to the bytes of `/metrics`, byte for byte those of prometheus_client's generate_latest.

The text format and OpenMetrics share the lines of the series; only the headers of the families differ. So the lines are
made once for a snapshot, when it is first asked for, and the name and labels of a series are kept for the next one: a
tenth of the library's time (3.2 ms against 32 ms for 2,146 series, tests/benchmarks/bench_exposition.py).
Families of third parties are written by the library.
"""

from __future__ import annotations

import gzip
import threading
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.sampling.families import families, family_name, family_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric as Family

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_GZIP_LEVEL = 1  # 3 times faster than the default and a tenth larger
_EXPONENT_FROM = 1e6  # as Go's strconv writes numbers
_OPENMETRICS_END = b"# EOF\n"
#: Schemes that change no name of ours, nor one of a third party: those have to be valid in every scheme.
_SAME_NAMES = (openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8)
_SCHEMES = (*_SAME_NAMES, openmetrics.DOTS, openmetrics.VALUES)


# --- negotiation ----------------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """The format of an exposition."""

    openmetrics: bool = False
    gzipped: bool = False
    escaping: str = ""
    """Scheme for names outside of the classic character set, where the scraper negotiated one."""

    @property
    def content_type(self) -> str:
        """Value of the header Content-Type."""
        escaping = f"; escaping={self.escaping}" if self.escaping else ""
        if self.openmetrics:
            return openmetrics.CONTENT_TYPE_LATEST + escaping
        return CONTENT_TYPE_PLAIN_1_0_0 + escaping if escaping else CONTENT_TYPE_PLAIN_0_0_4


@lru_cache(maxsize=8)  # a scraper asks for the same again and again; a client may send anything
def negotiate(accept: str, accept_encoding: str) -> Form:
    """The form for a scraper's headers Accept and Accept-Encoding.

    As prometheus_client: OpenMetrics from version 1.0.0, text 1.0.0 with its escaping, else text 0.0.4. Beyond it,
    weights (`q=`) count; of the same weight OpenMetrics comes first.
    """
    gzipped = any(name == "gzip" for name, _, _ in _weighted(accept_encoding))
    for name, _, parameters in sorted(_weighted(accept), key=lambda item: (-item[1], item[0] != OPENMETRICS)):
        version, escaping = parameters.get("version", ""), parameters.get("escaping", "")
        scheme = escaping if escaping in _SCHEMES else openmetrics.UNDERSCORES
        if name == OPENMETRICS and (not version or _major(version) >= 1):
            return Form(openmetrics=True, gzipped=gzipped, escaping=scheme if version else "")
        if name == TEXT:
            return Form(gzipped=gzipped, escaping=scheme if _major(version) >= 1 else "")
    return Form(gzipped=gzipped)


def _weighted(header: str) -> Iterator[tuple[str, float, dict[str, str]]]:
    """The items of a header with their weights and parameters; those with weight 0 are left out."""
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        weight = 1.0
        with suppress(ValueError):
            weight = float(parameters.get("q", "1"))
        if weight > 0:
            yield name, weight, parameters


def _major(version: str) -> int:
    number = version.split(".", maxsplit=1)[0]
    return int(number) if number.isdecimal() else 0


# --- the library's encoders -----------------------------------------------------------------------------------------


class Families:
    """A collector of prometheus_client that gives the same families every time."""

    def __init__(self, given: Iterable[Family]) -> None:
        """Take the families."""
        self._given = list(given)

    def collect(self) -> Iterable[Family]:
        """The families."""
        return self._given


def encode(form: Form, given: Iterable[Family], names: Collection[str] = ()) -> bytes:
    """Encode families by the library; only series of `names`, if there are any. Not compressed.

    Raises:
        Exception: the library's, for families that cannot be written.
    """
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(Families(given))
    chosen: Any = registry.restricted_registry(names) if names else registry
    scheme = form.escaping or openmetrics.UNDERSCORES
    encoder: Callable[..., bytes] = openmetrics.generate_latest if form.openmetrics else generate_latest
    return encoder(chosen, escaping=scheme)


def compress(body: bytes) -> bytes:
    """Compress an exposition."""
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


# --- our own ---------------------------------------------------------------------------------------------------------


#: The lines of each family.
Lines = list[tuple[Metric, list[str]]]


class Exposition:
    """One snapshot's bytes. Lines and forms are made when they are first asked for, and kept."""

    def __init__(
        self,
        lines: Callable[[], Lines],
        samples: Sequence[Sample] = (),
        third_party: Sequence[Family] = (),
    ) -> None:
        """Take what makes the lines of each family, the samples, and third parties' families."""
        self._make_lines = lines
        self._samples, self._third_party = samples, third_party
        self._lines: Lines | None = None
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
            plain = form._replace(gzipped=False)
            return compress(self._made.get(plain) or self._make(plain))
        if form.escaping and form.escaping not in _SAME_NAMES:
            return encode(form, [*families(self._samples), *self._third_party])
        if self._lines is None:
            self._lines = self._make_lines()
        header = _openmetrics_header if form.openmetrics else _text_header
        parts = [header(metric) + "".join(lines) for metric, lines in self._lines]
        ours = "".join(parts).encode()
        if self._third_party:
            return ours + encode(form, self._third_party)
        return ours + _OPENMETRICS_END if form.openmetrics else ours


def _text_header(metric: Metric) -> str:
    kind = {catalog.INFO: "gauge", "unknown": "untyped"}.get(family_type(metric), metric.kind)
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {metric.name} {text}\n# TYPE {metric.name} {kind}\n"


def _openmetrics_header(metric: Metric) -> str:
    family = family_name(metric)
    unit = f"# UNIT {family} {metric.unit}\n" if metric.unit else ""
    return f"# HELP {family} {metric.help.translate(_ESCAPES)}\n# TYPE {family} {family_type(metric)}\n{unit}"


_Key = tuple[str, tuple[str, ...]]
_Known = tuple[tuple[str, ...], "float | HistogramValue", "Sequence[str]"]


class Renderer:
    """Turns samples into lines, and remembers for each series its lines' beginnings, its value, and its lines."""

    def __init__(self, duplicate: Callable[[], None] = lambda: None) -> None:
        """Call `duplicate` for every series that came twice in what is rendered; the first one is kept."""
        self._duplicate = duplicate
        self._known: dict[_Key, _Known] = {}
        self._lock = threading.Lock()

    def render(self, samples: Sequence[Sample], third_party: Sequence[Family] = ()) -> Exposition:
        """All `samples`, families in order of their first sample, then third parties'; made when it is asked for."""
        return Exposition(lambda: self._lines(samples), samples, third_party)

    def _lines(self, samples: Sequence[Sample]) -> Lines:
        found: dict[str, tuple[Metric, list[str]]] = {}
        seen: dict[_Key, _Known] = {}
        with self._lock:  # the last snapshot may be asked for while the next one is rendered
            for metric, labels, value in samples:
                key = (metric.name, labels)
                if key in seen:
                    self._duplicate()
                    continue
                known = self._known.get(key)
                if known is None or known[1] != value or not value:  # zero has a sign that does not compare
                    heads = known[0] if known else _heads(metric, labels)
                    known = (heads, value, _lines(heads, value))
                seen[key] = known
                family = found.get(metric.name)
                if family is None:
                    family = found[metric.name] = (metric, [])
                family[1].extend(known[2])
            self._known = seen  # what has gone is forgotten
        return list(found.values())


def _heads(metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of a series without their values."""
    pairs = dict(zip(metric.labels, labels, strict=True))
    if metric.kind != catalog.HISTOGRAM:
        return (_head(metric.name, pairs),)
    bounds = [*(number(bound) for bound in metric.buckets), "+Inf"]
    buckets = [_head(f"{metric.name}_bucket", {**pairs, "le": bound}) for bound in bounds]
    return (*buckets, _head(f"{metric.name}_sum", pairs), _head(f"{metric.name}_count", pairs))


def _head(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}} " if pairs else f"{name} "


def _lines(heads: tuple[str, ...], value: float | HistogramValue) -> Sequence[str]:
    if not isinstance(value, HistogramValue):
        return (f"{heads[0]}{number(value)}\n",)
    total = 0.0
    lines = []
    for head, count in zip(heads, value.counts, strict=False):
        total += count
        lines.append(f"{head}{number(total)}\n")
    lines.append(f"{heads[-2]}{number(value.sum)}\n")
    lines.append(f"{heads[-1]}{number(total)}\n")
    return lines


_go: Callable[[float], str] = floatToGoString


def number(value: float) -> str:
    """A number as the library writes it; most are below a million, where Go and Python agree."""
    return repr(float(value)) if -_EXPONENT_FROM < value < _EXPONENT_FROM else _go(value)
