"""Questions to a Prometheus, over its HTTP API."""

from __future__ import annotations

import re
import urllib.parse
from math import isfinite
from typing import Any

from yoloscope_exporter.fetching import MOST_BYTES, TIMEOUT_SECONDS, SourceError, fetch, masked, parsed
from yoloscope_exporter.language import text

#: A series as Prometheus tells it: `metric` (labels), and `value` (time, number) or `values` (several of them).
Series = dict[str, Any]


def instant(url: str, query: str, at: float, timeout: float = TIMEOUT_SECONDS, most: int = MOST_BYTES) -> list[Series]:
    """What a query says at a moment (Unix seconds).

    Raises:
        SourceError: as `fetch`, or it is no Prometheus.
    """
    return _asked(url, "query", timeout, most, query=query, time=f"{at:.3f}")


def course(  # noqa: PLR0913, PLR0917 - of the API
    url: str,
    query: str,
    start: float,
    end: float,
    step: float,
    timeout: float = TIMEOUT_SECONDS,
    most: int = MOST_BYTES,
) -> list[Series]:
    """What a query says at each step of a time range, in seconds; raises as `instant`."""
    times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
    return _asked(url, "query_range", timeout, most, query=query, **times)


def _asked(url: str, path: str, timeout: float, most: int, **parameters: str) -> list[Series]:
    body = urllib.parse.urlencode(parameters).encode()
    try:
        answer = parsed(fetch(f"{url.rstrip('/')}/api/v1/{path}", data=body, timeout=timeout, most=most))
        return _series(answer["data"]["result"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(text("{url} answers, but is not a Prometheus", url=masked(url))) from error


def _series(result: object) -> list[Series]:
    """Those with numbers, as Prometheus tells them; others are native histograms."""
    if not isinstance(result, list):
        raise TypeError("the result is no list")
    return [_checked(one) for one in result if one.keys() & {"value", "values"}]


def _checked(series: Series) -> Series:
    """One as Prometheus tells it: labels are texts, and each value is a number at a moment.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    if not all(isinstance(text, str) for label in series["metric"].items() for text in label):
        raise TypeError("a label is no text")
    for time, value in series["values"] if "values" in series else [series["value"]]:
        if not isfinite(time):
            raise ValueError("a moment is no number")
        float(value)
    return series


def quoted(value: str) -> str:
    """A string of PromQL, whatever is in it."""
    escaped = re.sub(r'(["\\])', r"\\\1", value).replace("\n", "\\n")
    return f'"{escaped}"'
