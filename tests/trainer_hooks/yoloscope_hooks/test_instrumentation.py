"""What is put around a trainer's own calls."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import instrumentation
from yoloscope_hooks.step_clock import ARRIVED, COPY, FORWARD, PREPARE

if TYPE_CHECKING:
    from collections.abc import Callable

    Batch = dict[str, Any]


class Tensor:
    """Somewhere."""

    def __init__(self, device: str = "cpu") -> None:
        """On the host."""
        self.device = device

    def to(self, device: str) -> Tensor:
        """Somewhere else."""
        return Tensor(device)

    def __len__(self) -> int:
        """Images."""
        return 4


class Seen:
    """Marks, of which their order is looked at."""

    def __init__(self, seen: list[int]) -> None:
        """`seen` gets them."""
        self.seen = seen

    def __setitem__(self, mark: int, _now: float) -> None:
        """One."""
        self.seen.append(mark)


def newest(batch: Batch) -> Batch:
    """As Ultralytics 8.4 does it: all copies, then the rest."""
    for key, value in batch.items():
        if isinstance(value, Tensor):
            batch[key] = value.to("cuda:0")
    batch["img"] = Tensor(batch["img"].device)
    return batch


def oldest(batch: Batch) -> Batch:
    """As Ultralytics 8.3.9 does it."""
    batch["img"] = batch["img"].to("cuda:0")
    return batch


def work_before(batch: Batch) -> Batch:
    """A user's own: something on the host first, with the same images."""
    batch["img"] = Tensor(batch["img"].device)
    return newest(batch)


def another(batch: Batch) -> Batch:
    """A new batch: nobody sees its images arrive."""
    return {**batch, "img": batch["img"].to("cuda:0")}


@pytest.mark.parametrize(
    ("function", "marks"),
    [
        (newest, [PREPARE, COPY, ARRIVED, FORWARD]),
        (oldest, [PREPARE, COPY, ARRIVED, FORWARD]),
        (work_before, [PREPARE, COPY, COPY, ARRIVED, FORWARD]),
        (another, [PREPARE, COPY, FORWARD]),
    ],
)
def test_copies_to_the_device(function: Callable[[Batch], Batch], marks: list[int]) -> None:
    """The images' way is marked, and what goes in and comes out is what it was."""
    seen: list[int] = []
    types: list[type] = []

    def preprocess_batch(batch: Batch) -> Batch:
        types.append(type(pickle.loads(pickle.dumps(batch))))
        return function(batch)

    batches = SimpleNamespace(clock=SimpleNamespace(marks=Seen(seen), on_device=True), images=0)
    recorder = SimpleNamespace(batches=batches)
    trainer = SimpleNamespace(preprocess_batch=preprocess_batch)
    instrumentation.install(trainer, recorder)  # type: ignore[arg-type]
    given: Batch = {"im_file": ["a"], "img": Tensor(), "cls": Tensor()}
    result = trainer.preprocess_batch(given)
    assert seen == marks
    assert types == [type(result)] == [dict]
    assert (result is given) == (function is not another)
    assert [getattr(value, "device", None) for value in result.values()][:2] == [None, "cuda:0"]
    assert batches.images == 4
    instrumentation.restore(trainer)
    assert trainer.preprocess_batch is preprocess_batch


def test_no_copies_on_a_cpu() -> None:
    """There the batch is handed on as it is."""
    seen: list[int] = []
    batches = SimpleNamespace(clock=SimpleNamespace(marks=Seen(seen), on_device=False), images=0)
    recorder = SimpleNamespace(batches=batches)
    trainer = SimpleNamespace(preprocess_batch=lambda batch: batch)
    instrumentation.install(trainer, recorder)  # type: ignore[arg-type]
    given: Batch = {"img": Tensor()}
    assert trainer.preprocess_batch(given) is given
    assert seen == [PREPARE, FORWARD]
