"""Where the time of a training step goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.signals.view import FEWEST_BATCHES
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.training import STEP_PHASES

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View


class StepSignals:
    """Times and shares of a step."""

    batches = Signal("training batches in the window")
    images_per_second = Signal("training images per second of step time")
    throughput_spread = Signal("relative standard deviation of images per second over parts of the window")
    step_seconds = Signal("mean time of a batch in seconds, the data wait left out")
    wait_seconds = Signal("mean data wait of a batch in seconds")
    data_wait_share = Signal(
        "typical share of step time spent waiting for data, first batches of epochs left out: median over six parts of "
        "the window"
    )
    h2d_share = Signal("typical share of step time spent moving batches to the device")
    preprocess_share = Signal("typical share of step time spent in preprocess_batch besides copies to the device")
    callbacks_share = Signal("typical share of step time spent in other people's callbacks; unknown to older hooks")
    callback_seconds = Signal("typical time of a batch in other people's callbacks, in seconds")
    exposed_share = Signal("typical share of step time spent waiting for gradients of other ranks")
    compute_share = Signal("share of step time spent in forward, backward and optimizer")
    train_share = Signal("share of the window spent in training steps, their data wait included")
    goodput = Signal("share of the window's wall time spent in forward, backward and optimizer")


def step(v: View) -> Numbers:
    """The signals of a step; only the number of batches where there are too few to judge."""
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    if not batches or batches < FEWEST_BATCHES or v.measure(training.DATA_WAIT) is None:
        return {StepSignals.batches: batches}
    return {
        StepSignals.batches: batches,
        StepSignals.images_per_second: v.measure(training.IMAGES),
        StepSignals.throughput_spread: v.about.spread(training.IMAGES),
        StepSignals.step_seconds: v.measure(training.STEP),
        StepSignals.wait_seconds: v.measure(training.WAIT),
        StepSignals.data_wait_share: v.about.typical(training.DATA_WAIT),
        StepSignals.h2d_share: v.about.typical(training.COPY),
        StepSignals.preprocess_share: v.about.typical(training.PREPROCESS),
        StepSignals.callbacks_share: v.about.typical(training.CALLBACKS),
        StepSignals.callback_seconds: v.about.typical(training.CALLBACK_SECONDS),
        StepSignals.exposed_share: v.about.typical(training.EXPOSED),
        StepSignals.compute_share: v.measure(training.COMPUTE_SHARE),
        StepSignals.train_share: v.measure(training.TRAINING),
        StepSignals.goodput: v.measure(training.GOODPUT),
    }


def slowest_callback(v: View) -> dict[str, str]:
    """The callback that took most of the window, else of the run; the sum of small ones only if there is no other."""
    for found in (
        v.now.increases(catalog.TRAIN_CALLBACK_SECONDS_TOTAL, v.run, v.rank),
        v.now.current(catalog.TRAIN_CALLBACK_SECONDS_TOTAL, v.run, v.rank),
    ):
        if any(found.values()):
            return {"callback": max(found, key=lambda labels: found[labels])[2]}
    return {}


def validation_parts(v: View) -> dict[str, str]:
    """What validations of the run so far went into, the two largest parts; older hooks do not tell."""
    spent = v.now.current(catalog.TRAIN_VALIDATE_SECONDS_TOTAL, v.run, v.rank)
    whole = sum(spent.values())
    parts = sorted(((seconds / whole, labels[2]) for labels, seconds in spent.items()), reverse=True) if whole else []
    return {"validation_parts": ", ".join(f"{share:.0%} {part}" for share, part in parts[:2])} if parts else {}


def batch_seconds(v: View) -> dict[str, float]:
    """Mean seconds of a batch by step phase, for the comparison of ranks."""
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    increases = v.now.increases(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank)
    grown = {labels[2]: value for labels, value in increases.items()}
    phases = {phase: grown[phase] / batches for phase in STEP_PHASES if phase in grown} if batches else {}
    wait = v.measure(training.WAIT)
    return phases if wait is None else phases | {"data_wait": wait}
