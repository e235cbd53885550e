"""A server over a sampler with one training, and clients of it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.app import App
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.config import Address
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_exporter.server import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from yoloscope_exporter.server import Request, Response
    from yoloscope_exporter.web_config import Guard

RUN = '<script>"run"</script>'


def samples() -> list[Sample]:
    """A training with a name that wants escaping."""
    return [
        Sample(catalog.TRAIN_STATE, (RUN, "0", "train"), 1.0),
        Sample(catalog.TRAIN_EPOCH, (RUN, "0"), 3.0),
        Sample(catalog.CPU_CORES, (), 4.0),
    ]


@contextmanager
def serving(guard: Guard | None = None, *, cycle: bool = True) -> Iterator[str]:
    """A server on a free port, and its URL."""
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=60.0)
    if cycle:
        sampler.cycle()
    try:
        with running(App(sampler), guard=guard) as made:
            yield made.url
    finally:
        sampler.stop()


@contextmanager
def running(
    app: Callable[[Request], Response], host: str = "127.0.0.1", guard: Guard | None = None
) -> Iterator[Server]:
    """A server on a free port."""
    made = Server(Address(host, 0), app, guard)
    try:
        made.start()
        yield made
        made.shutdown()
    finally:
        made.close()


def fetch(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=named), timeout=10, context=context) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def connected(url: str) -> socket.socket:
    """A connection to the server."""
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def raw(url: str, request: bytes) -> bytes:
    """Send bytes, read to the end."""
    with connected(url) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
