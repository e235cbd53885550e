"""HTTP requests of the commands: this machine directly, others as the environment says (`http_proxy`, `no_proxy`)."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0


class SourceError(Exception):
    """A source does not answer, or not with what was asked for; one line, with the remedy where there is one."""

    def __init__(self, text: str, status: int = 0) -> None:
        """`status` is that of HTTP, 0 where there was none."""
        super().__init__(text)
        self.status = status


def opener(url: str) -> urllib.request.OpenerDirector:
    """An opener for `url`. Clusters name a proxy for all, and it knows nothing of an exporter on the loopback."""
    direct = urllib.request.ProxyHandler({})
    return (
        urllib.request.build_opener(direct) if is_local(urlsplit(url).hostname or "") else urllib.request.build_opener()
    )


def is_local(host: str) -> bool:
    """Whether it is a name or an address of this machine to itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def fetch(
    url: str, *, accept: str = "application/json", data: bytes | None = None, timeout: float = TIMEOUT_SECONDS
) -> bytes:
    """The body at `url`; `http://user:password@host` becomes basic authentication.

    Raises:
        SourceError: no answer, or none of status 200.
    """
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SourceError(f"invalid URL {url!r}: use for example http://127.0.0.1:9911")
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
        urllib.parse.urlunsplit(parts._replace(netloc=host)), data=data, headers={"Accept": accept}
    )
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with opener(request.full_url).open(request, timeout=timeout) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            where = f"{host}{parts.path}"
            raise SourceError(f"{where} answers {error.code} {error.reason}{_said(error)}", error.code) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SourceError(f"{host} does not answer: {getattr(reason, 'strerror', None) or reason}") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The reason a Prometheus gives for refusing."""
    try:
        return f": {json.loads(error.read())['error']}"
    except (ValueError, KeyError, TypeError, OSError):
        return ""
