"""Attributes of one trainer, replaced for the time of a training by the same with a mark before and after.

Nothing global is patched: the classes stay as they are, and so does every other trainer. What Ultralytics or a user
has put on the instance before is called as before, and put back at the end.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from yoloscope_hooks import step_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_hooks.recorder import Recorder

    Function = Callable[..., Any]
    Trainer = Any  # duck-typed

_MARK = "_yoloscope_tap"


def install(trainer: Trainer, recorder: Recorder) -> None:
    """Tap what the trainer has by now and is not tapped yet; what it lacks is left out."""
    for owner, name, wrapper in _places(trainer):
        function = getattr(owner, name, None)
        if callable(function) and not hasattr(function, _MARK):
            tapped = functools.wraps(function)(wrapper(function, recorder))
            setattr(tapped, _MARK, name in vars(owner))
            setattr(owner, name, tapped)


def restore(trainer: Trainer) -> None:
    """Undo `install`. What somebody else has wrapped since is left alone: our part of it only notes the time."""
    for owner, name, _ in _places(trainer):
        tapped = getattr(owner, "__dict__", {}).get(name)
        if tapped is not None and hasattr(tapped, _MARK):
            if getattr(tapped, _MARK):
                setattr(owner, name, tapped.__wrapped__)
            else:
                delattr(owner, name)


def _places(trainer: Trainer) -> tuple[tuple[Any, str, Callable[[Function, Recorder], Function]], ...]:
    """What is tapped: owner, attribute, and what makes the tap."""
    return (
        (trainer, "preprocess_batch", _preparation),
        (getattr(trainer, "scaler", None), "scale", _loss),
        (trainer, "optimizer_step", _optimizer),
        (trainer, "validate", _validation),
        (trainer, "save_model", _checkpoint),
        (trainer, "final_eval", _final_validation),
    )


def _preparation(function: Function, recorder: Recorder) -> Function:
    mark = recorder.clock.mark

    def preprocess_batch(batch: Any, *args: Any, **kwargs: Any) -> Any:
        mark(step_clock.PREPARE)
        batch = function(batch, *args, **kwargs)
        mark(step_clock.FORWARD)
        recorder.images = _images(batch)
        return batch

    return preprocess_batch


def _images(batch: Any) -> int:
    try:
        return len(batch["img"])
    except Exception:  # a batch of another shape; the loader's batch size stands in
        return 0


def _loss(function: Function, recorder: Recorder) -> Function:
    mark = recorder.clock.mark

    def scale(*args: Any, **kwargs: Any) -> Any:
        mark(step_clock.BACKWARD)
        return function(*args, **kwargs)

    return scale


def _optimizer(function: Function, recorder: Recorder) -> Function:
    mark = recorder.clock.mark

    def optimizer_step(*args: Any, **kwargs: Any) -> Any:
        mark(step_clock.OPTIMIZER)
        result = function(*args, **kwargs)
        mark(step_clock.OPTIMIZED)
        recorder.steps += 1
        return result

    return optimizer_step


def _interval(function: Function, recorder: Recorder, state: str, after: str) -> Function:
    """A call that is a phase of its own. If it raises, the state stays, and says where it happened."""

    def tapped(*args: Any, **kwargs: Any) -> Any:
        recorder.enter(state)
        result = function(*args, **kwargs)
        recorder.leave(after)
        return result

    return tapped


def _validation(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "validate", after="train")


def _final_validation(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "validate", after="validate")  # no batch follows: plots, and the end


def _checkpoint(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "checkpoint", after="train")
