"""The processes of each rank by role: CPU time, waiting for a CPU, memory, bytes read, affinity; the rank's /dev/shm.

`main` is the rank's own process with whatever helpers it started; `worker` are the processes of its training loader,
`val_worker` those of its validation's. The rank tells their pids. Where it does not (older hooks, workers just started)
looks decide: forked (same command line), or started through multiprocessing's spawn and forkserver.

Counters are added up here from the growth of each process and thread, so they keep what ended processes had done.
What a process does between the last reading and its end is lost. Of a rank that trained before the exporter began they
start at 0, as every counter does that starts again: with the past of the processes that are left they would be smaller
than they were, but not 0, and a Prometheus would add all of it once more.

psutil tells CPU time, memory, bytes read and command lines. It does not tell who waits for a CPU; it asks the kernel
for the affinity by pid, whatever /proc it was given; and to find children it goes through all processes of the node,
for each rank again. On Linux those three are read from /proc here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

import psutil

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector, NoData
from yoloscope_exporter.collectors.files import read, read_or_empty
from yoloscope_exporter.collectors.procfs import point_psutil
from yoloscope_exporter.language import text
from yoloscope_exporter.sharing import Time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from yoloscope_exporter.collectors import Context, Trainer

MAX_PROCESSES = 4096  # of one rank
MAX_SEEN = 4096  # ranks that are remembered
CYCLE_SECONDS = 2.0  # for reading all processes; half of it for those of one user: ranks may have thousands
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # they hold nothing any more, and nobody has asked for them yet
#: How it shows that a process has ended while it was read, or may not be looked at.
GONE = (psutil.Error, OSError, ValueError, IndexError)


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the slow group."""
    point_psutil(context.procfs)
    return [Collector("process", Processes(context).collect, group=SLOW)]


class Reading(NamedTuple):
    """One process at one moment. Counters in base units; None where we may not look."""

    cpu_seconds: float
    resident_bytes: float
    read_bytes: float | None
    waits: Mapping[int, float]  # seconds in the run queue, by thread
    io_delay: float  # seconds; 0 where the kernel does not count them
    affinity: int  # bit mask; 0 where it is not told
    pids: tuple[int, ...]  # in each PID namespace from the exporter's to its own


@dataclass
class _Total:
    """What a role of a rank has used up, and what it holds now."""

    cpu: float = 0.0
    read: float | None = None
    wait: float | None = None
    io_delay: float | None = None
    count: int = 0
    resident: float = 0.0
    affinity: int = 0


@dataclass
class _Rank:
    """A rank's totals, and the last reading of each of its processes.

    A `psutil.Process` is one process for good, by its pid and start: the same pid used again is not equal to it.
    """

    totals: dict[str, _Total] = field(default_factory=lambda: defaultdict(_Total))
    last: dict[psutil.Process, Reading] = field(default_factory=dict)
    told: dict[psutil.Process, str] = field(default_factory=dict)  # roles that the rank told
    looks: dict[psutil.Process, bool] = field(default_factory=dict)  # whether it looks like a loader's
    known: bool = False  # it was counted before, by an exporter that has ended, or before it was out of sight

    def affinity(self) -> int:
        """CPUs that any of its processes may run on."""
        return reduce(or_, (total.affinity for total in self.totals.values()), 0)


class Processes:
    """Follows the process trees of the ranks."""

    def __init__(self, context: Context) -> None:
        """Know of no rank yet."""
        self._context = context
        self._procfs = str(context.procfs)  # strings, because there are thousands of files
        self._ranks: dict[Trainer, _Rank] = {}
        self._seen: dict[Trainer, None] | None = None  # ranks that were followed, the last ones last
        self._took: dict[int, float] = {}  # seconds that each user's took in the last cycle

    def collect(self) -> Iterator[Sample]:
        """Samples of every active rank."""
        trainers = self._context.trainers()
        before, seen = self._ranks, self._seen
        self._ranks = {
            trainer: before.get(trainer) or _Rank(known=seen is None or trainer in seen)
            for trainer in trainers.values()
        }
        self._seen = dict.fromkeys([*(seen or ()), *self._ranks][-MAX_SEEN:])
        self._follow_all(trainers.keys())
        masks = [rank.affinity() for rank in self._ranks.values()]
        for trainer, rank in self._ranks.items():
            for role, total in rank.totals.items() if rank.last else ():  # nothing left to read: nothing to tell
                yield from _samples((trainer.run, trainer.rank, role), total, masks)
            yield from _shared_memory(f"{self._procfs}/{trainer.pid}/root", trainer)
        if self._ranks and not any(rank.last for rank in self._ranks.values()):
            self._require_processes()

    def _follow_all(self, pids: AbstractSet[int]) -> None:
        """Read the ranks' processes as far as there is time, of users whose take long after the others."""
        time = Time(self._context.clock, CYCLE_SECONDS)
        owners = {trainer: self._context.owner(trainer.run) for trainer in self._ranks}
        for trainer in sorted(owners, key=lambda trainer: self._took.get(owners[trainer], 0.0)):
            if time.left(owners[trainer]):  # else it stays as it was
                begun = self._context.clock()
                self._follow(trainer, self._ranks[trainer], set(pids - {trainer.pid}))
                time.spend(owners[trainer], begun)
        self._took = dict(time.spent)

    def _require_processes(self) -> None:
        """Tell a /proc without processes from ranks that have just ended."""
        try:
            psutil.pids()
        except (OSError, IndexError) as error:  # psutil takes the first one
            raise NoData(text("{path} shows no processes", path=self._procfs)) from error

    def _follow(self, trainer: Trainer, rank: _Rank, others: set[int]) -> None:
        """Read the rank's processes and add their growth to its totals."""
        for total in rank.totals.values():
            total.count, total.resident, total.affinity = 0, 0.0, 0
        readings = {}
        for pid, threads in tree(self._procfs, trainer.pid, others).items():
            with suppress(*GONE):
                process = psutil.Process(pid)
                readings[process] = read_process(process, f"{self._procfs}/{pid}", threads)
        rank.told = {process: role for process, role in rank.told.items() if process in readings}
        rank.told.update(_recorded_roles(trainer, readings))
        rank.looks = {process: looks for process, looks in rank.looks.items() if process in readings}
        for process, reading in readings.items():
            first = reading if rank.known and not rank.last else None
            with suppress(*GONE):
                _add(rank.totals[_role(process, trainer, rank)], reading, rank.last.get(process, first))
        rank.last = readings


def _recorded_roles(trainer: Trainer, readings: Mapping[psutil.Process, Reading]) -> dict[psutil.Process, str]:
    """Roles of the processes of which the rank has told the pids: in its own PID namespace, as the kernel shows it."""
    own = next((reading.pids for process, reading in readings.items() if process.pid == trainer.pid), ())
    if not own or own[-1] != trainer.own_pid:
        return {}  # no way to translate them
    level, told = len(own) - 1, {}
    for process, reading in readings.items():
        pid = reading.pids[level] if level < len(reading.pids) else 0
        for role, pids in (("worker", trainer.loader_pids), ("val_worker", trainer.val_loader_pids)):
            if pids and pid in pids:
                told[process] = role
    return told


def _role(process: psutil.Process, trainer: Trainer, rank: _Rank) -> str:
    """The role that was told; without that main, unless the loader's processes are to come and this looks like one."""
    if process.pid == trainer.pid:
        return "main"
    if process in rank.told:
        return rank.told[process]
    if process not in rank.looks:
        rank.looks[process] = _has_worker_command(process, trainer.pid)
    if not rank.looks[process]:
        return "main"
    if trainer.state == "validate" and trainer.loader_pids is not None and trainer.val_loader_pids is None:
        return "val_worker"  # the first validation has just started them
    known = trainer.loader_pids is not None and (not trainer.loader_pids or "worker" in rank.told.values())
    return "main" if known else "worker"  # known, but none of them there: new ones have just been started


def _has_worker_command(process: psutil.Process, main: int) -> bool:
    command = process.cmdline()
    started = any(f"multiprocessing.{how}" in word for how in ("spawn", "forkserver") for word in command)
    return started or command == psutil.Process(main).cmdline()


def _add(total: _Total, now: Reading, before: Reading | None) -> None:
    total.count += 1
    total.resident += now.resident_bytes
    total.affinity |= now.affinity
    total.cpu += max(0.0, now.cpu_seconds - (before.cpu_seconds if before else 0.0))
    if now.io_delay:  # 0 says that it is not counted: every process reads something
        total.io_delay = (total.io_delay or 0.0) + max(0.0, now.io_delay - (before.io_delay if before else 0.0))
    if now.read_bytes is not None:
        grown = now.read_bytes - (before.read_bytes or 0.0 if before else 0.0)
        total.read = (total.read or 0.0) + max(0.0, grown)
    if now.waits:
        known = before.waits if before else {}
        total.wait = (total.wait or 0.0) + sum(max(0.0, wait - known.get(tid, 0.0)) for tid, wait in now.waits.items())


def _samples(label: tuple[str, ...], total: _Total, masks: Sequence[int]) -> Iterator[Sample]:
    yield Sample(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, label, total.cpu)
    if total.read is not None:
        yield Sample(catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, label, total.read)
    if total.wait is not None:
        yield Sample(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, label, total.wait)
    if total.io_delay is not None:
        yield Sample(catalog.TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL, label, total.io_delay)
    yield Sample(catalog.TRAIN_PROCESSES, label, float(total.count))
    if total.count:
        yield Sample(catalog.TRAIN_PROCESS_RESIDENT_BYTES, label, total.resident)
    if total.affinity:
        yield Sample(catalog.TRAIN_PROCESS_AFFINITY_CORES, label, float(total.affinity.bit_count()))
        yield Sample(catalog.TRAIN_PROCESS_FAIR_CORES, label, fair_cores(total.affinity, masks))


def _shared_memory(root: str, trainer: Trainer) -> Iterator[Sample]:
    """The rank's own /dev/shm, where we may look into its mounts: as root, or as its user."""
    label = (trainer.run, trainer.rank)
    with suppress(OSError, AttributeError), ExitStack() as stack:  # Windows has no O_PATH
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        for name in ("dev", "shm"):  # one by one: a link would lead out of its mounts
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            directory = os.open(name, flags, dir_fd=directory)
            stack.callback(os.close, directory)
        room = os.fstatvfs(directory)
        yield Sample(catalog.TRAIN_SHM_SIZE_BYTES, label, float(room.f_blocks * room.f_frsize))
        yield Sample(catalog.TRAIN_SHM_AVAILABLE_BYTES, label, float(room.f_bavail * room.f_frsize))


def fair_cores(affinity: int, masks: Sequence[int]) -> float:
    """CPUs of `affinity`, each divided by how many of the ranks' `masks` it is in: pinned ranks have theirs alone."""
    cores = (1 << core for core in range(affinity.bit_length()) if affinity >> core & 1)
    return sum(1 / max(sum(1 for mask in masks if mask & core), 1) for core in cores)


# --- reading processes ----------------------------------------------------------------------------------------------


def tree(procfs: str, root: int, others: set[int]) -> dict[int, list[str]]:
    """`root` and its descendants with their threads (of Linux), without other ranks and theirs."""
    parents: dict[int, list[int]] | None = None
    found: dict[int, list[str]] = {}
    waiting = [root]
    while waiting and len(found) < MAX_PROCESSES:
        pid = waiting.pop()
        tasks = f"{procfs}/{pid}/task"
        found[pid] = _threads(tasks) if psutil.LINUX else []
        children = _children(tasks, found[pid]) if psutil.LINUX else _told_children(pid)
        if children is None:  # a Linux without CONFIG_PROC_CHILDREN: ask every process for its parent
            parents = _by_parent() if parents is None else parents
            children = parents.get(pid, [])
        waiting += [child for child in children if child not in others]
    return found


def _children(tasks: str, threads: list[str]) -> list[int] | None:
    """Children of all threads of a process; None if the kernel does not tell."""
    children: list[int] = []
    told = not threads  # it has ended
    for thread in threads:
        with suppress(OSError):
            children += map(int, read(f"{tasks}/{thread}/children").split())
            told = True
    return children if told else None


def _told_children(pid: int) -> list[int]:
    """Children as psutil finds them, which on Windows looks once at all processes: as dear as one `ppid`."""
    with suppress(*GONE):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def _threads(tasks: str) -> list[str]:
    try:
        return os.listdir(tasks)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _by_parent() -> dict[int, list[int]]:
    parents = defaultdict(list)
    for pid in psutil.pids():
        with suppress(*GONE):
            parents[psutil.Process(pid).ppid()].append(pid)
    return parents


def read_process(process: psutil.Process, directory: str, threads: list[str]) -> Reading:
    """One process; its directory in /proc and its threads are for what psutil does not tell.

    Raises:
        psutil.Error: it has ended, or may not be looked at.
    """
    with process.oneshot():
        if process.status() in ENDED:
            raise psutil.NoSuchProcess(process.pid)
        cpu = process.cpu_times()
        status = read_or_empty(f"{directory}/status") if psutil.LINUX else ""
        return Reading(
            cpu_seconds=cpu.user + cpu.system,
            resident_bytes=float(process.memory_info().rss),
            read_bytes=_read_bytes(process),
            waits=_waits(f"{directory}/task", threads),
            io_delay=getattr(cpu, "iowait", 0.0),
            affinity=_affinity(status) if psutil.LINUX else _allowed(process),
            pids=_pids(status) or (process.pid,),
        )


def _read_bytes(process: psutil.Process) -> float | None:
    """Bytes read from storage; Linux tells the owner and root, other platforms count pipes and the cache as well."""
    if not psutil.LINUX:
        return None
    try:
        return float(process.io_counters().read_bytes)
    except (psutil.AccessDenied, AttributeError, OSError, RuntimeError, ValueError):  # a kernel that does not count it
        return None


def _waits(tasks: str, threads: list[str]) -> dict[int, float]:
    """Seconds each thread was ready to run and did not (Documentation/scheduler/sched-stats.rst)."""
    waits = {}
    for thread in threads:
        with suppress(OSError, ValueError, IndexError):
            waits[int(thread)] = int(read(f"{tasks}/{thread}/schedstat").split()[1]) / 1e9
    return waits


def _affinity(status: str) -> int:
    """The mask `Cpus_allowed` of /proc/PID/status."""
    _, found, rest = status.partition("\nCpus_allowed:")
    return int(rest.split(None, 1)[0].replace(",", ""), 16) if found else 0


def _pids(status: str) -> tuple[int, ...]:
    """The line `NSpid` of /proc/PID/status; kernels before 4.1 have none."""
    _, found, rest = status.partition("\nNSpid:")
    return tuple(map(int, rest.partition("\n")[0].split())) if found else ()


def _allowed(process: psutil.Process) -> int:
    """The same as psutil tells it; macOS has none."""
    try:
        return sum(1 << core for core in process.cpu_affinity())
    except (psutil.AccessDenied, AttributeError):
        return 0
