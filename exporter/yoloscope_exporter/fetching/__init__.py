"""HTTP requests: this machine directly, others as the environment says (`http_proxy`, `no_proxy`), within limits."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yoloscope_exporter.config.types import is_loopback, url_parts
from yoloscope_exporter.language import reason, text

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse

    from typing_extensions import Self

TIMEOUT_SECONDS = 30.0
"""Of one read; that of an answer as a whole is LONGEST_SECONDS."""
LONGEST_SECONDS = 120.0
"""As long as a Prometheus takes for a query by default."""
MOST_BYTES = 64_000_000
_PIECE = 1 << 20
MOST_SAID = 300
"""Characters of what a server says of its refusal."""
#: Control characters but for line ends and tabs, those that turn the direction of writing, other ends of lines than
#: ours, and halves of characters, which cannot be written at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class SourceError(Exception):
    """A source does not answer, or not with what was asked for; one line, with the remedy where there is one."""

    def __init__(self, text: str, status: int = 0) -> None:
        """`status` is that of HTTP, 0 where there was none."""
        super().__init__(text)
        self.status = status


def printable(text: str) -> str:
    """`text` without what would steer a terminal: names of runs and answers are anybody's."""
    return _UNPRINTABLE.sub("?", text)


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """The content of a JSON document of anybody's.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def masked(url: str) -> str:
    """`url` without user and password."""
    return re.sub(r"^([^/]*//)?[^/]*@", r"\1", url)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but takes no password to another origin."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - the base class's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to follow with."""
        if urlsplit(newurl).scheme not in _SCHEMES:
            fp.close()
            raise urllib.error.URLError(
                text("redirects to {newurl}, which is not http or https", newurl=masked(newurl))
            )
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request and _origin(request.full_url) != _origin(req.full_url):
            request.remove_header("Authorization")
        return request

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:  # noqa: ANN401 - the base class's
        """The answer from there; ValueError where that is no address."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_SCHEMES = {"http": 80, "https": 443}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _SCHEMES.get(parts.scheme)


def opener(url: str, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """An opener for `url`. Clusters name a proxy for all, and it knows nothing of an exporter on the loopback."""
    local = is_loopback(urlsplit(url).hostname or "")
    return urllib.request.build_opener(_Redirects, *([urllib.request.ProxyHandler({})] if local else []), *handlers)


class _Deadline:
    """Ends connections when the time for all of it is over.

    A timeout is that of one read, and a server may send its head letter by letter.
    """

    def __init__(self, seconds: float) -> None:
        """So many from now on."""
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    @property
    def over(self) -> bool:
        """Whether the time is."""
        return time.monotonic() >= self._end

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for one in self._sockets:
            one.close()

    def connect(self, *where: Any) -> socket.socket:  # noqa: ANN401 - the standard library's
        """As `socket.create_connection`; a copy of the socket is kept, because TLS takes the other one over."""
        made = socket.create_connection(*where)
        self._sockets.append(made.dup())
        return made

    def _shut(self) -> None:
        for one in list(self._sockets):
            with suppress(OSError):  # it is closed already
                one.shutdown(socket.SHUT_RDWR)


class _Timed(urllib.request.AbstractHTTPHandler):
    """Makes connections with a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: urllib.request.Request, **given: Any) -> HTTPResponse:  # noqa: ANN401 - ...
        """As the base class."""

        def made(*where: Any, **how: Any) -> http.client.HTTPConnection:  # noqa: ANN401 - ...
            connection: http.client.HTTPConnection = http_class(*where, **how)
            connection._create_connection = self._deadline.connect  # type: ignore[attr-defined] # noqa: SLF001
            return connection

        return super().do_open(made, req, **given)


class _HTTP(_Timed, urllib.request.HTTPHandler):
    """Of `http`."""


class _HTTPS(_Timed, urllib.request.HTTPSHandler):
    """Of `https`."""


def fetch(
    url: str,
    *,
    accept: str = "application/json",
    data: bytes | None = None,
    timeout: float = TIMEOUT_SECONDS,
    most: int = MOST_BYTES,
) -> bytes:
    """The body at `url`; `http://user:password@host` becomes basic authentication.

    Raises:
        SourceError: no answer, none of status 200, more than `most` bytes, or not within LONGEST_SECONDS.
    """
    parts = url_parts(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise SourceError(
            text("invalid URL {url!r}: use for example http://127.0.0.1:9911", url=printable(masked(url)))
        )
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
        urllib.parse.urlunsplit(parts._replace(netloc=host)), data=data, headers={"Accept": accept}
    )
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    with _Deadline(LONGEST_SECONDS) as deadline:
        try:
            handlers = _HTTP(deadline), _HTTPS(deadline)
            with opener(request.full_url, *handlers).open(request, timeout=timeout) as answer:
                return _read(answer, host, deadline, most)
        except urllib.error.HTTPError as error:
            raise _refused(error, f"{host}{parts.path}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # the last one of addresses of redirects
            raise _too_slow(host) if deadline.over else _silent(error, host) from error


def _refused(error: urllib.error.HTTPError, where: str) -> SourceError:
    """Another status than 200, with the reason a Prometheus gives."""
    with error:
        try:
            said = f": {parsed(error.read(_PIECE))['error']}"
        except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
            said = ""
    what = printable(f"{error.code} {error.reason}{said}"[:MOST_SAID])
    return SourceError(text("{where} answers {what}", where=printable(where), what=what), error.code)


def _silent(error: Exception, host: str) -> SourceError:
    """No answer, or none of HTTP."""
    cause = getattr(error, "reason", error)
    why = reason(cause) if isinstance(cause, OSError) else text(printable(str(cause)[:MOST_SAID]))
    return SourceError(text("{host} does not answer: {why}", host=printable(host), why=why))


def _too_slow(host: str) -> SourceError:
    said = text("{host} takes more than {longest_seconds:g} s to answer", host=host, longest_seconds=LONGEST_SECONDS)
    return SourceError(said)


def _read(answer: HTTPResponse, host: str, deadline: _Deadline, most: int) -> bytes:
    """The whole body, within limits."""
    body = bytearray()
    while piece := answer.read1(_PIECE):
        body += piece
        if len(body) > most:
            raise SourceError(
                text(
                    "{host} answers with more than {most_bytes} MB: ask for less time or one run",
                    host=host,
                    most_bytes=most // 10**6,
                )
            )
    if deadline.over:
        raise _too_slow(host)
    return bytes(body)
