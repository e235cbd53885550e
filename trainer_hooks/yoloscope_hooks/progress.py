"""How far a training is: epochs, batches, and what Ultralytics had to begin again."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog

if TYPE_CHECKING:
    from yoloscope_record.writer import Writer

    Trainer = Any  # duck-typed


class Progress:
    """Stores the progress of one rank.

    Attributes:
        epoch: the epoch under way, counted from 0; -1 before the first.
        batch: batches done in this epoch.
        batch_size: images in a batch of this rank, 0 if the loader does not say.
    """

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        self.epoch, self.batch, self.batch_size = -1, 0, 0
        self._begin, self._start_epoch, self._epochs, self._epoch_batches = 0.0, 0, 0, 0
        self._retries = self._recoveries = 0
        self._values = writer.values
        self._reductions = writer.slot(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, *who)
        self._nan_recoveries = writer.slot(catalog.TRAIN_NAN_RECOVERIES_TOTAL, *who)
        self._remaining = writer.slot(catalog.TRAIN_REMAINING_SECONDS, *who)
        gauges = (
            catalog.TRAIN_EPOCH,
            catalog.TRAIN_EPOCHS,
            catalog.TRAIN_EPOCH_BATCHES,
            catalog.TRAIN_BATCH_SIZE,
            catalog.TRAIN_WORKERS,
        )
        self._gauges = tuple(writer.slot(metric, *who) for metric in gauges)

    def train_start(self, trainer: Trainer, now: float) -> None:
        """The loop is about to start."""
        self._begin, self._start_epoch = now, getattr(trainer, "start_epoch", 0)

    def epoch_start(self, trainer: Trainer) -> None:
        """Store what the epoch has ahead, and count what was begun again before it."""
        loader = trainer.train_loader
        self.epoch, self._epochs, self._epoch_batches = trainer.epoch, trainer.epochs, len(loader)
        self.batch_size = loader.batch_size or 0
        numbers = (self.epoch + 1, self._epochs, self._epoch_batches, self.batch_size, loader.num_workers)
        for slot, number in zip(self._gauges, numbers):
            self._values[slot] = number
        self._retries = self._risen(self._reductions, self._retries, getattr(trainer, "_oom_retries", 0))
        attempts = getattr(trainer, "nan_recovery_attempts", 0)
        self._recoveries = self._risen(self._nan_recoveries, self._recoveries, attempts)

    def _risen(self, slot: int, before: int, now: int) -> int:
        """Count what was added to one of Ultralytics' own counters; it sets them back to 0 when all is well again."""
        self._values[slot] += max(now - before, 0)
        return now

    def estimate(self) -> None:
        """Store the time left, if the rest goes as all of it so far went: start-up aside, validation included."""
        ahead = self._epochs - self._start_epoch
        done = self.epoch - self._start_epoch + self.batch / max(self._epoch_batches, 1)
        if self._begin and done > 0:
            self._values[self._remaining] = (perf_counter() - self._begin) / done * max(ahead - done, 0)
