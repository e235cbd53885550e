"""Makes a training a probe: it ends after some batches, and leaves nothing behind. Only for `yoloscope tune`.

`YOLOSCOPE_PROBE` is a JSON object: `labels`, the folder of what Ultralytics would write beside the user's data;
`stop`, a file; and `deadline` of the monotonic clock, so that a probe ends even if nobody is left to end it. Who
started it writes into that file after how many batches it ends; every rank reads it after every batch and ends by
itself, all after the same one, without a collective. The end is a SystemExit from the last batch: Ultralytics'
`finally` clauses run, what the user's script does after its training does not.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import zlib
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "YOLOSCOPE_PROBE"
_ATTRIBUTE = "_yoloscope_probe"
#: Epochs that no probe comes to the end of: the last one always validates.
_ENDLESS = 1 << 30
_log = logging.getLogger("yoloscope")


class ProbeOver(SystemExit):
    """The probe has seen enough; for Python it is an exit with code 0."""


class Probe:
    """What a trainer knows of its probe."""

    def __init__(self, stop: str, deadline: float) -> None:
        """`deadline` is a time of the monotonic clock."""
        self._stop, self._deadline = stop, deadline
        self._batches = 0

    def is_over(self) -> bool:
        """After one more batch."""
        self._batches += 1
        try:
            with open(self._stop, "rb") as file:  # noqa: PTH123
                return self._batches >= int(file.read() or b"0")
        except (OSError, ValueError):  # not asked for yet
            return monotonic() > self._deadline


def watch_trainer(module: Any) -> None:
    """After `ultralytics.engine.trainer` was executed. Never raises."""
    _guarded(_watch_trainer, module)


def watch_dataset(module: Any) -> None:
    """After `ultralytics.data.dataset` was executed: labels are cached in the probe's folder. Never raises."""
    _guarded(_watch_dataset, module)


def _guarded(function: Callable[[Any, dict[str, Any]], None], module: Any) -> None:
    try:
        settings = json.loads(os.environ.get(VARIABLE) or "{}")
        if settings:
            function(module, settings)
    except Exception as error:
        _log.warning("yoloscope: this training is no probe: %r", error)


def _watch_trainer(module: Any, settings: dict[str, Any]) -> None:
    trainer_class = module.BaseTrainer
    begin, train = trainer_class.__init__, trainer_class.train
    module.callbacks.add_integration_callbacks = lambda _instance: None  # loggers would open a run for each probe

    @functools.wraps(begin)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        setattr(self, _ATTRIBUTE, Probe(settings["stop"], settings["deadline"]))
        begin(self, *args, **kwargs)
        for event in (on_train_start, on_train_batch_end):
            listed = self.callbacks.setdefault(event.__name__, [])
            if event not in listed:  # a rank may have its parent's
                listed.append(event)

    @functools.wraps(train)
    def train_and_exit(self: Any, *args: Any, **kwargs: Any) -> None:
        train(self, *args, **kwargs)
        raise ProbeOver(0)  # its ranks have ended

    trainer_class.__init__, trainer_class.train = init, train_and_exit
    if hasattr(trainer_class, "_handle_nan_recovery"):  # there is no checkpoint to go back to
        trainer_class._handle_nan_recovery = lambda _self, _epoch: False  # noqa: SLF001


def on_train_start(trainer: Any) -> None:
    """No last epoch, and mosaic as it was in the first; what depends on the number of epochs has been made by now."""
    with suppress(Exception):
        closed = trainer.args.close_mosaic
        if closed and trainer.start_epoch >= trainer.epochs - closed:
            trainer.args.close_mosaic = _ENDLESS
        trainer.epochs = _ENDLESS


def on_train_batch_end(trainer: Any) -> None:
    """The one callback of the hooks that raises: nothing else ends a training after a batch in every version."""
    probe = getattr(trainer, _ATTRIBUTE, None)
    if probe is not None and probe.is_over():
        raise ProbeOver(0)


def _watch_dataset(module: Any, settings: dict[str, Any]) -> None:
    load, save = module.load_dataset_cache_file, module.save_dataset_cache_file

    def own(path: Any) -> Path:
        return Path(settings["labels"]) / f"{zlib.crc32(os.fsencode(str(path))):08x}-{Path(path).name}"

    @functools.wraps(load)
    def load_dataset_cache_file(path: Any) -> Any:
        return load(own(path) if own(path).exists() else path)

    @functools.wraps(save)
    def save_dataset_cache_file(prefix: str, path: Any, *args: Any, **kwargs: Any) -> Any:
        return save(prefix, own(path), *args, **kwargs)

    module.load_dataset_cache_file, module.save_dataset_cache_file = load_dataset_cache_file, save_dataset_cache_file
