"""Who listens at an address of this machine: the kernel's word, not the listener's."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from yoloscope_exporter.config.types import is_loopback, url_parts
from yoloscope_exporter.system import user_name

#: Of this network namespace; a line is: number, address:port in hexadecimal, remote one, state, ..., user id (8th).
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"


def owner(url: str) -> str:
    """The user whose process listens at `url`; empty where it is another machine, or where that cannot be seen."""
    parts = url_parts(url)
    with suppress(OSError, ValueError):
        if is_loopback(parts.hostname or ""):
            port = parts.port or socket.getservbyname(parts.scheme)
            users = {uid for table in _TABLES for uid in _listening(Path(table), port)}
            return ", ".join(sorted(map(_name, users)))
    return ""


def _listening(table: Path, port: int) -> set[int]:
    if not table.exists():
        return set()
    lines = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    return {int(line[7]) for line in lines if line[3] == _LISTENS and int(line[1].rpartition(":")[2], 16) == port}


def _name(uid: int) -> str:
    return user_name(uid) or str(uid)
