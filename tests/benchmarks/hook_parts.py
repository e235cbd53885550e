"""What the hooks take in the process of a real training, batch by batch and by part.

Around each of the hooks' callbacks and wrappers stands a clock, and another around what such a wrapper calls: their
difference is the hooks'. Run as a program, this file trains in turn with the hooks of each folder it is given, round
by round, and prints one line of JSON per training; `bench_hooks.py --parts` starts it and reads that.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("yoloscope_hooks", "yoloscope_record")
#: In the order of a batch. `end, adding up` is the end of a batch in which it and those before it are added up.
PARTS = ("fetch", "start", "preprocess", "loss", "optimizer", "other callbacks", "end", "end, adding up")
WRAPPED = {"preprocess": "preprocess_batch", "loss": "scale", "optimizer": "optimizer_step"}
TRAINING = "training"


@dataclass(frozen=True)
class Job:
    """What to train: `hooks` are folders with the two packages, by name; epochs of `images` / 8 batches."""

    data: str
    project: str
    hooks: Mapping[str, str]
    rounds: int
    imgsz: int
    epochs: int = 3


@dataclass
class Clocks:
    """Seconds of the batch under way by part, and those of the batches before."""

    now: dict[str, float] = field(default_factory=dict)
    batches: list[dict[str, float]] = field(default_factory=list)
    inner: list[float] = field(default_factory=list)
    added_up = False

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Charge a part with what a call takes, less what the clocks inside of it take."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            self.inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = perf_counter() - began
                self.now[part] = self.now.get(part, 0.0) + took - self.inner.pop()
                if self.inner:
                    self.inner[-1] += took

        timed.__module__ = PACKAGES[0]  # the hooks take it for theirs, and put no clock of their own around it
        return timed

    def batch_ends(self, _: Any) -> None:
        """The last callback of a batch."""
        if self.added_up and "end" in self.now:
            self.now["end, adding up"] = self.now.pop("end")
        self.batches.append(self.now)
        self.now, self.added_up = {}, False


class Stand:
    """Puts clocks around the hooks of one training."""

    def __init__(self, clocks: Clocks, model: Any) -> None:
        """`model` has the hooks already."""
        self._clocks, self._done = clocks, False
        self._last = clocks.around(TRAINING, clocks.batch_ends)
        model.add_callback("on_train_start", self.inside)
        model.add_callback("on_train_epoch_start", self.outside)

    def inside(self, trainer: Any) -> None:
        """Around what the hooks are about to wrap."""
        for owner, name in self._places(trainer):
            setattr(owner, name, self._clocks.around(TRAINING, getattr(owner, name)))

    def outside(self, trainer: Any) -> None:
        """Around what the hooks have wrapped and registered by now."""
        if self._done:
            return
        self._done = True
        for (owner, name), part in zip(self._places(trainer), WRAPPED, strict=True):
            setattr(owner, name, self._clocks.around(part, getattr(owner, name)))
        for event, part in (("on_train_batch_start", "start"), ("on_train_batch_end", "end")):
            listed = trainer.callbacks[event]
            listed[:] = [self._clocks.around(part if _is_ours(one) else "other callbacks", one) for one in listed]
        trainer.callbacks["on_train_batch_start"].append(self._fetches)
        trainer.callbacks["on_train_batch_end"].append(self._last)

    def _fetches(self, trainer: Any) -> None:
        """The loader's iterator is there from the first batch on."""
        iterator = trainer.train_loader.iterator
        if len(self._clocks.batches) == 1 and "_next_data" in vars(iterator):
            iterator._next_data = self._clocks.around("fetch", iterator._next_data)

    _fetches.__module__ = PACKAGES[0]

    @staticmethod
    def _places(trainer: Any) -> list[tuple[Any, str]]:
        return [(trainer.scaler if part == "loss" else trainer, name) for part, name in WRAPPED.items()]


def _is_ours(callback: Any) -> bool:
    return str(getattr(callback, "__module__", "")).partition(".")[0] == PACKAGES[0]


def train(job: Job, folder: str, name: str) -> list[dict[str, float]]:
    """One training with the hooks of `folder`; seconds by part of each of its batches."""
    from torch.utils.data import dataloader  # noqa: PLC0415
    from torch.utils.data._utils import fetch  # noqa: PLC0415

    clocks, iterator, fetcher = Clocks(), dataloader._MultiProcessingDataLoaderIter, fetch._MapDatasetFetcher
    kept = iterator._next_data, fetcher.fetch
    iterator._next_data = clocks.around(TRAINING, iterator._next_data)
    for module in [one for one in sys.modules if one.partition(".")[0] in PACKAGES]:
        del sys.modules[module]
    sys.path.insert(0, folder)
    try:
        _train(job, clocks, name)
    finally:
        sys.path.remove(folder)
        iterator._next_data, fetcher.fetch = kept
    return clocks.batches


def _train(job: Job, clocks: Clocks, name: str) -> None:
    import cpu_trainer  # noqa: PLC0415 - needs ultralytics
    import ultralytics  # noqa: PLC0415
    import yoloscope_hooks  # noqa: PLC0415 - of the folder
    from yoloscope_record.writer import Writer  # noqa: PLC0415

    from tests.training import DEFAULTS, MODELS  # noqa: PLC0415

    end = Writer.end

    def ended(writer: Writer, now: float) -> None:
        clocks.added_up = True
        end(writer, now)

    Writer.end = ended  # type: ignore[method-assign]
    model = yoloscope_hooks.attach(ultralytics.YOLO(MODELS["detect"]), run=name)
    Stand(clocks, model)
    model.train(
        trainer=cpu_trainer.TRAINERS["detect"],
        data=job.data,
        project=job.project,
        name=name,
        epochs=job.epochs,
        batch=8,
        imgsz=job.imgsz,
        val=False,
        save=False,
        **DEFAULTS,
    )


def main() -> None:
    """The process that trains."""
    job = Job(**json.loads(sys.argv[1]))
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from tests.training import Options  # noqa: PLC0415

    os.environ["CPU_TRAINER"] = json.dumps(asdict(Options(job.data, job.project, workers=2, imgsz=job.imgsz, batch=8)))
    with suppress(ImportError):
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)
    for number in range(job.rounds):
        names = list(job.hooks) if number % 2 == 0 else list(job.hooks)[::-1]
        for name in names:
            gc.collect()
            print("\nPARTS", json.dumps([name, number, train(job, job.hooks[name], f"{name}-{number}")]), flush=True)


if __name__ == "__main__":
    main()
