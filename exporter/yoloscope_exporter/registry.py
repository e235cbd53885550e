"""The prometheus_client registry with every collector, and the collector of training runs for other registries.

from prometheus_client import REGISTRY
from yoloscope_exporter.registry import Training

REGISTRY.register(Training())                            # the training runs of this node, in your own service
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from yoloscope_exporter import collectors
from yoloscope_exporter.collectors import EXPORTER, Context
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_exporter.config import defaults
from yoloscope_exporter.sampling.families import empty, families
from yoloscope_exporter.sampling.sampler import Rejections, Sampler
from yoloscope_exporter.sampling.sources import SourceFactory
from yoloscope_exporter.system import written_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric as Family

    from yoloscope_exporter.config import Config

_log = logging.getLogger(__name__)


def build(config: Config) -> CollectorRegistry:
    """The registry of a configuration. Nothing samples in the background, so every collection reads the sources.

    Not for a process that trains: see `Training`.
    """
    return over(sampler_of(config)[0])


def sampler_of(config: Config) -> tuple[Sampler, SourceFactory]:
    """A sampler that is not started, and what makes its sources anew after a reload."""
    reject = Rejections()
    sources = SourceFactory(config, reject)
    sampler = Sampler(sources(config), interval=config.sample_interval, reject=reject)
    sources.latest = lambda: sampler.snapshot
    return sampler, sources


def over(sampler: Sampler) -> CollectorRegistry:
    """The registry of what a sampler reads; collectors that are switched off are in it, and give nothing."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    for name in (EXPORTER, *collectors.names()):
        registry.register(SampledCollector(sampler, name))
    return registry


class SampledCollector:
    """One module's metrics from the newest snapshot, as a collector of prometheus_client."""

    def __init__(self, sampler: Sampler, module: str) -> None:
        """Take the sampler and the module's name."""
        self._sampler, self._module = sampler, module
        self._given = 0  # the last cycle that was given

    def describe(self) -> list[Family]:
        """The module's families without samples; those of a third party are not known before it is read."""
        return [empty(metric) for metric in collectors.metrics(self._module)]

    def collect(self) -> Iterable[Family]:
        """The families of a cycle that was not given yet, if nothing samples in the background; else the newest."""
        if not self._sampler.running and self._given == self._sampler.cycles:
            self._sampler.sample()
        self._given = self._sampler.cycles
        return self._sampler.families(self._module)


class Training:
    """The training runs of this node, read from their records at every collection.

    For the registry of a service of your own, for `push_to_gateway` and for `write_to_textfile`. In a process that
    trains it gives nothing, and the log says so once: closing a file drops the locks that the process has on it, so a
    run that reads its own record looks dead.
    """

    def __init__(self, directory: Path | str | None = None) -> None:
        """Read the records below `directory`; without one, those of YOLOSCOPE_DIR or of /dev/shm/yoloscope."""
        config = defaults() if directory is None else replace(defaults(), path_records=Path(directory))
        self.rejections = Rejections()
        self._directory = config.path_records
        self._warned = False
        self._runs = Runs(
            Context(
                procfs=config.path_procfs,
                sysfs=config.path_sysfs,
                records=config.path_records,
                clock=time.monotonic,
                wall=time.time,
                reject=self.rejections,
                config=lambda: config,
            ),
            math.inf,
        )

    def describe(self) -> list[Family]:
        """The families of training runs without samples."""
        return [empty(metric) for metric in collectors.metrics("runs")]

    def collect(self) -> Iterable[Family]:
        """The families of the runs that are alive or ended lately.

        Raises:
            OSError: the directory cannot be read.
        """
        if _writes_below(self._directory):
            if not self._warned:
                _log.warning("no training runs here: this process writes a record in %s itself", self._directory)
            self._warned = True
            return ()
        return families(self._runs.collect())


def _writes_below(directory: Path) -> bool:
    """Whether this process has a file below `directory` open for writing; False where the system does not tell."""
    base = directory.resolve()
    with suppress(OSError):
        return any(base in path.parents for path in written_files())
    return False
