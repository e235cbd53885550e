"""What the sampler reads, of which configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter import collectors
from yoloscope_exporter.config import defaults
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.sampling.sampler import Rejections
from yoloscope_exporter.sampling.sources import SourceFactory, Stage

if TYPE_CHECKING:
    from yoloscope_exporter.config import Config
    from yoloscope_exporter.sampling.sources import Source


def factory(config: Config) -> SourceFactory:
    """A factory that counts nothing."""
    return SourceFactory(config, Rejections())


def modules(sources: list[Source]) -> set[str]:
    """Where sources come from."""
    return {source.module for source in sources}


def test_only_what_is_switched_on() -> None:
    """Each module's sources, without those that are off; ranks are read first, the diagnosis last."""
    everything = defaults()
    sources = factory(everything)(everything)
    assert modules(sources) == {*collectors.MODULES, *collectors.DERIVED}
    assert {source.module for source in sources if source.stage is Stage.RANKS} == {"runs"}
    assert {source.module for source in sources if source.stage is Stage.DERIVED} == {"diagnosis"}
    fewer = replace(everything, modules=everything.modules - {"disk", "diagnosis"})
    assert modules(factory(fewer)(fewer)) == set(collectors.MODULES) - {"disk"}


def test_reload_keeps_sources() -> None:
    """What stays on is the same object, so that its counters go on; what was off in between is new."""
    config = defaults()
    build = factory(config)
    before = {source.collector.name: source for source in build(config)}
    without = {source.collector.name: source for source in build(replace(config, modules=config.modules - {"cpu"}))}
    after = {source.collector.name: source for source in build(config)}
    assert all(without[name] is before[name] for name in without)
    assert after["memory"] is before["memory"]
    assert after["cpu"] is not before["cpu"]


def test_collectors_see_the_newest_configuration() -> None:
    """The thresholds of the diagnosis follow a reload without being built anew."""
    config = defaults()
    build = factory(config)
    build(config)
    live = build.derived("diagnosis")
    assert isinstance(live, Live)
    build(replace(config, diagnosis_thresholds={"held_idle": 0.5}))
    assert build.derived("diagnosis") is live
    assert live.thresholds() == {"held_idle": 0.5}
    build(replace(config, modules=frozenset()))
    assert build.derived("diagnosis") is None
