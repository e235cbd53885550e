"""What the time before the first batch goes to: stages of the set-up, told by the functions that Ultralytics calls.

`watch` wraps methods of the one trainer, and two functions that Ultralytics' trainer calls by their names in its own
module. A data set reads its labels and caches its images while it is built, so it exists too late to be wrapped: there
the progress bar tells the one from the other, by the name under which the data set's module knows it, and only while
the data set is built. No class is patched, and all of it is put back before the first batch.
"""

from __future__ import annotations

import functools
import math
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog
from yoloscope_record.catalog import SETUP_STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from yoloscope_record.writer import Writer

    Function = Callable[..., Any]
    Trainer = Any  # duck-typed

PERIOD = 0.5  # seconds between two notes of a progress
_METHODS = {
    "setup_model": "model",
    "get_model": "model",
    "get_dataloader": "loader",
    "build_dataset": "scan",
    "auto_batch": "autobatch",
    "_setup_ddp": "ddp",
}
_TRAINER_MODULE = "ultralytics.engine.trainer"
_FUNCTIONS = {"check_amp": "amp_check", "check_train_batch_size": "autobatch"}
#: Where `TQDM` is the progress bar of reading labels, and where that of caching images.
_BARS = {"ultralytics.data.dataset": "scan", "ultralytics.data.base": "cache"}
_MARK = "_yoloscope_stages"


class SetupStages:
    """Stores seconds by stage, the stage under way, and its progress. Holds no reference to the trainer."""

    def __init__(self, writer: Writer, who: tuple[str, str], note: Callable[[], None]) -> None:
        """`who` are run and rank; `note` accounts for the time up to now (calls `spend`), writes, and never raises."""
        self._writer, self._who, self._values, self._note = writer, who, writer.values, note
        self._seconds: dict[str, int] = {}
        self._stages: dict[str, int] = {}
        self._declare("other")  # all that a rank knows whose first event comes after the set-up
        self._progress = writer.slot(catalog.TRAIN_SETUP_PROGRESS_RATIO, *who)
        self._replaced: list[tuple[Any, str, Function, Function]] = []
        self._watching = False
        self._stage = "other"
        self._values[self._stages["other"]] = 1.0

    def _declare(self, stage: str) -> None:
        self._seconds[stage] = self._writer.slot(catalog.TRAIN_SETUP_SECONDS_TOTAL, *self._who, stage)
        self._stages[stage] = self._writer.slot(catalog.TRAIN_SETUP_STAGE, *self._who, stage)

    def spend(self, seconds: float) -> None:
        """The stage under way took that much longer."""
        self._values[self._seconds[self._stage]] += seconds

    def over(self) -> None:
        """No stage is under way any more."""
        self._values[self._stages[self._stage]] = self._values[self._progress] = math.nan

    def watch(self, trainer: Trainer) -> None:
        """Tap the trainer and what it will call; what this version or this trainer lacks is left out."""
        for stage in SETUP_STAGES:
            self._declare(stage)
        self._watching = True
        for name, stage in _METHODS.items():
            function = getattr(trainer, name, None)
            if callable(function) and name not in vars(trainer):
                setattr(trainer, name, self._timed(function, stage))
        for name, stage in _FUNCTIONS.items():
            self._replace(_TRAINER_MODULE, name, functools.partial(self._timed, stage=stage))

    def restore(self, trainer: Trainer = None) -> None:
        """Undo `watch`. What somebody else has wrapped since is left alone: our part of it does nothing any more."""
        self._watching = False
        for name in _METHODS:
            if getattr(getattr(trainer, "__dict__", {}).get(name), _MARK, None) is self:
                delattr(trainer, name)
        self._put_back(0)

    def _replace(self, module_name: str, name: str, wrap: Callable[[Function], Function]) -> None:
        module = sys.modules.get(module_name)
        original = getattr(module, name, None)
        if callable(original):
            replacement = wrap(original)
            setattr(module, name, replacement)
            self._replaced.append((module, name, original, replacement))

    def _put_back(self, keep: int) -> None:
        """Undo all but the first `keep` of `_replace`."""
        while len(self._replaced) > keep:
            module, name, original, replacement = self._replaced.pop()
            if getattr(module, name, None) is replacement:
                setattr(module, name, original)

    def _timed(self, function: Function, stage: str) -> Function:
        """The function, with its stage begun before and ended after. If it raises the stage says where it happened."""
        called = self._with_bars(function) if stage == "scan" else function

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = self._stage
            self._enter(stage)
            result = called(*args, **kwargs)
            self._enter(before)
            return result

        setattr(timed, _MARK, self)
        return timed

    def _enter(self, stage: str) -> None:
        """Another stage begins, which counts from here."""
        if not self._watching or stage == self._stage:
            return
        self.over()
        self._values[self._stages[stage]] = 1.0
        self._note()
        self._stage = stage

    def _with_bars(self, function: Function) -> Function:
        def building(*args: Any, **kwargs: Any) -> Any:
            keep = len(self._replaced)
            if self._watching:
                for module, stage in _BARS.items():
                    self._replace(module, "TQDM", functools.partial(self._bar, stage=stage))
            try:
                return function(*args, **kwargs)
            finally:
                self._put_back(keep)

        return building

    def _bar(self, make: Function, stage: str) -> Function:
        """Ultralytics' progress bar, over items that are counted on their way to it."""

        def bar(*args: Any, **kwargs: Any) -> Any:
            total = kwargs.get("total")
            if args and args[0] is not None and isinstance(total, int) and total > 0:
                args = (self._counted(args[0], stage, total), *args[1:])
            return make(*args, **kwargs)

        return bar

    def _counted(self, items: Iterable[Any], stage: str, total: int) -> Iterator[Any]:
        before, noted = self._stage, 0.0
        self._enter(stage)
        for count, item in enumerate(items):
            if self._watching and perf_counter() - noted >= PERIOD:
                self._values[self._progress] = count / total
                self._note()
                noted = perf_counter()
            yield item
        self._values[self._progress] = math.nan
        self._enter(before)
