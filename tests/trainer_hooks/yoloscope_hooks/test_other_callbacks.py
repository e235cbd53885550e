"""Other people's callbacks are timed by name, and nobody can tell."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import other_callbacks
from yoloscope_hooks.other_callbacks import NAMED_FROM, NAMES, OTHERS, OtherCallbacks, Timed, lists_of, name_of, restore
from yoloscope_record.file_format import Identity
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests.trainer_hooks.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

WHO = ("run", "0")
HERE = __name__


def log(_: object) -> str:
    """Somebody's callback."""
    return "logged"


class Logger:
    """Callbacks that are no functions."""

    def log(self, _: object) -> None:
        """A bound method."""

    def __call__(self, _: object) -> None:
        """An object that can be called."""


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """Of a record."""
    return Writer(tmp_path / "run" / "rank-0.rec", Identity(*WHO))


def seconds(path: Path, name: str = "callback_seconds_total") -> dict[str, float]:
    """Time, or another series, by callback."""
    samples = Reader(path).read().samples
    return {s.labels[2]: s.value for s in samples if s.metric.name == f"yoloscope_train_{name}"}  # type: ignore[misc]


def test_looks_like_the_callback(writer: Writer) -> None:
    """Comparisons, hashes, attributes, pickles and copies are those of the callback itself."""
    lists: dict[str, list[Any]] = defaultdict(list, on_train_end=[log, Logger().log])
    with closing(writer):
        others = OtherCallbacks(writer, WHO)
        others.install(lists, {}, {})
        others.install(lists, {}, {})  # with every epoch
        timed, method = lists["on_train_end"]
        assert isinstance(timed, Timed)
        assert timed(None) == "logged"
        assert timed.calls == 1
        assert timed == log
        assert log in lists["on_train_end"]
        assert timed != method
        assert hash(timed) == hash(log)
        assert (timed.__name__, timed.__module__, timed.__wrapped__) == ("log", HERE, log)  # type: ignore[attr-defined]
        assert type(method.__self__) is Logger
        assert pickle.loads(pickle.dumps(timed)) is log
        assert copy.deepcopy(lists)["on_train_end"][0] is log
        lists["on_train_end"].remove(log)
        assert lists["on_train_end"] == [method]
        restore(lists)
        assert not isinstance(lists["on_train_end"][0], Timed)


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        (log, f"{HERE}.log"),
        (Logger().log, f"{HERE}.Logger.log"),
        (Logger(), f"{HERE}.Logger"),
        (functools.partial(functools.partial(log), 1), f"{HERE}.log"),
        (lambda _: None, f"{HERE}.<lambda>:{log.__code__.co_firstlineno + 59}"),
        (print, "builtins.print"),
    ],
)
def test_names(callback: Callable[..., Any], name: str) -> None:
    """A name by which people find it."""
    assert name_of(callback) == name


def test_what_does_nothing_is_not_timed(writer: Writer) -> None:
    """As Ultralytics' own callbacks, with which each list begins: a clock around them costs more than they."""

    def nothing(_: object) -> None:
        """Only this."""

    lists: dict[str, list[Any]] = {"on_train_end": [nothing, log, print]}
    with closing(writer):
        OtherCallbacks(writer, WHO).install(lists, {}, {})
    assert lists["on_train_end"][0] is nothing
    assert [type(one) for one in lists["on_train_end"][1:]] == [Timed, Timed]


def test_exceptions_pass(writer: Writer) -> None:
    """What a callback raises is the training's business, and its time is counted all the same."""
    with closing(writer):
        others = OtherCallbacks(writer, WHO)
        lists: dict[str, list[Any]] = {"on_train_end": [lambda _: 1 / 0]}
        others.install(lists, {}, {})
        with pytest.raises(ZeroDivisionError):
            lists["on_train_end"][0](None)
        before = others.spent(time.perf_counter())
        assert 0.0 < before == others.spent(time.perf_counter())  # it is over


def test_one_inside_another(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that causes another is not charged with the other's time, and all of it is counted once."""
    clock = {"now": 100.0}
    monkeypatch.setattr(other_callbacks, "perf_counter", lambda: clock["now"])

    def take(seconds: float) -> None:
        clock["now"] += seconds

    inner = Timed(lambda: take(0.1), (others := OtherCallbacks(writer, WHO)))

    def cause() -> None:
        take(0.01)
        inner()

    outer = Timed(cause, others)
    outer()
    writer.close()
    assert others.spent(clock["now"]) == pytest.approx(0.11)
    assert (inner.seconds, outer.seconds) == pytest.approx((0.1, 0.01))


def test_few_names(writer: Writer) -> None:
    """Only slow ones get a name, eight at most; all of the time is somewhere."""
    others = OtherCallbacks(writer, WHO)
    lists: dict[str, list[Any]] = {"e": []}
    for index in range(NAMES + 3):
        callback = functools.partial(log)
        lists["e"].append(callback)
        others.install(lists, {}, {})
        lists["e"][-1].name = f"logger{index}"
    for _ in range(2):
        for index, timed in enumerate(lists["e"]):
            timed.seconds, timed.calls = (NAMED_FROM / 4 if index == 0 else 1.0), 1
        others.store()
    writer.end(0.0)
    writer.close()
    found, calls = seconds(writer.path), seconds(writer.path, "callback_calls_total")
    assert set(found) == {OTHERS, *(f"logger{index}" for index in range(1, NAMES + 1))}
    assert sum(found.values()) == pytest.approx(2 * (NAMES + 2) + NAMED_FROM / 2)
    assert sum(calls.values()) == 2 * (NAMES + 3)


def test_every_list_once() -> None:
    """A validator has its trainer's lists, or lists of its own."""
    trainer, other = Loop(Path()), Loop(Path())
    trainer.validator = trainer  # type: ignore[attr-defined]
    assert list(lists_of(trainer)) == [trainer.callbacks]
    trainer.validator = other  # type: ignore[attr-defined]
    assert [lists is one.callbacks for lists, one in zip(lists_of(trainer), (trainer, other), strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("first", [True, False])
def test_around_a_step(tmp_path: Path, *, first: bool) -> None:
    """Callbacks before and after ours, at both ends of a batch, are no part of the step, and all adds up."""
    loop = Loop(tmp_path, epochs=2, batches=12)
    nap: Callable[[Any], None] = lambda _: time.sleep(0.01)  # noqa: E731 - to have a lambda's name
    late: Callable[[Any], None] = lambda _: time.sleep(0.002)  # noqa: E731
    for event in ("on_train_batch_start", "on_train_batch_end"):
        loop.callbacks[event] = [nap] if first else []
    yoloscope_hooks.attach(loop)
    for event in ("on_train_batch_start", "on_train_batch_end"):
        loop.callbacks[event] += [] if first else [nap]

    def add_late(trainer: Loop) -> None:
        if trainer.epoch == 0:
            trainer.callbacks["on_train_batch_end"].append(late)

    loop.callbacks["on_train_epoch_end"].append(add_late)
    loop.train()
    for entries in loop.callbacks.values():
        assert not any(isinstance(entry, Timed) for entry in entries)
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    samples = Reader(path).read().samples
    phases = {s.labels[2]: s.value for s in samples if s.metric.name == "yoloscope_train_phase_seconds_total"}
    values: dict[str, Any] = {s.metric.name.removeprefix("yoloscope_train_"): s.value for s in samples}
    wall = values["end_timestamp_seconds"] - values["start_timestamp_seconds"]
    assert sum(phases.values()) == pytest.approx(wall, abs=0.1)  # type: ignore[arg-type]
    assert 2 * 24 * 0.01 + 12 * 0.002 <= phases["callbacks"] < wall  # type: ignore[operator]
    for other in ("step_seconds", "data_wait_seconds"):  # with a nap of each batch it would be more
        assert values[other].sum < 24 * 0.01
    found, calls = seconds(path), seconds(path, "callback_calls_total")
    assert sum(found.values()) == pytest.approx(phases["callbacks"], rel=0.01)
    (named,) = (name for name in found if name.endswith(f"<lambda>:{nap.__code__.co_firstlineno}"))
    assert calls[named] >= 2 * 24 - 8  # the first ones went to the others
    assert any(name.endswith(f"<lambda>:{late.__code__.co_firstlineno}") for name in found)
