"""Basic authentication with bcrypt, and a limit on the rate of requests.

bcrypt is slow on purpose. One thread does it, with a short queue, so that guessing passwords takes one core at most and
holds nobody up; answers are kept, so a scraper's password is checked once.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.web.responses import header, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from yoloscope_exporter.web.config import RateLimit, WebConfig
    from yoloscope_exporter.web.config_file import WebConfigFile

ALLOWED = "yoloscope.allowed"
"""Where the scope has what tells whether the configuration is still that by which the request was let in, for an answer
that goes on and on must not outlive a password."""
MAX_WAITING = 8
"""Passwords to be checked, about half a second of work at bcrypt's usual cost."""
CACHE_SIZE = 100
MAX_PASSWORD_BYTES = 72
"""bcrypt reads no more."""
#: Salt and sum of a hash that no password has.
_DUMMY = "TI.Fqqs/7lYL2O2xTdXhAeVNTJCxxSgqMHdMS2CNLtV1jgP9OeYzu"
_COST = slice(0, 7)  # "$2b$10$"

_UNAUTHORIZED = text(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED.phrase, ("WWW-Authenticate", "Basic"))
_BUSY = text(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords to check; try again", ("Retry-After", "1"))
_TOO_MANY = text(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_MANY_REQUESTS.phrase)

_log = logging.getLogger(__name__)


class BusyError(Exception):
    """Too many passwords wait to be checked."""


class Passwords:
    """Checks passwords. Used by one event loop."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._worker = ThreadPoolExecutor(1, "web-bcrypt")
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        # apart, so that no flood of wrong ones displaces the right one
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, users: Mapping[str, str], authorization: str) -> bool:
        """Whether the header `Authorization` names one of `users` with the password of the hash there.

        Raises:
            BusyError: too many checks are waiting.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        stored = users.get(user) or _dummy_hash(user, users)
        key = sha256(b"\0".join((user.encode(), stored.encode(), password))).digest()
        if key in self._right:
            self._right.move_to_end(key)
            return True
        if key in self._wrong:
            return False
        right = await self._checked(key, password, stored) and user in users
        _remember(self._right if right else self._wrong, key)
        return right

    async def _checked(self, key: bytes, password: bytes, stored: str) -> bool:
        """The result of a check; equal checks at the same time are one."""
        if key not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                raise BusyError
            work = asyncio.get_running_loop().run_in_executor(self._worker, matches, password, stored)
            self._waiting[key] = work
            work.add_done_callback(lambda _work: self._waiting.pop(key))
        return await asyncio.shield(self._waiting[key])

    def close(self) -> None:
        """End the thread and cancel waiting checks."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _remember(cache: OrderedDict[bytes, None], key: bytes) -> None:
    cache[key] = None
    if len(cache) > CACHE_SIZE:
        cache.popitem(last=False)


def _dummy_hash(user: str, users: Mapping[str, str]) -> str:
    """A hash for an unknown user: the same one each time, at the cost of a known user's."""
    hashes = list(users.values())
    return hashes[sha256(user.encode()).digest()[0] % len(hashes)][_COST] + _DUMMY


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except ValueError:  # of base64, or of UTF-8
        return None


def matches(password: bytes, stored: str) -> bool:
    """Whether `stored` is the bcrypt hash of the password; takes about 50 ms at bcrypt's usual cost."""
    import bcrypt  # noqa: PLC0415 - only those who use passwords pay for it

    try:
        return bcrypt.checkpw(password[:MAX_PASSWORD_BYTES], stored.encode())
    except ValueError:
        return False


class Bucket:
    """Token bucket of a rate limit."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        """Start with `limit.burst` tokens, at `now` (seconds)."""
        self.limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token at `now`; False if there is none."""
        self._tokens = min(self.limit.burst, self._tokens + (now - self._at) / self.limit.interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Authentication:
    """ASGI middleware that checks rate limit and password."""

    def __init__(self, app: ASGIApp, file: WebConfigFile) -> None:
        """Wrap `app`; users and rate limit are read from `file` for each request."""
        self._app = app
        self._file = file
        self._passwords = Passwords()
        self._bucket: Bucket | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it to the application."""
        self._file.refresh()
        config = self._file.config
        scope = {**scope, ALLOWED: lambda: self._is(config)}
        await (await self._refusal(scope) or self._app)(scope, receive, send)

    def _is(self, config: WebConfig) -> bool:
        self._file.refresh()
        return self._file.config is config

    async def _refusal(self, scope: Scope) -> Response | None:
        config = self._file.config
        if config.rate_limit and not self._limited(config.rate_limit):
            return _TOO_MANY
        if not config.users:
            return None
        try:
            right = await self._passwords.check(config.users, header(scope, b"authorization"))
        except BusyError:
            return _BUSY
        return None if right else _UNAUTHORIZED

    def _limited(self, limit: RateLimit) -> bool:
        now = asyncio.get_running_loop().time()
        if self._bucket is None or self._bucket.limit != limit:
            self._bucket = Bucket(limit, now)
        return self._bucket.take(now)

    def close(self) -> None:
        """End the thread."""
        self._passwords.close()


def logged(app: ASGIApp) -> ASGIApp:
    """The application, with each response in the debug log."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            send = _logging(scope, send)
        await app(scope, receive, send)

    return call


def _logging(scope: Mapping[str, Any], send: Callable[[Message], Awaitable[None]]) -> Send:
    async def log_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            client = (scope["client"] or ("local",))[0]
            _log.debug("%s %s %s %d", client, scope["method"], scope["path"], message["status"])
        await send(message)

    return log_and_send
