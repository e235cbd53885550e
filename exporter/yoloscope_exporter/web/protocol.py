"""One HTTP connection with its limits, and the table of all connections, which decides which one to close.

uvicorn waits for a request's head as long as the client likes. Here handshake and request together have a deadline and
a size, and so has an answer that the client does not take. When every move is taken, the connection that has been
sending its request for longest goes, then the one that has been idle for longest: a client that asks at once always
gets through.
"""

from __future__ import annotations

import logging
import time
from email.utils import formatdate
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.config import Config
    from uvicorn.server import ServerState

RECEIVE_SECONDS = 5.0
"""For the TLS handshake and the request, together."""
SEND_SECONDS = 10.0
"""For a client to take its answer; Prometheus gives up on a scrape after as long."""
MAX_HEAD_BYTES = 1 << 14
MAX_BODY_BYTES = 1 << 20
"""Nothing here wants a body; what is sent all the same is thrown away, up to here."""
MAX_PIPELINED = 16

_log = logging.getLogger(__name__)


class State(IntEnum):
    """State of a connection, in the order in which connections are closed for new ones."""

    RECEIVING = 0
    """From its beginning, or that of a further request, to the end of the request."""
    IDLE = 1
    SENDING = 2
    """The answer is made, and the client has not taken it."""
    ANSWERING = 3


class Connections:
    """All connections by state, the oldest of each state first. Used by the event loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, maximum: int) -> None:
        """Hold `maximum` connections at most."""
        self._loop = loop
        self._maximum = maximum
        self._limits = {State.RECEIVING: RECEIVE_SECONDS, State.SENDING: SEND_SECONDS}
        self._since: dict[State, dict[Connection, float]] = {state: {} for state in State}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._since.values()))

    def __iter__(self) -> Iterator[Connection]:
        return iter([connection for found in self._since.values() for connection in found])

    def add(self, connection: Connection) -> None:
        """Add a new connection; if there are too many, close another one."""
        if len(self) >= self._maximum:
            self.evict()
        self.move(connection, State.RECEIVING)

    def move(self, connection: Connection, state: State) -> None:
        """Move a connection to another state, and start its deadline."""
        if connection.state is state:
            return
        self.remove(connection)
        connection.state = state
        now = self._since[state][connection] = self._loop.time()
        if state in self._limits and (self._timer is None or now + self._limits[state] < self._timer.when()):
            self._wait()

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        if connection.state is not None:
            self._since[connection.state].pop(connection, None)
            connection.state = None

    def evict(self) -> bool:
        """Close the first connection in the order of `State`; False if there is none."""
        for found in self._since.values():
            for connection in found:
                self._drop(connection)
                return True
        return False

    def _drop(self, connection: Connection) -> None:
        self.remove(connection)
        connection.drop()

    def _wait(self) -> None:
        """Set the one timer to the first deadline. A request that is in time costs no timer."""
        if self._timer is not None:
            self._timer.cancel()
        firsts = [
            (next(iter(self._since[state].values())), limit)
            for state, limit in self._limits.items()
            if self._since[state]
        ]
        self._timer = self._loop.call_at(min(map(sum, firsts)), self._expire) if firsts else None

    def _expire(self) -> None:
        now = self._loop.time()
        for state, limit in self._limits.items():
            late = [connection for connection, since in self._since[state].items() if since + limit <= now]
            for connection in late:
                self._drop(connection)
        self._wait()


class Headers:
    """Headers of every response: server, date, and the configured ones."""

    def __init__(self, configured: Callable[[], Mapping[str, str]]) -> None:
        """Read the configured headers from `configured` for each response."""
        self._configured = configured
        self._second = 0
        self._date = b""

    def __call__(self) -> list[tuple[bytes, bytes]]:
        """Names and values, in lower case and Latin-1."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True).encode()
        extra = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in self._configured().items()}
        own = {b"server": b"yoloscope", b"date": self._date, b"x-content-type-options": b"nosniff"}
        return list({**own, **extra}.items())


def without_doubles(app: ASGIApp, configured: Callable[[], Mapping[str, str]]) -> ASGIApp:
    """The application without those headers that are configured for every answer: none is sent twice."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def once(message: Message) -> None:
            if message["type"] == "http.response.start":
                taken = {name.lower().encode("latin-1") for name in configured()}
                own = [header for header in message["headers"] if header[0].lower() not in taken]
                message = {**message, "headers": own}
            await send(message)

        await app(scope, receive, once)

    return wrapped


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    def __init__(self, config: Config, server: ServerState, connections: Connections, headers: Headers) -> None:
        """Add itself to `connections`; the server sets `opening`, the task of the TLS handshake."""
        super().__init__(config, server, {})
        self.state: State | None = None
        self.opening: asyncio.Task[None] | None = None
        self.certificate_allowed: Callable[[Mapping[str, Any] | None], bool] = lambda _certificate: True
        self._limited = connections
        self._default_headers = headers
        self._receiving = True
        self._in_head = True
        self._size = 0
        """Bytes of the head, or of the body, so far."""
        self._chunk = 0
        """Bytes that came last, of which what begins now has its share: all, or little."""
        self._refused: HTTPStatus | None = None
        connections.add(self)

    def drop(self) -> None:
        """Close it at once, in any state."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def abort_handshake(self) -> None:
        """Remove it after a failed handshake."""
        self._limited.remove(self)
        self.drop()

    # --- the connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own
        """Start, or close if the client's certificate is not allowed."""
        super().connection_made(transport)
        # so that `resume_writing` means that the client has taken everything; with 0 TLS would never be done
        transport.set_write_buffer_limits(high=1)
        if self.state is None or not self.certificate_allowed(transport.get_extra_info("peercert")):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel uvicorn's timer, which would keep a broken connection for minutes."""
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._limited.remove(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse what is invalid or too large."""
        self._unset_keepalive_if_required()
        self._chunk = len(data)
        self._size += len(data)
        if self._refused is not None:  # what is still under way is read, or closing would break the answer
            if self._size > MAX_BODY_BYTES:
                self.drop()
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # answered as if nobody had asked for an upgrade; nothing can follow
        except httptools.HttpParserError:
            self._refuse(self._refused or HTTPStatus.BAD_REQUEST)
        else:
            if self._in_head and self._size > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's own
        """Keep an unencrypted connection open (True) for a client that has only closed its sending side."""
        if self._receiving or self.cycle is None or self.cycle.response_complete or self.scheme == "https":
            return False
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """The client does not read the response."""
        super().pause_writing()
        self._update_state()

    def resume_writing(self) -> None:
        """The client has read everything that was sent."""
        super().resume_writing()
        self._update_state()

    def shutdown(self) -> None:
        """Finish the response under way, and close."""
        if self._receiving:
            self._limited.remove(self)
            self.drop()
        else:
            super().shutdown()

    def _update_state(self) -> None:
        """Move to the state that follows from parser, response and transport."""
        if self.state is None:
            return
        if self._receiving:
            state = State.RECEIVING
        elif self.flow.write_paused or self.transport.is_closing():
            state = State.SENDING
        elif self.cycle is not None and not self.cycle.response_complete:
            state = State.ANSWERING
        else:
            state = State.IDLE
        self._limited.move(self, state)

    # --- the parser -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(HTTPStatus.TOO_MANY_REQUESTS)
        self._receiving = self._in_head = True
        self._size = self._chunk
        self._update_state()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check size and Host header, which uvicorn does not."""
        if 16 + len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._stop(HTTPStatus.BAD_REQUEST)
        self._in_head = False
        self._size = 0
        self.server_state.default_headers = self._default_headers()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:  # noqa: ARG002 - httptools' signature
        """Discard it; refuse more than MAX_BODY_BYTES."""
        if self._size > MAX_BODY_BYTES:
            self._stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._receiving = False
        self._chunk = 0
        super().on_message_complete()
        self._update_state()

    def on_response_complete(self) -> None:
        """The response is complete."""
        super().on_response_complete()
        if self._refused is not None:
            self._end()
        self._update_state()

    def _stop(self, status: HTTPStatus) -> None:
        """Stop the parser; `data_received` then refuses the request with `status`."""
        self._refused = status
        raise ValueError(status.phrase)

    def _refuse(self, status: HTTPStatus) -> None:
        """Respond with `status`, unless a response is under way, and close."""
        self._refused = status
        self._receiving = True  # of no more use: the first to go
        self._size = 0
        self._update_state()
        _log.debug("%s: %d %s", self.client, status, status.phrase)
        if self.cycle is not None and not self.cycle.response_complete:
            self.pipeline.clear()
            return
        if not self._in_head:  # of a request that has its answer, the body is wrong
            self._end()
            return
        body = f"{status.phrase}\n".encode()
        headers = [
            *self._default_headers(),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [f"HTTP/1.1 {status:d} {status.phrase}".encode(), *(b"%s: %s" % header for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self._end()

    def _end(self) -> None:
        """Close the sending side; the client closes the connection, or the deadline does."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
