"""Draws the pictures of the documents from recordings and from the code: `python -m docs.pictures`."""

from __future__ import annotations

import io
from datetime import timezone
from pathlib import Path

from rich.console import Console
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal import screen, timeline

from docs.pictures import badges, rooms

HERE = Path(__file__).parent
RECORDING = HERE.parents[1] / "tests/recordings/slow_worker.om.gz"
WIDTH = 80
SOURCE = "http://127.0.0.1:9911"


def top() -> Console:
    """`yoloscope top` in the middle of a training with one slow loader worker, as a console that can be exported."""
    (store,) = reader.read(RECORDING)
    now = (store.first + store.last) / 2
    diagnoses = timeline.holding(diagnose_range([store]).diagnoses, now)
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO())
    windows = screen.windows(store, now)
    console.print(screen.frame(screen.Moment(*windows, diagnoses, source=SOURCE, zone=timezone.utc)))
    return console


if __name__ == "__main__":
    top().save_svg(str(HERE / "top.svg"), title="yoloscope top", unique_id="top")
    rooms.DESIGN.write_text(rooms.document(), encoding="utf-8")
    badges.write()
