"""What a collector must know after a restart of the exporter, in a small file: counters whose source keeps no count.

A file is of one life of the machine: after a reboot counters begin anew, and so does what is remembered of them. A
directory that cannot be written costs the memory and nothing else; it is said once.
"""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.collectors.files import read_or_empty
from yoloscope_exporter.system import whole_files

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

#: More is not ours: a thousand ranks with the longest names there may be have less than half of it.
MOST_BYTES = 8 << 20


def default_directory(environ: Mapping[str, str]) -> Path | None:
    """`$STATE_DIRECTORY` (systemd), else `yoloscope` below `$XDG_STATE_HOME`, which is `~/.local/state`."""
    if systemd := environ.get("STATE_DIRECTORY"):
        return Path(systemd.partition(":")[0])
    home, state = environ.get("HOME"), environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path(home) / ".local/state" if home else None
    return base and base / "yoloscope"


def _can_be_ours(found: os.stat_result) -> bool:
    """Whether it can be what was stored: no link, and no pipe or device, which never end."""
    return stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES


class StateFile:
    """One JSON object, replaced as a whole."""

    def __init__(self, directory: Path | None, name: str, procfs: Path) -> None:
        """`directory` is made when something is stored; None keeps nothing."""
        self._path = directory and directory / f"{name}.json"
        self._boot = read_or_empty(procfs / "sys/kernel/random/boot_id").strip()
        self._warned = False

    def load(self) -> dict[str, Any]:
        """What was stored since the machine was started; empty if there is none, or it cannot be used."""
        try:
            if self._path is None or not _can_be_ours(self._path.lstat()):
                return {}
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = (
            isinstance(content, dict) and content.get("boot") == self._boot and isinstance(content.get("state"), dict)
        )
        return content["state"] if known else {}

    def store(self, state: Mapping[str, Any]) -> None:
        """Replace what is stored."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            whole_files.replace(self._path, [json.dumps({"boot": self._boot, "state": state}, ensure_ascii=False)])
        except OSError as error:
            if not self._warned:
                _log.info("%s: counters of energy will not survive a restart: %s", self._path.parent, error)
            self._warned = True
