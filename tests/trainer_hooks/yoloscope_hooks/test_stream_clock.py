"""Events in a stream that runs behind the host: phases by the stream's time, the sum by the host's, never a wait."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from yoloscope_exporter.catalog import PHASES
from yoloscope_hooks.step_clock import ARRIVED, BACKWARD, COPY, FORWARD, MARKS, OPTIMIZED, OPTIMIZER, OTHER, Gap
from yoloscope_hooks.stream_clock import DEPTH, StreamClock

US = 1e-6


@dataclass
class Stream:
    """A GPU stream: work is queued at the host's time and done in order."""

    host: float = 100.0
    busy_until: float = 100.0
    events: int = 0
    broken: bool = False

    def work(self, seconds: float) -> None:
        """Queue a kernel."""
        self.host += 10 * US
        self.busy_until = max(self.busy_until, self.host) + seconds

    def synchronise(self) -> None:
        """The host waits, as Ultralytics does on rank 0."""
        self.host = max(self.host, self.busy_until)


@dataclass
class Event:
    """An event, passed when the stream gets to it."""

    stream: Stream
    passed_at: float = field(default=float("nan"))

    def record(self, stream: Stream) -> None:
        """Queue the event."""
        if stream.broken:
            raise RuntimeError("CUDA error")
        self.passed_at = max(stream.busy_until, stream.host)

    def query(self) -> bool:
        """Whether it is passed by now."""
        return self.stream.host >= self.passed_at

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds to a later event; an error if one is not passed, as with CUDA."""
        assert self.query(), "not passed"
        assert end_event.query(), "not passed"
        return (end_event.passed_at - self.passed_at) * 1000


class World:
    """A training loop on a stream."""

    def __init__(self) -> None:
        """Nothing queued."""
        self.stream = Stream()
        self.clock = StreamClock(self.event, self.stream)
        self.seconds = [0.0] * len(PHASES)
        self.previous = self.began = self.stream.host
        self.clock.epoch()

    def event(self) -> Event:
        """Make an event and count it."""
        self.stream.events += 1
        return Event(self.stream)

    def step(self, *, wait: float = 0.0, callbacks: float = 0.0, sync: bool = False) -> None:
        """3 ms h2d, 1 ms preprocessing, 10 ms forward, 20 ms backward, 5 ms optimizer on the GPU."""
        clock, stream = self.clock, self.stream
        stream.host += wait + callbacks
        start = stream.host
        clock.begin()
        for before, seconds, after in (
            (COPY, 0.003, ARRIVED),
            (None, 0.001, FORWARD),
            (None, 0.010, BACKWARD),
            (None, 0.020, OPTIMIZER),
            (None, 0.005, OPTIMIZED),
        ):
            if before is not None:
                clock.marks[before] = stream.host
            stream.work(seconds)
            clock.marks[after] = stream.host
        if sync:
            stream.synchronise()
        gap = Gap(start - self.previous, callbacks, wait, first=False)
        clock.end([(clock.taken(), start, stream.host, gap)], self.seconds)
        self.previous = stream.host

    def pause(self, callbacks: float = 0.0) -> None:
        """The host waits for the GPU, as a validation does."""
        self.stream.synchronise()
        self.stream.host += callbacks
        self.clock.account(self.stream.host - self.previous, callbacks, OTHER, self.seconds)
        self.previous = self.stream.host

    def phase(self, name: str) -> float:
        """Seconds so far."""
        return self.seconds[PHASES.index(name)]


@pytest.mark.parametrize("sync", [True, False])
def test_phases_are_the_gpus(*, sync: bool) -> None:
    """Forward, backward and optimizer take what the GPU took, whether or not the host waits for it."""
    world = World()
    for _ in range(DEPTH + 50):
        world.step(sync=sync)
    world.pause()
    done = DEPTH + 50 if sync else 50  # at the least: the host is far ahead of the stream
    for name, seconds in (
        ("h2d", 0.003),
        ("preprocess", 0.001),
        ("forward", 0.010),
        ("backward", 0.020),
        ("optimizer", 0.005),
    ):
        assert world.phase(name) >= done * seconds * 0.99 or not sync
    assert world.phase("backward") == pytest.approx(2 * world.phase("forward"), rel=0.05)


def test_hidden_wait_is_no_wait() -> None:
    """Waiting of the host that the GPU's queue covers is not data wait; what starves the GPU is."""
    covered, starved = World(), World()
    for _ in range(20):
        covered.step(wait=0.030)
        starved.step(wait=0.060)
    for world in (covered, starved):
        world.pause()
    assert covered.phase("data_wait") == pytest.approx(0.030, rel=0.1)  # before the first step the GPU has nothing
    assert starved.phase("data_wait") == pytest.approx(20 * 0.060 - 19 * 0.039, rel=0.1)


def test_gap_is_divided_as_the_hosts() -> None:
    """Two thirds of what the host did before a step were callbacks: so are two thirds of the time the GPU had none."""
    world = World()
    for _ in range(20):
        world.step(wait=0.030, callbacks=0.060, sync=True)
    world.pause(callbacks=0.5)
    assert world.phase("data_wait") == pytest.approx(20 * 0.030, rel=0.01)
    assert world.phase("callbacks") == pytest.approx(20 * 0.060 + 0.5, rel=0.01)
    assert sum(world.seconds) == pytest.approx(world.stream.host - world.began, rel=0.01)


@pytest.mark.parametrize("wait", [0.0, 0.030, 0.060])
@pytest.mark.parametrize("sync", [True, False])
def test_sum_is_wall_time(wait: float, *, sync: bool) -> None:
    """Over several epochs the phases add up to what the host's clock says."""
    world = World()
    for _ in range(3):
        for _ in range(2 * DEPTH):
            world.step(wait=wait, sync=sync)
        world.pause()
        world.clock.epoch()
    assert sum(world.seconds) == pytest.approx(world.stream.host - world.began, rel=0.01)


def test_events_are_used_again() -> None:
    """A long training makes no more events than are in flight."""
    world = World()
    for _ in range(1000):
        world.step()
    assert world.stream.events <= MARKS * (DEPTH + 2)


@pytest.mark.parametrize("after", [0, 3])
def test_broken_context(after: int) -> None:
    """A CUDA error in a mark is not raised into the step."""
    world = World()
    for index in range(6):
        world.stream.broken = index >= after
        world.step(sync=True)
    world.pause()
    assert sum(world.seconds) <= world.stream.host - world.began
