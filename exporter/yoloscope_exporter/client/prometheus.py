"""Series of a Prometheus, over its HTTP API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import signals
from yoloscope_exporter.fetching import SourceError, prometheus
from yoloscope_exporter.fetching.prometheus import quoted
from yoloscope_exporter.language import text
from yoloscope_exporter.recordings.reader import Gatherer, identify, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.measures.series import Store

#: More nodes than this are not fetched at once; a run's name narrows them down.
MOST_NODES = 64


def read_prometheus(url: str, since: float, run: str = "", cluster: str = "", now: float | None = None) -> list[Store]:
    """The raw samples of the last `since` seconds, one store per node; only nodes with a run (this one).

    Raises:
        SourceError: as `fetch`, or there is nothing, or too much.
    """
    now = time.time() if now is None else now
    only = {name: value for name, value in (("cluster", cluster), ("run", run)) if value}
    alive = f"{catalog.TRAIN_UP.name}|{catalog.PREDICT_UP.name}"
    ups = prometheus.instant(url, f"{_matchers(only, alive)}[{since:.0f}s]", now)
    nodes = sorted({target_of(series["metric"]) for series in ups})
    if len(nodes) > MOST_NODES:
        raise SourceError(
            text("{nodes} nodes had runs in this time range; choose one run with --run", nodes=len(nodes))
        )
    wanted = signals.METRICS | {metric.name for metric in catalog.METRICS if metric.area == "export"}
    names = "|".join(f"{name}(_bucket|_sum)?" for name in sorted(wanted))
    gatherer = Gatherer()
    for node in nodes:
        query = f"{_matchers(node._asdict(), names)}[{since:.0f}s]"
        for series in prometheus.instant(url, query, now):
            _gather(gatherer, series, run)
    return gatherer.stores() if nodes else []


def _matchers(labels: Mapping[str, str], names: str = "") -> str:
    """Braces with these labels; an empty value asks for series without the label."""
    matchers = [f'__name__=~"{names}"'] if names else []
    matchers += [f"{label}={quoted(value)}" for label, value in labels.items()]
    return f"{{{','.join(matchers)}}}" if matchers else ""


def _gather(gatherer: Gatherer, series: dict[str, Any], run: str) -> None:
    labels = series["metric"]
    if run and labels.get("run", run) != run:
        return
    identity = identify(labels.get("__name__", ""), labels)
    if isinstance(identity, str):
        gatherer.skipped[identity] += len(series.get("values", ()))
        return
    for moment, value in series.get("values", ()):
        gatherer.add(identity, float(moment), float(value))
