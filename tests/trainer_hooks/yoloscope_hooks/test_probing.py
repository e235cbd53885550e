"""A probe has no last epoch, writes nothing beside the user's data, and ends by itself when nobody ends it."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import probing
from yoloscope_record.probes import WITHOUT_DISK_CACHE


@pytest.fixture
def probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a probe that has a minute left."""
    monkeypatch.setattr(probing, "_BEGUN", time.monotonic())
    monkeypatch.setenv("YOLOSCOPE_PROBE", settings(str(tmp_path), 60))
    monkeypatch.setattr("signal.alarm", ALARMS.append)
    return tmp_path


def settings(folder: str, left: float, seconds: float = 600) -> str:
    """What the environment of a probe says: its deadline on the clock of the node that tunes, and seconds."""
    return json.dumps({"folder": folder, "deadline": time.monotonic() + left, "seconds": seconds})


#: Seconds after which the process would be killed, had each test not taken its alarm away.
ALARMS: list[int] = []


def engine() -> Any:
    """What stands in ultralytics.engine.trainer."""

    class BaseTrainer:
        def __init__(self, callbacks: Any = None, *, cache: object = None) -> None:
            self.callbacks = callbacks or {"on_train_start": []}
            self.trained = False
            self.args = SimpleNamespace(cache=cache)
            self.check_resume({})

        def check_resume(self, overrides: Any) -> None:
            """Nothing is resumed."""

        def get_dataloader(self, path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> object:
            return self.args.cache

        def train(self) -> None:
            self.trained = True

        def _handle_nan_recovery(self, epoch: int) -> bool:
            raise RuntimeError("no last.pt")

    def integrate(_trainer: Any) -> None:
        raise AssertionError("a logger has opened a run")

    return SimpleNamespace(BaseTrainer=BaseTrainer, callbacks=SimpleNamespace(add_integration_callbacks=integrate))


def test_a_trainer_is_made_a_probe(probed: Path) -> None:
    """Loggers stay out, NaN is no reason to look for a checkpoint, and what follows the training is not run."""
    module = engine()
    ALARMS.clear()
    probing.watch_trainer(module)
    assert ALARMS in ([61], [62])  # a training that hangs before its first batch ends, too
    module.callbacks.add_integration_callbacks(None)
    trainer = module.BaseTrainer()
    assert trainer._handle_nan_recovery(3) is False
    with pytest.raises(SystemExit) as ended:
        trainer.train()
    assert ended.value.code == 0
    assert trainer.trained


@pytest.mark.parametrize(("cache", "kept"), [("disk", False), ("ram", "ram"), (True, True), (None, None)])
def test_no_images_are_written_beside_the_users(probed: Path, cache: object, kept: object) -> None:
    """A cache on disk is left out, and whoever started the probe is told."""
    module = engine()
    probing.watch_trainer(module)
    assert module.BaseTrainer(cache=cache).args.cache == kept
    assert (probed / WITHOUT_DISK_CACHE).exists() is (cache == "disk")


def test_images_of_validation_are_not_cached(probed: Path) -> None:
    """A probe does not validate; those it trains with are cached as they were asked to be."""
    module = engine()
    probing.watch_trainer(module)
    trainer = module.BaseTrainer(cache="ram")
    assert trainer.get_dataloader("images", batch_size=16, rank=-1, mode="train") == "ram"
    assert trainer.get_dataloader("images", batch_size=16, rank=-1, mode="val") is False
    assert trainer.get_dataloader("images", 16, -1, "val") is False
    assert trainer.args.cache == "ram"


def test_a_rank_has_each_callback_once(probed: Path) -> None:
    """They come from its parent by reference."""
    module = engine()
    probing.watch_trainer(module)
    parent = module.BaseTrainer()
    rank = module.BaseTrainer(pickle.loads(pickle.dumps(parent.callbacks)))
    assert rank.callbacks == {
        "on_train_start": [probing.on_train_start],
        "on_train_batch_end": [probing.on_train_batch_end],
    }


@pytest.mark.parametrize(("epochs", "closing", "closed"), [(100, 10, False), (5, 10, True), (5, 0, False)])
def test_there_is_no_last_epoch(epochs: int, closing: int, *, closed: bool) -> None:
    """And mosaic is on or off as it is in the first."""
    trainer = SimpleNamespace(epochs=epochs, start_epoch=0, args=SimpleNamespace(close_mosaic=closing))
    probing.on_train_start(trainer)
    assert trainer.epochs > 10**6
    assert (trainer.start_epoch >= trainer.epochs - trainer.args.close_mosaic) is closed


def test_it_ends_by_itself_after_the_deadline(probed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before it, and never because of what it cannot read."""
    probing.on_train_batch_end(None)
    monkeypatch.setenv("YOLOSCOPE_PROBE", "nonsense")
    probing.on_train_batch_end(None)
    monkeypatch.setenv("YOLOSCOPE_PROBE", settings("", -1))
    with pytest.raises(SystemExit):
        probing.on_train_batch_end(None)


def test_it_ends_on_a_node_whose_clock_is_far_behind(probed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the deadline is days away: the seconds that were left count."""
    monkeypatch.setenv("YOLOSCOPE_PROBE", settings(str(probed), left=1e6, seconds=90))
    ALARMS.clear()
    probing.watch_trainer(engine())
    assert ALARMS in ([91], [92])
    probing.on_train_batch_end(None)
    monkeypatch.setattr(probing, "_BEGUN", time.monotonic() - 91)
    with pytest.raises(SystemExit):
        probing.on_train_batch_end(None)


def test_labels_are_cached_in_its_folder(probed: Path) -> None:
    """A cache of the user's is read, and never written; the probe's own is read before it."""
    stored: dict[str, Any] = {"/data/labels/train.cache": "the user's"}

    def save(prefix: str, path: Path, content: Any, version: str) -> None:
        path.touch()
        stored[str(path)] = content

    module = SimpleNamespace(load_dataset_cache_file=lambda path: stored[str(path)], save_dataset_cache_file=save)
    probing.watch_dataset(module)
    path = Path("/data/labels/train.cache")
    assert module.load_dataset_cache_file(path) == "the user's"
    module.save_dataset_cache_file("train: ", path, "the probe's", "1.0.3")
    assert module.load_dataset_cache_file(path) == "the probe's"
    assert stored[str(path)] == "the user's"
    assert [file.name[9:] for file in probed.iterdir()] == ["train.cache"]
    with pytest.raises(KeyError):
        module.load_dataset_cache_file(Path("/data/labels/val.cache"))


def test_the_launcher_writes_into_its_folder(probed: Path) -> None:
    """Ultralytics starts its ranks from a file in the folder of its settings."""
    module = SimpleNamespace(USER_CONFIG_DIR=Path("/home/somebody/.config/Ultralytics"))
    probing.watch_launcher(module)
    assert probed == module.USER_CONFIG_DIR


@pytest.mark.parametrize("text", ["", "{}"])
def test_without_a_probe_nothing_is_touched(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing raised."""
    monkeypatch.setenv("YOLOSCOPE_PROBE", text)
    module = SimpleNamespace(USER_CONFIG_DIR=Path("/home"))
    probing.watch_launcher(module)
    assert Path("/home") == module.USER_CONFIG_DIR


@pytest.mark.parametrize("text", ["nonsense", '{"deadline": 1}'])
def test_what_cannot_be_made_a_probe_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would write into the user's folders."""
    monkeypatch.setenv("YOLOSCOPE_PROBE", text)
    with pytest.raises(SystemExit, match="cannot be made a probe"):
        probing.watch_launcher(SimpleNamespace())
