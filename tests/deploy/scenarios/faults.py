"""Days on which something is wrong: one fault each, the alerts it must raise, and when.

To add one for a new alert: a function that builds the world, decorated with what it must raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as c

from .world import DISK, GIB, GPU_MEMORY, HOST_MEMORY, Part, World, host_memory, limited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: (minutes from the fault to the alert, minutes from its end to the last evaluation that fires)
Times = tuple[float, float]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: of its world.
        at: minute at which it begins.
        mended: minute at which it ends; an event that is over at once ends at `at`.
        minutes: length of the scenario.
        raises: `Alert` or `Alert/severity` -> when it must fire and stop. The times follow from `for`,
            `keep_firing_for`, the windows in the expression and the size of the fault.
        also: alerts that rightly fire as a consequence, at no stated time; Alertmanager inhibits most of them.
        alone: shares its Prometheus with no other scenario.
    """

    name: str
    at: float
    mended: float
    minutes: float
    raises: Mapping[str, Times]
    also: frozenset[str]
    alone: bool
    build: Callable[[World], None]

    def world(self) -> World:
        """The scenario."""
        shown = tuple((name.split("/")[0], self.at + fires) for name, (fires, _) in self.raises.items())
        world = World(self.name, minutes=self.minutes, alone=self.alone, shown=shown)
        self.build(world)
        return world


FAULTS: list[Fault] = []


def fault(
    at: float, mended: float, minutes: float, also: tuple[str, ...] = (), *, alone: bool = False, **raises: Times
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Put the function into the table; a severity is written `Alert__severity`."""

    def add(build: Callable[[World], None]) -> Callable[[World], None]:
        name = build.__name__.replace("_", "-")
        expected = {alert.replace("__", "/"): times for alert, times in raises.items()}
        FAULTS.append(Fault(name, at, mended, minutes, expected, frozenset(also), alone, build))
        return build

    return add


GPU_0 = "0"


def _on_gpu(w: World) -> dict[str, str]:
    return {"instance": w.node(), "gpu": GPU_0}


def _steady(w: World, **how: int) -> dict[str, str]:
    """A node and a healthy training on it; returns the training's labels."""
    w.host(**how)
    return w.train(Part(w.minutes))


# --- utilisation ------------------------------------------------------------------------------------------------------


@fault(at=40, mended=60, minutes=80, GpuUtilizationDrop=(2.75, 5.25))
def utilisation_drops(w: World) -> None:
    """Something slows the GPU's work: 95 % before, 40 % now."""
    w.host()
    w.train(Part(40), Part(20, busy=0.4), Part(20))


@fault(at=12, mended=20, minutes=40, GpuUtilizationDrop=(2.75, 5.25))
def utilisation_drops_early(w: World) -> None:
    """A drop after the first ten minutes, which is all the history a level needs."""
    w.host()
    w.train(Part(12, busy=0.5), Part(8, busy=0.2), Part(30, busy=0.5))


@fault(at=4, mended=40, minutes=65, GpuUtilizationLow=(15.5, 12.5))
def utilisation_is_low(w: World) -> None:
    """A run that never used its GPU by more than a fifth; a dip of it is no drop."""
    w.host()
    low = {"low": 0.5, "high": 0.1}
    parts = [Part(12, busy=0.2, **low), Part(6, busy=0.08, **low), Part(18, busy=0.2, **low)]
    w.train(Part(2, "setup", busy=0), *parts, Part(40, busy=0.9), start=2)


@fault(at=2, mended=30, minutes=60, GpuUtilizationLow=(15.5, 9.75))
def utilisation_is_low_until_the_end(w: World) -> None:
    """Two ranks that never used their GPUs, one even less; then the run ends, and is shown for a while."""
    w.host(gpus=2)
    for rank, busy in enumerate((0.2, 0.08)):
        parts = Part(28, busy=busy, low=0.5, high=0.1), Part(15, "finished", busy=0)
        w.train(Part(2, "setup", busy=0), *parts, rank=str(rank), ranks=2, gpu=str(rank))


@fault(
    at=2, mended=142, minutes=150, GpuHeldIdle__warning=(60, 0), GpuHeldIdle__critical=(120, 0), TrainingStuck=(125, 0)
)
def gpu_is_held(w: World) -> None:
    """A training that reads its data set for 140 minutes before the first batch, and tries its GPU now and then."""
    w.host()
    w.train(Part(140, "setup", busy=0.04), Part(20), start=2)


@fault(
    at=2,
    mended=80,
    minutes=90,
    also=("DataBound", "GpuUtilizationLow", "GpuUtilizationSwinging"),
    GpuHeldIdle__warning=(60, 0),
)
def gpu_is_held_between_validations(w: World) -> None:
    """A training that gets hardly any data, and validates for half of the time."""
    w.host()
    w.train(*[Part(12, busy=0.04, wait=0.9), Part(14, "validate", busy=0.04)] * 3, Part(30), start=2)


@fault(at=2, mended=112, minutes=180, also=("TrainingKilled",), GpuHeldIdle__warning=(60, 0))
def gpu_is_held_until_it_is_killed(w: World) -> None:
    """A training that reads its data set until somebody loses patience; it is shown for an hour after its death."""
    w.host()
    w.train(Part(110, "setup", busy=0), Part(60, "killed", busy=0), start=2)


@fault(at=33, mended=48, minutes=80, also=("TrainingKilled",), GpuUtilizationDrop=(2.75, 5.25))
def utilisation_drops_where_it_was_resumed(w: World) -> None:
    """A run that was killed goes on, on another node; where it died it is shown for an hour, on a GPU that idles."""
    w.host()
    w.host(1)
    w.train(Part(6), Part(60, "killed", busy=0))
    w.train(Part(25), Part(15, busy=0.4), Part(60), node=1, start=8)


@fault(at=25, mended=50, minutes=75, GpuUtilizationSwinging=(15.25, 15))
def utilisation_swings(w: World) -> None:
    """The GPU works in bursts: 40 % of the samples are idle, half are full."""
    w.host()
    w.train(Part(25), Part(25, busy=0.6, low=0.4, high=0.5), Part(30))


@fault(at=20, mended=40, minutes=60, also=("GpuUtilizationSwinging",), GpuStandsStill=(6, 9.75))
def gpu_stands_still(w: World) -> None:
    """A logger uploads for half a minute, every minute and a half; a display draws on the GPU meanwhile."""
    w.host()
    pauses = [Part(1), Part(0.5, busy=0.007)] * 13
    w.train(Part(20), *pauses, Part(30))


@fault(at=20, mended=39.5, minutes=70, also=("GpuUtilizationSwinging",), GpuStandsStill=(6, 6))
def gpu_stands_still_before_a_validation(w: World) -> None:
    """The same, until a validation begins: from then on it is no pause of the training."""
    w.host()
    pauses = [Part(1), Part(0.5, busy=0)] * 13
    w.train(Part(20), *pauses, Part(20, "validate", busy=0.5), Part(20))


@fault(at=10, mended=40, minutes=65, GpuUtilizationSwinging=(15, 14))
def epochs_begin_slowly(w: World) -> None:
    """Epochs of a minute and a half, each begins with half a minute of preparation: bursts, but no standstill."""
    w.host()
    begin = [Part(0.5, busy=0), Part(1)] * 20
    w.train(Part(9), Part(1), *begin, Part(30), epoch_minutes=0.5)


@fault(at=20, mended=40, minutes=60, GpuUtilizationSwinging=(16, 15))
def gpu_nearly_stands_still(w: World) -> None:
    """In the pauses something else works on the GPU, one and a half per cent of the time."""
    w.host()
    pauses = [Part(1), Part(0.5, busy=0.015)] * 13
    w.train(Part(20), *pauses, Part(30))


@fault(at=2, mended=30, minutes=50, also=("GpuUtilizationLow",), GpuUtilizationUneven=(5.25, 5))
def one_gpu_of_four(w: World) -> None:
    """Three ranks wait inside their kernels for the one that gets no data."""
    w.host(gpus=4)
    for rank in range(4):
        late = Part(28, busy=0.26, low=0.1, high=0.1) if rank == 2 else Part(28, busy=0.55)
        w.train(Part(2, "setup", busy=0), late, Part(40), rank=str(rank), ranks=4, gpu=str(rank))


@fault(at=90, mended=140, minutes=180, ThroughputRegression=(35, 20))
def throughput_falls(w: World) -> None:
    """Every batch takes half as long again, and the GPU looks as busy as before; one of two runs ends so."""
    w.host(gpus=2)
    w.train(Part(90), Part(50, slow=1.5), Part(60))
    w.train(Part(90), Part(50, slow=1.5), Part(15, "finished", busy=0), run=f"{w.name}-2", gpu="1")


@fault(at=90, mended=140, minutes=180, ThroughputRegression=(30, 15))
def throughput_falls_between_validations(w: World) -> None:
    """The same in a run that trains in two fifths of the time."""
    w.host()
    turns = [[Part(0.75, "validate", busy=0.5), Part(0.5, slow=slow)] for slow in [1.0] * 72 + [1.5] * 40 + [1.0] * 34]
    w.train(*(part for turn in turns for part in turn), epoch_minutes=1000)


@fault(at=44, mended=48, minutes=60, also=("GpuStandsStill", "GpuUtilizationSwinging"), GpuUtilizationDrop=(2.75, 5.25))
def callback_at_the_end_of_epochs(w: World) -> None:
    """After its second epoch the run uploads its weights for four minutes; a minute after the first was no harm."""
    w.host()
    who = w.train(Part(20), Part(1, busy=0, batches=False), Part(23), Part(4, busy=0, batches=False), Part(20))
    w.gauge(c.TRAIN_VERDICT, (0, 0), (45, 1), **who, verdict="callback_bound")
    w.constant(c.TRAIN_VERDICT, 0, **who, verdict="loader_io")


# --- data pipeline ----------------------------------------------------------------------------------------------------


@fault(at=20, mended=45, minutes=70, DataBound__warning=(12, 13))
def starved(w: World) -> None:
    """Half of the training time goes into waiting for data; the quota stops many CPUs, but seldom."""
    instance = w.host()
    who = w.train(Part(20), Part(25, wait=0.5, busy=0.7), Part(40))
    w.gauge(c.TRAIN_VERDICT, (0, 0), (21, 1), (46, 0), **who, verdict="loader_workers")
    told = {"verdict": "loader_workers", "fix": "workers=11 for each", "fix_zh": "workers=11；每个"}  # noqa: RUF001
    w.gauge(c.TRAIN_VERDICT_FIX_INFO, (0, None), (21, 1), (46, None), **who, **told)
    w.constant(c.TRAIN_VERDICT, 0, **who, verdict="loader_io")
    w.counter(c.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (0, 0.5), instance=instance, run=w.name)
    w.counter(c.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, (0, 2), instance=instance, run=w.name)


@fault(at=20, mended=45, minutes=70, DataBound__warning=(12, 13))
def starved_in_one_of_two_clusters(w: World) -> None:
    """The run and the node are called the same in both; in the other one the loader keeps up."""
    one, two = (World(w.name, minutes=w.minutes) for _ in range(2))
    one.host()
    one.train(Part(20), Part(25, wait=0.5, busy=0.7), Part(40))
    two.host()
    two.train(Part(w.minutes))
    w.merge(one, cluster="one")
    w.merge(two, cluster="two")


@fault(at=20, mended=45, minutes=70, DataBound__warning=(12, 13))
def starved_with_older_hooks(w: World) -> None:
    """They do not tell the first batches of epochs apart: the rule subtracts nothing then, and does not fall silent."""
    w.host()
    w.train(Part(20), Part(25, wait=0.5, busy=0.7), Part(40))
    w.without(c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL)


@fault(at=10, mended=55, minutes=70, DataBound__info=(34.5, 1))
def a_little_starved(w: World) -> None:
    """12 % of data wait."""
    w.host()
    w.train(Part(10), Part(45, wait=0.12, busy=0.85), Part(30))


@fault(at=10, mended=55, minutes=75, DataBound__info=(34.25, 1.25))
def a_little_starved_with_validation(w: World) -> None:
    """12 % of data wait and an epoch's first batch beside it, which does not count."""
    w.host()
    w.train(Part(10, first=0.02), Part(45, wait=0.17, first=0.05, busy=0.85), Part(30, first=0.02))


@fault(at=20, mended=20, minutes=60, LoaderWorkerDied=(0, 25))
def worker_dies(w: World) -> None:
    """One loader worker is killed."""
    w.event(c.TRAIN_WORKER_DEATHS_TOTAL, 20, **_steady(w))


@fault(at=10, mended=40, minutes=80, LoaderWorkersRestarting=(11, 24.25))
def workers_restart(w: World) -> None:
    """A trainer that builds its loader anew for each of its short epochs: eight workers, twice a minute."""
    w.counter(c.TRAIN_WORKER_RESTARTS_TOTAL, (0, 0), (10, 4 / 60), (40, 0), **_steady(w))


@fault(at=15, mended=40, minutes=65, CpuQuotaThrottling=(13.5, 12))
def quota_throttles(w: World) -> None:
    """The container's CPU limit stops the workers half of the time, and the training waits."""
    instance = w.host()
    w.train(Part(15), Part(25, wait=0.15, busy=0.8), Part(30))
    w.counter(c.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (0, 0), (15, 5), (40, 0), instance=instance, run=w.name)
    w.counter(c.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, (0, 0), (15, 2), (40, 0), instance=instance, run=w.name)


# --- memory -----------------------------------------------------------------------------------------------------------


@fault(at=15, mended=35, minutes=50, GpuMemoryNearLimit=(10, 10.75))
def gpu_memory_is_short(w: World) -> None:
    """PyTorch holds 98 % of the device."""
    who = _steady(w)
    high, low = 0.98 * GPU_MEMORY, 0.7 * GPU_MEMORY
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (0, low), (15, high), (35, low), **who, kind="reserved")


@fault(at=15, mended=35, minutes=45, CudaAllocRetries=(10.25, 4.75))
def allocations_are_repeated(w: World) -> None:
    """The allocator flushes its cache once a minute."""
    w.counter(c.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, (0, 0), (15, 1 / 60), (35, 0), **_steady(w))


@fault(at=15, mended=15, minutes=55, CudaOutOfMemory__critical=(1, 24.75))
def out_of_gpu_memory(w: World) -> None:
    """An allocation fails for good."""
    w.event(c.TRAIN_CUDA_OOMS_TOTAL, 15, **_steady(w))


@fault(at=15, mended=15, minutes=70, CudaOutOfMemory__warning=(0, 44.75))
def batch_is_halved(w: World) -> None:
    """An allocation fails and Ultralytics halves the batch: the peak of the run stays, and is none of this batch."""
    who = _steady(w)
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (0, 0.7 * GPU_MEMORY), (15, 0.98 * GPU_MEMORY), **who, kind="peak_reserved")
    w.constant(c.TRAIN_CUDA_MEMORY_BYTES, 0.6 * GPU_MEMORY, **who, kind="reserved")
    w.event(c.TRAIN_CUDA_OOMS_TOTAL, 15, **who)
    w.event(c.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, 15, **who)


@fault(at=15, mended=40, minutes=50, GpuMemoryFragmented=(15, 0))
def memory_in_pieces(w: World) -> None:
    """90 % reserved, never more than 60 % used at once, little left."""
    who = _steady(w)
    high, low = 0.9 * GPU_MEMORY, 0.7 * GPU_MEMORY
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (0, low), (15, high), (40, low), **who, kind="reserved")
    w.constant(c.TRAIN_CUDA_MEMORY_BYTES, 0.6 * GPU_MEMORY, **who, kind="peak_allocated")
    w.constant(c.GPU_MEMORY_FREE_BYTES, 0.05 * GPU_MEMORY, **_on_gpu(w))


@fault(at=15, mended=45, minutes=90, also=("TrainingKilled",), GpuMemoryFragmented=(15, 0), GpuMemoryNearLimit=(10, 10))
def memory_is_full_until_it_is_killed(w: World) -> None:
    """The same, and nearly all of it; what the dead run held is shown for a while."""
    w.host()
    who = w.train(Part(45), Part(45, "killed", busy=0))
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (0, 0.7 * GPU_MEMORY), (15, 0.98 * GPU_MEMORY), **who, kind="reserved")
    w.constant(c.TRAIN_CUDA_MEMORY_BYTES, 0.6 * GPU_MEMORY, **who, kind="peak_allocated")
    w.constant(c.GPU_MEMORY_FREE_BYTES, 0.02 * GPU_MEMORY, **_on_gpu(w))


def _gpu_fills(w: World, who: dict[str, str], instance: str, until: float, slope: float) -> None:
    """From 20 GiB on by a slope in bytes per second, until the device is full at a minute."""
    room = until * 60 * slope
    for kind in ("allocated", "reserved"):
        w.put(c.TRAIN_CUDA_MEMORY_BYTES, [(0, 20 * GIB, slope), (until, 20 * GIB + room, 0)], **who, kind=kind)
    w.put(c.GPU_MEMORY_FREE_BYTES, [(0, room, -slope), (until, 0, 0)], instance=instance, gpu=GPU_0)


@fault(at=0, mended=110, minutes=165, also=("TrainingKilled",), GpuMemoryLeak=(32, 9))
def gpu_memory_leaks_until_it_is_killed(w: World) -> None:
    """A callback keeps tensors, and somebody ends it."""
    w.host()
    who = w.train(Part(110), Part(55, "killed", busy=0))
    slope = 1.5 * GIB / 1200
    pieces = [(0, 20 * GIB, slope), (110, 20 * GIB + 110 * 60 * slope, 0)]
    w.put(c.TRAIN_CUDA_MEMORY_BYTES, pieces, **who, kind="allocated")


@fault(at=0, mended=110, minutes=165, GpuMemoryLeak=(32, 33))
def gpu_memory_leaks(w: World) -> None:
    """A callback keeps tensors: 1.5 GiB in twenty minutes, for 110 minutes."""
    slope = 1.5 * GIB / 1200
    who = _steady(w)
    base = 20 * GIB
    pieces = [(0, base, slope), (110, base + 110 * 60 * slope, 0)]
    w.put(c.TRAIN_CUDA_MEMORY_BYTES, pieces, **who, kind="allocated")


@fault(at=0, mended=70, minutes=90, also=("TrainingFailed",), GpuMemoryLeak=(27, 9))
def gpu_memory_leaks_until_there_is_none(w: World) -> None:
    """256 MiB for each epoch of five minutes: out of memory after seventy minutes, and told half an hour before."""
    instance = w.host()
    who = w.train(Part(70), Part(20, "failed", busy=0), epoch_minutes=5)
    _gpu_fills(w, who, instance, 70, 256 * 2**20 / 300)


@fault(at=0, mended=14, minutes=30, also=("TrainingFailed",), GpuMemoryLeak=(6, 9))
def gpu_memory_leaks_within_the_first_epoch(w: World) -> None:
    """Half a GiB with every ten batches of an epoch of an hour: out of memory after fourteen minutes."""
    instance = w.host()
    who = w.train(Part(14), Part(16, "failed", busy=0), epoch_minutes=60)
    _gpu_fills(w, who, instance, 14, 0.05 * GIB * 2)


@fault(at=0, mended=240, minutes=270, also=("TrainingKilled",), GpuMemoryLeak=(74, 9))
def gpu_memory_grows_once_in_an_epoch(w: World) -> None:
    """2 GiB at the end of each epoch of twelve minutes, for four hours."""
    w.host()
    who = w.train(Part(240), Part(30, "killed", busy=0), epoch_minutes=12)
    steps = ((12.0 * epoch, 10 * GIB + epoch * 2 * GIB) for epoch in range(21))
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, *steps, **who, kind="allocated")


@fault(at=15, mended=30, minutes=40, ShmNearlyFull=(5, 0))
def shared_memory_fills(w: World) -> None:
    """A dead training left its batches in /dev/shm: 10 % is free."""
    instance = w.host()
    place = {"instance": instance, "mountpoint": "/dev/shm", "fstype": "tmpfs"}
    w.gauge(c.FILESYSTEM_AVAILABLE_BYTES, (0, 40 * GIB), (15, 6.4 * GIB), (30, 40 * GIB), **place)


@fault(at=15, mended=30, minutes=40, ShmNearlyFull=(5, 0))
def shared_memory_of_a_container_fills(w: World) -> None:
    """Docker's 64 MiB, of which 3 are left; the node's own is hardly used."""
    who = _steady(w)
    w.constant(c.TRAIN_SHM_SIZE_BYTES, 2.0**26, **who)
    w.gauge(c.TRAIN_SHM_AVAILABLE_BYTES, (0, 2.0**25), (15, 3 * 2.0**20), (30, 2.0**25), **who)


@fault(at=15, mended=40, minutes=60, HostMemoryPressure=(15, 9.75))
def host_memory_is_short(w: World) -> None:
    """95 % of the node's memory is in use."""
    instance = w.host()
    host_memory(w, instance, (0, 0.6, 0), (15, 0.05, 0), (40, 0.6, 0))


@fault(at=15, mended=40, minutes=60, HostMemoryPressure=(16.75, 13.25))
def host_waits_for_memory(w: World) -> None:
    """All tasks wait for memory a third of the time, though some is free."""
    instance = w.host()
    where = {"instance": instance, "resource": "memory", "kind": "full"}
    w.counter(c.PRESSURE_SECONDS_TOTAL, (0, 0), (15, 0.3), (40, 0), **where)


@fault(at=40, mended=100, minutes=150, HostMemoryRunningOut=(21, 23))
def host_memory_leaks(w: World) -> None:
    """Workers grow: what is available falls to nothing in three hours."""
    instance = w.host()
    w.train(Part(w.minutes))
    host_memory(w, instance, (0, 0.45, 0), (40, 0.45, -0.45 / 10800), (100, 0.3, 0))


@fault(at=0, mended=20, minutes=40, also=("HostMemoryPressure",), HostMemoryRunningOut=(11, 7))
def host_memory_leaks_within_the_first_epoch(w: World) -> None:
    """The main process grows from the first batch on: what is available is gone in twenty minutes of an hour."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=60)
    host_memory(w, instance, (0, 0.45, -0.4 / 1200), (20, 0.05, 0))


@fault(at=0, mended=240, minutes=270, also=("TrainingKilled",), HostMemoryRunningOut=(92, -1))
def host_memory_grows_once_in_an_epoch(w: World) -> None:
    """Workers that stay grow by 2 % of the memory with each epoch of twelve minutes."""
    instance = w.host()
    w.train(Part(240), Part(30, "killed", busy=0), epoch_minutes=12)
    host_memory(w, instance, *((12.0 * epoch, 0.55 - epoch * 0.02, 0) for epoch in range(21)))


@fault(at=0, mended=45, minutes=75, HostMemoryRunningOut=(35, 7))
def host_memory_leaks_beside_short_runs(w: World) -> None:
    """The main process grows, while beside it a training of ten minutes is started every twelve minutes."""
    instance = w.host(gpus=7)
    who = w.train(Part(w.minutes))
    host_memory(w, instance, (0, 0.45, -0.45 / 10800), (45, 0.3375, 0))
    slope = 0.45 / 10800 * HOST_MEMORY
    w.put(c.TRAIN_PROCESS_RESIDENT_BYTES, [(0, GIB, slope), (45, GIB + 45 * 60 * slope, 0)], **who, role="main")
    for index in range(6):
        parts = Part(1, "setup", busy=0), Part(10), Part(1, "finished", busy=0)
        w.train(*parts, run=f"{w.name}-{index + 2}", gpu=str(index + 1), start=12.0 * index, epoch_minutes=5)


@fault(at=40, mended=100, minutes=150, ContainerMemoryRunningOut=(21, 23))
def container_leaks(w: World) -> None:
    """The container fills in two hours; the node's memory is large."""
    w.host()
    who = w.train(Part(w.minutes))
    limited(w, who, (0, 0.55, 0), (40, 0.55, 0.45 / 7200), (100, 0.775, 0))


@fault(at=0, mended=20, minutes=40, ContainerMemoryRunningOut=(11, 7))
def container_leaks_within_the_first_epoch(w: World) -> None:
    """The same in twenty minutes of a first epoch of an hour, by hooks that do not tell how many workers there are."""
    w.host()
    who = w.train(Part(w.minutes), epoch_minutes=60)
    limited(w, who, (0, 0.55, 0.4 / 1200), (20, 0.95, 0))
    w.without(c.TRAIN_WORKERS)


@fault(at=20, mended=20, minutes=60, CgroupOomKill=(0, 25))
def kernel_kills(w: World) -> None:
    """The container's memory limit is reached."""
    instance = w.host()
    w.train(Part(w.minutes))
    w.event(c.CGROUP_OOM_KILLS_TOTAL, 20, instance=instance, run=w.name)


# --- inference --------------------------------------------------------------------------------------------------------


def predicts(w: World, *parts: tuple[float, float, float]) -> dict[str, str]:
    """A process that predicts: from which minute on, how many images a second, and milliseconds of each."""
    who = {"instance": w.host(), "run": w.name, "rank": "0"}
    w.constant(c.PREDICT_UP, 1, **who)
    w.constant(c.PREDICT_STATE, 1, **who, state="predict")
    w.constant(c.PREDICT_UNDER_WAY, 1, **who)
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0)], **who)
    name = c.PREDICT_IMAGE_SECONDS.name
    for bound in (20, 50, 100):
        rates = [(minute, rate if taken <= bound else 0.0) for minute, rate, taken in parts]
        w.counter(f"{name}_bucket", *rates, **who, le=f"{bound / 1000:g}")
    every = [(minute, rate) for minute, rate, _ in parts]
    w.counter(f"{name}_bucket", *every, **who, le="+Inf")
    w.counter(f"{name}_count", *every, **who)
    return who


@fault(at=100, mended=130, minutes=160, InferenceSlow=(5.25, 0.5))
def predictions_slow_down(w: World) -> None:
    """Images took 15 ms, and take 90 ms for half an hour."""
    predicts(w, (0, 10, 15), (100, 10, 90), (130, 10, 15))


@fault(at=20, mended=40, minutes=60, InferenceStalled=(6.25, 0))
def predictions_stand_still(w: World) -> None:
    """A stream that is gone: its call goes on without a batch, until somebody ends it."""
    who = predicts(w, (0, 10, 15), (20, 0, 15))
    w.gauge(c.PREDICT_UNDER_WAY, (0, 1), (40, 0), **who)
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0), (20, 20 * 60, 0.0)], **who)


@fault(at=0, mended=20, minutes=40, InferenceStalled=(6.25, 0))
def predictions_never_begin(w: World) -> None:
    """A call whose first file does not answer, until somebody ends it: there is no last batch to be old."""
    who = predicts(w, (0, 0, 15))
    w.gauge(c.PREDICT_UNDER_WAY, (0, 1), (20, 0), **who)
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, None, 0.0)], **who)
    w.constant(c.PREDICT_START_TIMESTAMP_SECONDS, 0, **who)


# --- liveness ---------------------------------------------------------------------------------------------------------


@fault(at=20, mended=35, minutes=50, TrainingStalled=(12.25, 1))
def hangs_in_a_collective(w: World) -> None:
    """No batch any more; the GPU spins in NCCL and looks busy."""
    w.host()
    w.train(Part(20), Part(15, busy=1.0, batches=False), Part(20))


@fault(at=20, mended=40, minutes=55, also=("GpuStandsStill", "GpuUtilizationDrop"), TrainingStalled=(12.25, 1))
def hangs_in_the_loader(w: World) -> None:
    """No batch any more; the GPU idles."""
    w.host()
    w.train(Part(20), Part(20, busy=0.0, batches=False), Part(20))


@fault(at=20, mended=35, minutes=50, TrainingStalled=(3, 1))
def hangs_and_is_diagnosed(w: World) -> None:
    """The diagnosis knows how long batches take, and says so a minute later."""
    w.host()
    who = w.train(Part(20), Part(15, busy=1.0, batches=False), Part(20))
    w.gauge(c.TRAIN_VERDICT, (0, 0), (21, 1), (35, 0), **who, verdict="stalled")


@fault(at=25, mended=40, minutes=55, also=("TrainingKilled",), TrainingStalled=(12.25, 1))
def hangs_where_it_was_resumed(w: World) -> None:
    """A run that was killed goes on, on another node, and hangs there; it is still shown, dead, on the first one."""
    w.host()
    w.host(1)
    w.train(Part(6), Part(48, "killed", busy=0))
    w.train(Part(17), Part(15, busy=1.0, batches=False), Part(20), node=1, start=8)


@fault(at=40, mended=65, minutes=75, TrainingStalled=(12.25, 1))
def hangs_between_long_batches(w: World) -> None:
    """Batches of 40 seconds: however long they are, ten minutes without one is a hang."""
    w.host(gpus=0)
    w.train(Part(40, slow=80), Part(25, batches=False), Part(20, slow=80), device=False)


@fault(at=5, mended=145, minutes=155, TrainingStuck=(125.25, 0))
def validates_for_ever(w: World) -> None:
    """A validation that does not end."""
    w.host()
    w.train(Part(5), Part(140, "validate", busy=0.015), Part(15))


@fault(at=5, mended=145, minutes=155, TrainingStuck=(125.25, 0))
def rank_0_validates_for_ever(w: World) -> None:
    """Older Ultralytics: rank 0 validates without end; the other one says 'train' and waits for it."""
    w.host(gpus=2)
    w.train(Part(5), Part(140, "validate", busy=0.5), Part(15), ranks=2)
    w.train(Part(5), Part(140, busy=0.0, batches=False), Part(15), rank="1", ranks=2, gpu="1")


@fault(at=20, mended=50, minutes=60, TrainingKilled=(0, 0))
def is_killed(w: World) -> None:
    """The scheduler kills it; its record is shown for a while."""
    w.host()
    w.train(Part(20), Part(30, "killed", busy=0))


@fault(at=20, mended=25, minutes=60, TrainingKilled=(0, 0))
def is_killed_and_resumed_elsewhere(w: World) -> None:
    """Preempted, and five minutes later resumed on another node; the first one shows it, dead, for an hour."""
    w.host()
    w.host(1)
    w.train(Part(20), Part(60, "killed", busy=0))
    w.train(Part(60), node=1, start=25)


@fault(at=20, mended=25, minutes=60, TrainingKilled=(0, 0))
def is_killed_and_resumed_with_fewer_ranks(w: World) -> None:
    """Elastic: four ranks on one node, then two on another, and both that there are report."""
    w.host(gpus=4)
    w.host(1, gpus=2)
    for rank in range(4):
        w.train(Part(20), Part(60, "killed", busy=0), rank=str(rank), ranks=4, gpu=str(rank))
    for rank in range(2):
        w.train(Part(60), rank=str(rank), ranks=2, gpu=str(rank), node=1, start=25)


@fault(at=20, mended=50, minutes=60, TrainingKilled=(0, 0))
def is_killed_in_one_of_two_clusters(w: World) -> None:
    """In the other one a run of the same name begins on a node of the same address: it is not this one resumed."""
    one, two = (World(w.name, minutes=w.minutes) for _ in range(2))
    one.host()
    one.train(Part(20), Part(30, "killed", busy=0))
    two.host()
    two.train(Part(60), start=25)
    w.merge(one, cluster="one")
    w.merge(two, cluster="two")


@fault(at=20, mended=35, minutes=45, TrainingFailed=(0, 0))
def ends_with_an_exception(w: World) -> None:
    """A traceback, of which the diagnosis tells the cause."""
    w.host()
    who = w.train(Part(20), Part(15, "failed", busy=0))
    why = {
        "cause": "cuda_out_of_memory: the GPU's memory is used up",
        "cause_zh": "cuda_out_of_memory：显存用完",  # noqa: RUF001
        "evidence": "OutOfMemoryError: CUDA out of memory",
    }
    w.gauge(c.TRAIN_VERDICT_CAUSE_INFO, (0, None), (20, 1), **who, verdict="failed", **why)


@fault(at=30, mended=30, minutes=105, TrainingVanished=(2, 64.75))
def record_is_removed(w: World) -> None:
    """/dev/shm is emptied under a running training."""
    w.host()
    w.train(Part(30))


@fault(at=30, mended=30, minutes=105, also=("RanksMissing",), TrainingVanished=(2, 64.75))
def records_of_one_node_are_removed(w: World) -> None:
    """The rank on the other node, which began a minute earlier, goes on: the run has not started anew."""
    w.host()
    w.host(1)
    w.train(Part(105), ranks=2)
    w.train(Part(29), rank="1", ranks=2, node=1, start=1)


@fault(at=20, mended=21, minutes=60, TrainingKilled=(0, 0))
def is_killed_and_shown_for_a_minute(w: World) -> None:
    """--runs.keep-killed=1m: what is no longer shown has not vanished."""
    w.host()
    w.train(Part(20), Part(1, "killed", busy=0))


@fault(at=20, mended=20, minutes=60, LossNotFinite=(0, 25))
def loss_is_nan(w: World) -> None:
    """A batch whose loss is no number."""
    w.event(c.TRAIN_NONFINITE_LOSS_TOTAL, 20, **_steady(w))


@fault(at=45, mended=140, minutes=155, also=("TrainingKilled",), CheckpointStale=(65, 0))
def checkpoints_stop(w: World) -> None:
    """An epoch each fifteen minutes; after the third nothing is saved, until the disk is mended or the run killed."""
    w.host(gpus=2)
    steady = w.train(Part(w.minutes), epoch_minutes=15)
    killed = w.train(Part(125), Part(30, "killed", busy=0), run=f"{w.name}-2", gpu="1", epoch_minutes=15)
    saved = [(15.0 * index, float(index)) for index in range(4)]
    w.gauge(c.TRAIN_CHECKPOINTS_TOTAL, *saved, (140, 5), **steady)
    w.gauge(c.TRAIN_CHECKPOINTS_TOTAL, *saved, **killed)


# --- distributed training ---------------------------------------------------------------------------------------------


@fault(at=15, mended=40, minutes=65, StragglerRank=(11.5, 13.5))
def one_rank_is_slow(w: World) -> None:
    """One rank of four needs half as long again for its part; the others wait for it."""
    w.host(gpus=4)
    for rank in range(4):
        slow = Part(25, slow=1.5) if rank == 2 else Part(25, exposed=0.98 / 3)
        w.train(Part(15), slow, Part(30), rank=str(rank), ranks=4, gpu=str(rank))


def hardly_train(w: World, fifths: int, after: Part) -> None:
    """Three ranks that wait for data and for one of them in some fifths of the time, in turn with validations; an hour.

    Of what it takes longer they wait for six tenths in their steps, and for the rest after them. A turn is five
    scrapes, so that every minute holds the same share of training.
    """
    w.host(gpus=3)
    for rank in range(3):
        slow = {"slow": 2.5} if rank == 2 else {"exposed": 0.4}
        training = Part(fifths / 4, wait=0.3, busy=0.1, low=1.0, **slow)
        parts = [Part((5 - fifths) / 4, "validate", busy=0.0, low=1.0), training] * 48
        w.train(*parts, after, rank=str(rank), ranks=3, gpu=str(rank), epoch_minutes=1000)


@fault(
    at=0,
    mended=60,
    minutes=90,
    DataBound__warning=(13.75, 12.5),
    GpuUtilizationLow=(15.75, 24.5),
    StragglerRank=(12.5, 10.75),
)
def trains_less_than_half_of_the_time(w: World) -> None:
    """In two fifths of it; after an hour there is nothing but a validation."""
    hardly_train(w, 2, Part(30, "validate", busy=0.5))


@fault(at=0, mended=30, minutes=40, RanksMissing=(5, -0.25))
def a_rank_does_not_report(w: World) -> None:
    """Three of four ranks have hooks."""
    w.host(gpus=4)
    for rank in range(3):
        w.train(Part(30), Part(15, "finished", busy=0), rank=str(rank), ranks=4, gpu=str(rank))


@fault(at=10, mended=55, minutes=65, CommunicationBound=(33.5, 1.5))
def slow_link(w: World) -> None:
    """Two ranks wait for gradients 30 % of the time."""
    w.host(gpus=2)
    for rank in range(2):
        w.train(Part(10), Part(45, exposed=0.3), Part(20), rank=str(rank), ranks=2, gpu=str(rank))


# --- hardware ---------------------------------------------------------------------------------------------------------


@fault(at=20, mended=20, minutes=60, GpuFaulty__critical=(1, 24.75))
def first_xid(w: World) -> None:
    """A first Xid 79; its series appears with it."""
    w.host()
    w.gauge(c.GPU_XID_ERRORS_TOTAL, (0, None), (20, 1), **_on_gpu(w), xid="79")


@fault(at=20, mended=20, minutes=60, GpuFaulty__critical=(1, 25))
def xid_of_a_known_series(w: World) -> None:
    """A first Xid 48 whose series was there before, with 0."""
    w.host()
    w.event(c.GPU_XID_ERRORS_TOTAL, 20, start=0, **_on_gpu(w), xid="48")


@fault(at=20, mended=20, minutes=60, GpuFaulty__warning=(1, 24.75))
def contained_xid(w: World) -> None:
    """A first Xid 94."""
    w.host()
    w.gauge(c.GPU_XID_ERRORS_TOTAL, (0, None), (20, 1), **_on_gpu(w), xid="94")


@fault(at=20, mended=20, minutes=60, GpuFaulty__warning=(1, 25))
def contained_xid_of_a_known_series(w: World) -> None:
    """A first Xid 94 whose series was there before, with 0."""
    w.host()
    w.event(c.GPU_XID_ERRORS_TOTAL, 20, start=0, **_on_gpu(w), xid="94")


@fault(at=10, mended=10, minutes=100, GpuFaulty__critical=(1, 75))
def ecc_error(w: World) -> None:
    """One uncorrectable error more."""
    w.host()
    w.event(c.GPU_ECC_ERRORS_TOTAL, 10, start=12, **_on_gpu(w), kind="uncorrected")


@fault(at=10, mended=30, minutes=50, GpuFaulty__critical=(1, 15))
def row_remap_fails(w: World) -> None:
    """No spare row is left, until the board is replaced."""
    w.host()
    w.gauge(c.GPU_ROW_REMAP_FAILURE, (0, 0), (10, 1), (30, 0), **_on_gpu(w))


@fault(at=10, mended=30, minutes=50, GpuFaulty__warning=(1, 15))
def row_remap_waits(w: World) -> None:
    """A row is to be replaced at the next reset."""
    w.host()
    w.gauge(c.GPU_ROW_REMAP_PENDING, (0, 0), (10, 1), (30, 0), **_on_gpu(w))


@fault(at=10, mended=30, minutes=50, GpuFaulty__critical=(1, 15))
def pages_retire(w: World) -> None:
    """40 and 23 pages make 63, NVIDIA's limit."""
    w.host()
    w.constant(c.GPU_RETIRED_PAGES_TOTAL, 40, **_on_gpu(w), kind="single_bit")
    w.gauge(c.GPU_RETIRED_PAGES_TOTAL, (0, 22), (10, 23), (30, 0), **_on_gpu(w), kind="double_bit")


@fault(at=10, mended=30, minutes=50, GpuFaulty__critical=(1, 15))
def sram_fails(w: World) -> None:
    """More uncorrected errors of the SRAM than NVIDIA allows, until the board is replaced."""
    w.host()
    w.gauge(c.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, (0, 0), (10, 1), (30, 0), **_on_gpu(w))


@fault(at=10, mended=30, minutes=50, GpuFaulty__warning=(1, 15))
def driver_asks_for_a_reset(w: World) -> None:
    """The driver's recovery action is a reset."""
    w.host()
    w.gauge(c.GPU_RECOVERY_ACTION, (0, 0), (10, 1), (30, 0), **_on_gpu(w))


@fault(at=10, mended=30, minutes=50, GpuFaulty__warning=(1, 15))
def fabric_loses_bandwidth(w: World) -> None:
    """The GPU's part of the NVLink fabric has less bandwidth than it should."""
    w.host()
    w.gauge(c.GPU_FABRIC_FAULT, (0, 0), (10, 1), (30, 0), **_on_gpu(w), fault="degraded_bandwidth")


@fault(at=20, mended=35, minutes=50, GpuThermalSlowdown__warning=(10.5, 9.5))
def overheats(w: World) -> None:
    """A fan fails."""
    w.host()
    throttle(w, "hw_thermal_slowdown")


@fault(at=20, mended=35, minutes=50, GpuThermalSlowdown__warning=(10.5, 9.5))
def slowed_by_hardware(w: World) -> None:
    """The board slows itself without naming heat."""
    w.host()
    throttle(w, "hw_slowdown")


@fault(at=20, mended=35, minutes=50, GpuThermalSlowdown__warning=(10.5, 9.5))
def slowed_by_software(w: World) -> None:
    """A card that the driver holds at three quarters of its clock, because it is hot."""
    w.host()
    throttle(w, "sw_thermal_slowdown")


@fault(at=0, mended=40, minutes=55, GpuThermalSlowdown__warning=(10.25, 9.75))
def slowed_by_software_from_the_start(w: World) -> None:
    """The same, all the time since before anybody looked: three quarters of the clock is all that is ever seen."""
    w.host()
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 1.0), (40, 0), **_on_gpu(w), reason="sw_thermal_slowdown")


@fault(at=20, mended=35, minutes=50, GpuPowerBrake=(5.75, 9.25))
def power_supply_brakes(w: World) -> None:
    """One of two power supplies fails; the driver counts it as the hardware's slowdown as well."""
    w.host()
    throttle(w, "hw_power_brake_slowdown")
    throttle(w, "hw_slowdown")


@fault(at=20, mended=45, minutes=60, GpuThermalSlowdown__warning=(13.75, 6.25))
def is_a_little_too_hot(w: World) -> None:
    """Seven per cent of the time."""
    w.host()
    throttle(w, "hw_thermal_slowdown", end=45, share=0.07)


@fault(at=20, mended=45, minutes=60, GpuPowerBrake=(8.5, 6.5))
def power_supply_brakes_now_and_then(w: World) -> None:
    """Fifteen per cent of the time."""
    w.host()
    throttle(w, "hw_power_brake_slowdown", end=45, share=0.15)


def throttle(w: World, reason: str, start: float = 20, end: float = 35, share: float = 0.8) -> None:
    """The GPU is throttled for that share of the time."""
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0), (start, share), (end, 0), **_on_gpu(w), reason=reason)


@fault(at=15, mended=35, minutes=45, GpuThermalSlowdown__info=(10, 4.75))
def nearly_too_hot(w: World) -> None:
    """Five degrees below the limit."""
    w.host()
    w.gauge(c.GPU_TEMPERATURE_CELSIUS, (0, 65), (15, 85), (35, 65), **_on_gpu(w), sensor="core")


@fault(at=15, mended=35, minutes=45, GpuThermalSlowdown__info=(10, 4.75))
def nearly_too_hot_without_a_limit(w: World) -> None:
    """A card whose driver tells no limit: its own margin falls to five degrees."""
    w.host()
    w.gauge(c.GPU_TEMPERATURE_LIMIT_CELSIUS, (0, None), **_on_gpu(w), kind="slowdown")
    w.gauge(c.GPU_TEMPERATURE_MARGIN_CELSIUS, (0, 25), (15, 5), (35, 25), **_on_gpu(w))


@fault(at=15, mended=35, minutes=50, GpuNvlinkErrors=(8.25, 6.5))
def link_has_crc_errors(w: World) -> None:
    """150 CRC errors per second."""
    w.host()
    w.counter(c.GPU_NVLINK_ERRORS_TOTAL, (0, 0), (15, 150), (35, 0), **_on_gpu(w), kind="crc")


@fault(at=15, mended=35, minutes=50, GpuNvlinkErrors=(8.5, 6.5))
def link_repeats(w: World) -> None:
    """Three replays in ten minutes."""
    w.host()
    w.counter(c.GPU_NVLINK_ERRORS_TOTAL, (0, 0), (15, 3 / 600), (35, 0), **_on_gpu(w), kind="replay")


@fault(at=10, mended=30, minutes=50, GpuFaulty__critical=(1, 15))
def falls_off_the_bus(w: World) -> None:
    """The driver knows it and gets no answer."""
    w.host()
    w.gauge(c.GPU_UP, (0, 1), (10, 0), (30, 1), **_on_gpu(w))


@fault(at=15, mended=45, minutes=55, GpuMissing=(10, -1))
def one_gpu_fewer(w: World) -> None:
    """After a reboot one of two is not there."""
    instance = w.host(gpus=2)
    labels = next(dict(own) for name, own in w.series if name == c.GPU_INFO.name and dict(own)["gpu"] == "1")
    w.end(15, instance=instance, gpu="1")
    w.gauge(c.GPU_INFO, (0, 1), (15, None), (45, 1), **labels)


@fault(at=15, mended=45, minutes=55, GpuMissing=(10, -1))
def no_gpu_any_more(w: World) -> None:
    """The driver is gone, and the only GPU with it."""
    instance = w.host()
    labels = next(dict(own) for name, own in w.series if name == c.GPU_INFO.name)
    w.end(15, instance=instance, gpu="0")
    w.gauge(c.GPU_INFO, (0, 1), (15, None), (45, 1), **labels)


@fault(at=15, mended=40, minutes=50, GpuPcieLinkDegraded=(16, 0))
def link_is_narrow(w: World) -> None:
    """Eight of sixteen lanes, under load."""
    _steady(w)
    w.gauge(c.GPU_PCIE_LINK_WIDTH, (0, 16), (15, 8), (40, 16), **_on_gpu(w))


@fault(at=15, mended=40, minutes=50, GpuPcieLinkDegraded=(16, 0))
def link_is_old(w: World) -> None:
    """Generation 3 of 5, under load."""
    _steady(w)
    w.gauge(c.GPU_PCIE_LINK_GENERATION, (0, 5), (15, 3), (40, 5), **_on_gpu(w))


# --- host -------------------------------------------------------------------------------------------------------------


def _root(w: World) -> dict[str, str]:
    return {"instance": w.host(gpus=0), "mountpoint": "/", "fstype": "ext4"}


@fault(at=10, mended=50, minutes=60, DiskAlmostFull__warning=(30, 0))
def disk_is_nearly_full(w: World) -> None:
    """4 % left."""
    w.gauge(c.FILESYSTEM_AVAILABLE_BYTES, (0, 0.5 * DISK), (10, 0.04 * DISK), (50, 0.5 * DISK), **_root(w))


@fault(at=10, mended=50, minutes=60, DiskAlmostFull__critical=(30, 0), DiskAlmostFull__warning=(30, 0))
def disk_is_full(w: World) -> None:
    """2 % left."""
    w.gauge(c.FILESYSTEM_AVAILABLE_BYTES, (0, 0.5 * DISK), (10, 0.02 * DISK), (50, 0.5 * DISK), **_root(w))


@fault(at=180, mended=270, minutes=280, DiskFilling=(84, -1))
def disk_fills(w: World) -> None:
    """35 % left, and a tenth of the disk goes each hour; another disk fills too, but more than half of it is left."""
    root = _root(w)
    pieces = [(0, 0.35 * DISK, 0), (180, 0.35 * DISK, -0.1 * DISK / 3600), (270, 0.6 * DISK, 0)]
    w.put(c.FILESYSTEM_AVAILABLE_BYTES, pieces, **root)
    w.constant(c.FILESYSTEM_SIZE_BYTES, DISK, **root | {"mountpoint": "/data"})
    w.put(c.FILESYSTEM_AVAILABLE_BYTES, [(0, 0.9 * DISK, -0.07 * DISK / 3600)], **root | {"mountpoint": "/data"})


@fault(at=15, mended=40, minutes=60, HostCpuSaturated=(15, 9.75))
def cpu_is_saturated(w: World) -> None:
    """Three tasks per CPU while a training runs."""
    _steady(w)
    w.gauge(c.LOAD_AVERAGE, (0, 30), (15, 192), (40, 30), instance=w.node(), window="5m")


# --- ourselves --------------------------------------------------------------------------------------------------------


@fault(at=20, mended=40, minutes=50, ExporterDown=(5, -1))
def exporter_is_down(w: World) -> None:
    """Nothing answers on the node for twenty minutes; the training goes on."""
    _steady(w)
    w.gap(20, 40)
    w.gauge("up", (0, 1), (20, 0), (40, 1), instance=w.node())


@fault(at=20, mended=1580, minutes=1590, ExporterDown=(5, -1), alone=True)
def exporter_is_down_for_longer_than_a_day(w: World) -> None:
    """A node that nobody looks after over a weekend."""
    w.host()
    w.gap(20, 1580)
    w.gauge("up", (0, 1), (20, 0), (1580, 1), instance=w.node())


@fault(at=0, mended=40, minutes=50, ExporterDown=(5, -1))
def exporter_never_answers(w: World) -> None:
    """The firewall of a new node lets nothing through; those of the same job answer."""
    w.host()
    w.gauge("up", (0, 0), (40, 1), instance=w.node(1))


@fault(at=10, mended=40, minutes=50, ExportersAbsent=(15, -1), alone=True)
def no_exporter_at_all(w: World) -> None:
    """Somebody emptied the targets file."""
    w.host()
    w.gap(10, 40)
    w.gauge("up", (0, 1), (10, None), (40, 1), instance=w.node())


@fault(at=0, mended=40, minutes=50, ExportersAbsent=(15, -1), alone=True)
def no_exporter_ever(w: World) -> None:
    """The port is wrong from the beginning: what is scraped does not answer, and what answers is another program."""
    w.host()
    w.gap(0, 40)
    w.gauge("up", (0, 0), (40, 1), instance=w.node())
    w.constant("up", instance="something-else:9100")


@fault(at=20, mended=80, minutes=90, ExporterDown=(5, -1), alone=True)
def the_only_exporter_is_down(w: World) -> None:
    """It is known to be there: that none answers is no reason to look for targets."""
    w.host()
    w.gap(20, 80)
    w.gauge("up", (0, 1), (20, 0), (80, 1), instance=w.node())


@fault(at=10, mended=30, minutes=40, CollectorFailing=(10, 0))
def driver_does_not_answer(w: World) -> None:
    """The GPU collector worked, and fails."""
    w.gauge(c.COLLECTOR_UP, (0, 1), (10, 0), (30, 1), instance=w.host(), collector="gpu")


@fault(at=10, mended=30, minutes=40, SnapshotStale=(6.25, 0))
def figures_are_old(w: World) -> None:
    """The sampler hangs; what is served grows old."""
    instance = w.host()
    w.put(c.SNAPSHOT_TIMESTAMP_SECONDS, [(0, 0.0, 1.0), (10, 600.0, 0.0), (30, 1800.0, 1.0)], instance=instance)


@fault(at=10, mended=10, minutes=40, RecordsRefused=(1, 15))
def somebody_lays_rubbish(w: World) -> None:
    """A file that is no record, in a directory for records: it is counted once, as its owner's."""
    w.gauge(c.RECORDS_REFUSED_TOTAL, (10, 1), instance=w.host(), reason="magic", user="mallory")


@fault(at=15, mended=15, minutes=70, HooksFailing=(0, 45))
def hooks_fail(w: World) -> None:
    """A callback of ours met something unexpected."""
    w.event(c.TRAIN_HOOK_ERRORS_TOTAL, 15, **_steady(w))


@fault(at=20, mended=60, minutes=80, HooksExpensive=(22.5, 7.5))
def hooks_cost(w: World) -> None:
    """Our callbacks take 2 % of the time."""
    w.counter(c.TRAIN_HOOK_SECONDS_TOTAL, (0, 0.0001), (20, 0.02), (60, 0.0001), **_steady(w))
