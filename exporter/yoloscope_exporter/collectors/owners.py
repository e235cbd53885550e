"""The owners of records: who pays for whom, what a user is called, and what is refused of each.

Anybody may write records. So what they may take of the exporter is shared out among their owners
(`yoloscope_exporter.sharing`), and what is refused is counted by reason and by owner.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.system import user_name as name_of
from yoloscope_exporter.system import user_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_USERS = 32  # that have a series of their own among the refusals; the others share one
MAX_SAID = 64  # paths of one user of which something was said once
MAX_SAID_USERS = 1024  # of whom that is remembered
MAX_RANGES = 10_000  # lines of /etc/subuid
OTHERS = "(others)"


@dataclass
class Refusals:
    """Counts what is refused by reason and owner."""

    reject: Callable[[str], None]
    """Counts it by reason alone."""
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _users: set[str] = field(default_factory=set)
    _said: dict[int, set[tuple[str, str]]] = field(default_factory=dict)

    def __call__(self, reason: str, owner: int) -> None:
        """Count one."""
        self.reject(reason)
        user = user_name(owner)
        if user not in self._users and len(self._users) >= MAX_USERS:
            user = OTHERS
        self._users.add(user)
        self._counts[reason, user] += 1

    def once(self, reason: str, owner: int, path: str) -> bool:
        """Count what stays as it is once for each path, of so many of each user; whether this was the first time."""
        if owner not in self._said and len(self._said) >= MAX_SAID_USERS:
            return False
        said = self._said.setdefault(owner, set())
        new = (reason, path) not in said and len(said) < MAX_SAID
        if new:
            said.add((reason, path))
            self(reason, owner)
        return new

    def samples(self) -> Iterator[Sample]:
        """The counts so far."""
        for key, count in self._counts.items():
            yield Sample(catalog.RECORDS_REFUSED_TOTAL, key, float(count))


@dataclass
class Payers:
    """Who pays for a user: rootless containers give one user thousands of numbers, which are that user's all the same.

    By the node's /etc/subuid, as `newuidmap` reads it; it is read again when it has changed. What a directory service
    gives away is not known here.
    """

    path: Path
    _read: tuple[int, int] | None = None
    _ranges: list[tuple[int, int, int]] = field(default_factory=list)

    def refresh(self) -> None:
        """Read what is given away now."""
        try:
            status = self.path.stat()
            if (status.st_ino, status.st_mtime_ns) != self._read:
                self._ranges = sorted(_ranges(read(self.path)))
                self._read = (status.st_ino, status.st_mtime_ns)
        except OSError:
            self._ranges, self._read = [], None

    def __call__(self, owner: int) -> int:
        """The user that the owner of a file counts as."""
        place = bisect_right(self._ranges, owner, key=itemgetter(0))
        _, end, user = self._ranges[place - 1] if place else (0, 0, 0)
        return user if owner < end else owner


def _ranges(text: str) -> Iterator[tuple[int, int, int]]:
    """Begin, end and user of each line `user:begin:count`."""
    for line in text.splitlines()[:MAX_RANGES]:
        found = re.fullmatch(r"([^:\s]+):([0-9]{1,10}):([0-9]{1,10})", line.strip())
        user = found and (int(found[1]) if re.fullmatch("[0-9]{1,10}", found[1]) else user_number(found[1]))
        if found and user is not None:
            yield int(found[2]), int(found[2]) + int(found[3]), user


@lru_cache
def known_name(owner: int) -> str | None:
    """The user's name, kept because to ask may mean to ask a directory service; None where nobody knows it."""
    return name_of(owner)


def user_name(owner: int) -> str:
    """The user's name, or the number where this system does not know the name."""
    return known_name(owner) or str(owner)
