"""Collectors, one module per source: GPU, CPU, memory, disks, network, pressure, cgroups, processes, stacks, runs.

To add a collector: one file here, one line in `MODULES`, its metrics in the catalogue.

A module offers `collectors(context) -> Sequence[Collector]`; usually one, more where parts of a source want different
periods. The name of the module's entry in `MODULES` is the switch: `--no-collector.<name>`.

What is worked out from a whole snapshot stands in `DERIVED`: a module that offers `derived(context) -> Derived`.
Collectors of other packages come in by an entry point: `entry_points`, `sampling.third_party`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from yoloscope_record.paths import find_run

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import entry_points
from yoloscope_exporter.sharing import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from yoloscope_exporter.catalog import Metric, Sample
    from yoloscope_exporter.config import Config
    from yoloscope_exporter.sampling.snapshot import Derived

#: Modules in this package, and how the names of their metrics begin; the longest beginning counts.
MODULES: dict[str, tuple[str, ...]] = {
    "runs": ("train", "predict", "export", "records"),
    "gpu": ("gpu",),
    "cpu": ("cpu", "load", "context"),
    "memory": ("memory", "swap"),
    "disk": ("disk", "filesystem"),
    "network": ("network",),
    "pressure": ("pressure",),
    "cgroup": ("cgroup",),
    "process": ("train_process",),
    "run_energy": ("train_energy",),
    "stacks": ("train_hang",),
    "post_mortem": ("train_post_mortem",),
}
#: The module that reads the ranks which are alive; it is read before those that ask for them.
READS_RANKS = "runs"
#: What is derived from a snapshot: the module, and how the names of its metrics begin.
DERIVED: dict[str, tuple[str, tuple[str, ...]]] = {
    "diagnosis": (
        "yoloscope_exporter.diagnosis.live",
        ("train_verdict", "train_goodput", "train_wasted", "predict_verdict"),
    ),
}
#: The exporter itself, as a collector of metrics.
EXPORTER = "exporter"
_EXPORTER_METRICS = ("build", "collector", "samples", "snapshot")

FAST, SLOW = "fast", "slow"


class NoData(Exception):  # noqa: N818 - not an error: the source does not exist on this machine
    """The source does not exist on this machine (no GPU, no pressure files): the collector is down, logged once."""


@dataclass(frozen=True)
class Trainer:
    """An active rank, for the collectors that need its processes."""

    run: str
    rank: str
    pid: int
    """In the exporter's own PID namespace."""
    state: str = field(default="", compare=False)
    own_pid: int = field(default=0, compare=False)
    """In the training's PID namespace, as the two below; 0 if it is not known."""
    loader_pids: frozenset[int] | None = field(default=None, compare=False)
    """Processes of the training loader; None if they are not known."""
    val_loader_pids: frozenset[int] | None = field(default=None, compare=False)


class ActiveRanks:
    """The ranks alive at the last reading of the records: set by the collector `runs`, read by the others."""

    def __init__(self) -> None:
        """Start without ranks."""
        self._trainers: Mapping[int, Trainer] = {}
        self._places: Mapping[str, Path] = {}

    def __call__(self) -> Mapping[int, Trainer]:
        """Ranks by pid."""
        return self._trainers

    def replace(self, trainers: Iterable[Trainer], places: Mapping[str, Path] = MappingProxyType({})) -> None:
        """Replace the ranks, and where the records of each run lie that is shown, by its label."""
        self._trainers, self._places = {trainer.pid: trainer for trainer in trainers}, places

    def place(self, run: str) -> Path | None:
        """The directory of a run's records; None if it is not shown."""
        return self._places.get(run)


@dataclass(frozen=True)
class Context:
    """Paths, clocks and settings for collectors; tests replace them."""

    procfs: Path
    sysfs: Path
    records: Path
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds."""
    reject: Callable[[str, str], None]
    """Count a refused value: `reject(collector, reason)`."""
    trainers: Callable[[], Mapping[int, Trainer]] = field(default_factory=ActiveRanks)
    """Ranks alive at the last reading of the records, by pid; an `ActiveRanks` where the collector `runs` sets them."""
    latest: Callable[[], Iterable[Sample]] = tuple
    """Samples of the last cycle, for what one source has to know of another."""
    config: Callable[[], Config] = field(kw_only=True)
    """The settings as they are now: a reload changes them between two cycles."""

    def place(self, run: str) -> Path:
        """The directory of the records of the run that is shown under this label."""
        found = self.trainers.place(run) if isinstance(self.trainers, ActiveRanks) else None
        return found or find_run(self.records, run)

    def in_turn(self, runs: Iterable[str]) -> list[str]:
        """Runs by their labels, each owner's first one before anybody's second one: for what is done to a few of them.

        Names are their owners' choice, and no reason to come first.
        """
        return in_turn(runs, self.owner)

    def owner(self, run: str) -> int:
        """The user id of whose a run is, by its label; -1 of one that is gone."""
        try:
            return self.place(run).lstat().st_uid
        except OSError:
            return -1


def _no_close() -> None:
    """The `close` of a collector that holds nothing."""


def _all_hold(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The `holding` of a collector whose samples hold until the next ones."""
    return samples


@dataclass(frozen=True)
class Collector:
    """A named source of samples.

    Attributes:
        name: value of the `collector` label.
        collect: yields the samples of one cycle; any exception means 'failed', and then nothing of it is published.
        close: gives back what the collector holds; may be called more than once.
        group: FAST (every sample interval) or SLOW (every ten of them).
        holding: what still holds of the last samples; asked in every cycle, so it takes microseconds and waits for
            nobody.
    """

    name: str
    collect: Callable[[], Iterable[Sample]]
    close: Callable[[], None] = _no_close
    group: str = FAST
    holding: Callable[[tuple[Sample, ...]], tuple[Sample, ...]] = _all_hold


def names() -> tuple[str, ...]:
    """Names of all collectors, third parties' included, as in `--collector.NAME`."""
    return (*MODULES, *DERIVED, *third_parties()[0])


def third_parties() -> tuple[dict[str, EntryPoint], list[EntryPoint]]:
    """Entry points of third parties' collectors by name, and those whose name cannot be used."""
    return entry_points.installed({*MODULES, *DERIVED, EXPORTER})


def metrics(name: str) -> list[Metric]:
    """The metrics that one of MODULES or DERIVED may publish, or EXPORTER; none are known of a third party's."""
    return [metric for metric in catalog.METRICS if _owner(metric.name.removeprefix(catalog.PREFIX)) == name]


def _owner(name: str) -> str:
    owners = {**MODULES, **{derived: row[1] for derived, row in DERIVED.items()}, EXPORTER: _EXPORTER_METRICS}
    found = [(len(start), owner) for owner, starts in owners.items() for start in starts if name.startswith(start)]
    return max(found)[1]


def build(module: str, context: Context) -> Sequence[Collector]:
    """The collectors of one of MODULES."""
    collectors: Sequence[Collector] = import_module(f"{__name__}.{module}").collectors(context)
    return collectors


def derive(name: str, context: Context) -> Derived:
    """The function of one of DERIVED."""
    derived: Derived = import_module(DERIVED[name][0]).derived(context)
    return derived
