"""Thin adapter: Ultralytics' events -> the recorder of this rank.

The functions are of the module's top level, so that Ultralytics' launcher (8.4.140 and later) pickles them by
reference and every rank imports them by itself. What they know hangs on the trainer; a rank opens its own.
"""

# ruff: noqa: ARG001 - every event takes the same three arguments

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import log

from yoloscope_hooks import users_signals
from yoloscope_hooks.opt_out import disabled

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from yoloscope_hooks.recorder import Recorder

    Trainer = Any  # duck-typed: nothing of Ultralytics is imported
    Event = Callable[[Recorder, Trainer, float], None]

ATTRIBUTE = "_yoloscope"
_NOT_YET: Any = object()
NAME_ATTRIBUTE = "_yoloscope_run"


def _event(function: Event) -> Callable[[Trainer], None]:
    """Turn an event into a callback that never raises and opens the recorder at its trainer's first event."""
    name = function.__name__

    @functools.wraps(function)
    def callback(trainer: Trainer) -> None:
        now = perf_counter()
        recorder = _recorder(trainer)
        if recorder is _NOT_YET:
            recorder = None if name == "teardown" else _open(trainer)  # nothing of it was recorded
        if recorder is None:
            if name == "on_train_start":
                _say_whose(trainer)
            return
        if name in recorder.off:
            return
        try:
            function(recorder, trainer, now)
        except Exception as error:  # a hook never raises into a training
            if users_signals.raised(error):
                raise
            recorder.failed(name, error, trainer)

    return callback


def _recorder(trainer: Trainer) -> Any:
    """What hangs on a trainer; `_NOT_YET` also of one whose `__getattr__` raises whatever it likes, None for junk."""
    try:
        found = getattr(trainer, ATTRIBUTE, _NOT_YET)
        return found if found is _NOT_YET or hasattr(found, "failed") else None
    except Exception as error:
        if users_signals.raised(error):
            raise
        return _NOT_YET


def _say_whose(trainer: Trainer) -> None:
    """The last validation of a training without a record is none of its own either."""
    try:
        from yoloscope_hooks import validating

        validating.is_trainings(trainer, None)
    except Exception as error:
        log.debug("yoloscope cannot mark the validator: %s", error)


def _open(trainer: Trainer) -> Recorder | None:
    """Open the trainer's recorder; None, for good, where it is not wanted or cannot be had."""
    recorder = None
    try:
        if not disabled():
            from yoloscope_hooks import opening  # import of the hooks must cost nothing

            recorder = opening.open_for(trainer)
    except Exception as error:
        if users_signals.raised(error):
            raise
        log.warning("yoloscope: recording is off: %s", error)
    try:
        setattr(trainer, ATTRIBUTE, recorder)
    except Exception as error:  # then every event comes here again, and nothing worse
        log.debug("yoloscope cannot mark the trainer: %s", error)
        return None
    return recorder


@_event
def on_pretrain_routine_start(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """Set-up begins; the record is open from here, or on other ranks of newer versions from the next event."""
    recorder.setup.watch(trainer)


@_event
def on_pretrain_routine_end(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """Model, data and optimizer are there; the first event of ranks above 0 in newer versions."""
    recorder.setup.restore(trainer)


@_event
def on_train_start(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """The loop is about to start."""
    recorder.train_start(trainer, now)


@_event
def on_train_epoch_start(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """An epoch begins, or begins again after an OOM or a NaN."""
    recorder.epoch_start(trainer, now)


# The two of every batch do without `_event`: each frame of Python costs microseconds where the caches are cold.


def on_train_batch_start(trainer: Trainer) -> None:
    """A batch has arrived."""
    now = perf_counter()
    try:
        trainer._yoloscope.batches.start(now)  # noqa: SLF001 - ours
    except Exception as error:
        _without("on_train_batch_start", error, trainer)


def on_train_batch_end(trainer: Trainer) -> None:
    """A step is done."""
    now = perf_counter()
    try:
        trainer._yoloscope.batches.end(trainer, now)  # noqa: SLF001
    except Exception as error:
        _without("on_train_batch_end", error, trainer)


def _without(name: str, error: Exception, trainer: Trainer) -> None:
    """An event of a batch has failed, or there is no recorder. Raises nothing but what is the user's."""
    if users_signals.raised(error):
        raise error
    recorder = _recorder(trainer)
    if recorder is _NOT_YET:
        _open(trainer)  # a batch that began before the hooks did is not counted
    elif recorder is not None:
        recorder.failed(name, error, trainer)


@_event
def on_train_epoch_end(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """The epoch's batches are done; validation and checkpoint follow."""
    recorder.epoch_end(trainer, now)


@_event
def on_fit_epoch_end(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """Validation and checkpoint are done too; comes once more after the final validation."""
    recorder.fit_epoch_end(trainer)


@_event
def teardown(recorder: Recorder, trainer: Trainer, now: float) -> None:
    """The end, clean or (8.4.130 and later) not."""
    recorder.end(trainer)


CALLBACKS: dict[str, Callable[[Trainer], None]] = {
    function.__name__: function
    for function in (
        on_pretrain_routine_start,
        on_pretrain_routine_end,
        on_train_start,
        on_train_epoch_start,
        on_train_batch_start,
        on_train_batch_end,
        on_train_epoch_end,
        on_fit_epoch_end,
        teardown,
    )
}


#: The first event of a trainer, predictor, validator or exporter; a trainer's other ranks begin with the second.
_FIRST = (
    *("on_pretrain_routine_start", "on_pretrain_routine_end"),
    *("on_predict_start", "on_val_start", "on_export_start"),
)


class _RunName:
    """A callback that tells the trainer its run's name; goes through pickle into the ranks."""

    def __init__(self, run: str) -> None:
        self.run = run

    def __call__(self, trainer: Trainer) -> None:
        try:
            setattr(trainer, NAME_ATTRIBUTE, self.run)
        except Exception as error:
            log.debug("yoloscope cannot name the run: %s", error)


def name_run(listed: MutableMapping[str, list[Callable[[Any], None]]], run: str) -> None:
    """Give the runs of these callbacks a name, in place of an earlier one."""
    for event in _FIRST:
        listed[event][:] = [function for function in listed[event] if not isinstance(function, _RunName)]
        listed[event].insert(0, _RunName(run))
