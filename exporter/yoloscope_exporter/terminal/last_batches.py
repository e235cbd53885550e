"""The last batches of a rank, from its record's ring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.language import say, text
from yoloscope_exporter.language.units import clock, local
from yoloscope_exporter.terminal.cells import padded
from yoloscope_exporter.terminal.sparkline import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_record.file_format import Row

#: What of the ring is plotted: title, field, factor, unit.
_PLOTS = (
    ("data wait", "data_wait_seconds", 1000.0, "ms"),
    ("step", "step_seconds", 1000.0, "ms"),
    ("memory", "allocated_bytes", 1 / 2**30, "GiB"),
    ("queue", "queue_depth", 1.0, "batches"),
)
#: Heads of the columns with their widths in cells: before its text where that is negative.
_HEADS = (
    ("time", 10),
    ("epoch", -5),
    ("wait ms", -9),
    ("step ms", -9),
    ("GiB", -7),
    ("worker", -6),
    ("queue", -5),
)
LAST_BATCHES = 12


def last_batches(rank: str, rows: Sequence[Row], minutes: float = 5.0) -> str:
    """The last minutes of a rank's ring: a line per quantity, then the last batches one by one."""
    if not rows:
        return f"\n{say('rank {rank}: no batch was recorded', rank=rank)}\n"
    recent = [row for row in rows if row.time >= rows[-1].time - 60 * minutes]
    seconds = recent[-1].time - recent[0].time
    head = say(
        "rank {rank}: the last {batches} batches, {seconds:.0f} s, up to {end}",
        rank=rank,
        batches=len(recent),
        seconds=seconds,
        end=local(rows[-1].time),
    )
    lines = [f"\n{head}"]
    for title, name, factor, unit in _PLOTS:
        values = [getattr(row, name) * factor for row in recent]
        known = [value for value in values if math.isfinite(value)]
        if known:
            span = say("{low:.3g} to {high:.3g} {unit}", low=min(known), high=max(known), unit=text(unit))
            lines.append(f"  {padded(say(title), 10)} {line(values)}  {span}")
    heads = (padded(say(name), width) for name, width in _HEADS)
    lines.append(f"  {' '.join(heads)}".rstrip())
    lines += [_batch(row) for row in recent[-LAST_BATCHES:]]
    return "\n".join(lines) + "\n"


def _batch(row: Row) -> str:
    cells = (
        _number(row.epoch, 5),
        _number(row.data_wait_seconds * 1000, 9, 1),
        _number(row.step_seconds * 1000, 9, 1),
        _number(row.allocated_bytes / 2**30, 7, 2),
        _number(row.worker, 6),
        _number(row.queue_depth, 5),
    )
    return f"  {clock(row.time):<10} {' '.join(cells)}"


def _number(value: float, width: int, digits: int = 0) -> str:
    return f"{value:>{width}.{digits}f}" if math.isfinite(value) else "-".rjust(width)
