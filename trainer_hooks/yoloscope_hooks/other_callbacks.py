"""Other people's callbacks, timed one by one: loggers, uploads, whatever hangs on a trainer or its validator beside us.

Each entry of the trainer's lists is replaced, for the time of a training, by one that calls it and notes the time.
Who looks finds the callback itself: the entry equals it, hashes, pickles and copies as it, and has its attributes.
"""

from __future__ import annotations

import functools
from operator import itemgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping

    from yoloscope_record.writer import Writer

    Callback = Callable[..., Any]
    Lists = MutableMapping[str, list[Callback]]
    Signal = Callable[[float], None]  # takes the moment

NAMES = 8  # callbacks with a series of their own
NAMED_FROM = 0.01  # seconds that a callback has taken before it gets one: most are never worth it
OTHERS = "(others)"
_OURS = __name__.partition(".")[0]


class OtherCallbacks:
    """The time other people's callbacks take in one training.

    Attributes:
        seconds: what they took so far, but for one that is running.
        running: those that are, each caused by the one before.
    """

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        self._writer, self._who = writer, who
        self.seconds = 0.0
        self._timed: list[Timed] = []
        self._taken: dict[str, float] = {}
        self._slots: dict[str, tuple[int, int]] = {}
        self.running: list[Timed] = []
        self._since = 0.0  # up to where the one that runs is charged

    def install(self, lists: Lists, before: Mapping[str, Signal], after: Mapping[str, Signal]) -> None:
        """Time what is in `lists` by event and is not ours, nor empty, nor timed yet.

        `before` and `after` are called before and after each callback of an event.
        """
        for event, entries in lists.items():
            for index, entry in enumerate(entries if isinstance(entries, list) else ()):
                known = isinstance(entry, Timed) and entry.owner is self
                if not known and not _is_ours(entry) and not is_empty(entry):
                    timed = Timed(_original(entry), self, before.get(event), after.get(event))
                    entries[index] = timed
                    self._timed.append(timed)

    def enter(self, callback: Timed, now: float) -> None:
        """A callback begins."""
        self._charge(now)
        self.running.append(callback)
        callback.calls += 1

    def leave(self, now: float) -> None:
        """The callback that began last is over."""
        self._charge(now)
        self.running.pop()

    def spent(self, now: float) -> float:
        """Seconds in callbacks so far."""
        self._charge(now)
        return self.seconds

    def _charge(self, now: float) -> None:
        if self.running:
            self.running[-1].seconds += now - self._since
            self.seconds += now - self._since
        self._since = now

    def store(self) -> None:
        """Put what was taken since the last time into the record."""
        for callback in self._timed:
            seconds, calls = callback.seconds, callback.calls
            if seconds or calls:
                callback.seconds, callback.calls = 0.0, 0
                self._store(callback.name, seconds, calls)

    def _store(self, name: str, seconds: float, calls: int) -> None:
        taken = self._taken[name] = self._taken.get(name, 0.0) + seconds
        named = name in self._slots or (taken >= NAMED_FROM and len(self._slots) < NAMES + (OTHERS in self._slots))
        time_slot, calls_slot = self._slot(name if named else OTHERS)
        self._writer.values[time_slot] += seconds
        self._writer.values[calls_slot] += calls

    def _slot(self, name: str) -> tuple[int, int]:
        if name not in self._slots:
            metrics = (catalog.TRAIN_CALLBACK_SECONDS_TOTAL, catalog.TRAIN_CALLBACK_CALLS_TOTAL)
            time_slot, calls_slot = (self._writer.slot(metric, *self._who, name) for metric in metrics)
            self._slots[name] = time_slot, calls_slot
        return self._slots[name]


class Timed:
    """A callback with a clock around it; to everybody who looks, the callback itself."""

    def __init__(
        self, callback: Callback, owner: OtherCallbacks, before: Signal | None = None, after: Signal | None = None
    ) -> None:
        """`before` and `after` are called with the moment; they never raise."""
        functools.update_wrapper(self, callback, updated=())
        self.owner, self.name = owner, name_of(callback)
        self.seconds, self.calls = 0.0, 0  # not in the record yet
        self._before, self._after = before, after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; what it raises goes on unchanged."""
        now = perf_counter()
        if self._before is not None:
            self._before(now)
        self.owner.enter(self, now)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            now = perf_counter()
            self.owner.leave(now)
            if self._after is not None:
                self._after(now)

    def __getattr__(self, name: str) -> Any:
        """The callback's own attributes."""
        if name == "__wrapped__":  # not yet set: a copy is being made
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        """Equal is what equals the callback."""
        return bool(self.__wrapped__ == _original(other))

    def __hash__(self) -> int:
        """As the callback."""
        return hash(self.__wrapped__)

    def __reduce__(self) -> Any:
        """Pickled or copied it is the callback, with no trace of us."""
        return itemgetter(0), ((self.__wrapped__,),)


def restore(lists: Lists) -> None:
    """Undo `install`."""
    for entries in lists.values():
        if isinstance(entries, list):
            entries[:] = [_original(entry) for entry in entries]


def lists_of(trainer: Any) -> Iterable[Lists]:
    """The callbacks of a trainer, and of its validator if they are others."""
    found: list[Lists] = []
    for owner in (trainer, getattr(trainer, "validator", None)):
        lists = getattr(owner, "callbacks", None)
        if isinstance(lists, dict) and not any(lists is one for one in found):
            found.append(lists)
    return found


def _original(entry: Any) -> Any:
    return entry.__wrapped__ if isinstance(entry, Timed) else entry


def _is_ours(entry: Any) -> bool:
    return str(getattr(entry, "__module__", "")).partition(".")[0] == _OURS


def _nothing() -> None:
    """What a function without a body is compiled to."""


def is_empty(callback: Any) -> bool:
    """Whether a callback does nothing, as those do with which Ultralytics begins each list: timing costs more."""
    code = getattr(callback, "__code__", None)
    empty = _nothing.__code__
    return code is not None and code.co_code == empty.co_code and code.co_consts[1:] == empty.co_consts[1:]


def name_of(callback: Any) -> str:
    """Module and name of what is called, for people to find it."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    if not hasattr(callback, "__qualname__"):
        callback = type(callback)  # an object with __call__
    name = f"{callback.__module__}.{callback.__qualname__}"
    code = getattr(callback, "__code__", None)
    return f"{name}:{code.co_firstlineno}" if code is not None and callback.__name__ == "<lambda>" else name
