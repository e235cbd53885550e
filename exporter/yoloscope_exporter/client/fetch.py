"""How HTTP servers are reached: this machine directly, others as the environment says (`http_proxy`, `no_proxy`)."""

from __future__ import annotations

import ipaddress
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit


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
