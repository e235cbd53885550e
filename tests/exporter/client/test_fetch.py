"""No proxy is asked for this machine; others go as the environment says."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.client.fetch import fetch, opener

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://127.0.0.1:9911/metrics", False),
        ("http://[::1]:9911", False),
        ("http://localhost:9911", False),
        ("http://node-7:9911", True),
        ("http://10.0.0.7:9911", True),
    ],
)
def test_proxies(monkeypatch: pytest.MonkeyPatch, url: str, proxied: bool) -> None:  # noqa: FBT001 - a parameter
    """By the address, whatever the environment names."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    handlers = [one for one in opener(url).handlers if isinstance(one, urllib.request.ProxyHandler)]  # type: ignore[attr-defined]
    assert any(hasattr(one, "http_open") for one in handlers) is proxied


def test_proxy_is_not_asked_for_this_machine(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's http_proxy does not come between the terminal and the exporter beside it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(serve(lambda *_: (200, b"here"))) == b"here"
