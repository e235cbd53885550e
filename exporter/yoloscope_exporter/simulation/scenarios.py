"""Scenarios of simulated runs. To add one: one entry in `SCENARIOS`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a run differs from a healthy one, after the onset.

    Attributes:
        name: as on the command line.
        summary: one line for `--help`.
        verdict: the verdict that should hold after the onset.
        preparation: factor on the time a loader worker takes for a batch.
        straggler: factor on the compute time of the last rank.
        clock: factor on the SM clock of every GPU, with the thermal throttle reasons set.
        leak: bytes of GPU memory that each batch leaks.
        dies: ECC errors climb, the last GPU falls off the bus and the training is killed.
    """

    name: str
    summary: str
    verdict: str
    preparation: float = 1.0
    straggler: float = 1.0
    clock: float = 1.0
    leak: float = 0.0
    dies: bool = False


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("healthy", "the GPUs are busy, data is always ready", "compute_bound"),
        Scenario("starved", "the loader workers cannot keep up", "loader_workers", preparation=3.2),
        Scenario("leak", "every batch leaks GPU memory, until it is full", "gpu_memory_leak", leak=8e6),
        Scenario("straggler", "the last rank is slow, all others wait for it", "straggler", straggler=1.4),
        Scenario("throttle", "the GPUs are too hot and throttle", "thermal_throttle", clock=0.62),
        Scenario("dying", "memory errors, then a GPU falls off the bus", "killed", dies=True),
    )
}
