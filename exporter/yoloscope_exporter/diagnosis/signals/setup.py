"""What a training does before its first batch."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.signal import Signal

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View


class SetupSignals:
    """How long the set-up has taken, and whether it moves."""

    setup_seconds = Signal("seconds since the start of a run that is in its set-up, or has no batch yet")
    setup_progress = Signal("how much of the stage of the set-up is done, where Ultralytics has a progress bar")
    setup_progress_age = Signal("seconds for which that progress has been seen not to move")


def setup(v: View) -> Numbers:
    """Nothing once the first batch is done: until then nothing tells a standstill from a slow start."""
    began = v.now.last(catalog.TRAIN_START_TIMESTAMP_SECONDS, v.run, v.rank)
    waits = v.state == "train" and v.now.last(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank) == 0
    if began is None or not (v.state == "setup" or waits):
        return {}
    progress = v.long.points(catalog.TRAIN_SETUP_PROGRESS_RATIO, v.run, v.rank)
    current = v.now.last(catalog.TRAIN_SETUP_PROGRESS_RATIO, v.run, v.rank)
    same = list(takewhile(lambda point: point[1] == current, reversed(progress)))
    return {
        SetupSignals.setup_seconds: max(v.now.end - began, 0.0),
        SetupSignals.setup_progress: current,
        SetupSignals.setup_progress_age: same[0][0] - same[-1][0] if same and current is not None else None,
    }


def stage(v: View) -> dict[str, str]:
    """The stage under way, or in which the set-up ended."""
    stages = v.now.current(catalog.TRAIN_SETUP_STAGE, v.run, v.rank)
    return next(({"setup_stage": labels[2]} for labels, value in stages.items() if value == 1), {})
