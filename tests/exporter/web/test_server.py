"""The server: methods, failures, addresses, kept connections, shutdown."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from yoloscope_exporter.config.types import Address, UnixAddress
from yoloscope_exporter.web import server
from yoloscope_exporter.web.application import routed
from yoloscope_exporter.web.config_file import WebConfigFile
from yoloscope_exporter.web.server import Server

from tests.exporter.serving import answer, ask, connected, fetch, head_of, raw, running, serving

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send


async def here(scope: Scope, receive: Receive, send: Send) -> None:
    """An application."""
    await PlainTextResponse("here")(scope, receive, send)


def test_only_reading() -> None:
    """HEAD has headers only; anything but GET and HEAD is 405."""
    with serving() as url:
        head = raw(url, b"HEAD /metrics HTTP/1.0\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert head.endswith(b"\r\n\r\n")
        full = raw(url, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert int(head_of(head)[1]["content-length"]) == len(full.partition(b"\r\n\r\n")[2])
        for method in (b"POST", b"PROPFIND"):
            refused = raw(url, method + b" /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 405")
            assert head_of(refused)[1]["allow"] == "GET, HEAD"
        twice = raw(
            url, b"GET /metrics HTTP/1.0\r\nAccept: text/plain;q=0.1\r\nAccept: application/openmetrics-text\r\n\r\n"
        )
        assert head_of(twice)[1]["content-type"].startswith("application/openmetrics-text")


def test_a_failure_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in the application, the client gets a status, and the log the reason."""

    async def broken(_request: Request) -> None:
        raise LookupError("no such run")

    async def broken_itself(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise LookupError("no such application")

    with running(routed([Route("/", broken)], "")) as made:
        assert fetch(made.url)[:2] == (500, b"yoloscope failed to answer; its log says why\n")
        assert fetch(made.url)[0] == 500
    assert "LookupError: no such run" in caplog.text
    with running(broken_itself) as made:
        assert fetch(made.url)[0] == 500
    assert "LookupError: no such application" in caplog.text


def test_requests_are_logged_for_who_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    """At debug, and not above."""
    with serving() as url:
        caplog.set_level("INFO", "yoloscope_exporter")
        fetch(f"{url}/metrics")
        assert not caplog.text
        caplog.set_level("DEBUG", "yoloscope_exporter")
        fetch(f"{url}/nowhere")
    assert "127.0.0.1 GET /nowhere 404" in caplog.text


def test_a_connection_is_kept() -> None:
    """As Prometheus wants it; HTTP/1.0 and `Connection: close` end it."""
    with serving() as url, connected(url) as connection:
        for _ in range(3):
            assert ask(connection)[0] == 200
        assert ask(connection, method="HEAD") == (200, b"")
        assert ask(connection, "/nowhere")[0] == 404
        assert ask(connection, method="POST", Content_Length="0")[0] == 405
        assert ask(connection, Connection="close")[0] == 200
        assert connection.recv(1) == b""
        assert raw(url, b"GET /-/ready HTTP/1.0\r\n\r\n").endswith(b"ready\n")


def test_pipelined_requests_are_answered_in_turn() -> None:
    """All of what came at once, in order."""
    with serving() as url, connected(url) as connection:
        connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"/-/ready", b"/x")))
        first = b""
        while b"metrics are at" not in first:
            first += connection.recv(65536)
    assert first.index(b"200 OK") < first.index(b"404 Not Found")


def test_an_empty_host_is_every_interface() -> None:
    """Of both families, where the machine has both, as Prometheus' own exporters do."""
    with running(here, host="") as made:
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


def test_unix_socket(short_path: Path) -> None:
    """Requests come in through the file system; the file goes with the server."""
    path = short_path / "web.sock"
    made = Server(UnixAddress(path), here)
    made.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        assert ask(connection, "/") == (200, b"here")
    made.close()
    assert not path.exists()


def test_a_dead_servers_socket_is_replaced_and_nothing_else(short_path: Path) -> None:
    """What a killed server leaves is in nobody's way; a server that is there, and a file, are left alone."""
    path = short_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    made = Server(UnixAddress(path), here)
    with pytest.raises(OSError, match="in use"):
        Server(UnixAddress(path), here)
    made.close()
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        Server(UnixAddress(path), here)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("seconds", [10.0, 0.1])
def test_connections_under_way_are_finished(seconds: float) -> None:
    """After the end is announced, a request that was being answered still gets its answer, in the time there is."""
    begun, release = threading.Event(), threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.to_thread(release.wait, 2)
        await PlainTextResponse("done")(scope, receive, send)

    made = Server(Address("127.0.0.1", 0), slow)
    made.start()
    with connected(made.url) as idle, connected(made.url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert begun.wait(10)
        timer = threading.Timer(1.0, release.set)
        timer.start()
        begin = time.monotonic()
        made.close(seconds)
        assert time.monotonic() - begin < 5
        assert idle.recv(1) == b""
        if seconds > 1:
            assert answer(connection) == (200, b"done")
        else:
            assert connection.recv(100) == b""
        timer.join()
    with pytest.raises(ConnectionRefusedError):
        connected(made.url)


def test_close_twice_and_unstarted() -> None:
    """The address is given back either way."""
    made = Server(Address("127.0.0.1", 0), here)
    made.close()
    made.close()
    again = Server(made.address, here)
    again.start()
    again.close()
    again.close()


def test_one_thread() -> None:
    """However many connections there are."""
    with serving() as url:
        before = threading.active_count()
        connections = [connected(url) for _ in range(50)]
        assert all(ask(one)[0] == 200 for one in connections)
        assert threading.active_count() == before
        for one in connections:
            one.close()


def test_no_descriptor_is_left_behind() -> None:
    """By connections that come and go in every way."""
    with serving() as url:
        fetch(url)
        before = _descriptors()
        for _ in range(50):
            fetch(f"{url}/metrics")
            raw(url, b"nonsense\r\n\r\n")
            with connected(url) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 5
        while _descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _descriptors() <= before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_standard_client_keeps_its_connection() -> None:
    """Python's own client, as many use it."""
    with serving() as url:
        client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        client.request("GET", "/metrics")
        assert client.getresponse().read()
        first = client.sock
        client.request("GET", "/metrics")
        assert client.getresponse().status == HTTPStatus.OK
        assert client.sock is first
        client.close()


def test_no_header_twice(tmp_path: Path) -> None:
    """One that the configuration has for every answer stands in place of the answer's own."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {Content-Security-Policy: sandbox, Vary: x, X-Owner: ada}}\n")
    with serving(WebConfigFile(file)) as url:
        for path in ("/", "/metrics", "/nothing"):
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            connection.request("GET", path)
            answer = connection.getresponse()
            names = [name.lower() for name, _ in answer.getheaders()]
            assert len(names) == len(set(names))
            assert answer.getheader("Content-Security-Policy") == "sandbox"
            connection.close()
