"""A simulated node behind the exporter's own server, with minutes behind it already: for what pages and clients see."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import simulation
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.config.types import Address
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.history.store import History
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_exporter.web.api import Api
from yoloscope_exporter.web.application import application
from yoloscope_exporter.web.hosts import only_named
from yoloscope_exporter.web.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from yoloscope_exporter.catalog import Sample
    from yoloscope_exporter.web.config_file import WebConfigFile

    Samples = Callable[[float], Sequence[Sample]]


@dataclass
class Simulated:
    """What runs."""

    url: str
    port: int
    sampler: Sampler
    history: History
    live: Live
    api: Api


def node(scenario: str = "starved", gpus: int = 1, *, before: float = 300.0, **options: Any) -> Samples:
    """Samples of a node by Unix time; its training began `before` seconds ago. Options as for `simulation.fleet`."""
    fleet = simulation.fleet(scenario, 1, gpus, start=time.time() - before, **{"onset": 0.0, **options})
    (name,) = fleet.trainings
    return lambda now: fleet.node(name, now)


@contextmanager
def simulated(
    samples: Samples,
    *,
    past: float = 120.0,
    interval: float = 0.5,
    diagnosed: bool = True,
    port: int = 0,
    file: WebConfigFile | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Simulated]:
    """The server, until the block is left; its history has `past` seconds."""
    history, live = History(), Live()
    now = time.time() - past
    while past and now < time.time():  # which goes on meanwhile
        found = samples(now)
        if diagnosed:
            live.feed(now, found)
        history.feed(now, found)
        now += 2
    source = Source("runs", Collector("runs", lambda: samples(time.time())))
    sampler = Sampler([source], interval=interval, clock=clock)
    sampler.watch(history)
    if diagnosed:
        sampler.watch(live)  # type: ignore[arg-type] # what it returns is nobody's here
    api = Api(sampler, history, lambda: live.diagnoses if diagnosed else None)
    sampler.cycle()
    server = Server(Address("127.0.0.1", port), only_named(application(sampler, api=api), ()), file)
    sampler.start()
    server.start()
    try:
        yield Simulated(server.url, server.address.port, sampler, history, live, api)  # type: ignore[union-attr]
    finally:
        api.close()
        server.close()
        sampler.stop()
