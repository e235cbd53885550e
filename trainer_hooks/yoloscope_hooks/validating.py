"""Validations: what each batch took, and the wait for it. Those of a training are parts of its phase `validate`.

Ultralytics tells its profilers' times only at the end. They wait for the GPU before and after each part, so the moments
at which the validator's own methods are called and return divide a batch without any wait of ours.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_hooks import accounts, binding, inference, other_callbacks
from yoloscope_hooks.binding import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Validator = Any  # duck-typed
    Callback = Callable[[Validator], None]
    Add = Callable[[Mapping[str, float]], None]

TRAININGS = "_yoloscope_of_training"
#: What a phase is called as a part of a training's validation, where that is another name.
PARTS = {"source": "loader"}
#: Events at which we are called before others, whose work would be the loader's or the metrics' else.
_FIRST = ("on_val_batch_start", "on_val_batch_end", "on_val_end")
#: The validator's methods, with the phases that a call ends at its beginning and at its end.
_METHODS = {
    "preprocess": ("other", "preprocess"),
    "postprocess": ("inference", "postprocess"),
    "update_metrics": ("postprocess", "metrics"),
}


def is_trainings(trainer: Any, add: Add | None) -> None:
    """Say on a trainer's validator whose it is: the final validation looks like one of its own.

    `add` takes the seconds of each batch by part; None where the training has no record.
    """
    validator = getattr(trainer, "validator", None)
    if validator is not None:
        setattr(validator, TRAININGS, _OfTraining(add) if add else False)


class _OfTraining:
    """Takes what a session stores, for the record of a training."""

    def __init__(self, add: Add) -> None:
        self._add = add

    def store(self, seconds: Mapping[str, float], **_: Any) -> None:
        """Parts of a validation; neither batches and images, nor callbacks, which the training times one by one."""
        self._add({PARTS.get(phase, phase): length for phase, length in seconds.items() if phase != "callbacks"})


class Session:
    """One validation.

    Attributes:
        replaced: what stands in place of the validator's methods, by their names.
    """

    def __init__(
        self, recording: inference.Recording | _OfTraining, now: float, over: Callable[[], object] | None = None
    ) -> None:
        """It begins at `now`; `over` takes it back that it is under way."""
        self._over = over
        self.replaced: dict[str, Any] = {}
        self._recording = recording
        self._last = self._began = now
        self._answered = 0.0
        self._warm, self._images = False, 0
        self._seconds: dict[str, float] = {}

    def mark(self, phase: str, images: int | None = None) -> None:
        """A phase ends here."""
        now = perf_counter()
        self._spend(phase, now)
        if images is not None:
            self._images = images
        if phase == "postprocess":
            self._answered = now

    def _spend(self, phase: str, now: float) -> None:
        self._seconds[phase] = self._seconds.get(phase, 0.0) + max(now - self._last, 0.0)
        self._last = now

    def batch_start(self, now: float) -> None:
        """A batch has come from the loader."""
        accounts.elsewhere()
        self._spend("source", now)
        self._began, self._answered, self._images = now, 0.0, 0

    def batch_end(self, now: float) -> None:
        """All of it is done."""
        self._spend("metrics", now)
        latency = self._answered - self._began if self._warm and self._answered else None
        seconds, self._seconds, self._warm = self._seconds, {}, True
        self._recording.store(seconds, batches=1, images=self._images, latency=latency, began=now, soon=False)
        self._last = perf_counter()

    def called(self, now: float) -> None:
        """Callbacks of others at an event are over."""
        self._spend("callbacks", now)

    def end(self, validator: Validator, now: float) -> None:
        """All results are there."""
        self._spend("metrics", now)
        self._recording.store(self._seconds, began=now)
        accounts.elsewhere()
        self.let_go(validator)

    def let_go(self, validator: Validator) -> None:
        """It is over: put back what was replaced, but for what somebody else has put in its place since."""
        if self._over is not None:
            self._over()
        for name, timed in self.replaced.items():
            if vars(validator).get(name) is timed:
                delattr(validator, name)
        delattr(validator, SESSION)


def start(validator: Validator, now: float, ours: Mapping[str, Callback], called: Callback) -> None:
    """A validation begins, on its own or within a training.

    `ours` are our callbacks by event, `called` is to be called when those of others at one are over.
    """
    earlier = getattr(validator, SESSION, None)  # on other ranks, or after an error, a validation has no end
    if earlier is not None:
        earlier.let_go(validator)
    session = _session(validator, now)
    if session is None:
        return
    setattr(validator, SESSION, session)
    for name, phases in _METHODS.items():
        if name not in vars(validator):
            session.replaced[name] = _timed(validator, name, phases, session)
            setattr(validator, name, session.replaced[name])
    _order(getattr(validator, "callbacks", {}), ours, called)


def _order(listed: Any, ours: Mapping[str, Callback], called: Callback) -> None:
    """Have ours called before those of others, and `called` after them; nothing is changed where there are none."""
    for event in ("on_val_start", *_FIRST):
        entries = listed.get(event)
        if all(one in (ours[event], called) or other_callbacks.is_empty(one) for one in entries or ()):
            continue
        if event in _FIRST:
            binding.put(entries, ours[event], first=True)
        if event != "on_val_end":
            binding.follow(entries, ours[event], called)


def _session(validator: Validator, now: float) -> Session | None:
    """None of a training whose record is off, and where there can be no record."""
    training = getattr(validator, TRAININGS, None)
    if training is not None or getattr(validator, "training", False):
        return Session(training, now) if training else None
    recording = inference.recording_for(validator, "validate")
    if recording is None:
        return None
    over = inference.under_way(validator, recording)
    recording.describe(validator, "validate", now)
    return Session(recording, now, over)


def _timed(validator: Validator, name: str, phases: tuple[str, str], session: Session) -> Any:
    method, (before, after) = binding.weakly(validator, name), phases

    def timed(*args: Any, **kwargs: Any) -> Any:
        session.mark(before)
        result = method()(*args, **kwargs)
        session.mark(after, _images(args) if name == "preprocess" else None)
        return result

    return timed


def _images(args: tuple[Any, ...]) -> int:
    try:
        return len(args[0]["img"])
    except (TypeError, KeyError, IndexError):
        return 0
