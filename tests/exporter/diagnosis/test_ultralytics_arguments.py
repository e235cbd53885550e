"""What is said of Ultralytics' arguments is what the installed Ultralytics does: its own functions are asked."""

# ruff: noqa: PLC0415 - importing PyTorch takes seconds

from __future__ import annotations

import os
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.diagnosis import ultralytics_arguments as arguments

from tests import training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@cache
def theirs() -> SimpleNamespace:
    """Ultralytics' own functions, imported by the first test that asks: who only collects tests need not wait."""
    pytest.importorskip("ultralytics", reason="needs the extra train: make test installs it")
    from ultralytics import __version__
    from ultralytics.cfg import get_cfg
    from ultralytics.data import base, build, dataset
    from ultralytics.engine import trainer
    from ultralytics.utils import DEFAULT_CFG, checks, torch_utils

    return SimpleNamespace(
        version=__version__,
        get_cfg=get_cfg,
        DEFAULT_CFG=DEFAULT_CFG,
        base=base,
        build=build,
        dataset=dataset,
        trainer=trainer,
        checks=checks,
        EarlyStopping=torch_utils.EarlyStopping,
        attempt_compile=torch_utils.attempt_compile,
    )


def test_defaults_are_ultralytics_own() -> None:
    """An argument at its default is never advised."""
    assert {name: getattr(theirs().DEFAULT_CFG, name) for name in arguments.DEFAULTS} == dict(arguments.DEFAULTS)


def test_every_argument_with_an_effect_exists() -> None:
    """None is misspelt."""
    assert set(arguments.EFFECTS) <= set(vars(theirs().DEFAULT_CFG))


# --- workers ----------------------------------------------------------------------------------------------------------


class _Images:
    """As many images as asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("cpus", [1, 6, 16])
@pytest.mark.parametrize("gpus", [0, 1, 4])
@pytest.mark.parametrize("images", [3, 8, 12, 4000])
def test_workers_are_capped_as_ultralytics_caps_them(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: int, images: int
) -> None:
    """By CPUs over visible GPUs, and by the batches of an epoch; one batch has none."""
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    monkeypatch.setattr(
        theirs().build, "get_torch_device_backend", lambda _device: SimpleNamespace(device_count=lambda: gpus)
    )
    loader = theirs().build.build_dataloader(
        _Images(images), batch=4, workers=64, shuffle=True, pin_memory=False, device="cuda"
    )
    assert loader.num_workers == arguments.most_workers(cpus, gpus, len(loader))
    assert loader.num_workers <= arguments.most_workers(cpus, gpus, None)


def test_on_a_cpu_there_are_no_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is asked for."""
    assert _trainer(monkeypatch, tmp_path, workers=6).args.workers == 0


# --- optimisation -----------------------------------------------------------------------------------------------------


def _trainer(monkeypatch: pytest.MonkeyPatch, folder: Path, **overrides: Any) -> Any:
    """A trainer on the CPU, before it has a model or data."""
    monkeypatch.setattr(
        theirs().trainer.BaseTrainer, "get_dataset", lambda _self: {"train": "", "val": "", "nc": 1, "names": ["a"]}
    )
    settings = {"device": "cpu", "data": "none.yaml", "model": "yolo11n.yaml", "project": str(folder), **overrides}
    return theirs().trainer.BaseTrainer(overrides=settings)


class _Loader:
    """What `_build_train_pipeline` asks of a loader: ten batches."""

    drop_last = False

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.sampler = self.dataset = range(10 * batch_size)

    def __len__(self) -> int:
        return 10


def built(monkeypatch: pytest.MonkeyPatch, folder: Path, **overrides: Any) -> tuple[int, float]:
    """Images behind an optimizer step and the weight decay, by Ultralytics' own `_build_train_pipeline`."""
    trainer, seen = _trainer(monkeypatch, folder, epochs=1000, **overrides), {}
    trainer.stride, trainer.model = 32, None
    trainer.get_dataloader = lambda _path, batch_size, **_: _Loader(batch_size)
    trainer.build_optimizer = lambda **options: seen.update(options) or SimpleNamespace(param_groups=[])
    trainer._setup_scheduler = lambda: None
    trainer._build_train_pipeline()
    return trainer.batch_size * trainer.accumulate, seen["decay"]


@pytest.mark.parametrize(("batch", "nbs"), [(1, 64), (16, 64), (24, 64), (40, 64), (48, 64), (96, 64), (16, 100)])
def test_steps_and_decay_follow_from_batch_and_nbs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int, nbs: int
) -> None:
    """As Ultralytics computes them."""
    step, decay = built(monkeypatch, tmp_path, batch=batch, nbs=nbs)
    assert arguments.images_per_step(batch, nbs) == step
    assert arguments.decay(0.0005, batch, nbs) == pytest.approx(decay)


@pytest.mark.parametrize(
    ("now", "batch"), [(40, 20), (40, 8), (48, 24), (96, 48), (32, 16), (24, 18), (64, 64), (40, 80)]
)
def test_an_equal_optimisation_is_equal_in_ultralytics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: int, batch: int
) -> None:
    """Images per step and weight decay, before and after; `batch=32 nbs=64` for 40 raises the decay by two thirds."""
    beside = arguments.equal_optimisation(batch, now, 64, 0.0005)
    assert beside is not None
    before = built(monkeypatch, tmp_path, batch=now)
    assert built(monkeypatch, tmp_path, batch=batch, **beside) == pytest.approx(before)


def test_no_equal_optimisation_where_batches_do_not_add_up() -> None:
    """Steps of 80 images are not made of 24."""
    assert arguments.equal_optimisation(24, 40, 64, 0.0005) is None


def test_autobatch_is_refused_on_several_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And `rect` set back: neither is advised there."""
    trainer = _trainer(monkeypatch, tmp_path, batch=-1, rect=True)
    trainer.ddp, trainer.world_size = True, 2
    with pytest.raises(ValueError, match="AutoBatch"):
        trainer.train()
    assert trainer.args.rect is False


# --- caches -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 64 x 64 pixels: 12,288 bytes decoded."""
    return training.make_dataset(tmp_path_factory.mktemp("sizes") / "data", images=8, size=64)


def dataset(images: Path, **options: Any) -> Any:
    """Training images as Ultralytics loads them."""
    names = {0: "class0", 1: "class1"}
    folder = str(images.parent / "images" / "train")
    return theirs().dataset.YOLODataset(
        folder, data={"names": names, "channels": 3}, task="detect", augment=True, **options
    )


DECODED = 64 * 64 * 3


@pytest.mark.parametrize(("available", "cached"), [(2 * 8 * DECODED, "ram"), (2 * 8 * DECODED - 1, None)])
def test_a_ram_cache_may_take_its_share_of_memory(
    monkeypatch: pytest.MonkeyPatch, images: Path, available: int, cached: str | None
) -> None:
    """Twice its size must be free: the share of `CACHE_SHARE`."""
    import psutil

    memory = SimpleNamespace(available=available, total=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert dataset(images, imgsz=64, cache="ram").cache == cached
    assert (available * arguments.CACHE_SHARE >= 8 * DECODED) == (cached == "ram")


@pytest.mark.parametrize("free", [8 * DECODED + 1, int(8 * DECODED * arguments.DISK_MARGIN) + 1])
def test_a_disk_cache_needs_a_tenth_more(monkeypatch: pytest.MonkeyPatch, images: Path, free: int) -> None:
    """Of the images at their own size, however small imgsz is."""
    monkeypatch.setattr(theirs().base.shutil, "disk_usage", lambda _path: (free, 0, free))
    monkeypatch.setattr(theirs().base.BaseDataset, "cache_images", lambda _self: None)
    kept = dataset(images, imgsz=32, cache="disk").cache
    assert (kept == "disk") == (free >= 8 * DECODED * arguments.DISK_MARGIN)


def test_classification_caches_in_memory_without_asking_for_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the installed version; so its size has to be known before that is advised."""
    import psutil

    folder = training.make_dataset(tmp_path / "data", images=4, task="classify")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0, total=0))
    cached = theirs().dataset.ClassificationDataset(
        str(folder / "train"), theirs().get_cfg(overrides={"cache": "ram", "imgsz": 32}), augment=True
    )
    assert cached.cache_ram == arguments.caches_in_memory("classify", theirs().version)
    assert cached.img_cache[0].nbytes == DECODED, "kept at the images' own size"
    assert not arguments.caches_in_memory("classify", "8.4.2")
    assert not arguments.caches_in_memory("classify", "")
    assert arguments.caches_in_memory("detect", "8.3.9")


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_without_validation_nothing_stops_early() -> None:
    """`EarlyStopping` waits for a fitness that never comes; `patience` has no effect."""
    stopper: Callable[[int, Any], bool] = theirs().EarlyStopping(patience=1)
    assert not any(stopper(epoch, None) for epoch in range(1, 50))
    assert any(theirs().EarlyStopping(patience=1)(epoch, 0.5) for epoch in range(1, 2)) is False
    stopping = theirs().EarlyStopping(patience=2)
    assert [stopping(epoch, 0.5) for epoch in range(1, 5)] == [False, False, True, True]
    assert set(arguments.EFFECTS["val"]) == {"early stopping", "best.pt"}


def saved(monkeypatch: pytest.MonkeyPatch, folder: Path, scores: Sequence[float | None], **overrides: Any) -> Any:
    """The trainer after epochs with these scores, saved as Ultralytics saves them."""
    import torch

    trainer = _trainer(monkeypatch, folder, **overrides)
    trainer.model = torch.nn.Linear(1, 1)
    trainer.ema = SimpleNamespace(ema=trainer.model, updates=0)
    trainer.optimizer, trainer.scaler = torch.optim.SGD(trainer.model.parameters()), SimpleNamespace(state_dict=dict)
    trainer.stopper, trainer.metrics, trainer.best_fitness = theirs().EarlyStopping(), {}, None
    for epoch, score in enumerate(scores):
        trainer.epoch, trainer.fitness = epoch, score
        if score is not None:
            trainer.best_fitness = max(score, trainer.best_fitness or score)
        trainer.save_model()
    return trainer


def test_without_a_period_only_the_last_and_the_best_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So `save_period=-1` spares nothing but the checkpoints of a period: last.pt is written with every epoch."""
    default = saved(monkeypatch, tmp_path / "default", [0.1, 0.2, 0.3])
    assert sorted(path.name for path in default.wdir.iterdir()) == ["best.pt", "last.pt"]
    often = saved(monkeypatch, tmp_path / "often", [0.1, 0.2, 0.3], save_period=1)
    assert {path.name for path in often.wdir.iterdir()} > {"best.pt", "last.pt", "epoch1.pt", "epoch2.pt"}
    assert arguments.DEFAULTS["save_period"] == -1


def test_without_validation_the_best_is_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No epoch has a score, so that every one is as good as the best."""
    import torch

    def best(scores: Sequence[float | None]) -> int:
        trainer = saved(monkeypatch, tmp_path / str(len(list(tmp_path.iterdir()))), scores)
        return int(torch.load(trainer.best, weights_only=False)["epoch"])

    assert best([0.3, 0.2, 0.1]) == 0
    assert best([None, None, None]) == 2
    assert "best.pt" in arguments.EFFECTS["val"]


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
@pytest.mark.parametrize("passed", [True, False])
def test_amp_is_as_its_check_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, passed: bool) -> None:  # noqa: FBT001
    """After a failed check `amp=True` is still what was asked for, and asking again changes nothing."""
    import torch

    class EnoughError(Exception):
        """What follows is not looked at."""

    def enough(*_: Any, **__: Any) -> None:
        raise EnoughError

    trainer = _trainer(monkeypatch, tmp_path)
    trainer.args.amp, trainer.model = True, torch.nn.Linear(1, 1)
    trainer.setup_model = trainer.set_model_attributes = lambda: None
    trainer._build_train_pipeline = enough
    monkeypatch.setattr(theirs().trainer, "check_amp", lambda _model: passed)
    with pytest.raises(EnoughError):
        trainer._setup_train()
    assert (trainer.amp, trainer.args.amp) == (passed, True)


def test_amp_is_off_on_a_cpu_whatever_is_asked_for() -> None:
    """Its check says no there, so `amp=True` is not advised."""
    import torch

    assert theirs().checks.check_amp(torch.nn.Linear(1, 1)) is False


def test_rect_leaves_mosaic_out(images: Path) -> None:
    """So that `mosaic` means nothing beside it."""

    def mosaics(*, rect: bool) -> Sequence[str]:
        built = dataset(images, imgsz=64, rect=rect, batch_size=4, hyp=theirs().get_cfg(overrides={"mosaic": 1.0}))
        parts = getattr(built.transforms.transforms[0], "transforms", [])
        return [type(part).__name__ for part in parts if type(part).__name__ == "Mosaic" and part.p > 0]

    assert mosaics(rect=False)
    assert not mosaics(rect=True)


def test_compile_is_known_to_newer_versions_only() -> None:
    """Older ones end with an error about an argument they do not know; off, the model is what it was."""
    model = object()
    assert theirs().attempt_compile(model, device=None, mode=False) is model
    for name in arguments.SINCE:
        assert hasattr(theirs().DEFAULT_CFG, name)
        assert arguments.knows(theirs().version, name)
        assert not arguments.knows("8.3.9", name)
        assert not arguments.knows("", name)
    assert arguments.knows("8.3.9", "workers")
    with pytest.raises(SyntaxError):
        theirs().get_cfg(overrides={"compiled": True})


def test_accumulate_is_no_argument() -> None:
    """Gradients are accumulated by `nbs`; people ask for `accumulate=4`."""
    with pytest.raises(SyntaxError):
        theirs().get_cfg(overrides={"accumulate": 4})


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("ram", True, True),
        ("disk", True, False),
        (4, "4", True),
        (4, 4.0, True),
        (0.0005, "0.0005", True),
        (False, "None", True),
        ("SGD", "AdamW", False),
        (-1, "-1", True),
    ],
)
def test_values_are_compared_as_ultralytics_takes_them(
    one: arguments.Value,
    other: arguments.Value,
    equal: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A cache in RAM has two names, numbers have several spellings."""
    assert arguments.same(one, other) == equal
    assert arguments.same(other, one) == equal


def test_versions_are_numbers() -> None:
    """Compared as such; what is none is no version."""
    assert arguments.version_of("8.4.190") > arguments.version_of("8.4.21")
    assert arguments.version_of("8.4.190+local") == (8, 4, 190)
    assert arguments.version_of("unknown") == ()


def test_facts_become_the_values_that_they_were() -> None:
    """A text that is none stays a text: facts may say anything."""
    told = {"8": 8, "-1": -1, "0.5": 0.5, "1e-3": 0.001, "False": False, "ram": "ram", "--5": "--5", "": ""}
    assert {text: arguments.parsed(text) for text in told} == told
