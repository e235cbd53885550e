"""A node at one time: where its training stands, how batches go now, how busy its GPUs are."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.catalog import HistogramValue, Metric
    from yoloscope_exporter.simulation.timeline import Node, Progress, Regime, Training


KEEP_SECONDS = {"finished": 900.0, "failed": 900.0, "killed": 3600.0}  # as the exporter keeps ended runs


UPTIME_SECONDS = 3e5  # of the node when the training starts


BUSY = {"h2d": 0.3, "validate": 0.7}  # share of a phase in which a kernel runs; all other phases on the GPU: BUSY_STEP


BUSY_STEP = 0.97


@dataclass(frozen=True)
class Moment:
    """A node at one time."""

    node: Node
    training: Training
    time: float

    @cached_property
    def progress(self) -> Progress:
        """Where the training stands."""
        return self.training.at(self.time - self.node.start)

    @property
    def regime(self) -> Regime:
        """How batches go now."""
        return self.training.degraded if self.degraded else self.training.healthy

    @property
    def degraded(self) -> bool:
        """Whether the scenario has set in."""
        return self.progress.since_onset >= 0

    @property
    def alive(self) -> bool:
        """Whether the training's processes live."""
        return self.progress.ended < 0

    @property
    def published(self) -> bool:
        """Whether the exporter still shows the training."""
        return not 0 <= KEEP_SECONDS[self.training.outcome] <= self.progress.ended

    @property
    def uptime(self) -> float:
        """Seconds since the node was booted."""
        return UPTIME_SECONDS + self.time - self.node.start

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """Values of the label `rank`."""
        return tuple(map(str, range(self.node.ranks)))

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Values of the label `gpu` that are still there."""
        lost = self.node.scenario.dies and not self.alive
        return tuple(map(str, range(self.node.gpus - lost)))

    def noise(self, *key: object, every: float = 5.0) -> float:
        """A number in [-1, 1) that stays for `every` seconds."""
        text = f"{self.node.seed}/{self.node.index}/{key}/{int(self.time // every)}"
        return zlib.crc32(text.encode()) / (1 << 31) - 1

    def phase_seconds(self, rank: int) -> dict[str, float]:
        """Wall time of the rank by phase, since the start."""
        progress = self.progress
        parts = (
            (self.training.healthy.phases[rank], progress.healthy.batches),
            (self.training.degraded.phases[rank], progress.degraded.batches),
        )
        total = {"setup": progress.setup}
        for phases, batches in parts:
            for phase, seconds in phases.items():
                total[phase] = total.get(phase, 0.0) + seconds * batches
        total["validate"] = progress.healthy.validate + progress.degraded.validate
        total["checkpoint"] = progress.healthy.checkpoint + progress.degraded.checkpoint
        return total

    def busy_seconds(self, gpu: int) -> float:
        """Time in which the GPU ran a kernel, since the start."""
        return _busy(self.phase_seconds(gpu)) if gpu < self.node.ranks else 0.0

    def utilization(self, gpu: int) -> float:
        """Utilization of the GPU now."""
        if gpu >= self.node.ranks or not self.alive:
            return 0.0
        state = self.progress.state
        if state == "train":
            level = _busy(self.regime.phases[gpu]) / self.regime.period
        else:
            level = BUSY["validate"] if state == "validate" else 0.0
        return min(1.0, max(0.0, level * (1 + 0.03 * self.noise("utilization", gpu, every=1.0))))


def _busy(phases: Mapping[str, float]) -> float:
    idle = ("setup", "data_wait", "checkpoint", "other")
    return sum(seconds * BUSY.get(phase, BUSY_STEP) for phase, seconds in phases.items() if phase not in idle)


Part = tuple["Metric", tuple[str, ...], "float | HistogramValue"]


def pid(rank: int) -> int:
    """Of a rank's process."""
    return 40_000 + 100 * rank
