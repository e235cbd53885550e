"""HTTP requests: this machine directly, others as the environment says (`http_proxy`, `no_proxy`), within limits."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from yoloscope_exporter.config.types import is_loopback, url_parts
from yoloscope_exporter.language import reason, text

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse

TIMEOUT_SECONDS = 30.0
"""Of one read; that of an answer as a whole is LONGEST_SECONDS."""
LONGEST_SECONDS = 120.0
"""As long as a Prometheus takes for a query by default."""
MOST_BYTES = 64_000_000
_PIECE = 1 << 20
#: Control characters but for line ends and tabs, and those that turn the direction of writing.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class SourceError(Exception):
    """A source does not answer, or not with what was asked for; one line, with the remedy where there is one."""

    def __init__(self, text: str, status: int = 0) -> None:
        """`status` is that of HTTP, 0 where there was none."""
        super().__init__(text)
        self.status = status


def printable(text: str) -> str:
    """`text` without what would steer a terminal: names of runs and answers are anybody's."""
    return _UNPRINTABLE.sub("?", text)


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


_SCHEMES = {"http": 80, "https": 443}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _SCHEMES.get(parts.scheme)


def opener(url: str) -> urllib.request.OpenerDirector:
    """An opener for `url`. Clusters name a proxy for all, and it knows nothing of an exporter on the loopback."""
    local = is_loopback(urlsplit(url).hostname or "")
    return urllib.request.build_opener(_Redirects, *([urllib.request.ProxyHandler({})] if local else []))


def fetch(
    url: str, *, accept: str = "application/json", data: bytes | None = None, timeout: float = TIMEOUT_SECONDS
) -> bytes:
    """The body at `url`; `http://user:password@host` becomes basic authentication.

    Raises:
        SourceError: no answer, none of status 200, more than MOST_BYTES, or not within LONGEST_SECONDS.
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
    try:
        with opener(request.full_url).open(request, timeout=timeout) as answer:
            return _read(answer, host)
    except urllib.error.HTTPError as error:
        with error:
            where, what = f"{host}{parts.path}", f"{error.code} {error.reason}{_said(error)}"
            said = text("{where} answers {what}", where=printable(where), what=printable(what))
            raise SourceError(said, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        why = reason(cause) if isinstance(cause, OSError) else text(printable(str(cause)))
        raise SourceError(text("{host} does not answer: {why}", host=printable(host), why=why)) from error


def _read(answer: HTTPResponse, host: str) -> bytes:
    """The whole body, within limits; a server that dribbles holds nobody up."""
    end, body = time.monotonic() + LONGEST_SECONDS, bytearray()
    while piece := answer.read1(_PIECE):
        body += piece
        if len(body) > MOST_BYTES:
            raise SourceError(
                text(
                    "{host} answers with more than {most_bytes} MB: ask for less time or one run",
                    host=host,
                    most_bytes=MOST_BYTES // 10**6,
                )
            )
        if time.monotonic() > end:
            raise SourceError(
                text(
                    "{host} takes more than {longest_seconds:g} s to answer", host=host, longest_seconds=LONGEST_SECONDS
                )
            )
    return bytes(body)


def _said(error: urllib.error.HTTPError) -> str:
    """The reason a Prometheus gives for refusing."""
    try:
        return f": {json.loads(error.read(_PIECE))['error']}"
    except (ValueError, KeyError, TypeError, OSError):
        return ""
