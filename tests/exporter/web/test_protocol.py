"""Connections: silent, slow, endless and ill-formed ones, and who goes when every place is taken."""

from __future__ import annotations

import asyncio
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from yoloscope_exporter.web import protocol, server
from yoloscope_exporter.web.application import routed

from tests.exporter.serving import answer, ask, connected, fetch, head_of, raw, running, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

GET = b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"


def is_closed(connection: socket.socket, seconds: float = 2.0) -> bool:
    """Whether the server has ended the connection, waiting for it for so long."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-sent request is given up after the timeout, on a kept connection too; an idle one is not."""
    monkeypatch.setattr(protocol, "RECEIVE_SECONDS", 0.2)
    with serving() as url:
        assert raw(url, b"GET /metr") == b""
        with connected(url) as kept, connected(url) as idle:
            assert ask(kept)[0] == ask(idle)[0] == 200
            kept.sendall(b"GET /metr")
            assert is_closed(kept)
            assert ask(idle)[0] == 200


def test_a_slow_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come in pieces, but not forever: the timeout is for all of it, its body too."""
    monkeypatch.setattr(protocol, "RECEIVE_SECONDS", 1.0)
    with serving() as url, connected(url) as connection:
        for byte in b"GET /-/healthy HTTP/1.0\r\n\r\n":
            connection.sendall(bytes((byte,)))
        assert connection.recv(100).startswith(b"HTTP/1.1 503")
    for beginning in (b"GET / HTTP/1.0\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"):
        with serving() as url, connected(url) as connection:
            connection.sendall(beginning)
            sent = 0
            with suppress(ConnectionError):
                while sent < 100:
                    connection.sendall(b"a")
                    sent += 1
                    time.sleep(0.1)
            assert 1 < sent < 100  # taken for a while, and not to the end


def test_an_answer_that_is_not_taken_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and does not read is dropped, whether or not it wants the connection kept."""
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.5)
    size = 8_000_000  # more than the sockets' buffers take

    async def large(_request: Request) -> Response:
        return PlainTextResponse(b"x" * size)

    with running(routed([Route("/", large), Route("/small", _here)], "")) as made:
        for head in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            with connected(made.url) as stuck, connected(made.url) as other:
                stuck.sendall(head)
                time.sleep(1.0)
                assert ask(other, "/small") == (200, b"here")
                taken = b"".join(_rest(stuck))
                assert len(taken) < size


async def _here(_request: Request) -> Response:
    return PlainTextResponse("here")


def _rest(connection: socket.socket) -> Iterator[bytes]:
    with suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            yield data


def test_what_is_no_request_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """400 for another protocol, 431 for a head without end, and nothing in the log; HTTP/2 is not begun."""
    with serving() as url:
        for nonsense in (b"SSH-2.0-OpenSSH\r\n", b"get / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\nno header\r\n\r\n"):
            assert raw(url, nonsense).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        for length in (protocol.MAX_HEAD_BYTES, 1 << 16, 1 << 19):
            endless = b"GET / HTTP/1.0\r\nX: ".ljust(length + 1, b"x")
            assert raw(url, endless).startswith(b"HTTP/1.1 431 ")
            assert raw(url, endless + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
        assert raw(url, b"GET /".ljust(1 << 15, b"x") + b" HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 431 ")
        upgrade = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert raw(url, upgrade).startswith(b"HTTP/1.1 200 OK\r\n")
        assert raw(url, b"GET /metrics HTTP/1.0\r\n\r\nand more").startswith(b"HTTP/1.1 200 OK\r\n")
        refused = head_of(raw(url, b"nonsense\r\n\r\n"))[1]
        assert (refused["connection"], refused["x-content-type-options"]) == ("close", "nosniff")
    assert not caplog.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: a\r\n",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    """A proxy might read it in the other way."""
    with serving() as url:
        got = raw(url, head + b"\r\nabcGET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1


def test_bodies_are_no_requests() -> None:
    """A body is read over, chunked or not, and what comes behind it is a request of its own."""
    body = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"
    head = b"GET /-/ready HTTP/1.1\r\nHost: a\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    counted = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    with serving() as url, connected(url) as connection:
        for request in (chunked, counted):
            connection.sendall(request)
            assert answer(connection) == (200, b"ready\n")
        assert ask(connection, "/nowhere")[0] == 404


def test_an_unread_body_does_not_break_the_answer() -> None:
    """Whoever sends one gets his answer; what has no end is cut off."""
    first = b"POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    with serving() as url:
        assert raw(url, first.replace(b"abc", b"a" * 200_000)).startswith(b"HTTP/1.1 404 ")
        endless = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
        got = raw(url, endless + b"a" * (protocol.MAX_BODY_BYTES + 400_000))
        assert got.startswith(b"HTTP/1.1 405 ")
        assert got.count(b"HTTP/1.1 ") == 1
        with connected(url) as connection:
            connection.sendall(endless)
            assert answer(connection)[0] == 405
            with pytest.raises(ConnectionError):
                connection.sendall(b"a" * 100_000_000)


def test_a_flood_in_one_connection_ends() -> None:
    """Requests that are sent without waiting for answers are held for a few."""
    with serving() as url:
        got = raw(url, GET * 5000)
    assert 1 <= got.count(b"200 OK") <= protocol.MAX_PIPELINED + 1


def test_a_client_that_says_nothing_more_gets_its_answer() -> None:
    """Half-closed connections are for reading."""
    with serving() as url, connected(url) as connection:
        connection.sendall(GET)
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection) == (200, b"ready\n")
        assert is_closed(connection)


# --- every place is taken -------------------------------------------------------------------------------------------


def test_the_oldest_incomplete_connection_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the next, and idle ones only when there is no other; what is answered stays."""
    monkeypatch.setattr(server, "max_connections", lambda: 5)
    release = threading.Event()

    async def slow(_request: Request) -> Response:
        await asyncio.to_thread(release.wait, 10)
        return PlainTextResponse("done")

    with running(routed([Route("/", _here), Route("/slow", slow)], "")) as made, ExitStack() as stack:

        def client() -> socket.socket:
            made_client = stack.enter_context(connected(made.url))
            time.sleep(0.05)
            return made_client

        busy, old_idle, idle = client(), client(), client()
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        for one in (old_idle, idle):
            assert ask(one, "/") == (200, b"here")
        silent, dribbling = client(), client()
        dribbling.sendall(b"GET ")
        assert ask(client(), "/") == (200, b"here")  # the sixth
        assert is_closed(silent)
        last = client()
        assert is_closed(dribbling)
        assert ask(last, "/") == (200, b"here")
        assert ask(client(), "/") == (200, b"here")
        assert is_closed(old_idle)
        assert ask(idle, "/") == (200, b"here")
        release.set()
        assert answer(busy) == (200, b"done")


def test_as_many_as_the_descriptors_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them, and 512 at most."""
    for soft, expected in ((256, 128), (1024, 512), (1 << 20, 512), (resource.RLIM_INFINITY, 512), (1, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, soft=soft: (soft, soft))
        assert server.max_connections() == expected


SERVER = """
import resource, selectors, sys
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from yoloscope_exporter.config.types import Address
from yoloscope_exporter.web import server
from yoloscope_exporter.web.application import routed

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
if len(sys.argv) > 2:
    server.max_connections = lambda: int(sys.argv[2])

async def here(request):
    return PlainTextResponse("here")

turns = connections = 0

class Selector(selectors.DefaultSelector):
    def select(self, timeout=None):
        global turns
        turns += 1
        return super().select(timeout)

class Connection(server.Connection):
    def __init__(self, *given):
        global connections
        connections += 1
        super().__init__(*given)

selectors.DefaultSelector, server.Connection = Selector, Connection
made = server.Server(Address("127.0.0.1", 0), routed([Route("/", here)], ""))
made.start()
print(made.url, flush=True)
for _ in sys.stdin:
    print(turns, connections, flush=True)
made.close()
"""
#: Turns of the event loop for each connection that is accepted: an eighth, as eight are accepted at once, and where
#: descriptors run out one, in which another connection is closed.
MOST_TURNS = 3


@pytest.mark.parametrize("arguments", [["256"], ["40", "512"]], ids=["256 descriptors", "descriptors run out"])
def test_six_hundred_dribbling_clients_keep_nobody_out(arguments: list[str]) -> None:
    """They come again whenever they are thrown out; every scrape is answered, on a kept connection and on new ones."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = process.stdout.readline().strip()
        ended = threading.Event()
        crowd = threading.Thread(target=_dribble, args=(url, 600, ended))
        crowd.start()
        times = []
        try:
            time.sleep(1.0)
            for _ in range(6):
                begin = time.monotonic()
                assert fetch(url)[:2] == (200, b"here")
                times.append(time.monotonic() - begin)
                time.sleep(0.5)
            turns, connections = _in_a_second(process)
        finally:
            ended.set()
            crowd.join()
        assert turns < MOST_TURNS * connections + 200  # it is as busy as they make it
        assert any(_in_a_second(process)[0] < 50 for _ in range(10))  # and rests when they have gone
        process.stdin.close()
        assert process.wait(10) == 0
    assert max(times) < protocol.RECEIVE_SECONDS  # nobody waited for one of the crowd to be given up


def _in_a_second(process: subprocess.Popen[str]) -> tuple[int, int]:
    """How often the server's event loop turns, and how many connections it accepts."""
    assert process.stdout is not None
    assert process.stdin is not None
    counts = []
    for pause in (1.0, 0.0):
        process.stdin.write("\n")
        counts.append([int(word) for word in process.stdout.readline().split()])
        time.sleep(pause)
    (turns, connections), (turns_later, connections_later) = counts
    return turns_later - turns, connections_later - connections


def _dribble(url: str, number: int, ended: threading.Event) -> None:
    """So many connections that each send a byte now and then, and are opened again when they are closed."""
    host, port = url.partition("://")[2].split(":")
    with selectors.DefaultSelector() as selector:

        def come() -> None:
            client = socket.socket()
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect((host, int(port)))
            selector.register(client, selectors.EVENT_READ)

        for _ in range(number):
            come()
        said = time.monotonic()
        while not ended.is_set():
            gone = [key.fileobj for key, _ in selector.select(0.05)]
            for client in gone:
                assert isinstance(client, socket.socket)
                selector.unregister(client)
                client.close()
                come()
            if time.monotonic() - said > 0.2:
                said = time.monotonic()
                for key in list(selector.get_map().values()):
                    assert isinstance(key.fileobj, socket.socket)
                    with suppress(OSError):
                        key.fileobj.send(b"G" if key.data is None else b"x")
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
