"""Thin adapter: Ultralytics' events of predictors, validators and exporters -> the record of this process.

As `callbacks` for trainings: functions of the module's top level, which never raise. The first error of a kind is one
warning and its end: nothing of that kind is recorded in this process any more.
"""

from __future__ import annotations

import functools
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_hooks.binding import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

    Owner = Any  # a predictor, validator or exporter, duck-typed
    Event = Callable[[Owner, float], None]

KIND = {"predict": "predict", "val": "validate", "export": "export"}  # by the second word of an event


def _event(function: Event) -> Callable[[Owner], None]:
    """Turn an event into a callback that never raises, and ends its kind's record where it fails."""
    kind = KIND[function.__name__.split("_")[1]]

    @functools.wraps(function)
    def callback(owner: Owner) -> None:
        now = perf_counter()
        try:
            function(owner, now)
        except Exception as error:  # a hook never raises
            _give_up(kind, error)

    return callback


def _give_up(kind: str, error: Exception) -> None:
    try:
        from yoloscope_hooks import inference

        inference.give_up(kind, error)
    except Exception as worse:
        logging.getLogger("yoloscope").warning("yoloscope: recording is off: %r", worse)


@_event
def on_predict_start(predictor: Owner, now: float) -> None:
    """A call begins: model and source are there."""
    from yoloscope_hooks import predicting  # import of the hooks must cost nothing

    predicting.start(predictor, now, CALLBACKS, on_predict_started)


@_event
def on_predict_started(predictor: Owner, now: float) -> None:
    """What others do at the begin of a call is done: no event of its own, ours is the last of that one's list."""
    session = getattr(predictor, SESSION, None)
    if session is not None and session.active:
        session.started(now)


@_event
def on_predict_batch_start(predictor: Owner, now: float) -> None:
    """A batch has come from the source."""
    session = getattr(predictor, SESSION, None)
    if session is not None and session.active:
        session.batch_start(predictor, now)


@_event
def on_predict_postprocess_end(predictor: Owner, now: float) -> None:
    """The results are there, and what others do with them here (trackers) is done: ours is the last of the list."""
    session = getattr(predictor, SESSION, None)
    if session is not None:
        session.answered = now


@_event
def on_predict_batch_end(predictor: Owner, now: float) -> None:
    """Results are saved and drawn; they are handed out next."""
    session = getattr(predictor, SESSION, None)
    if session is not None and session.active:
        session.batch_end(predictor, now)


@_event
def on_predict_end(predictor: Owner, now: float) -> None:
    """The source has ended."""
    session = getattr(predictor, SESSION, None)
    if session is not None and session.active:
        session.end(now)


@_event
def on_val_start(validator: Owner, now: float) -> None:
    """A validation begins; those of a training are the training's."""
    from yoloscope_hooks import validating

    validating.start(validator, now, CALLBACKS, on_val_called)


@_event
def on_val_called(validator: Owner, now: float) -> None:
    """What others do at an event of a validation is done: no event of its own, ours is the last of those lists."""
    session = getattr(validator, SESSION, None)
    if session is not None:
        session.called(now)


@_event
def on_val_batch_start(validator: Owner, now: float) -> None:
    """A batch has come from the loader."""
    session = getattr(validator, SESSION, None)
    if session is not None:
        session.batch_start(now)


@_event
def on_val_batch_end(validator: Owner, now: float) -> None:
    """Its results are compared."""
    session = getattr(validator, SESSION, None)
    if session is not None:
        session.batch_end(now)


@_event
def on_val_end(validator: Owner, now: float) -> None:
    """All results are there."""
    session = getattr(validator, SESSION, None)
    if session is not None:
        session.end(validator, now)


@_event
def on_export_start(exporter: Owner, now: float) -> None:
    """An export begins."""
    from yoloscope_hooks import exporting

    exporting.start(exporter, now)


@_event
def on_export_end(exporter: Owner, now: float) -> None:
    """The file is written."""
    from yoloscope_hooks import exporting

    exporting.end(exporter, now)


CALLBACKS: dict[str, Callable[[Owner], None]] = {
    function.__name__: function
    for function in (
        on_predict_start,
        on_predict_batch_start,
        on_predict_postprocess_end,
        on_predict_batch_end,
        on_predict_end,
        on_val_start,
        on_val_batch_start,
        on_val_batch_end,
        on_val_end,
        on_export_start,
        on_export_end,
    )
}
