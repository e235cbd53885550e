"""What the hooks take with cold caches, in seconds instead of minutes: a loop that trains nothing but throws them out.

Between two calls of the hooks stands what a training does to the caches: a sweep over more memory than they hold, a
convolution there and back, and some Python. Run as a program, this file goes through the loop with the hooks of each
folder it is given in turn and prints one line of JSON for each; `bench_hooks.py --cold` starts it and reads that.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("yoloscope_hooks", "yoloscope_record")
PARTS = ("fetch", "start", "preprocess", "loss", "optimizer", "end")
SWEEP_BYTES = 1 << 24
#: What the loop is gone through with beside hooks: nothing, and callbacks at the end of a batch below which is no way.
BARE, EMPTY, CLOCK, ROW = "no hooks", "an empty callback", "two looks at the clock", "the same, and a row written"


@dataclass(frozen=True)
class Job:
    """`hooks` are folders with the two packages, by name; each of the `rounds` has `batches` of `pace` seconds."""

    folder: str
    hooks: Mapping[str, str]
    rounds: int
    batches: int
    pace: float


class Loop(NamedTuple):
    """Once through the loop: what with, and the seconds of each batch by part."""

    name: str
    batches: list[dict[str, float]]


class Iterator:
    """Torch's iterator over two workers, as far as the hooks look: a real queue between processes, never used."""

    def __init__(self) -> None:
        """Four batches are under way."""
        self._workers = [SimpleNamespace(pid=1_000_000_000 + number, exitcode=None) for number in range(2)]
        self._task_info = {index: (index % 2,) for index in range(4)}
        self._rcvd_idx, self._tasks_outstanding = 0, 4
        self._data_queue = multiprocessing.get_context("fork").Queue()

    def _next_data(self) -> dict[str, Any]:
        return BATCH

    def __next__(self) -> dict[str, Any]:
        """The next batch."""
        return self._next_data()


BATCH: dict[str, Any] = {}


def disturb() -> Callable[[], None]:
    """What throws the caches out."""
    import torch  # noqa: PLC0415

    memory = torch.zeros(SWEEP_BYTES // 4)
    layer, images = torch.nn.Conv2d(3, 8, 3), torch.zeros(2, 3, 48, 48)
    BATCH["img"] = images

    def disturbing() -> None:
        layer(images).relu().mean().backward()
        memory.add_(1.0)
        " ".join(f"{number:>11.4g}" for number in range(8))  # a progress bar is drawn before a batch ends

    return disturbing


def loop_of(folder: Path) -> Any:
    """A trainer with real tensors for losses."""
    import torch  # noqa: PLC0415

    from tests.trainer_hooks.loop import Loop  # noqa: PLC0415

    loop = Loop(folder)
    loop.train_loader.iterator, loop.train_loader.num_workers = Iterator(), 2  # type: ignore[assignment]
    loop.train_loader.batches = 1 << 20
    losses = {name: torch.tensor(0.3) for name in ("box_loss", "cls_loss", "dfl_loss")}
    loop.loss, loop.tloss = losses["box_loss"], losses
    return loop


def run(loop: Any, job: Job) -> list[dict[str, float]]:
    """Seconds of each batch by part."""
    disturbing, found = disturb(), []
    loop.run("on_pretrain_routine_start")
    loop.run("on_train_start")
    loop.run("on_train_epoch_start")
    calls: dict[str, Callable[[], Any]] = {
        "fetch": lambda: next(loop.train_loader.iterator),
        "start": lambda: loop.run("on_train_batch_start"),
        "preprocess": lambda: loop.preprocess_batch(BATCH),
        "loss": lambda: loop.scaler.scale(1.0),
        "optimizer": loop.optimizer_step,
        "end": lambda: loop.run("on_train_batch_end"),
    }
    due = perf_counter()
    for _ in range(job.batches):
        took = {}
        for part in PARTS:
            due += job.pace / len(PARTS)
            disturbing()
            while perf_counter() < due:
                disturbing()
            call = calls[part]
            began = perf_counter()
            call()
            took[part] = perf_counter() - began
        found.append(took)
    loop.run("teardown")
    return found


def stand_ins(folder: Path) -> dict[str, Callable[[Any], None]]:
    """Callbacks at the end of a batch; the row is eight doubles, ready but for one, written as the record's are."""
    row, pwrite = memoryview(bytearray(64)).cast("d"), os.pwrite
    file = os.open(folder / "row", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 1 << 20)
    os.posix_fallocate(file, 0, 1 << 20)
    sums = [0.0, 0.0]

    def clock(_: Any) -> None:
        now = perf_counter()
        sums[0] += perf_counter() - now

    def write(_: Any) -> None:
        now = perf_counter()
        row[0] = now
        pwrite(file, row, 4096)
        sums[0] += perf_counter() - now

    return {EMPTY: lambda _: None, CLOCK: clock, ROW: write}


def measure(job: Job, name: str, number: int) -> Loop:
    """Once through the loop with the hooks of that name."""
    folder = Path(job.folder)
    loop, callbacks = loop_of(folder), stand_ins(folder)
    if name in callbacks:
        loop.callbacks["on_train_batch_end"] = [callbacks[name]]
    if name not in job.hooks:
        return Loop(name, run(loop, job))
    for module in [one for one in sys.modules if one.partition(".")[0] in PACKAGES]:
        del sys.modules[module]
    sys.path.insert(0, job.hooks[name])
    try:
        import yoloscope_hooks  # noqa: PLC0415 - of the folder

        return Loop(name, run(yoloscope_hooks.attach(loop, run=f"cold{number}"), job))
    finally:
        sys.path.remove(job.hooks[name])


def main() -> None:
    """The process of the loops."""
    job = Job(**json.loads(sys.argv[1]))
    sys.path[:0] = [str(ROOT)]
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    names = [BARE, EMPTY, CLOCK, ROW, *job.hooks]
    for number in range(job.rounds):
        for index, name in enumerate(names if number % 2 == 0 else names[::-1]):
            gc.collect()
            print("\nCOLD", json.dumps(measure(job, name, len(names) * number + index)), flush=True)


if __name__ == "__main__":
    main()
