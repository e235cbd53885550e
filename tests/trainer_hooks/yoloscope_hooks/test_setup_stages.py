"""Where the set-up's time goes, in a loop with Ultralytics' functions and without Ultralytics."""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import setup_stages
from yoloscope_record.reader import Reader, Record

from tests.trainer_hooks.loop import Loader, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SLEEP = 0.02


def bar(items: Iterable[Any] | None, desc: str = "", total: int | None = None) -> Iterator[Any]:
    """Ultralytics' progress bar, as far as its data sets know it."""
    del desc, total
    return iter(items or ())


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Ultralytics' modules whose names are replaced for a time."""
    made = {name: ModuleType(name) for name in (setup_stages._TRAINER_MODULE, *setup_stages._BARS)}
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
        if name in setup_stages._BARS:
            vars(module)["TQDM"] = bar
    vars(made[setup_stages._TRAINER_MODULE]).update(
        check_amp=lambda _model: time.sleep(SLEEP) is None, check_train_batch_size=lambda **_: time.sleep(SLEEP) or 16
    )
    return made


class Building(Loop):
    """A loop with a set-up: what is called in it stands in `order`, by name and stage seen in between."""

    def __init__(self, folder: Path, modules: dict[str, ModuleType]) -> None:
        """`modules` are those of the fixture."""
        super().__init__(folder)
        self.modules, self.order = modules, [("", "")]
        self.labels, self.images = range(3), range(3)
        self.between: Callable[[], None] = lambda: None
        self.order.clear()

    def note(self, name: str) -> None:
        """Spend some time."""
        time.sleep(SLEEP)
        recorder = getattr(self, "_yoloscope", None)
        self.order.append((name, recorder.setup._stage if recorder else ""))

    def _setup_ddp(self) -> None:
        self.note("ddp")

    def setup_model(self) -> None:
        """Load weights."""
        self.get_model()
        self.note("setup_model")

    def get_model(self) -> None:
        """Build it."""
        self.note("get_model")

    def auto_batch(self) -> int:
        """Needs a data set of its own."""
        self.build_dataset()
        return int(self._trainer().check_train_batch_size(model=None))

    def get_dataloader(self) -> Loader:
        """A data set, and its loader."""
        self.build_dataset()
        self.between()
        self.note("get_dataloader")
        return self.train_loader

    def build_dataset(self) -> None:
        """Read labels, cache images."""
        self.note("build_dataset")
        data = "ultralytics.data."
        for module, items in ((f"{data}dataset", self.labels), (f"{data}base", self.images)):
            for _ in vars(self.modules[module])["TQDM"](items, desc="", total=len(items)):
                self.note(module)
        self.note("built")

    def _trainer(self) -> Any:
        return self.modules[setup_stages._TRAINER_MODULE]

    def train(self) -> None:
        """The set-up between its two events."""
        try:
            self.run("on_pretrain_routine_start")
            self._setup_ddp()
            self.setup_model()
            self._trainer().check_amp(None)
            self.auto_batch()
            self.get_dataloader()
            self.run("on_pretrain_routine_end")
            self.note("ready")
            self.run("on_train_start")
            self.train_epoch()
        finally:
            self.run("teardown")


def read() -> tuple[Record, dict[tuple[str, ...], Any]]:
    """The record, and its series by name and own labels."""
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    record = Reader(path).read()
    return record, {(s.metric.name.removeprefix("yoloscope_train_"), *s.labels[2:]): s.value for s in record.samples}


def test_each_stage(tmp_path: Path, modules: dict[str, ModuleType]) -> None:
    """Each call is in its stage, one within another too, and the stages add up to the phase."""
    loop = yoloscope_hooks.attach(Building(tmp_path, modules))
    before = {name: dict(vars(module)) for name, module in modules.items()}
    loop.train()
    of_data = [("build_dataset", "scan"), *[("ultralytics.data.dataset", "scan")] * 3]
    of_data += [*[("ultralytics.data.base", "cache")] * 3, ("built", "scan")]
    first = [("ddp", "ddp"), ("get_model", "model"), ("setup_model", "model")]
    assert loop.order == [*first, *of_data, *of_data, ("get_dataloader", "loader"), ("ready", "other")]
    record, seen = read()
    spent = {key[1]: value for key, value in seen.items() if key[0] == "setup_seconds_total"}
    assert sum(spent.values()) == pytest.approx(seen["phase_seconds_total", "setup"], abs=1e-9)
    calls = {"ddp": 1, "model": 2, "amp_check": 1, "autobatch": 1, "scan": 10, "cache": 6, "loader": 1, "other": 1}
    for stage, count in calls.items():
        assert spent[stage] >= count * SLEEP
    assert not {key[0] for key in seen} & {"setup_stage", "setup_progress_ratio"}
    assert {name: dict(vars(module)) for name, module in modules.items()} == before
    assert seen["hook_errors_total",] == 0
    assert record.state == "finished"


def test_only_a_module_without_progress_bars(tmp_path: Path, modules: dict[str, ModuleType]) -> None:
    """A version that has none of the functions, or bars under another name: the methods tell what they can."""
    loop = yoloscope_hooks.attach(Loop(tmp_path))
    for module in modules.values():
        for name in ("TQDM", "check_amp", "check_train_batch_size"):
            vars(module).pop(name, None)
    loop.train()
    _, seen = read()
    assert (seen["hook_errors_total",], seen["batches_total",]) == (0, 3)
    assert seen["setup_seconds_total", "other"] == seen["phase_seconds_total", "setup"] > 0


def test_progress(tmp_path: Path, modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the items that are done, written at most twice a second."""
    loop = yoloscope_hooks.attach(Building(tmp_path, modules))
    loop.labels, loop.images = range(1000), range(5)
    seen: list[float] = []

    def note(name: str) -> None:
        stages = loop._yoloscope.setup  # type: ignore[attr-defined]
        if name == "ultralytics.data.dataset":
            seen.append(stages._values[stages._progress])

    clock = iter(range(1000, 1_000_000))
    monkeypatch.setattr(setup_stages, "perf_counter", lambda: next(clock) * 0.05)
    monkeypatch.setattr(loop, "note", note)
    loop.run("on_pretrain_routine_start")
    recorder = loop._yoloscope  # type: ignore[attr-defined]
    notes: list[str] = []
    recorder.setup._note = lambda: notes.append("")
    loop.build_dataset()
    assert seen == sorted(seen)
    assert (seen[0], 0.9 < seen[-1] < 1.0) == (0.0, True)
    assert len(set(seen)) == pytest.approx(1000 * 0.05 / setup_stages.PERIOD, rel=0.3)
    assert len(notes) < len(set(seen)) + 10
    loop.run("teardown")


def test_stage_of_a_failure(tmp_path: Path, modules: dict[str, ModuleType]) -> None:
    """A set-up that raises leaves the stage in which it did, and all of Ultralytics as it was."""
    loop = yoloscope_hooks.attach(Building(tmp_path, modules))
    before = {name: dict(vars(module)) for name, module in modules.items()}

    def fail() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    class Labels:
        __len__ = lambda _self: 3  # noqa: E731
        __iter__ = lambda _self: fail()  # noqa: E731

    loop.images = Labels()  # type: ignore[assignment]
    with pytest.raises(OSError, match="the disk is gone"):
        loop.train()
    record, seen = read()
    assert (record.state, record.facts["exception"]) == ("failed", "OSError")
    assert [key[1] for key in seen if key[0] == "setup_stage"] == ["cache"]
    assert {name: dict(vars(module)) for name, module in modules.items()} == before
    assert not [name for name in setup_stages._METHODS if name in vars(loop)]


def test_somebody_else_wraps_what_we_have(tmp_path: Path, modules: dict[str, ModuleType]) -> None:
    """Their wrapper stays where it is, and what is called through it later is no set-up."""
    loop = yoloscope_hooks.attach(Building(tmp_path, modules))
    module = modules[setup_stages._TRAINER_MODULE]
    theirs: dict[str, Any] = {}

    def wrap() -> None:
        theirs["inner"] = vars(module)["check_amp"]
        theirs["check_amp"] = vars(module)["check_amp"] = functools.partial(theirs["inner"])
        theirs["get_dataloader"] = loop.get_dataloader = functools.partial(loop.get_dataloader)  # type: ignore[method-assign]

    loop.between = wrap
    rebuild = lambda _trainer: (module.check_amp(None), loop.get_dataloader())  # noqa: E731 - as after an OOM
    loop.callbacks["on_train_epoch_end"].append(rebuild)
    loop.train()
    assert vars(module)["check_amp"] is theirs["check_amp"]
    assert vars(loop)["get_dataloader"] is theirs["get_dataloader"]
    record, seen = read()
    assert (record.state, seen["batches_total",], seen["hook_errors_total",]) == ("finished", 3, 0)
    assert seen["setup_seconds_total", "amp_check"] < 2 * SLEEP


def test_rank_that_is_seen_late(tmp_path: Path) -> None:
    """A rank whose first event comes after its set-up knows of no stages."""
    loop = yoloscope_hooks.attach(Loop(tmp_path))
    loop.callbacks["on_pretrain_routine_start"].clear()
    loop.train()
    _, seen = read()
    assert [key[1] for key in seen if key[0] == "setup_seconds_total"] == ["other"]
