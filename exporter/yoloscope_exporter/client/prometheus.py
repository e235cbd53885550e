"""Series of a Prometheus, over its HTTP API."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog
from yoloscope_exporter.client.fetch import SourceError, fetch, masked
from yoloscope_exporter.diagnosis import signals
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
    ups = _matrix(url, f"{_matchers(only, alive)}[{since:.0f}s]", now)
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
        for series in _matrix(url, query, now):
            _gather(gatherer, series, run)
    return gatherer.stores() if nodes else []


def _matchers(labels: Mapping[str, str], names: str = "") -> str:
    """Braces with these labels; an empty value asks for series without the label."""
    matchers = [f'__name__=~"{names}"'] if names else []
    matchers += [f'{label}="{_quoted(value)}"' for label, value in labels.items()]
    return f"{{{','.join(matchers)}}}" if matchers else ""


def _gather(gatherer: Gatherer, series: dict[str, Any], run: str) -> None:
    labels = series["metric"]
    if run and labels.get("run", run) != run:
        return
    identity = identify(labels.get("__name__", ""), labels)
    if isinstance(identity, str):
        gatherer.skipped[identity] += len(series["values"])
        return
    for moment, value in series["values"]:
        gatherer.add(identity, float(moment), float(value))


def _matrix(url: str, query: str, now: float) -> list[dict[str, Any]]:
    body = urllib.parse.urlencode({"query": query, "time": f"{now:.3f}"}).encode()
    try:
        answer = json.loads(fetch(f"{url.rstrip('/')}/api/v1/query", data=body))
        result: list[dict[str, Any]] = answer["data"]["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(text("{url} answers, but is not a Prometheus", url=masked(url))) from error
    return result


def _quoted(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text)
