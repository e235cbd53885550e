"""Reads recordings, and puts samples of several nodes together to series."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.file_format import clean

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.language import text
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.recordings.compression import GZIP, lines, plain, unpacked
from yoloscope_exporter.recordings.timestamps import stamped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    _Moments = dict[float, dict[float | str, float]]  # time -> bucket's bound, or a part's suffix -> value

_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
#: Suffixes of a histogram's parts; the count is left out, as the +Inf bucket says the same.
_PARTS = ("_bucket", "_sum", "_count")


class Target(NamedTuple):
    """The labels by which Prometheus tells nodes apart; empty where they are missing."""

    cluster: str
    job: str
    instance: str


class Identity(NamedTuple):
    """What the text in front of a value stands for; `part` is a suffix of a histogram's, `bound` its bucket's."""

    metric: Metric
    labels: tuple[str, ...]
    target: Target
    part: str
    bound: float


class Gatherer:
    """Puts samples of several nodes together to series, histograms from their parts."""

    def __init__(self) -> None:
        """Start empty."""
        self.skipped: Counter[str] = Counter()
        self._stores: dict[Target, Store] = {}
        self._parts: defaultdict[tuple[Target, str, tuple[str, ...]], _Moments] = defaultdict(dict)

    def add(self, series: Identity, time: float, number: float) -> None:
        """Take in one sample."""
        if not 0.0 <= time <= catalog.LAST_MOMENT:
            self.skipped[text("at no possible time")] += 1
        elif series.part:
            moments = self._parts[series.target, series.metric.name, series.labels]
            moments.setdefault(time, {})[series.bound if series.part == "_bucket" else series.part] = number
        else:
            _add(self._store(series.target), time, Sample(series.metric, series.labels, number))

    def stores(self) -> list[Store]:
        """One store per node; what was skipped is noted in the first one."""
        for (target, name, labels), moments in self._parts.items():
            _add_histograms(self._store(target), catalog.BY_NAME[name], labels, moments)
        for store in self._stores.values():
            _born(store)
        first = next(iter(self._stores.values()), None) or self._store(Target("", "", ""))
        first.skipped.update(self.skipped)
        return list(self._stores.values())

    def _store(self, target: Target) -> Store:
        if target not in self._stores:
            self._stores[target] = Store(target.instance, target.cluster, target.job)
        return self._stores[target]


def read(path: Path) -> list[Store]:
    """The series of a recording, one store per `cluster`, `job` and `instance` (one if there are no such labels).

    Raises:
        OSError: the file cannot be read.
        ValueError: there is not a single sample of yoloscope in it.
    """
    damaged: Counter[str] = Counter()
    stores = parse(_lines(path, damaged))
    stores[0].skipped.update(damaged)
    if not any(store.series for store in stores):
        raise ValueError(text("no samples of yoloscope with a timestamp in it"))
    return stores


def _lines(path: Path, damaged: Counter[str]) -> Iterator[str]:
    """Lines of a recording; what cannot be unpacked ends them, and is counted if it is not the beginning."""
    begun = False
    with path.open("rb") as file:
        packed = file.peek(len(GZIP)).startswith(GZIP)
        try:
            for line in lines(piece for _, piece in (unpacked(file) if packed else plain(file))):
                yield line.decode(errors="replace")
                begun = True
        except ValueError:
            if not begun:
                raise
            damaged[text("the rest of a damaged gzip file")] += 1


def parse(lines: Iterable[str]) -> list[Store]:
    """The series of timestamped OpenMetrics lines."""
    gatherer = Gatherer()
    known: dict[str, Identity | str] = {}
    for line in lines:
        if not line or line[0] == "#":
            continue
        try:
            head, value, stamp = line.rsplit(" ", 2)
            number, time = float(value), float(stamp)
        except ValueError:
            gatherer.skipped[text("not a line of a sample with a timestamp")] += 1
            continue
        series = known.get(head)
        if series is None:
            series = known[head] = _parsed(head)
        if isinstance(series, str):
            gatherer.skipped[series] += 1
        else:
            gatherer.add(series, time, number)
    return gatherer.stores()


def feed(store: Store, exposition: str, time: float) -> None:
    """Add the samples of one exposition without timestamps to a store."""
    (gathered,) = parse(stamped(exposition, time, set()).splitlines())
    store.add(time, _newest(gathered))


def _newest(store: Store) -> Iterator[Sample]:
    for name, family in store.series.items():
        for labels, series in family.items():
            last = series.histograms[-1] if series.histograms else None
            value = series.values[-1] if last is None else HistogramValue(last[:-1], last[-1])
            yield Sample(catalog.BY_NAME[name], labels, value)


def _parsed(head: str) -> Identity | str:
    """The series of `name{labels}`, or why there is none."""
    name, _, text = head.partition("{")
    return identify(name, {key: _ESCAPED.sub(_unescape, value) for key, value in _LABEL.findall(text)})


def _add(store: Store, time: float, sample: Sample) -> None:
    store.add_one(time, sample)
    store.first, store.last = min(store.first, time), max(store.last, time)


def _born(store: Store) -> None:
    """Which series began while the recording ran; families may come in any order, so this is known at the end only."""
    for family in store.series.values():
        for series in family.values():
            series.born = bool(series.times) and series.times[0] > store.first


def identify(name: str, labels: Mapping[str, str]) -> Identity | str:
    """The series of a name with labels, or why it is none of ours."""
    if not name.startswith(catalog.PREFIX):
        return text("not a metric of yoloscope")
    metric, part = catalog.BY_NAME.get(name), ""
    if metric is None:
        part = next((suffix for suffix in _PARTS if name.endswith(suffix)), "")
        metric = catalog.BY_NAME.get(name.removesuffix(part)) if part else None
        if metric is None or metric.kind != catalog.HISTOGRAM:
            return text("unknown metric {name}", name=name)
    values = tuple(_printable(labels.get(label, "")) for label in metric.labels)  # an empty label is an absent one
    try:
        bound = float(labels.get("le", "nan"))
    except ValueError:
        return text("bucket without a bound in {name}", name=name)
    return Identity(metric, values, target_of(labels), part, bound)


def target_of(labels: Mapping[str, str]) -> Target:
    """On which node a series was found."""
    return Target(*(_printable(labels.get(label, "")) for label in Target._fields))


def _printable(value: str) -> str:
    """Without what would steer a terminal: a recording and a Prometheus take any label."""
    return value if value.isprintable() else clean(value)


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _add_histograms(store: Store, metric: Metric, labels: tuple[str, ...], moments: _Moments) -> None:
    bounds = (*metric.buckets, math.inf)
    for time, parts in moments.items():
        if "_sum" not in parts or any(bound not in parts for bound in bounds):
            store.skipped[text("histogram with other buckets or parts missing")] += 1
            continue
        cumulative = [parts[bound] for bound in bounds]
        counts = [cumulative[0], *(later - earlier for earlier, later in pairwise(cumulative))]
        _add(store, time, Sample(metric, labels, HistogramValue(tuple(counts), parts["_sum"])))
