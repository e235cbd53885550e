"""Where the time of a training step goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio
from yoloscope_exporter.diagnosis.signals.loader import workers_stayed
from yoloscope_exporter.diagnosis.signals.run import first_waits
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.signals.view import FEWEST_BATCHES
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.training import PAUSES, STEP_PHASES

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View


#: Share of a validation from which on one of its parts is what to look at. Ours: more than all others together.
LARGEST_PART = 0.5


class StepSignals:
    """Times and shares of a step."""

    batches = Signal("training batches in the window")
    images_per_second = Signal("training images per second of training time")
    throughput_spread = Signal("relative standard deviation of images per second over parts of the window")
    step_seconds = Signal("mean time of a batch in seconds, the data wait left out")
    wait_seconds = Signal("mean data wait of a batch in seconds")
    data_wait_share = Signal(
        "typical share of step time spent waiting for data, first batches of epochs left out unless workers stay and "
        "are waited for there: median over six parts of the window, or the mean of all but the largest one if that is "
        "more"
    )
    h2d_share = Signal("typical share of step time spent moving batches to the device")
    preprocess_share = Signal("typical share of step time spent in preprocess_batch besides copies to the device")
    callbacks_share = Signal("typical share of step time spent in other people's callbacks; unknown to older hooks")
    callback_seconds = Signal("typical time of a batch in other people's callbacks, in seconds")
    callback_calls = Signal("calls of the callback that took most of the window for each batch in it")
    exposed_share = Signal("typical share of step time spent waiting for gradients of other ranks")
    compute_share = Signal("share of step time spent in forward, backward and optimizer")
    parts_share = Signal(
        "share of step time spent in all that is measured besides computing, what happened only once included"
    )
    train_share = Signal("share of the window spent in training steps, their data wait included")
    goodput = Signal("share of the window's wall time spent in forward, backward and optimizer")


#: All of a step that is measured and is no computing.
_PARTS = (training.DATA_WAIT, training.COPY, training.PREPROCESS, training.CALLBACKS, training.EXPOSED)


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
        StepSignals.data_wait_share: _waits_for_data(v),
        StepSignals.h2d_share: v.about.typical(training.COPY),
        StepSignals.preprocess_share: v.about.typical(training.PREPROCESS),
        StepSignals.callbacks_share: v.about.typical(training.CALLBACKS),
        StepSignals.callback_seconds: v.about.typical(training.CALLBACK_SECONDS),
        StepSignals.callback_calls: _calls(v, batches),
        StepSignals.exposed_share: v.about.typical(training.EXPOSED),
        StepSignals.compute_share: v.measure(training.COMPUTE_SHARE),
        StepSignals.parts_share: sum(v.measure(part) or 0.0 for part in _PARTS),
        StepSignals.train_share: v.measure(training.TRAINING),
        StepSignals.goodput: v.measure(training.GOODPUT),
    }


def _calls(v: View, batches: float) -> float | None:
    """Of the callback that took most of the window; unknown where none was called."""
    spent = v.now.increases(catalog.TRAIN_CALLBACK_SECONDS_TOTAL, v.run, v.rank)
    if not any(spent.values()):
        return None
    return ratio(v.now.increase(catalog.TRAIN_CALLBACK_CALLS_TOTAL, *max(spent, key=lambda one: spent[one])), batches)


def _waits_for_data(v: View) -> float | None:
    """With the wait for first batches where workers stay: there it is none for their start."""
    waits = v.about.typical(training.DATA_WAIT)
    if waits is None or not workers_stayed(v):
        return waits
    first = min(first_waits(v)[1] or 0.0, 1.0)
    return first + (1 - first) * waits


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
    """What validations of the run so far went into, the two largest parts, and the one that has most of it."""
    spent = v.now.current(catalog.TRAIN_VALIDATE_SECONDS_TOTAL, v.run, v.rank)
    whole = sum(spent.values())
    parts = sorted(((seconds / whole, labels[2]) for labels, seconds in spent.items()), reverse=True) if whole else []
    if not parts:
        return {}
    largest = {"validation_part": parts[0][1]} if parts[0][0] >= LARGEST_PART else {}
    return {"validation_parts": ", ".join(f"{share:.0%} {part}" for share, part in parts[:2]), **largest}


def batch_seconds(v: View) -> dict[str, float]:
    """Mean seconds of a batch by phase, the pauses between epochs included, for the comparison of ranks."""
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    increases = v.now.increases(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank)
    grown = {labels[2]: value for labels, value in increases.items()}
    phases = {phase: grown[phase] / batches for phase in (*STEP_PHASES, *PAUSES) if phase in grown} if batches else {}
    wait = v.measure(training.WAIT)
    return phases if wait is None else phases | {"data_wait": wait}
