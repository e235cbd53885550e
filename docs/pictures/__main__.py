"""Draws the pictures of the documents from recordings and from the code: `python -m docs.pictures`."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal import screen

from docs.pictures import badges, rooms
from tests.zone import local_time

HERE = Path(__file__).parent
RECORDING = HERE.parents[1] / "tests/recordings/slow_worker.om.gz"
WIDTH = 80


def top() -> Console:
    """`yoloscope top` in the middle of a training with one slow loader worker, as a console that can be exported."""
    (store,) = reader.read(RECORDING)
    now = (store.first + store.last) / 2
    diagnoses = diagnose_range([store]).diagnoses
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO())
    with local_time("UTC"):
        console.print(screen.frame(Window(store, now - 60, now), diagnoses, source="http://127.0.0.1:9911"))
    return console


if __name__ == "__main__":
    top().save_svg(str(HERE / "top.svg"), title="yoloscope top", unique_id="top")
    rooms.DESIGN.write_text(rooms.document(), encoding="utf-8")
    badges.write()
