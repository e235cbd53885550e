"""Negotiation of the format, and headers that are sent more than once."""

from __future__ import annotations

import pytest
from yoloscope_exporter.web.responses import header, negotiate


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain;q=nonsense", False),
    ],
)
def test_negotiation(accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - a parameter
    """OpenMetrics for who wants it at least as much as plain text."""
    assert negotiate(accept, "").openmetrics is openmetrics


def test_repeated_headers_are_one_list() -> None:
    """As if they had been sent in one line."""
    scope = {"headers": [(b"accept", b"a"), (b"host", b"b"), (b"accept", b"c;q=0.1")]}
    assert header(scope, b"accept") == "a, c;q=0.1"
    assert header(scope, b"cookie") == ""


def test_gzip() -> None:
    """Only for who takes it."""
    assert negotiate("", "gzip").gzipped
    assert not negotiate("", "gzip;q=0, br").gzipped
