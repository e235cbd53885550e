"""Expositions with a timestamp on every sample."""

from __future__ import annotations

import re

from yoloscope_exporter import catalog

SNAPSHOT_TIME = catalog.SNAPSHOT_TIMESTAMP_SECONDS.name


def stamped(exposition: str, time: float, declared: set[str]) -> str:
    """An OpenMetrics exposition with `time` (Unix seconds) on every sample; metadata only of families not `declared`.

    `declared` is added to.
    """
    stamp = f" {time:.3f}"
    known = set(declared)
    lines = []
    for line in exposition.splitlines():
        if line.startswith("#"):
            words = line.split(" ", 3)
            if len(words) > 2 and words[2] not in known:  # noqa: PLR2004 - "# TYPE name ..."; "# EOF" has no name
                declared.add(words[2])
                lines.append(line)
        elif line:
            lines.append(line + stamp)
    return "\n".join(lines) + "\n"


def snapshot_time(exposition: str) -> float | None:
    """When the values of an exposition were gathered, if it says so."""
    found = re.search(rf"^{SNAPSHOT_TIME} (\S+)$", exposition, re.MULTILINE)
    try:
        return catalog.plausible(catalog.SNAPSHOT_TIMESTAMP_SECONDS, float(found[1])) if found else None
    except ValueError:
        return None
