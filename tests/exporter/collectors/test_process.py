"""The process tree of a rank: roles, sums that do not fall, and processes that end while they are read."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Context, NoData, Trainer, process

from tests.exporter import world
from tests.exporter.world import RUN

if TYPE_CHECKING:
    from pathlib import Path

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.collectors import Collector

CPU, COUNT = catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, catalog.TRAIN_PROCESSES
READ, WAIT = catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL


@pytest.fixture
def node(tmp_path: Path) -> world.World:
    """One rank with two forked workers and a helper."""
    made = world.World(tmp_path, trainers={700: Trainer(RUN, "0", 700)})
    world.process(made.procfs, 700, children=(750, 760, 770), waits=(500_000_000, 250_000_000))
    world.process(made.procfs, 750, parent=700, ticks=3000)
    world.process(made.procfs, 760, parent=700, ticks=3000)
    world.process(made.procfs, 770, parent=700, ticks=50, command="nvidia-smi\0")
    return made


@pytest.fixture
def collector(node: world.World) -> Collector:
    """The collector of that node, which was there before the rank."""
    (made,) = process.collectors(node.context)
    trainers = dict(node.trainers)
    node.trainers.clear()
    assert world.values(made) == {}
    node.trainers.update(trainers)
    return made


def of(collector: Collector, metric: Metric, role: str) -> object:
    """One value of one collection."""
    return world.values(collector).get((metric.name, (RUN, "0", role)))


def test_roles(collector: Collector) -> None:
    """Forks with the trainer's command line are workers; the helper counts with the main process."""
    values = world.values(collector)
    assert values[CPU.name, (RUN, "0", "main")] == 10.5
    assert values[CPU.name, (RUN, "0", "worker")] == 60.0
    assert values[COUNT.name, (RUN, "0", "worker")] == 2
    assert values[WAIT.name, (RUN, "0", "main")] == pytest.approx(1.25)


def test_waiting_for_block_io_is_left_out_where_it_is_not_counted(node: world.World, collector: Collector) -> None:
    """A kernel that counts it (kernel.task_delayacct) has counted something of every process."""
    delay = catalog.TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL
    assert of(collector, delay, "worker") == 0.5
    for pid in (750, 760):
        world.process(node.procfs, pid, parent=700, blocked=100)
    assert of(collector, delay, "worker") == 2.0
    (never,) = process.collectors(node.context)
    for pid in (750, 760):
        world.process(node.procfs, pid, parent=700, blocked=0)
    assert of(never, delay, "worker") is None


def test_shared_memory_is_that_of_the_training(node: world.World, collector: Collector) -> None:
    """Through its root, because a container has another /dev/shm; not through a link, which leads elsewhere."""
    size = (catalog.TRAIN_SHM_SIZE_BYTES.name, (RUN, "0"))
    assert size not in world.values(collector)
    mounted = node.procfs / "700/root/dev/shm"
    mounted.mkdir(parents=True)
    room = os.statvfs(mounted)
    assert world.values(collector)[size] == room.f_blocks * room.f_frsize
    assert catalog.TRAIN_SHM_AVAILABLE_BYTES.name in {name for name, _ in world.values(collector)}
    mounted.rmdir()
    mounted.symlink_to("/")
    assert size not in world.values(collector)
    mounted.unlink()
    mounted.parent.rmdir()
    elsewhere = node.root / "elsewhere"
    (elsewhere / "shm").mkdir(parents=True)
    mounted.parent.symlink_to(elsewhere)
    assert size not in world.values(collector)


def test_ranks_with_thousands_of_processes_leave_the_others_theirs(
    node: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each user has a part of the time; whose took long comes last, and stays as it was where there is none left."""
    owners = {"mine": 1, **{f"!many-{number}": 2 for number in range(6)}}
    node.trainers.clear()
    for pid, run in enumerate(owners, start=800):
        world.process(node.procfs, pid, ticks=100)
        node.trainers[pid] = Trainer(run, "0", pid)
    spent = [0.0]
    follow = process.Processes._follow

    def slow(self: process.Processes, trainer: Trainer, *rest: object) -> None:
        spent[0] += 0.01 if trainer.run == "mine" else 0.6
        follow(self, trainer, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(process.Processes, "_follow", slow)
    monkeypatch.setattr(Context, "owner", lambda _, run: owners[run])
    (processes,) = process.collectors(dataclasses.replace(node.context, clock=lambda: spent[0]))
    for _ in range(4):
        before = spent[0]
        told = {sample.labels[0] for sample in processes.collect() if sample.metric is COUNT}
        assert "mine" in told
        assert spent[0] - before <= process.CYCLE_SECONDS / 2 + 0.61 + 0.01


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("python\0-c\0from multiprocessing.spawn import spawn_main; spawn_main(4)\0", "worker"),
        ("python\0-c\0from multiprocessing.forkserver import main; main(4)\0", "worker"),
        ("python\0-c\0from multiprocessing.resource_tracker import main;main(4)\0", "main"),
        ("python\0other.py\0", "main"),
    ],
)
def test_started_workers(node: world.World, collector: Collector, command: str, role: str) -> None:
    """Workers that multiprocessing started by spawn or forkserver are workers, its resource tracker is not."""
    world.process(node.procfs, 770, parent=700, ticks=5000, command=command)
    assert of(collector, CPU, role) >= 50.0


def count(collector: Collector) -> dict[str, object]:
    """How many processes of each role there are."""
    found = world.values(collector)
    return {labels[2]: value for (name, labels), value in found.items() if name == COUNT.name}


def told(own: int = 700, state: str = "train", **pids: set[int]) -> Trainer:
    """The rank, with what its record says of its loaders."""
    known = {f"{name}_pids": frozenset(numbers) for name, numbers in pids.items()}
    return Trainer(RUN, "0", 700, state=state, own_pid=own, **known)  # type: ignore[arg-type]


def test_roles_that_the_rank_tells(node: world.World, collector: Collector) -> None:
    """What the loaders have counts; a fork of another kind is a helper, whatever its command line."""
    world.process(node.procfs, 700, children=(750, 760, 770, 780))
    world.process(node.procfs, 780, parent=700, ticks=500)
    node.trainers[700] = told(loader={750}, val_loader={760})
    assert count(collector) == {"main": 3, "worker": 1, "val_worker": 1}
    assert of(collector, CPU, "val_worker") == 30.0


def test_validation_workers_that_stay(node: world.World, collector: Collector) -> None:
    """Told after their first validation, they are no training workers from then on, and the sums do not fall."""
    node.trainers[700] = told(loader={750})
    assert count(collector) == {"main": 3, "worker": 1}  # the loader's are known, and it is none of them
    node.trainers[700] = told(state="validate", loader={750})
    assert count(collector) == {"main": 2, "worker": 1, "val_worker": 1}
    before = of(collector, CPU, "main")
    node.trainers[700] = told(loader={750}, val_loader={760})
    world.process(node.procfs, 760, parent=700, ticks=3100)
    assert count(collector) == {"main": 2, "worker": 1, "val_worker": 1}
    assert of(collector, CPU, "val_worker") == 1.0
    assert of(collector, CPU, "main") == before


def test_new_workers_are_not_told_yet(node: world.World, collector: Collector) -> None:
    """After close_mosaic the record tells of the old ones until the first batch: looks decide meanwhile."""
    node.trainers[700] = told(loader={720, 730}, val_loader={760})
    assert count(collector) == {"main": 2, "worker": 1, "val_worker": 1}
    node.trainers[700] = told(loader={750}, val_loader={760})
    assert count(collector) == {"main": 2, "worker": 1, "val_worker": 1}


def test_loader_without_workers(node: world.World, collector: Collector) -> None:
    """With workers=0 no fork is a training worker."""
    node.trainers[700] = told(loader=set(), val_loader={760})
    assert count(collector) == {"main": 3, "val_worker": 1}


def test_pid_used_again_is_not_told(node: world.World, collector: Collector) -> None:
    """A role belongs to a process, not to a number."""
    node.trainers[700] = told(loader={750}, val_loader={760})
    count(collector)
    node.trainers[700] = told(loader={750}, val_loader=set())
    assert count(collector)["val_worker"] == 1  # it still is, until it has ended
    world.process(node.procfs, 760, parent=700, start=99)
    assert count(collector)["val_worker"] == 0


def test_pids_of_a_container(node: world.World, collector: Collector) -> None:
    """The record tells pids of the training's namespace; one that means another process here must not mislead."""
    world.process(node.procfs, 700, children=(750, 760, 770), inner=(1,))
    world.process(node.procfs, 750, parent=700, inner=(760,))
    world.process(node.procfs, 760, parent=700, inner=(12, 1))
    world.process(node.procfs, 770, parent=700, inner=(13,))
    node.trainers[700] = told(own=1, loader={760}, val_loader={12})
    world.process(node.procfs, 750, parent=700, inner=(760,), ticks=700)
    assert count(collector) == {"main": 2, "worker": 1, "val_worker": 1}
    assert of(collector, CPU, "worker") == 7.0


@pytest.mark.parametrize("inner", [None, (2,)])
def test_pids_that_cannot_be_translated(node: world.World, collector: Collector, inner: tuple[int, ...] | None) -> None:
    """Where the kernel does not tell the trainer's own pid, or another one, looks decide."""
    world.process(node.procfs, 700, children=(750, 760, 770), inner=inner)
    node.trainers[700] = told(own=1, loader={750}, val_loader={760})
    assert count(collector) == {"main": 2, "worker": 2}


def test_sums_do_not_fall_when_workers_end(node: world.World, collector: Collector) -> None:
    """What an ended worker had done stays in the sum; the next one is added."""
    assert of(collector, CPU, "worker") == 60.0
    shutil.rmtree(node.procfs / "760")
    world.process(node.procfs, 750, parent=700, ticks=3100)
    assert of(collector, CPU, "worker") == 61.0
    world.process(node.procfs, 761, parent=700, ticks=200)
    world.write(node.procfs, {"700/task/700/children": "750 761"})
    assert of(collector, CPU, "worker") == 63.0
    assert of(collector, COUNT, "worker") == 2


def test_pid_used_again_is_another_process(node: world.World, collector: Collector) -> None:
    """The same pid with another start time counts from its own beginning."""
    world.values(collector)
    world.process(node.procfs, 760, parent=700, ticks=100, start=99)
    assert of(collector, CPU, "worker") == 61.0


def test_a_rank_that_trained_before_the_exporter_began(node: world.World, collector: Collector) -> None:
    """Its counters start at 0: a Prometheus knows what a counter does that starts again, not one that is smaller."""
    assert of(collector, CPU, "worker") == 60.0
    (second,) = process.collectors(node.context)
    assert of(second, CPU, "worker") == 0.0
    world.process(node.procfs, 750, parent=700, ticks=3100)
    world.process(node.procfs, 700, children=(750, 760, 770, 780), waits=(500_000_000, 250_000_000))
    world.process(node.procfs, 780, parent=700, ticks=200)
    assert of(second, CPU, "worker") == 1.0 + 2.0  # what has begun since counts from its beginning
    trainers = dict(node.trainers)
    node.trainers.clear()
    assert world.values(second) == {}
    node.trainers.update(trainers)
    assert of(second, CPU, "worker") == 0.0  # it was out of sight for a moment


def test_zombies_are_absent(node: world.World, collector: Collector) -> None:
    """A worker that has ended and waits to be asked for holds no memory: it is not a worker of 0 bytes."""
    world.process(node.procfs, 760, parent=700, ticks=3000, pages=0, state="Z")
    assert of(collector, COUNT, "worker") == 1
    shutil.rmtree(node.procfs / "770")
    world.process(node.procfs, 750, parent=700, ticks=3000, state="Z")
    assert of(collector, catalog.TRAIN_PROCESS_RESIDENT_BYTES, "worker") is None


def test_affinity_that_is_not_told_is_absent(node: world.World, collector: Collector) -> None:
    """It is not an affinity to 0 CPUs."""
    for pid in (700, 750, 760, 770):
        (node.procfs / str(pid) / "status").unlink()
    assert of(collector, catalog.TRAIN_PROCESS_AFFINITY_CORES, "main") is None
    assert of(collector, COUNT, "main") == 2


def test_proc_without_processes(node: world.World, collector: Collector) -> None:
    """Where no process at all is to be seen, that is said; ranks that have ended are just gone."""
    for pid in (700, 750, 760):
        shutil.rmtree(node.procfs / str(pid))
    assert world.values(collector) == {}
    shutil.rmtree(node.procfs / "770")
    with pytest.raises(NoData, match="shows no processes"):
        world.values(collector)


def test_threads_that_end_keep_their_waiting(node: world.World, collector: Collector) -> None:
    """Run-queue time is added up by thread."""
    assert of(collector, WAIT, "worker") == pytest.approx(1.0)
    world.process(node.procfs, 750, parent=700, waits=())
    assert of(collector, WAIT, "worker") == pytest.approx(1.0)
    world.process(node.procfs, 750, parent=700, waits=(600_000_000, 100_000_000))
    assert of(collector, WAIT, "worker") >= 1.0


def test_files_of_other_users_are_absent(node: world.World, collector: Collector) -> None:
    """Without the right to read `io` and `schedstat` those metrics are not there, the others are."""
    for pid in (700, 750, 760, 770):
        (node.procfs / str(pid) / "io").unlink()
        for path in (node.procfs / str(pid) / "task").glob("*/schedstat"):
            path.unlink()
    assert of(collector, READ, "main") is None
    assert of(collector, WAIT, "main") is None
    assert of(collector, CPU, "main") == 10.5


def test_denied_is_absent(node: world.World, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil may not tell is not there; a process of which it may tell nothing is not counted."""

    def denied(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "io_counters", denied)
    assert of(collector, READ, "main") is None
    assert of(collector, COUNT, "main") == 2
    monkeypatch.setattr(psutil.Process, "status", denied)
    assert world.values(collector) == {}


def test_other_ranks_below_are_not_ours(node: world.World, collector: Collector) -> None:
    """A rank that another rank has started, as torchrun does, has rows of its own."""
    node.trainers[750] = Trainer(RUN, "1", 750)
    values = world.values(collector)
    assert values[COUNT.name, (RUN, "0", "worker")] == 1
    assert values[COUNT.name, (RUN, "1", "main")] == 1


def test_kernel_that_does_not_tell_children(node: world.World, collector: Collector) -> None:
    """Without /proc/PID/task/TID/children every process is asked for its parent."""
    for path in node.procfs.glob("*/task/*/children"):
        path.unlink()
    assert of(collector, COUNT, "worker") == 2


def test_process_that_ends_while_it_is_read(node: world.World, collector: Collector) -> None:
    """Files that vanish or break off are that process's loss only; a rank that is gone has no series."""
    (node.procfs / "750" / "stat").unlink()
    world.write(node.procfs, {"760/stat": "760 (pyth"})
    assert of(collector, COUNT, "main") == 2
    assert of(collector, COUNT, "worker") is None
    shutil.rmtree(node.procfs / "700")
    assert world.values(collector) == {}


def test_affinity_is_what_any_of_them_may_use(node: world.World, collector: Collector) -> None:
    """The union over the processes of a role."""
    world.write(node.procfs, {"760/status": "Name:\tpython\nCpus_allowed:\tff000000,00000000\n"})
    assert of(collector, catalog.TRAIN_PROCESS_AFFINITY_CORES, "worker") == 12


@pytest.mark.parametrize(
    ("masks", "fair"),
    [
        ([0xFF, 0xFF00], [8, 8]),  # pinned by Slurm: each has its own
        ([0xFF, 0xFF], [4, 4]),  # a container's CPUs: shared
        ([0xFF, 0x0F, 0x0F], [4 + 4 / 3, 4 / 3, 4 / 3]),
    ],
)
def test_cpus_are_shared_with_those_who_may_run_there(masks: list[int], fair: list[float]) -> None:
    """What a rank may count on is not told by the size of its affinity alone."""
    assert [process.fair_cores(mask, masks) for mask in masks] == pytest.approx(fair)


def test_fair_cores_count_the_other_rank(node: world.World, collector: Collector) -> None:
    """Two ranks with the same affinity have half of it each."""
    second = Trainer(RUN, "1", 900)
    world.process(node.procfs, 900)
    alone = of(collector, catalog.TRAIN_PROCESS_FAIR_CORES, "main")
    allowed = of(collector, catalog.TRAIN_PROCESS_AFFINITY_CORES, "main")
    node.trainers[900] = second
    assert (alone, of(collector, catalog.TRAIN_PROCESS_FAIR_CORES, "main")) == (allowed, allowed / 2)


def test_real_processes(tmp_path: Path) -> None:
    """A real process with two real forks, read from the real /proc."""
    code = "import os,sys,time\nfor _ in range(2):\n  if os.fork() == 0: break\nprint('up', flush=True); time.sleep(60)"
    (tmp_path / "proc").symlink_to("/proc")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            for _ in range(3):
                child.stdout.readline()
            node = world.World(tmp_path, trainers={child.pid: Trainer(RUN, "0", child.pid)})
            (collector,) = process.collectors(node.context)
            values = world.values(collector)
        finally:
            os.killpg(child.pid, 9)
    assert values[COUNT.name, (RUN, "0", "worker")] == 2
    assert values[COUNT.name, (RUN, "0", "main")] == 1
    assert values[catalog.TRAIN_PROCESS_RESIDENT_BYTES.name, (RUN, "0", "main")] > 1e6
    cores = len(os.sched_getaffinity(0))
    assert values[catalog.TRAIN_PROCESS_AFFINITY_CORES.name, (RUN, "0", "main")] == cores
