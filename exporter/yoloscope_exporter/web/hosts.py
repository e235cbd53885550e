"""Names under which an exporter on the loopback answers.

A web page in a browser on this machine may have its own name resolved to 127.0.0.1 and then read what is there (DNS
rebinding): the Host header still carries the page's name. An address cannot be resolved to another one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from yoloscope_exporter.web.responses import header, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_PORT = re.compile(r":\d*$")


def only_named(app: ASGIApp, names: Iterable[str] = ()) -> ASGIApp:
    """`app` for requests to an address, to `localhost`, to this machine's name or to one of `names`; else 421."""
    known = {"", "localhost", socket.gethostname().lower(), *map(str.lower, names)}

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        host = _PORT.sub("", header(scope, b"host")).strip("[]").lower()
        allowed = host in known or host.endswith(".localhost") or _is_address(host)
        await (app if allowed else _REFUSED)(scope, receive, send)

    return call


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


_REFUSED = text(
    HTTPStatus.MISDIRECTED_REQUEST,
    "this listens on the loopback and answers to localhost, addresses and --web.allowed-hosts only",
)
