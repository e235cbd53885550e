"""Where the time of a training step goes."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.signals.view import FEWEST_BATCHES

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

#: The phases of a training step. The rest of a rank's time is set-up, validation and checkpoints.
STEP_PHASES = (
    "data_wait",
    "h2d",
    "forward",
    "backward",
    "backward_local",
    "backward_exposed",
    "optimizer",
    "other",
)
COMPUTE_PHASES = ("forward", "backward", "backward_local", "optimizer")
#: A window is cut into this many parts to tell what is typical from what happened once (an epoch's first batch).
PARTS = 6


class StepSignals:
    """Times and shares of a step."""

    batches = Signal("training batches in the window")
    images_per_second = Signal("training images per second of step time")
    step_seconds = Signal("mean time of a batch in seconds, the data wait left out")
    wait_seconds = Signal("mean data wait of a batch in seconds")
    data_wait_share = Signal(
        "typical share of step time spent waiting for data: median over six parts of the window, "
        "first batches of epochs left out"
    )
    h2d_share = Signal("typical share of step time spent moving batches to the device")
    exposed_share = Signal("typical share of step time spent waiting for gradients of other ranks")
    compute_share = Signal("share of step time spent in forward, backward and optimizer")
    train_share = Signal("share of the window spent in training steps, their data wait included")
    goodput = Signal("share of the window's wall time spent in forward, backward and optimizer")


def step(v: View) -> Numbers:
    """The signals of a step; only the number of batches where there are too few to judge."""
    grown = {phase: phase_seconds(v, phase) for phase in STEP_PHASES}
    known = {phase: value for phase, value in grown.items() if value is not None}
    total = sum(known.values())
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    images = v.now.increase(catalog.TRAIN_IMAGES_TOTAL, v.run, v.rank)
    if total <= 0 or not batches or batches < FEWEST_BATCHES or grown["data_wait"] is None:
        return {StepSignals.batches: batches}
    compute = sum(known.get(phase, 0.0) for phase in COMPUTE_PHASES)
    if not compute:  # a trainer whose steps could not be split
        compute = known.get("other", 0.0)
    typical = _typical(v)
    return {
        StepSignals.batches: batches,
        StepSignals.images_per_second: images / total if images is not None else None,
        StepSignals.step_seconds: (total - grown["data_wait"]) / batches,
        StepSignals.wait_seconds: grown["data_wait"] / batches,
        StepSignals.data_wait_share: typical.get("data_wait"),
        StepSignals.h2d_share: typical.get("h2d"),
        StepSignals.exposed_share: typical.get("backward_exposed"),
        StepSignals.compute_share: compute / total,
        StepSignals.train_share: min(total / v.now.seconds, 1.0) if v.now.seconds > 0 else None,
        StepSignals.goodput: min(compute / v.now.seconds, 1.0) if v.now.seconds > 0 else None,
    }


def phase_seconds(v: View, phase: str) -> float | None:
    """Seconds the rank spent in `phase` during the window."""
    return v.now.increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, phase)


def batch_seconds(v: View) -> dict[str, float]:
    """Mean seconds of a batch by step phase, for the comparison of ranks."""
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    phases = {phase: phase_seconds(v, phase) for phase in STEP_PHASES}
    return {phase: value / batches for phase, value in phases.items() if value is not None and batches}


def _typical(v: View) -> dict[str, float]:
    """Median share of each phase in step time over parts of the window: one long wait does not speak for all."""
    count = max(1, min(PARTS, int(v.now.seconds / max(v.now.period, 1e-9))))
    parts = {
        name: values
        for name in STEP_PHASES
        if (values := v.now.shares(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, name, count=count))
    }
    first = v.now.shares(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, v.run, v.rank, count=count)
    if first and "data_wait" in parts:  # starting workers and filling the queue once an epoch is no starvation
        parts["data_wait"] = [max(wait - once, 0.0) for wait, once in zip(parts["data_wait"], first, strict=True)]
    totals = [sum(column) for column in zip(*parts.values(), strict=True)]
    if not any(total > 0 for total in totals):
        return {}
    return {
        name: median(part / total for part, total in zip(values, totals, strict=True) if total > 0)
        for name, values in parts.items()
    }
