"""Simulated training nodes: all metrics of the catalogue, for healthy runs and for runs with a problem.

Pure calculation: `simulate` gives samples for any times, the same for the same seed. Serving and writing them is the
business of `yoloscope simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.simulation.moment import Moment
from yoloscope_exporter.simulation.node import samples
from yoloscope_exporter.simulation.scenarios import SCENARIOS, Scenario
from yoloscope_exporter.simulation.timeline import Node, Training, training_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.catalog import Sample

__all__ = ["SCENARIOS", "Fleet", "Node", "Scenario", "Scrape", "fleet", "simulate"]


class Scrape(NamedTuple):
    """All nodes at one time: samples by `instance`."""

    time: float
    samples: dict[str, list[Sample]]


@dataclass(frozen=True)
class Fleet:
    """Simulated nodes, by `instance`."""

    trainings: dict[str, Training]

    def node(self, instance: str, time: float) -> list[Sample]:
        """Samples of one node at a Unix time; KeyError for an unknown instance."""
        found = self.trainings[instance]
        return list(samples(Moment(found.node, found, time)))

    def at(self, time: float) -> Scrape:
        """Samples of every node at a Unix time."""
        return Scrape(time, {instance: self.node(instance, time) for instance in self.trainings})

    def range(self, start: float, end: float, step: float) -> Iterator[Scrape]:
        """Scrapes of every node from `start` to `end` (Unix seconds, both included) every `step` seconds."""
        return (self.at(start + count * step) for count in range(int((end - start) / step + 1e-9) + 1))


def fleet(  # noqa: PLR0913 - a fleet has that many facts
    scenario: str | Sequence[str],
    nodes: int = 1,
    gpus: int = 8,
    *,
    start: float,
    ranks: int | None = None,
    workers: int = 8,
    seed: int = 0,
    onset: float = 600.0,
    epochs: int = 300,
    speed: float = 1.0,
) -> Fleet:
    """Nodes whose trainings start at `start` (Unix seconds).

    Args:
        scenario: name in `SCENARIOS`; of several, node i gets number i modulo their count.
        nodes: how many.
        gpus: per node.
        start: Unix time at which all trainings start.
        ranks: training processes per node, at most one per GPU; default one per GPU.
        workers: loader workers per rank.
        seed: of the noise.
        onset: seconds of healthy training before the scenario sets in, rounded to whole epochs.
        epochs: epochs asked for.
        speed: divides the length of epochs, of the onset and of the scenario's course, and no rate.

    Raises:
        KeyError: for an unknown scenario.
    """
    names = [scenario] if isinstance(scenario, str) else list(scenario)
    made = (
        Node(
            i,
            gpus,
            min(gpus, ranks or gpus),
            workers,
            SCENARIOS[names[i % len(names)]],
            seed,
            start,
            onset,
            epochs,
            speed,
        )
        for i in range(nodes)
    )
    return Fleet({node.instance: training_of(node) for node in made})


def simulate(  # noqa: PLR0913, PLR0917 - a fleet and a range of time
    scenario: str | Sequence[str],
    nodes: int = 1,
    gpus: int = 8,
    seed: int = 0,
    start: float = 0.0,
    end: float = 3600.0,
    step: float = 15.0,
    *,
    ranks: int | None = None,
    workers: int = 8,
    onset: float = 600.0,
    epochs: int = 300,
    speed: float = 1.0,
) -> Iterator[Scrape]:
    """What a Prometheus would have scraped from `start` to `end` (Unix seconds, both included) every `step` seconds.

    The trainings start at `start`. Other arguments as in `fleet`; the same arguments give the same samples.
    """
    nodes_ = fleet(
        scenario,
        nodes,
        gpus,
        start=start,
        ranks=ranks,
        workers=workers,
        seed=seed,
        onset=onset,
        epochs=epochs,
        speed=speed,
    )
    yield from nodes_.range(start, end, step)
