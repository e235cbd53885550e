"""Attributes of one trainer, replaced for the time of a training by the same with a mark before and after.

Nothing global is patched: the classes stay as they are, and so does every other trainer. What Ultralytics or a user
has put on the instance before is called as before, and put back at the end.
"""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any, Dict

from yoloscope_hooks.step_clock import ARRIVED, BACKWARD, COPY, FORWARD, OPTIMIZED, OPTIMIZER, PREPARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_hooks.recorder import Recorder
    from yoloscope_hooks.step_clock import Marks

    Function = Callable[..., Any]
    Trainer = Any  # duck-typed

_MARK = "_yoloscope_wrapper"


def install(trainer: Trainer, recorder: Recorder) -> None:
    """Wrap what the trainer has by now and is not wrapped yet; what it lacks is left out."""
    for owner, name, wrapper in _places(trainer):
        wrap(owner, name, wrapper, recorder)


def restore(trainer: Trainer) -> None:
    """Undo `install`."""
    for owner, name, _ in _places(trainer):
        unwrap(owner, name)


def wrap(owner: Any, name: str, wrapper: Callable[..., Function], given: Any) -> None:
    """Replace an instance's attribute by what `wrapper` makes of it and of `given`, unless it lacks it or has ours."""
    function = getattr(owner, name, None)
    if callable(function) and not hasattr(function, _MARK):
        wrapped = functools.wraps(function)(wrapper(function, given))
        setattr(wrapped, _MARK, name in vars(owner))
        setattr(owner, name, wrapped)


def unwrap(owner: Any, name: str) -> None:
    """Undo `wrap`. What somebody else has wrapped since is left alone: our part of it only notes the time."""
    wrapped = getattr(owner, "__dict__", {}).get(name)
    if wrapped is not None and hasattr(wrapped, _MARK):
        if getattr(wrapped, _MARK):
            setattr(owner, name, wrapped.__wrapped__)
        else:
            delattr(owner, name)


def _places(trainer: Trainer) -> tuple[tuple[Any, str, Callable[[Function, Recorder], Function]], ...]:
    """What is wrapped: owner, attribute, and what makes the wrapper."""
    return (
        (trainer, "preprocess_batch", _preparation),
        (getattr(trainer, "scaler", None), "scale", _loss),
        (trainer, "optimizer_step", _optimizer),
        (trainer, "validate", _validation),
        (trainer, "save_model", _checkpoint),
        (trainer, "final_eval", _final_validation),
    )


def _preparation(function: Function, recorder: Recorder) -> Function:
    batches, marks = recorder.batches, recorder.batches.clock.marks
    call = _watching_copies(function, marks) if batches.clock.on_device else function

    def preprocess_batch(batch: Any, *args: Any, **kwargs: Any) -> Any:
        marks[PREPARE] = perf_counter()
        batch = call(batch, *args, **kwargs)
        marks[FORWARD] = perf_counter()
        try:
            batches.images = batch["img"].shape[0]  # `len` of a tensor is a function of Python
        except Exception:
            batches.images = _images(batch)
        return batch

    return preprocess_batch


def _watching_copies(function: Function, marks: Marks) -> Function:
    """Mark when the images of a batch go to the device, and when they are there."""

    def watched(batch: Any, *args: Any, **kwargs: Any) -> Any:
        if type(batch) is not dict:
            return function(batch, *args, **kwargs)
        watching = _Copying(batch, marks)
        result = function(watching, *args, **kwargs)
        batch.clear()
        batch.update(watching)
        return batch if result is watching else result

    return watched


class _Copying(Dict[str, Any]):
    """A batch during preprocess_batch: Ultralytics and its users put the copies where the originals were."""

    def __init__(self, batch: dict[str, Any], marks: Marks) -> None:
        super().__init__(batch)
        self._marks, self._arrived = marks, False

    def items(self) -> Any:
        """All of it, to be copied one by one: Ultralytics' way since 8.3.200 or so."""
        self._leaving()
        return super().items()

    def __getitem__(self, key: str) -> Any:
        if key == "img":
            self._leaving()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "img" and not self._arrived:
            before = getattr(self.get("img"), "device", None)
            if before is not None and before != getattr(value, "device", before):
                self._arrived = True
                self._marks[ARRIVED] = perf_counter()
        super().__setitem__(key, value)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def _leaving(self) -> None:
        if not self._arrived:
            self._marks[COPY] = perf_counter()  # the last time before they have arrived is the one that counts


def _images(batch: Any) -> int:
    try:
        return len(batch["img"])
    except Exception:  # a batch of another shape; the loader's batch size stands in
        return 0


def _loss(function: Function, recorder: Recorder) -> Function:
    marks = recorder.batches.clock.marks

    def scale(*args: Any, **kwargs: Any) -> Any:
        marks[BACKWARD] = perf_counter()
        return function(*args, **kwargs)

    return scale


def _optimizer(function: Function, recorder: Recorder) -> Function:
    batches, marks = recorder.batches, recorder.batches.clock.marks

    def optimizer_step(*args: Any, **kwargs: Any) -> Any:
        marks[OPTIMIZER] = perf_counter()
        result = function(*args, **kwargs)
        marks[OPTIMIZED] = perf_counter()
        batches.steps += 1
        return result

    return optimizer_step


def _interval(function: Function, recorder: Recorder, state: str, after: str) -> Function:
    """A call that is a phase of its own. If it raises, the state stays, and says where it happened."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        recorder.enter(state)
        result = function(*args, **kwargs)
        recorder.leave(after)
        return result

    return wrapped


def _validation(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "validate", after="train")


def _final_validation(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "validate", after="validate")  # no batch follows: plots, and the end


def _checkpoint(function: Function, recorder: Recorder) -> Function:
    return _interval(function, recorder, "checkpoint", after="train")
