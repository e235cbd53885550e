"""Clearing the record directory of what dead trainings left: file by file, and nothing but records.

Whoever sets YOLOSCOPE_DIR may point it at a directory full of other things. So a directory of runs (the user's own in
the record directory, or that itself) that holds anything else is not cleared at all, and a run's directory that holds
anything but its records is left as it is. Both are said once. What may be removed of a run is decided by
`record.remove_dead`, which the hooks use as well.
"""

from __future__ import annotations

import logging
import stat
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from yoloscope_record import paths, stack_file
from yoloscope_record.clearing import MAX_NAMES, remove_dead
from yoloscope_record.file_format import MAGIC, SUFFIX
from yoloscope_record.paths import MAX_ENTRIES
from yoloscope_record.system import os

from yoloscope_exporter.collectors.owners import MAX_SAID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Seconds between two looks.
PERIOD = 60.0
#: Seconds in which a directory may be without a record: a training that starts makes it first.
GRACE = 60.0

_log = logging.getLogger(__name__)


@dataclass
class Clearing:
    """Removes old runs from a record directory; warns once per directory, of MAX_SAID directories."""

    records: Path
    _due: float = 0.0
    _warned: set[str] = field(default_factory=set)

    def __call__(self, runs: Sequence[Path], *, keep: float, clock: float, now: float) -> None:
        """Clear `runs` of what is older than `keep` seconds at Unix time `now`; not more often than every PERIOD."""
        if not runs or clock < self._due:
            return
        self._due = clock + PERIOD
        old = [run for run in runs if _own_and_older(run, now - keep)]
        if not old:
            return
        try:
            for parent in {run.parent for run in old}:
                if not self._is_foreign(parent, now):
                    for run in (run for run in old if run.parent == parent):
                        self._clear(run, keep, now)
        except OSError as error:  # gone in between
            _log.debug("%s is not cleared up: %s", self.records, error)

    def _is_foreign(self, directory: Path, now: float) -> bool:
        """Whether it holds something else than runs, or users' directories of them."""
        stranger = _foreign_entry(directory, now)
        if stranger:
            self._warn_once(directory, f"holds {stranger}, which is no run: nothing in it is cleared up")
        return bool(stranger)

    def _clear(self, run: Path, keep: float, now: float) -> None:
        try:
            removal = remove_dead(run, older_than=keep, now=now, uid=os.geteuid())
        except OSError as error:  # gone in between, or mounted read-only
            _log.debug("%s is not cleared up: %s", run, error)
            return
        if removal.foreign:
            self._warn_once(run, f"holds {removal.foreign}, which is none of its records: it is left as it is")

    def _warn_once(self, directory: Path, text: str) -> None:
        """Warn once for each directory."""
        if str(directory) not in self._warned and len(self._warned) < MAX_SAID:
            self._warned.add(str(directory))
            _log.warning("%s %s", directory, text)


def _own_and_older(directory: Path, moment: float) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and status.st_mtime < moment


def _foreign_entry(base: Path, now: float) -> str:
    """The name of something in the record directory that is no run's directory; empty if there is none."""
    with os.scandir(base) as found:
        strange = (entry.name for entry in islice(found, MAX_ENTRIES) if not _may_be_run(entry, now))
        return next(strange, "") or next((entry.name for entry in found), "")  # more are not looked at


def _may_be_run(entry: os.DirEntry[str], now: float) -> bool:
    """Whether it is a directory with a record in it; or an empty one, one that is just being made, or closed to us."""
    if not entry.is_dir(follow_symlinks=False):
        return False
    if paths.user_of(entry.name) is not None:
        return True
    try:
        if now - entry.stat(follow_symlinks=False).st_mtime < GRACE:
            return True
        with os.scandir(entry.path) as found:
            inside = list(islice(found, MAX_NAMES))
        return not inside or any(_is_ours(one) for one in inside)
    except (FileNotFoundError, PermissionError):
        return True


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it begins like a record, or is blank, as one whose writer died over making it; or like stacks."""
    if SUFFIX in entry.name:
        return _beginning(entry.path, len(MAGIC)).strip(b"\0") in (b"", MAGIC)
    return entry.name.endswith(stack_file.SUFFIX) and _beginning(entry.path, len(stack_file.BEGIN)) == stack_file.BEGIN


def _beginning(path: str, length: int) -> bytes:
    """The first bytes of a regular file, something else where it is none; nobody at a pipe is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b"?"
    try:
        return os.pread(descriptor, length, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"?"
    finally:
        os.close(descriptor)
