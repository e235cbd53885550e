"""Headers that are sent more than once."""

from __future__ import annotations

from yoloscope_exporter.web.responses import header


def test_repeated_headers_are_one_list() -> None:
    """As if they had been sent in one line."""
    scope = {"headers": [(b"accept", b"a"), (b"host", b"b"), (b"accept", b"c;q=0.1")]}
    assert header(scope, b"accept") == "a, c;q=0.1"
    assert header(scope, b"cookie") == ""
