"""GPU collectors on the fake NVML, with a clock that the test moves."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Collector, Context, NoData, Trainer
from yoloscope_exporter.collectors.gpu import collectors
from yoloscope_exporter.config import defaults

from tests.fake_nvml import FakeNvml, InProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from yoloscope_exporter.catalog import Metric, Sample

NOON = 1_700_000_000.0
OF_THE_LOST = (catalog.GPU_UP, catalog.GPU_INFO, catalog.GPU_XID_ERRORS_TOTAL)


@dataclass
class GpuWorld:
    """Everything a GPU test moves and looks at.

    Attributes:
        fake: control of the library.
        library: the library itself.
        trainers: ranks alive, by pid.
        rejected: refused values by reason.
        now: Unix time; the monotonic clock is the same number.
    """

    fake: FakeNvml
    library: InProcess
    procfs: Path
    trainers: dict[int, Trainer] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    now: float = NOON
    halves: dict[str, Collector] = field(default_factory=dict)

    def context(self) -> Context:
        """The world as a collector sees it."""
        return Context(
            procfs=self.procfs,
            sysfs=self.procfs,
            records=self.procfs,
            clock=lambda: self.now,
            wall=lambda: self.now,
            reject=lambda _collector, reason: self.rejected.update([reason]),
            trainers=lambda: self.trainers,
            config=defaults,
        )

    def start(self) -> None:
        """Make the collectors, as the exporter does once."""
        self.library.set_clock(self.now)
        self.halves = {collector.name: collector for collector in collectors(self.context())}

    def pass_time(self, seconds: float) -> None:
        """Move both clocks."""
        self.now += seconds
        self.library.set_clock(self.now)

    def cycle(self, seconds: float = 1.0, half: str = "gpu") -> Series:
        """Let time pass and collect once."""
        self.pass_time(seconds)
        return Series(list(self.halves[half].collect()))

    def close(self) -> None:
        """Close the collectors."""
        for collector in self.halves.values():
            collector.close()


class Series(list["Sample"]):
    """Samples of a cycle."""

    def of(self, metric: Metric) -> Mapping[tuple[str, ...], object]:
        """Values of a metric by its label values."""
        return {sample.labels: sample.value for sample in self if sample.metric is metric}

    def value(self, metric: Metric, *labels: str) -> float:
        """The value of one series."""
        return self.of(metric)[labels]  # type: ignore[return-value]

    def gpus(self) -> set[str]:
        """GPUs that have more than what a lost one keeps: `gpu_up`, its facts and its Xid errors."""
        return {sample.labels[0] for sample in self if sample.metric not in OF_THE_LOST}


@contextlib.contextmanager
def gpu_world(directory: Path, lines: Mapping[str, object], **library: Path) -> Iterator[GpuWorld]:
    """Collectors over a fake NVML in this process."""
    fake = FakeNvml(directory, {"clock": NOON, **lines}, **library)  # not a moment of the real clock counts
    with fake.in_process() as loaded:
        world = GpuWorld(fake, loaded, directory / "proc")
        world.start()
        yield world
        world.close()
        assert loaded.gpm_samples_alive() == 0
        assert loaded.event_sets_alive() == 0


__all__ = ["NOON", "GpuWorld", "NoData", "Series", "gpu_world"]
