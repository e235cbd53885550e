"""Where a diagnosis takes its series from over HTTP: an exporter, or a Prometheus."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog
from yoloscope_exporter.client.fetch import opener
from yoloscope_exporter.diagnosis import signals
from yoloscope_exporter.diagnosis.live import DIAGNOSIS_PATH
from yoloscope_exporter.recordings.reader import Gatherer, identify
from yoloscope_exporter.terminal.diagnosis import from_json

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.diagnosis.series import Store

TIMEOUT_SECONDS = 30.0
#: More nodes than this are not fetched at once; a run's name narrows them down.
MOST_NODES = 64
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class SourceError(Exception):
    """A source does not answer, or not with what was asked for; one line, with the remedy where there is one."""

    def __init__(self, text: str, status: int = 0) -> None:
        """`status` is that of HTTP, 0 where there was none."""
        super().__init__(text)
        self.status = status


def fetch(url: str, *, accept: str = "application/json", data: bytes | None = None) -> bytes:
    """The body at `url`; `http://user:password@host` becomes basic authentication.

    Raises:
        SourceError: no answer, or none of status 200.
    """
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SourceError(f"{url} is no URL such as http://127.0.0.1:9911")
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
        urllib.parse.urlunsplit(parts._replace(netloc=host)), data=data, headers={"Accept": accept}
    )
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with opener(request.full_url).open(request, timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            where = f"{host}{parts.path}"
            raise SourceError(f"{where} answers {error.code} {error.reason}{_said(error)}", error.code) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SourceError(f"{host} does not answer: {getattr(reason, 'strerror', None) or reason}") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The reason a Prometheus gives for refusing."""
    try:
        return f": {json.loads(error.read())['error']}"
    except (ValueError, KeyError, TypeError, OSError):
        return ""


def scrape(url: str) -> str:
    """The metrics of the exporter at `url`, in OpenMetrics.

    Raises:
        SourceError: as `fetch`.
    """
    path = "" if urllib.parse.urlsplit(url).path.strip("/") else "/metrics"
    return fetch(f"{url.rstrip('/')}{path}", accept=_OPENMETRICS).decode(errors="replace")


def exporter(url: str) -> tuple[Diagnosis, ...]:
    """What the exporter at `url` has found in its last window.

    Raises:
        SourceError: as `fetch`, or it is no exporter that diagnoses.
    """
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    body = fetch(urllib.parse.urlunsplit(parts._replace(path=DIAGNOSIS_PATH, query="", fragment="")))
    try:
        return from_json(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{url} answers, but not like yoloscope's exporter") from error


# --- Prometheus -----------------------------------------------------------------------------------------------------


def prometheus(url: str, since: float, run: str = "", now: float | None = None) -> list[Store]:
    """The raw samples of the last `since` seconds, one store per node; only nodes with a training (of `run`).

    Raises:
        SourceError: as `fetch`, or there is nothing, or too much.
    """
    now = time.time() if now is None else now
    only = f'{{run="{_quoted(run)}"}}' if run else ""
    ups = _matrix(url, f"{catalog.TRAIN_UP.name}{only}[{since:.0f}s]", now)
    instances = sorted({series["metric"].get("instance", "") for series in ups})
    if len(instances) > MOST_NODES:
        raise SourceError(f"{len(instances)} nodes have trained in this time; choose one run with --run")
    names = "|".join(f"{name}(_bucket|_sum)?" for name in sorted(signals.METRICS))
    gatherer = Gatherer()
    for instance in instances:
        query = f'{{__name__=~"{names}",instance="{_quoted(instance)}"}}[{since:.0f}s]'
        for series in _matrix(url, query, now):
            _gather(gatherer, series, run)
    return gatherer.stores() if instances else []


def _gather(gatherer: Gatherer, series: dict[str, Any], run: str) -> None:
    labels = series["metric"]
    if run and labels.get("run", run) != run:
        return
    identity = identify(labels.get("__name__", ""), labels)
    if isinstance(identity, str):
        gatherer.skipped[identity] += len(series["values"])
        return
    for moment, text in series["values"]:
        gatherer.add(identity, float(moment), float(text))


def _matrix(url: str, query: str, now: float) -> list[dict[str, Any]]:
    body = urllib.parse.urlencode({"query": query, "time": f"{now:.3f}"}).encode()
    try:
        answer = json.loads(fetch(f"{url.rstrip('/')}/api/v1/query", data=body))
        result: list[dict[str, Any]] = answer["data"]["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{url} answers, but not like a Prometheus") from error
    return result


def _quoted(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text)
