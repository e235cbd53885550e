"""What a simulated training has done after so many seconds: closed forms, so that any time can be asked for directly.

A training is set up, then runs a whole number of healthy epochs, then epochs under its scenario until it ends. Ranks
go in lock-step, as under DDP. All figures are those of a medium YOLO on a current data-centre GPU; they need to be
plausible and consistent with one another (phases add up to wall time, energy follows utilization), no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from yoloscope_exporter.simulation.scenarios import Scenario

#: Seconds of compute of a healthy rank per batch, by phase; `backward_local` is `backward` without DDP.
COMPUTE = {
    "h2d": 0.003,
    "preprocess": 0.001,
    "forward": 0.055,
    "backward_local": 0.085,
    "optimizer": 0.014,
    "other": 0.004,
}
SYNC_SECONDS = 0.012  # all-reduce that the backward pass does not hide
PREPARATION_SECONDS = 1.0  # a worker's time for a batch
PREPARATION_CPU = 0.92  # share of it on a CPU
LEAST_WAIT_SECONDS = 0.002  # a ready batch still has to be fetched
SETUP_SECONDS, VALIDATE_SECONDS, CHECKPOINT_SECONDS = 25.0, 9.0, 1.2
#: Shares of the set-up, in the order of time.
SETUP_STAGES = {"model": 0.2, "amp_check": 0.1, "scan": 0.4, "loader": 0.2, "other": 0.1}
DEATH_SECONDS = 120.0  # from the first memory errors to the lost GPU
BATCHES_PER_EPOCH = 600
BATCH_SIZE = 64

GIB = float(1 << 30)
DEVICE_BYTES = 80 * GIB
ALLOCATED_BYTES = 41 * GIB  # of a training in its stride
RESERVED_BYTES = 3 * GIB  # cached by the allocator on top of that
CONTEXT_BYTES = 0.6 * GIB  # of the CUDA context


@dataclass(frozen=True)
class Node:
    """One simulated node and its training.

    Attributes:
        index: which of the fleet.
        gpus: GPUs installed; the first `ranks` of them train.
        ranks: processes of the training on this node.
        workers: loader workers per rank.
        scenario: what goes wrong, from `onset` on.
        seed: of everything random.
        start: Unix time at which the training was started.
        onset: seconds of healthy training asked for; rounded to whole epochs, at least one.
        epochs: epochs asked for.
        speed: divides the length of everything that takes minutes (epochs, onset, leak, death) and no rate: twice as
            fast, a scenario is over in half the time, and a second still has one second.
    """

    index: int
    gpus: int
    ranks: int
    workers: int
    scenario: Scenario
    seed: int
    start: float
    onset: float = 600.0
    epochs: int = 300
    speed: float = 1.0

    @property
    def instance(self) -> str:
        """The value of Prometheus' `instance` label."""
        return f"node{self.index:04d}:9911"

    @property
    def run(self) -> str:
        """The training's name."""
        return f"train/yolo11m-{self.index:04d}"


class Work(NamedTuple):
    """Work done in some time under one regime; seconds are wall time of the node's training."""

    epochs: float
    batches: float
    train: float
    validate: float
    checkpoint: float


NOTHING = Work(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Regime:
    """How batches go: healthy, or under the scenario."""

    phases: tuple[dict[str, float], ...]
    """By rank: seconds per batch by phase; the sum is the period of every rank."""
    step: float
    """Seconds per batch without the data wait."""
    wait: float
    """Seconds a batch is waited for."""
    preparation: float
    """Seconds a worker takes for a batch."""
    batches: int
    """Batches in an epoch."""
    scale: float
    """Seconds of validation and checkpoint per second of an ordinary training's."""

    @property
    def period(self) -> float:
        """Seconds from batch to batch."""
        return self.step + self.wait

    @cached_property
    def epoch(self) -> float:
        """Seconds from epoch to epoch."""
        return self.batches * self.period + self.scale * (VALIDATE_SECONDS + CHECKPOINT_SECONDS)

    def work(self, seconds: float) -> Work:
        """What is done after `seconds`."""
        epochs, rest = divmod(max(0.0, seconds), self.epoch)
        train = min(rest, self.batches * self.period)
        validate = min(rest - train, self.scale * VALIDATE_SECONDS)
        return Work(
            epochs,
            epochs * self.batches + train / self.period,
            epochs * self.batches * self.period + train,
            epochs * self.scale * VALIDATE_SECONDS + validate,
            epochs * self.scale * CHECKPOINT_SECONDS + (rest - train - validate),
        )

    def seconds(self, batches: float) -> float:
        """How long so many batches take, with the pauses between epochs."""
        epochs, rest = divmod(batches, self.batches)
        return epochs * self.epoch + rest * self.period

    def state(self, seconds: float) -> str:
        """The state `seconds` after the regime began."""
        rest = max(0.0, seconds) % self.epoch - self.batches * self.period
        if rest < 0:
            return "train"
        return "validate" if rest < self.scale * VALIDATE_SECONDS else "checkpoint"


def regime(node: Node, *, healthy: bool) -> Regime:
    """How the node's batches go, before and after the onset."""
    scenario = node.scenario
    slow = 1.0 if healthy else 1 / scenario.clock
    local = [{phase: seconds * slow for phase, seconds in COMPUTE.items()} for _ in range(node.ranks)]
    if not healthy:
        local[-1] = {phase: seconds * scenario.straggler for phase, seconds in local[-1].items()}
    slowest = max(sum(phases.values()) for phases in local)
    step = slowest + (SYNC_SECONDS if node.ranks > 1 else 0.0)
    preparation = PREPARATION_SECONDS * (1.0 if healthy else scenario.preparation)
    wait = max(LEAST_WAIT_SECONDS, preparation / max(1, node.workers) - step)
    phases = tuple(_rank_phases(own, step, wait, alone=node.ranks == 1) for own in local)
    return Regime(phases, step, wait, preparation, max(1, round(BATCHES_PER_EPOCH / node.speed)), 1 / node.speed)


def _rank_phases(own: dict[str, float], step: float, wait: float, *, alone: bool) -> dict[str, float]:
    if alone:
        return {"data_wait": wait, **{p.replace("backward_local", "backward"): s for p, s in own.items()}}
    return {"data_wait": wait, **own, "backward_exposed": step - sum(own.values())}


class Progress(NamedTuple):
    """Everything about a training at one time."""

    healthy: Work
    degraded: Work
    setup: float
    """Seconds of set-up done."""
    state: str
    ended: float
    """Seconds since its end, negative while it runs."""
    since_onset: float
    """Seconds trained since the onset, negative before."""

    @property
    def batches(self) -> float:
        """Batches done."""
        return self.healthy.batches + self.degraded.batches

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return int(self.healthy.epochs + self.degraded.epochs)

    @property
    def trained(self) -> float:
        """Seconds spent in the loop over batches."""
        return self.healthy.train + self.degraded.train


@dataclass(frozen=True)
class Training:
    """The whole course of a node's training."""

    node: Node
    healthy: Regime
    degraded: Regime
    onset: float
    """Seconds from start to onset."""
    end: float
    """Seconds from start to end."""
    outcome: str
    """The state it ends in."""

    def at(self, seconds: float) -> Progress:
        """Where it stands `seconds` after its start."""
        now = min(max(0.0, seconds), self.end)
        setup = SETUP_SECONDS / self.node.speed
        healthy = self.healthy.work(min(now, self.onset) - setup)
        degraded = self.degraded.work(now - self.onset)
        return Progress(healthy, degraded, min(now, setup), self._state(seconds), seconds - self.end, now - self.onset)

    def _state(self, seconds: float) -> str:
        if seconds >= self.end:
            return self.outcome
        if seconds < SETUP_SECONDS / self.node.speed:
            return "setup"
        if seconds < self.onset:
            return self.healthy.state(seconds - SETUP_SECONDS / self.node.speed)
        return self.degraded.state(seconds - self.onset)


def training_of(node: Node) -> Training:
    """Lay out the course of a node's training."""
    healthy, degraded = regime(node, healthy=True), regime(node, healthy=False)
    epochs = min(node.epochs, max(1, round(node.onset / node.speed / healthy.epoch)))
    onset = SETUP_SECONDS / node.speed + epochs * healthy.epoch
    end, outcome = onset + (node.epochs - epochs) * degraded.epoch, "finished"
    if node.scenario.dies:
        end, outcome = onset + DEATH_SECONDS / node.speed, "killed"
    if node.scenario.leak:
        headroom = DEVICE_BYTES - ALLOCATED_BYTES - RESERVED_BYTES - CONTEXT_BYTES
        batches = headroom / (node.scenario.leak * node.speed)
        end, outcome = onset + degraded.seconds(math.ceil(batches)), "failed"
    return Training(node, healthy, degraded, onset, end, outcome)
