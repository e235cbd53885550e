"""Names of the collectors that other packages bring: what is installed, without importing it."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from importlib.metadata import EntryPoint

GROUP = "yoloscope.collectors"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def installed(taken: Container[str]) -> tuple[dict[str, EntryPoint], list[EntryPoint]]:
    """The entry points by name, and those whose name is in `taken`, comes twice, or cannot be that of a switch."""
    found: dict[str, EntryPoint] = {}
    unusable = []
    for entry in entry_points(group=GROUP):
        if _NAME.fullmatch(entry.name) and entry.name not in taken and entry.name not in found:
            found[entry.name] = entry
        else:
            unusable.append(entry)
    return found, unusable
