"""The processes of each rank by role: CPU time, waiting for a CPU, memory, bytes read, affinity.

`main` is the rank's own process with whatever helpers it started; `worker` are the loader's processes: those it forked
(same command line), or started through multiprocessing's spawn and forkserver.

Counters are added up here from the growth of each process and thread, so they keep what ended processes had done.
What a process does between the last reading and its end is lost.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector
from yoloscope_exporter.files import read, read_or_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.collectors import Context, Trainer

MAX_PROCESSES = 4096  # of one rank


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the slow group."""
    return [Collector("process", Processes(context).collect, group=SLOW)]


class Reading(NamedTuple):
    """One process at one moment. Counters in base units; None where we may not look."""

    start: int  # clock ticks since boot; with the pid it names a process for good
    cpu_seconds: float
    resident_bytes: float
    read_bytes: float | None
    waits: Mapping[int, float]  # seconds in the run queue, by thread
    affinity: int  # bit mask


@dataclass
class _Total:
    """What a role of a rank has used up, and what it holds now."""

    cpu: float = 0.0
    read: float | None = None
    wait: float | None = None
    count: int = 0
    resident: float = 0.0
    affinity: int = 0


@dataclass
class _Rank:
    """A rank's totals, and the last reading of each of its processes."""

    totals: dict[str, _Total] = field(default_factory=lambda: defaultdict(_Total))
    last: dict[tuple[int, int], Reading] = field(default_factory=dict)
    roles: dict[tuple[int, int], str] = field(default_factory=dict)


class Processes:
    """Follows the process trees of the ranks."""

    def __init__(self, context: Context) -> None:
        """Know of no rank yet."""
        self._context = context
        self._procfs = str(context.procfs)  # strings, because there are thousands of files
        self._ticks, self._page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        self._ranks: dict[Trainer, _Rank] = {}

    def collect(self) -> Iterator[Sample]:
        """Samples of every living rank."""
        trainers = self._context.trainers()
        self._ranks = {trainer: self._ranks.get(trainer, _Rank()) for trainer in trainers.values()}
        for trainer, rank in self._ranks.items():
            self._follow(trainer, rank, trainers.keys() - {trainer.pid})
            for role, total in rank.totals.items() if rank.last else ():  # nothing left to read: nothing to tell
                yield from _samples((trainer.run, trainer.rank, role), total)

    def _follow(self, trainer: Trainer, rank: _Rank, others: set[int]) -> None:
        """Read the rank's processes and add their growth to its totals."""
        for total in rank.totals.values():
            total.count, total.resident, total.affinity = 0, 0.0, 0
        readings, roles = {}, {}
        for pid in tree(self._procfs, trainer.pid, others):
            with suppress(OSError, ValueError, IndexError):  # it has ended while we looked
                reading = read_process(f"{self._procfs}/{pid}", self._ticks, self._page)
                key = (pid, reading.start)
                roles[key] = rank.roles.get(key) or self._role(pid, trainer.pid)
                readings[key] = reading
                _add(rank.totals[roles[key]], reading, rank.last.get(key))
        rank.last, rank.roles = readings, roles

    def _role(self, pid: int, main: int) -> str:
        own, command = (read_or_empty(f"{self._procfs}/{number}/cmdline") for number in (pid, main))
        spawned = "multiprocessing.spawn" in own or "multiprocessing.forkserver" in own
        return "worker" if pid != main and (own == command or spawned) else "main"


def _add(total: _Total, now: Reading, before: Reading | None) -> None:
    total.count += 1
    total.resident += now.resident_bytes
    total.affinity |= now.affinity
    total.cpu += max(0.0, now.cpu_seconds - (before.cpu_seconds if before else 0.0))
    if now.read_bytes is not None:
        grown = now.read_bytes - (before.read_bytes or 0.0 if before else 0.0)
        total.read = (total.read or 0.0) + max(0.0, grown)
    if now.waits:
        known = before.waits if before else {}
        total.wait = (total.wait or 0.0) + sum(max(0.0, wait - known.get(tid, 0.0)) for tid, wait in now.waits.items())


def _samples(label: tuple[str, ...], total: _Total) -> Iterator[Sample]:
    yield Sample(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, label, total.cpu)
    if total.read is not None:
        yield Sample(catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, label, total.read)
    if total.wait is not None:
        yield Sample(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, label, total.wait)
    yield Sample(catalog.TRAIN_PROCESSES, label, float(total.count))
    if total.count:
        yield Sample(catalog.TRAIN_PROCESS_RESIDENT_BYTES, label, total.resident)
        yield Sample(catalog.TRAIN_PROCESS_AFFINITY_CORES, label, float(total.affinity.bit_count()))


# --- reading /proc --------------------------------------------------------------------------------------------------


def tree(procfs: str, root: int, others: set[int]) -> list[int]:
    """`root` and its descendants, without other ranks and theirs."""
    parents: dict[int, list[int]] | None = None
    found: list[int] = []
    waiting = [root]
    while waiting and len(found) < MAX_PROCESSES:
        pid = waiting.pop()
        found.append(pid)
        children = _children(f"{procfs}/{pid}/task")
        if children is None:  # a kernel without CONFIG_PROC_CHILDREN: ask every process for its parent
            parents = _by_parent(procfs) if parents is None else parents
            children = parents.get(pid, [])
        waiting += [child for child in children if child not in others]
    return found


def _children(tasks: str) -> list[int] | None:
    """Children of all threads of a process; None if the kernel does not tell."""
    children: list[int] = []
    threads = _threads(tasks)
    told = not threads  # it has ended
    for thread in threads:
        with suppress(OSError):
            children += map(int, read(f"{tasks}/{thread}/children").split())
            told = True
    return children if told else None


def _threads(tasks: str) -> list[str]:
    try:
        return os.listdir(tasks)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _by_parent(procfs: str) -> dict[int, list[int]]:
    parents = defaultdict(list)
    for name in filter(str.isdecimal, _threads(procfs)):
        with suppress(OSError, ValueError, IndexError):
            parents[int(_stat_fields(read(f"{procfs}/{name}/stat"))[1])].append(int(name))
    return parents


def read_process(directory: str, ticks: int, page: int) -> Reading:
    """One process from its directory in /proc.

    Raises:
        OSError: it has ended.
    """
    fields = _stat_fields(read(f"{directory}/stat"))
    return Reading(
        start=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / ticks,
        resident_bytes=float(int(fields[21]) * page),
        read_bytes=_read_bytes(read_or_empty(f"{directory}/io")),  # only for the owner and root
        waits=_waits(f"{directory}/task"),
        affinity=_affinity(read_or_empty(f"{directory}/status")),
    )


def _stat_fields(text: str) -> list[str]:
    """Fields of /proc/PID/stat behind the name, which may hold anything: [0] is the state (proc_pid_stat(5))."""
    return text.rpartition(")")[2].split()


def _read_bytes(text: str) -> float | None:
    _, found, rest = text.partition("\nread_bytes:")
    return float(rest.split(None, 1)[0]) if found else None


def _waits(tasks: str) -> dict[int, float]:
    """Seconds each thread was ready to run and did not (Documentation/scheduler/sched-stats.rst)."""
    waits = {}
    for thread in _threads(tasks):
        with suppress(OSError, ValueError, IndexError):
            waits[int(thread)] = int(read(f"{tasks}/{thread}/schedstat").split()[1]) / 1e9
    return waits


def _affinity(status: str) -> int:
    """The mask `Cpus_allowed` of /proc/PID/status."""
    _, found, rest = status.partition("\nCpus_allowed:")
    return int(rest.split(None, 1)[0].replace(",", ""), 16) if found else 0
