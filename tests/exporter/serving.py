"""A server over a sampler with one training, and clients of it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.config.types import Address
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_exporter.web.application import application
from yoloscope_exporter.web.server import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from email.message import Message

    from starlette.types import ASGIApp
    from yoloscope_exporter.web.config_file import WebConfigFile

RUN = '<script>"run"</script>'


def samples() -> list[Sample]:
    """A training with a name that wants escaping."""
    return [
        Sample(catalog.TRAIN_STATE, (RUN, "0", "train"), 1.0),
        Sample(catalog.TRAIN_EPOCH, (RUN, "0"), 3.0),
        Sample(catalog.CPU_CORES, (), 4.0),
    ]


@contextmanager
def idle_sampler() -> Iterator[Sampler]:
    """A sampler that has seen one training once."""
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=60.0)
    sampler.cycle()
    try:
        yield sampler
    finally:
        sampler.stop()


@contextmanager
def serving(file: WebConfigFile | None = None, *, cycle: bool = True) -> Iterator[str]:
    """A server on a free port, and its URL."""
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=60.0)
    if cycle:
        sampler.cycle()
    try:
        with running(application(sampler), file=file) as made:
            yield made.url
    finally:
        sampler.stop()


@contextmanager
def running(app: ASGIApp, host: str = "127.0.0.1", file: WebConfigFile | None = None) -> Iterator[Server]:
    """A server on a free port."""
    made = Server(Address(host, 0), app, file)
    try:
        made.start()
        yield made
    finally:
        made.close()


def fetch(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes, Message]:
    """Status, body and headers, these by names in any case."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=named), timeout=10, context=context) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def connected(url: str) -> socket.socket:
    """A connection to the server."""
    host, port = url.partition("://")[2].split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def raw(url: str, request: bytes) -> bytes:
    """Send bytes, read to the end."""
    with connected(url) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(connection: socket.socket, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """One request on a connection that is kept, and its answer: status and body."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: a",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return answer(connection, body=method != "HEAD")


def answer(connection: socket.socket, *, body: bool = True) -> tuple[int, bytes]:
    """The next answer on a connection: status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    status, fields = head_of(head)
    length = int(fields["content-length"]) if body else 0
    while len(rest) < length:
        rest += _some(connection)
    assert len(rest) == length
    return status, rest


def head_of(answered: bytes) -> tuple[int, Mapping[str, str]]:
    """Status and headers of an answer, names in lower case."""
    first, *lines = answered.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(first.split()[1]), {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("closed in the middle of an answer")
    return data
