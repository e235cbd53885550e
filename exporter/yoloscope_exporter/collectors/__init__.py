"""One module per source. To add a collector: one file here, one line in `MODULES`, its metrics in the catalogue.

A module offers `collectors(context) -> Sequence[Collector]`; usually one, more where parts of a source want different
periods. The name of the module's entry in `MODULES` is the switch: `--no-collector.<name>`.

What is worked out from a whole snapshot stands in `DERIVED`: a module that offers `derived(context) -> Derived`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from yoloscope_exporter.catalog import Sample
    from yoloscope_exporter.snapshot import Derived

#: Names of the modules in this package.
MODULES = ("runs", "gpu", "cpu", "memory", "disk", "network", "pressure", "cgroup", "process")
#: The one that tells the others which ranks are alive.
FIRST = "runs"
#: Name -> module of what is derived from a snapshot.
DERIVED: dict[str, str] = {"diagnosis": "yoloscope_exporter.diagnosis.live"}

FAST, SLOW = "fast", "slow"


class NoData(Exception):  # noqa: N818 - not an error: the source does not exist on this machine
    """The source is absent here (no GPU, no pressure files): the collector is down, and that is said once."""


@dataclass(frozen=True)
class Trainer:
    """A rank that is alive, as the other collectors need to know it."""

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


class Roster:
    """The ranks alive at the last reading of the records: told by the collector `runs`, asked by the others."""

    def __init__(self) -> None:
        """Know of nobody yet."""
        self._trainers: Mapping[int, Trainer] = {}

    def __call__(self) -> Mapping[int, Trainer]:
        """Ranks by pid."""
        return self._trainers

    def announce(self, trainers: Iterable[Trainer]) -> None:
        """Replace the ranks."""
        self._trainers = {trainer.pid: trainer for trainer in trainers}


@dataclass(frozen=True)
class Context:
    """What a collector may use of the world. Tests give other roots, clocks and trainers."""

    procfs: Path
    sysfs: Path
    records: Path
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds."""
    reject: Callable[[str, str], None]
    """Count a refused value: `reject(collector, reason)`."""
    trainers: Callable[[], Mapping[int, Trainer]] = field(default_factory=Roster)
    """Ranks alive at the last reading of the records, by pid; a `Roster` where the collector `runs` is to tell them."""
    latest: Callable[[], Iterable[Sample]] = tuple
    """Samples of the last cycle, for what one source has to know of another."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Settings of collectors by their dotted names; may change between two cycles."""


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class Collector:
    """A named source of samples.

    Attributes:
        name: value of the `collector` label.
        collect: yields the samples of one cycle; any exception means 'failed', and then nothing of it is published.
        close: gives back what the collector holds; may be called more than once.
        group: FAST (every sample interval) or SLOW (every ten of them).
    """

    name: str
    collect: Callable[[], Iterable[Sample]]
    close: Callable[[], None] = _nothing
    group: str = FAST


def names() -> tuple[str, ...]:
    """Everything that can be switched on and off."""
    return (*MODULES, *DERIVED)


def build(module: str, context: Context) -> Sequence[Collector]:
    """The collectors of one of MODULES."""
    collectors: Sequence[Collector] = import_module(f"{__name__}.{module}").collectors(context)
    return collectors


def derive(name: str, context: Context) -> Derived:
    """The function of one of DERIVED."""
    derived: Derived = import_module(DERIVED[name]).derived(context)
    return derived
