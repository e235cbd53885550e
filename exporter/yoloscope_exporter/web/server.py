"""The server: one thread with an event loop that accepts connections and serves them.

Sockets are accepted here and not by asyncio's own server, for a connection must be known from its first moment: asyncio
tells of one only after the handshake, and stops listening for a second when descriptors run out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import stat
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from uvicorn.config import Config
from uvicorn.server import ServerState

from yoloscope_exporter.config.types import UnixAddress
from yoloscope_exporter.system import descriptor_limit, reuse_address, run
from yoloscope_exporter.web.authentication import Authentication, logged
from yoloscope_exporter.web.protocol import RECEIVE_SECONDS, Connection, Connections, Headers, State, without_doubles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp

    from yoloscope_exporter.config.types import Address
    from yoloscope_exporter.web.config_file import WebConfigFile

MAX_CONNECTIONS = 512
KEEP_ALIVE_SECONDS = 330
"""Longer than the five minutes for which Prometheus keeps a connection: it closes first, and no request is lost."""
BACKLOG = 1024
ACCEPT_AT_ONCE = 8
"""Connections accepted before those there are get their turn: who asks at once is heard before many more have come."""
DRAIN_SECONDS = 1.0
PAUSE_SECONDS = 0.1

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class Server:
    """Serves an ASGI application at one address."""

    def __init__(self, address: Address | UnixAddress, app: ASGIApp, file: WebConfigFile | None = None) -> None:
        """Bind to `address`; serves only after `start`.

        Raises:
            OSError: the address is in use, or not one of this machine.
        """
        self._file = file
        self._authentication = Authentication(app, file) if file else None
        self._app = logged(self._authentication or app)
        self._listening = bound(address)
        self._listening.listen(BACKLOG)
        self._listening.setblocking(False)
        self.address = (
            address if isinstance(address, UnixAddress) else address._replace(port=self._listening.getsockname()[1])
        )
        self._thread: threading.Thread | None = None
        self._warned_exhausted = False

    @property
    def url(self) -> str:
        """Where the server can be reached from this machine."""
        return self.address.url("https" if self._file and self._file.context else "http")

    def start(self) -> None:
        """Serve in the background until `close`."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="web", daemon=True)
        self._thread.start()
        started.wait()

    def reload(self) -> None:
        """Reload the web configuration now, so that the log shows an error at once."""
        if self._file and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._file.refresh)

    def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Stop accepting, wait at most `seconds` for requests under way, and release the address."""
        if self._thread and self._thread.is_alive():
            self._seconds_left = seconds
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
        release(self._listening)
        if self._authentication:
            self._authentication.close()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self, started: threading.Event) -> None:
        try:
            run(self._serve(started))
        finally:
            started.set()  # or who waits for the start of what has failed would wait forever

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._connections = Connections(self._loop, max_connections())
        configured = partial(_configured, self._file)
        self._headers = Headers(configured)
        self._state = ServerState()
        self._config = Config(
            without_doubles(self._app, configured),
            http=Connection,
            interface="asgi3",
            ws="none",
            lifespan="off",
            workers=1,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            access_log=False,
            log_config=None,
        )
        self._loop.add_reader(self._listening, self._accept)
        started.set()
        await self._ended.wait()
        self._loop.remove_reader(self._listening)
        await self._drain(self._loop.time() + self._seconds_left)

    async def _drain(self, deadline: float) -> None:
        for connection in self._connections:
            connection.shutdown()
        under_way = {State.ANSWERING, State.SENDING}
        while self._loop.time() < deadline and any(one.state in under_way for one in self._connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in self._connections:
            connection.drop()
        await asyncio.sleep(0)  # what was dropped is closed by the loop

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, _client = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):  # none, or gone already
                return
            except OSError as error:  # of the network, and passing, or for want of descriptors or memory
                if error.errno in _EXHAUSTED:
                    self._exhausted(error)
                return
            accepted.setblocking(False)
            connection = Connection(self._config, self._state, self._connections, self._headers)
            connection.opening = self._loop.create_task(self._open(connection, accepted))
            connection.opening.add_done_callback(partial(_after_handshake, connection, accepted))

    def _exhausted(self, error: OSError) -> None:
        """No descriptor is left for a new connection: close another one."""
        if not self._warned_exhausted:
            self._warned_exhausted = True
            _log.warning("cannot accept a connection: %s", (error.strerror or str(error)).lower())
        if not self._connections.evict():  # it is not us who have them all; do not ask again and again
            self._loop.remove_reader(self._listening)
            self._loop.call_later(PAUSE_SECONDS, self._listen_again)

    def _listen_again(self) -> None:
        if not self._ended.is_set():
            self._loop.add_reader(self._listening, self._accept)

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        context = None
        if self._file:
            self._file.refresh()
            context, connection.certificate_allowed = self._file.context, self._file.config.may_connect
        await self._loop.connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=context,
            ssl_handshake_timeout=RECEIVE_SECONDS if context else None,
        )


def _configured(file: WebConfigFile | None) -> Mapping[str, str]:
    """The headers that the web configuration has for every answer."""
    return file.config.headers if file else {}


def _after_handshake(connection: Connection, accepted: socket.socket, task: asyncio.Task[None]) -> None:
    """Clear up after a handshake that failed: a client that went away, does not speak TLS, or has no certificate."""
    error = None if task.cancelled() else task.exception()
    if error:
        _log.log(logging.DEBUG if isinstance(error, OSError) else logging.ERROR, "a connection failed: %s", error)
    if error or task.cancelled():
        connection.abort_handshake()
        accepted.close()


def max_connections() -> int:
    """How many connections there may be: half of the descriptors are for the records, /proc and /sys."""
    limit = descriptor_limit()
    return MAX_CONNECTIONS if limit is None else max(1, min(MAX_CONNECTIONS, limit // 2))


# --- addresses --------------------------------------------------------------------------------------------------------


def bound(address: Address | UnixAddress) -> socket.socket:
    """A socket bound to `address`; an empty host means every interface, of IPv6 too where there is any.

    Raises:
        OSError: the address is in use, or not one of this machine.
    """
    if isinstance(address, UnixAddress):
        return _bound_unix(address.path)
    every = not address.host and socket.has_dualstack_ipv6()
    with ExitStack() as stack:
        family = socket.AF_INET6 if every or ":" in address.host else socket.AF_INET
        # asyncio switches Nagle's algorithm off only where the protocol is named
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
        reuse_address(made)
        if every:  # IPv4 too, whatever the system's default
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        stack.pop_all()
    return made


def _bound_unix(path: Path) -> socket.socket:
    """A socket in the file system; one that a dead server left there is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "this system has no sockets in the file system")
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(socket.AF_UNIX))
        if _is_abandoned(path):
            path.unlink()
        made.bind(str(path))
        stack.pop_all()
    return made


def _is_abandoned(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def release(listening: socket.socket) -> None:
    """Close a bound socket, and remove its file."""
    if listening.fileno() >= 0 and listening.family == getattr(socket, "AF_UNIX", None):
        with suppress(OSError):
            Path(listening.getsockname()).unlink()
    listening.close()
