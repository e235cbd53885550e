"""Makes a training a probe: it has no last epoch, and leaves nothing behind. Only for `yoloscope tune`.

Who started a probe kills it when enough was seen: nothing of the user's script after the training is run, and all ranks
end at once, without a collective. Its deadline ends it if nobody is left to do so. It is the one part of the hooks that
may raise, a SystemExit: a probe is no training that has to go on.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import zlib
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from yoloscope_record.probes import PROBE, WITHOUT_DISK_CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

#: Epochs that no probe comes to the end of: the last one always validates.
_ENDLESS = 1 << 30
#: When this process became a probe.
_BEGUN = monotonic()


def watch_trainer(module: Any) -> None:
    """After `ultralytics.engine.trainer` was executed."""
    _guarded(_watch_trainer, module)


def watch_dataset(module: Any) -> None:
    """After `ultralytics.data.dataset` was executed: labels are cached in the probe's folder."""
    _guarded(_watch_dataset, module)


def watch_launcher(module: Any) -> None:
    """After `ultralytics.utils.dist` was executed: what starts the ranks lies in the probe's folder."""
    _guarded(_watch_launcher, module)


def _guarded(function: Callable[[Any, dict[str, Any]], None], module: Any) -> None:
    """Call it for a probe. What cannot be made one is ended: it would write into the user's folders."""
    try:
        settings = json.loads(os.environ.get(PROBE) or "{}")
        if settings:
            function(module, settings)
    except Exception as error:
        raise SystemExit(f"yoloscope: this training cannot be made a probe: {error!r}") from error


def _watch_launcher(module: Any, settings: dict[str, Any]) -> None:
    module.USER_CONFIG_DIR = Path(settings["folder"])


def _watch_trainer(module: Any, settings: dict[str, Any]) -> None:
    trainer_class = module.BaseTrainer
    begin, check, train = trainer_class.__init__, trainer_class.check_resume, trainer_class.train
    if hasattr(signal, "alarm"):  # not on Windows
        signal.alarm(int(max(_left(settings), 0.0)) + 2)  # kills a process that comes to no batch
    module.callbacks.add_integration_callbacks = lambda _instance: None  # loggers would open a run for each probe

    @functools.wraps(begin)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        for event in (on_train_start, on_train_batch_end):
            listed = self.callbacks.setdefault(event.__name__, [])
            if event not in listed:  # a rank may have its parent's
                listed.append(event)
        self.get_dataloader = functools.partial(_without_validation_cache, self, self.get_dataloader)

    @functools.wraps(check)
    def check_resume(self: Any, *args: Any, **kwargs: Any) -> None:
        check(self, *args, **kwargs)
        if str(getattr(self.args, "cache", "")).lower() == "disk":
            self.args.cache = False
            (Path(settings["folder"]) / WITHOUT_DISK_CACHE).touch()

    @functools.wraps(train)
    def train_and_exit(self: Any, *args: Any, **kwargs: Any) -> None:
        train(self, *args, **kwargs)
        raise SystemExit(0)

    trainer_class.__init__, trainer_class.check_resume, trainer_class.train = init, check_resume, train_and_exit
    if hasattr(trainer_class, "_handle_nan_recovery"):  # there is no checkpoint to go back to
        trainer_class._handle_nan_recovery = lambda _self, _epoch: False  # noqa: SLF001


def _without_validation_cache(trainer: Any, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A loader; images of validation are not cached, because no probe validates."""
    if "val" not in (*args[1:], kwargs.get("mode")):
        return build(*args, **kwargs)
    asked, trainer.args.cache = trainer.args.cache, False
    try:
        return build(*args, **kwargs)
    finally:
        trainer.args.cache = asked


def on_train_start(trainer: Any) -> None:
    """No last epoch, and mosaic as it was in the first; what depends on the number of epochs has been made by now."""
    with suppress(Exception):
        closed = trainer.args.close_mosaic
        if closed and trainer.start_epoch >= trainer.epochs - closed:
            trainer.args.close_mosaic = _ENDLESS
        trainer.epochs = _ENDLESS


def on_train_batch_end(_trainer: Any) -> None:
    """The one callback of the hooks that raises: SystemExit, when whoever started the probe must be gone."""
    with suppress(Exception):
        if _left(json.loads(os.environ[PROBE])) < 0.0:
            raise SystemExit(0)


def _left(settings: dict[str, Any]) -> float:
    """Seconds that the probe may go on: another node's clock may be far behind the one that the deadline is of."""
    return float(min(settings["deadline"], _BEGUN + settings["seconds"])) - monotonic()


def _watch_dataset(module: Any, settings: dict[str, Any]) -> None:
    load, save = module.load_dataset_cache_file, module.save_dataset_cache_file

    def own(path: Any) -> Path:
        return Path(settings["folder"]) / f"{zlib.crc32(os.fsencode(str(path))):08x}-{Path(path).name}"

    @functools.wraps(load)
    def load_dataset_cache_file(path: Any) -> Any:
        return load(own(path) if own(path).exists() else path)

    @functools.wraps(save)
    def save_dataset_cache_file(prefix: str, path: Any, *args: Any, **kwargs: Any) -> Any:
        return save(prefix, own(path), *args, **kwargs)

    module.load_dataset_cache_file, module.save_dataset_cache_file = load_dataset_cache_file, save_dataset_cache_file
