"""The server: methods, failures, silent and slow clients, limits, what is no request."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from yoloscope_exporter import server
from yoloscope_exporter.config import Address
from yoloscope_exporter.server import Request, Response, Server

from tests.exporter.serving import connected, fetch, raw, running, serving

if TYPE_CHECKING:
    import pytest


def test_only_reading() -> None:
    """HEAD has headers only; anything but GET and HEAD is 405."""
    with serving() as url:
        head = raw(url, b"HEAD /metrics HTTP/1.0\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK")
        assert head.endswith(b"\r\n\r\n")
        for method in (b"POST", b"PROPFIND"):
            assert raw(url, method + b" /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.0 405")
        twice = raw(
            url, b"GET /metrics HTTP/1.0\r\nAccept: text/plain;q=0.1\r\nAccept: application/openmetrics-text\r\n\r\n"
        )
        assert b"Content-Type: application/openmetrics-text" in twice


def test_a_failure_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in the app, the client gets a status, and the log the reason."""

    def broken(_request: Request) -> Response:
        raise LookupError("no such run")

    with running(broken) as made:
        assert fetch(made.url)[0] == 500
    assert "LookupError: no such run" in caplog.text


def test_silent_clients_hold_nobody_up() -> None:
    """With many connections that say nothing, a scrape is answered; above the limit 503 at once."""
    with serving() as url, ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(server.MAX_CONNECTIONS - 1):
            stack.enter_context(socket.create_connection(address))
        assert fetch(f"{url}/metrics")[0] == 200
        stack.enter_context(socket.create_connection(address))
        deadline = time.monotonic() + 4
        answer = b""
        while not answer.startswith(b"HTTP/1.0 503") and time.monotonic() < deadline:
            answer = raw(url, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 503")


def test_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-sent request is given up after the timeout."""
    monkeypatch.setattr(server, "TIMEOUT_SECONDS", 0.2)
    with serving() as url:
        assert raw(url, b"GET /metr") == b""


def test_a_slow_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come in pieces, but not forever: the timeout is for all of it."""
    monkeypatch.setattr(server, "TIMEOUT_SECONDS", 1.0)
    with serving() as url, connected(url) as connection:
        for byte in b"GET /-/healthy HTTP/1.0\r\n\r\n":
            connection.sendall(bytes((byte,)))
        assert connection.recv(100).startswith(b"HTTP/1.0 503")
    with serving() as url, connected(url) as connection:
        begin = time.monotonic()
        connection.sendall(b"GET / HTTP/1.0\r\nX: ")
        with suppress(ConnectionError):
            while time.monotonic() < begin + 10:
                connection.sendall(b"a")
                time.sleep(0.1)
        assert 0.9 < time.monotonic() - begin < 8


def test_what_is_no_request_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """400 for another protocol, 431 for a head without end, and nothing in the log; HTTP/2 is not begun."""
    with serving() as url:
        for nonsense in (b"SSH-2.0-OpenSSH\r\n", b"get / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\nno header\r\n\r\n"):
            assert raw(url, nonsense).startswith(b"HTTP/1.0 400 Bad Request\r\n")
        endless = b"GET / HTTP/1.0\r\nX: ".ljust(server.MAX_HEAD_BYTES, b"x")
        assert raw(url, endless).startswith(b"HTTP/1.0 431 ")
        upgrade = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert raw(url, upgrade).startswith(b"HTTP/1.0 200 OK\r\n")
        assert raw(url, b"GET /metrics HTTP/1.0\r\n\r\nand more").startswith(b"HTTP/1.0 200 OK\r\n")
    assert not caplog.text


def test_one_request_ends_at_its_head() -> None:
    """What comes behind, another request or trailers, is no part of it; an unread body does not break the answer."""
    first = b"POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    trailers = b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n"
    asked: list[Request] = []

    def app(request: Request) -> Response:
        asked.append(request)
        return Response(HTTPStatus.OK, b"")

    with running(app) as made:
        assert raw(made.url, first + b"GET /x HTTP/1.1\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.0 405 ")
        assert raw(made.url, first.replace(b"abc", b"a" * 200_000)).startswith(b"HTTP/1.0 405 ")
        raw(made.url, trailers)
    assert [(one.method, one.path, one.headers["host"]) for one in asked] == [("GET", "/", "a")]


def test_an_empty_host_is_every_interface() -> None:
    """Of both families, where the machine has both, as Prometheus' own exporters do."""
    with running(lambda _request: Response(HTTPStatus.OK, b"here"), host="") as made:
        assert fetch(made.url)[1] == b"here"
        if _has("::1"):
            assert fetch(made.address._replace(host="::1").url())[1] == b"here"


def _has(host: str) -> bool:
    """Whether the machine has this address; containers often lack IPv6."""
    try:
        server.bound(Address(host, 0)).close()
    except OSError:
        return False
    return True


def test_connections_under_way_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the shutdown, a request that was being answered still gets its answer."""
    begun, release = threading.Event(), threading.Event()

    def slow(_request: Request) -> Response:
        begun.set()
        release.wait(10)
        return Response(HTTPStatus.OK, b"done")

    made = Server(Address("127.0.0.1", 0), slow)
    made.start()
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(raw(made.url, b"GET / HTTP/1.0\r\n\r\n")))
    client.start()
    assert begun.wait(10)
    made.shutdown()
    threading.Timer(0.1, release.set).start()
    made.drain(10)
    made.close()
    client.join(10)
    assert answers[0].endswith(b"done")
