"""What this user's earlier runs left: found, and removed when it is old."""

from __future__ import annotations

import stat
import sys
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from yoloscope_record import clearing, paths
from yoloscope_record.catalog import PREDICTIONS
from yoloscope_record.file_format import SUFFIX
from yoloscope_record.system import os

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEEP_SECONDS = 86400.0
KEEP_RUNS = 50  # a tuner makes hundreds, each half a megabyte of memory
KEEP_PREDICTIONS = 10  # a script that predicts one image makes hundreds, too: they have no share in those
SEEN_SECONDS = 60.0  # the exporter and its Prometheus have seen how it ended


def clear(runs: Iterable[tuple[float, Path]], now: float) -> None:
    """Remove this user's own runs, newest first, that ended long ago, and those beyond what is kept of their kind."""
    left = {False: KEEP_RUNS, True: KEEP_PREDICTIONS}
    for began, directory in runs:
        kind = _predicts(directory)
        left[kind] -= 1
        age = KEEP_SECONDS if left[kind] >= 0 else SEEN_SECONDS
        if began < now - age:
            with suppress(OSError):
                clearing.remove_dead(directory, older_than=age, now=now, uid=os.geteuid())


def _predicts(directory: Path) -> bool:
    """Whether all records in it are of predictions, validations or exports."""
    with suppress(OSError):
        kinds = {one.stem.split("-")[0] for one in directory.glob(f"*{SUFFIX}")}
        return bool(kinds) and kinds <= set(PREDICTIONS)
    return False


def own_runs(base: Path, ours: Path) -> list[tuple[float, Path]]:
    """When the files of this user's other runs were made, and their directories, the newest first.

    Version 0.1 had them in the record directory itself.
    Left out is what this process predicts into: to open and close such a record would give up its lock.
    """
    inference = sys.modules.get("yoloscope_hooks.inference")
    held = {ours, *(inference.held() if inference else ())}
    found = []
    for place in (*paths.own(base), base):
        with os.scandir(place) as entries:  # not all of what others have laid there
            directories = [place / entry.name for entry in islice(entries, paths.MAX_ENTRIES)]
        for directory in directories:
            with suppress(OSError):
                status = directory.lstat()
                mine = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
                if mine and directory not in held and paths.user_of(directory.name) is None:
                    found.append((status.st_mtime, directory))
    return sorted(found, reverse=True)
