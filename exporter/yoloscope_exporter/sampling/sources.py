"""What the sampler reads: the collectors that are switched on, the stages derived from them, and third parties'."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from yoloscope_exporter import collectors
from yoloscope_exporter.collectors import SLOW, ActiveRanks, Collector, Context
from yoloscope_exporter.collectors.entry_points import GROUP
from yoloscope_exporter.sampling.privacy import hidden_labels, private
from yoloscope_exporter.sampling.third_party import ThirdParty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from yoloscope_exporter.catalog import Sample
    from yoloscope_exporter.config import Config
    from yoloscope_exporter.sampling.snapshot import Derived

_log = logging.getLogger(__name__)


class Stage(IntEnum):
    """The order within a cycle: each stage sees what those before it found."""

    RANKS = 0
    SOURCES = 1
    DERIVED = 2


@dataclass(frozen=True)
class Source:
    """A collector, a derived stage or a third party's collector, with the name of the module that it came from."""

    module: str
    collector: Collector
    derived: Derived | None = None
    third_party: ThirdParty | None = None

    @property
    def stage(self) -> Stage:
        """Its place in a cycle."""
        if self.derived:
            return Stage.DERIVED
        return Stage.RANKS if self.module == collectors.READS_RANKS else Stage.SOURCES


class SourceFactory:
    """Builds the sources of a configuration; after a reload the same ones again, so that their counters go on."""

    def __init__(self, config: Config, reject: Callable[[str, str], None]) -> None:
        """Take the first configuration; nothing is built yet."""
        self.latest: Callable[[], Iterable[Sample]] = tuple
        self._config = config
        self._context = Context(
            procfs=config.path_procfs,
            sysfs=config.path_sysfs,
            records=config.path_records,
            clock=time.monotonic,
            wall=time.time,
            reject=reject,
            trainers=ActiveRanks(),
            latest=lambda: self.latest(),  # noqa: PLW0108 - it is set later
            config=lambda: self._config,
        )
        self._third_parties, unusable = collectors.third_parties()
        for entry in unusable:
            reject(entry.name, "name")
            _log.warning("%s %s (%s) is left out: the name is taken or invalid", GROUP, entry.name, entry.value)
        self._built: dict[str, list[Source]] = {}

    def __call__(self, config: Config) -> list[Source]:
        """The sources that are switched on in `config`."""
        self._config = config
        known = (*collectors.MODULES, *collectors.DERIVED, *self._third_parties)
        wanted = [name for name in known if name in config.modules]
        self._built = {name: self._built.get(name) or self._build(name) for name in wanted}
        return [source for sources in self._built.values() for source in sources]

    def derived(self, name: str) -> Derived | None:
        """One of the derived stages, if it is switched on."""
        return next((source.derived for source in self._built.get(name, ())), None)

    def _build(self, name: str) -> list[Source]:
        if name in collectors.DERIVED:
            return [Source(name, Collector(name, tuple), derived=collectors.derive(name, self._context))]
        if name in self._third_parties:
            foreign = ThirdParty(self._third_parties[name], self._context.config)
            return [Source(name, Collector(name, tuple, group=SLOW), third_party=foreign)]
        return [
            Source(name, private(collector, lambda: hidden_labels(self._config.privacy)))
            for collector in collectors.build(name, self._context)
        ]
