"""What each rank's GPU and the CPU packages draw for it, in joules over the rank's life.

The meters are the node's own counters of the cycle before. What a meter has counted since the last look is divided
among those who used it: a GPU by the SM time of its processes, in equal parts while none used any or the driver tells
none; the CPU packages by CPU time, idle power along with it. What processes without a training used belongs to no run.
So the shares of all add up to what the meters counted.

A GPU that MIG has cut has one meter for all of its instances. It is divided among them by size times load, by size
alone while none has any or the driver does not tell; what an instance without a training has drawn belongs to no run.

Meters and accounts are in a file as well, stored every ten seconds together. After a restart the meters tell what was
drawn meanwhile, and it is divided as it is then: an exporter that was killed loses nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.collectors.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from yoloscope_exporter.collectors import Context

NAME = "run_energy"
GPU, CPU = catalog.ENERGY_SOURCES
STORE_SECONDS = 10.0
#: How long a rank is remembered that is not shown: an exporter that has just started shows none.
FORGET_SECONDS = 300.0
#: So many of those at most, those that were shown last: runs may come and go by the hundred.
MOST_UNSEEN = 1024
#: Modes of CPU time in which nothing of this machine ran.
_IDLE = ("idle", "iowait", "steal")

_NEEDED = {
    metric.name
    for metric in (
        catalog.GPU_ENERGY_JOULES_TOTAL,
        catalog.CPU_ENERGY_JOULES_TOTAL,
        catalog.TRAIN_DEVICE_INFO,
        catalog.GPU_PROCESS_SM_RATIO,
        catalog.GPU_PART_RATIO,
        catalog.GPU_UTILIZATION_RATIO,
        catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL,
        catalog.CPU_SECONDS_TOTAL,
        catalog.TRAIN_START_TIMESTAMP_SECONDS,
        catalog.TRAIN_UP,
    )
}

#: A meter: its source and its name, as `("gpu", "0")`; and who has an account: run and rank.
Meter = tuple[str, str]
Who = tuple[str, str]


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group, so that an end of a run is met to the second."""
    energy = RunEnergy(context)
    return [Collector(NAME, energy.collect, energy.close)]


class Usage(NamedTuple):
    """A moment of the node: what its meters show, and who uses what they measure.

    Attributes:
        joules: of each meter.
        gpus: who trains on each GPU.
        sm: SM share of processes on each GPU by whose they are; `("", "")` for those without a training.
        instances: what each MIG instance of a GPU has of its work, in any unit.
        cpu_seconds: CPU time of each rank's processes, and of the node, busy.
        began: Unix time at which each rank that is shown began.
        alive: ranks that live.
    """

    joules: Mapping[Meter, float]
    gpus: Mapping[str, set[Who]]
    sm: Mapping[str, Mapping[Who, float]]
    instances: Mapping[str, Mapping[str, float]]
    cpu_seconds: Mapping[Who, float]
    busy_seconds: float
    began: Mapping[Who, float]
    alive: frozenset[Who]


@dataclass
class Accounting:
    """Accounts of ranks, and what the meters showed when they were last divided. Pure.

    Attributes:
        meters: joules.
        accounts: joules by rank and source.
        began: which life of a rank an account is of.
        cpu: CPU seconds of the ranks, and of the node under `("", "")`, when the CPU meters last moved.
        lived: ranks that did at the last look.
    """

    meters: dict[Meter, float] = field(default_factory=dict)
    accounts: dict[Who, dict[str, float]] = field(default_factory=dict)
    began: dict[Who, float] = field(default_factory=dict)
    cpu: dict[Who, float] = field(default_factory=dict)
    lived: frozenset[Who] = frozenset()

    def advance(self, now: Usage) -> None:
        """Divide what was drawn since the last look among those who had an account then, and open new ones."""
        known = {who for who in self.lived | now.alive if self.began.get(who) == now.began.get(who)}
        for (source, name), joules in now.joules.items():
            if source == GPU:
                self._divide((source, name), joules, _gpu_shares(now, name, self.lived | now.alive), known)
        self._divide_cpu(now, known)
        self.lived = now.alive
        for who in now.alive - known:
            self.accounts[who], self.began[who] = {}, now.began[who]
        for name, ranks in now.gpus.items():
            if (GPU, _whole(name)) in now.joules and name not in now.instances:
                self._open(ranks, GPU)
        if any(source == CPU for source, _ in now.joules):
            self._open(now.cpu_seconds.keys(), CPU)

    def _open(self, ranks: Iterable[Who], source: str) -> None:
        for who in ranks:
            if who in self.accounts:
                self.accounts[who].setdefault(source, 0.0)

    def _divide_cpu(self, now: Usage, known: set[Who]) -> None:
        meters = {meter: joules for meter, joules in now.joules.items() if meter[0] == CPU}
        if all(self.meters.get(meter) == joules for meter, joules in meters.items()):
            return  # they are read every ten seconds
        shares = _cpu_shares(self.cpu, now)
        for meter, joules in meters.items():
            self._divide(meter, joules, shares, known)
        self.cpu = {**now.cpu_seconds, ("", ""): now.busy_seconds}

    def _divide(self, meter: Meter, joules: float, shares: Mapping[Who, float], known: set[Who]) -> None:
        before = self.meters.get(meter)
        self.meters[meter] = joules
        if before is None:
            return
        drawn = joules - before if joules >= before else joules  # it has begun anew
        for who, share in shares.items():
            if who in known:
                account = self.accounts[who]
                account[meter[0]] = account.get(meter[0], 0.0) + drawn * share

    def forget(self, kept: Iterable[Who]) -> None:
        """Close every account but these."""
        kept = set(kept)
        self.accounts = {who: account for who, account in self.accounts.items() if who in kept}
        self.began = {who: began for who, began in self.began.items() if who in kept}


def _whole(gpu: str) -> str:
    """The GPU that this is, or is a MIG instance of."""
    return gpu.partition("/")[0]


def _gpu_shares(now: Usage, gpu: str, lived: AbstractSet[Who]) -> dict[Who, float]:
    """Parts of a GPU's energy, those of the ranks that lived meanwhile; the rest is of processes without a training."""
    instances = now.instances.get(gpu)
    if not instances:
        return _shares_by_sm(now, gpu, lived)
    parts: defaultdict[Who, float] = defaultdict(float)
    for name, work in instances.items():
        for who, share in _shares_by_sm(now, name, lived).items():
            parts[who] += share * work / sum(instances.values())
    return parts


def _shares_by_sm(now: Usage, gpu: str, lived: AbstractSet[Who]) -> dict[Who, float]:
    """Parts of what a GPU, or a MIG instance, did."""
    ranks, used = now.gpus.get(gpu, set()) & lived, now.sm.get(gpu, {})
    if not ranks & used.keys():  # no SM shares, or not of the ranks' processes
        return {who: 1 / len(ranks) for who in ranks}
    total = sum(used.values())
    return {who: used.get(who, 0.0) / total if total else 1 / len(used) for who in ranks & used.keys()}


def _cpu_shares(before: Mapping[Who, float], now: Usage) -> dict[Who, float]:
    """Parts of the node's CPU time since the last look; none where the look is the first."""
    busy = now.busy_seconds - before.get(("", ""), now.busy_seconds)
    used = {who: max(seconds - before.get(who, seconds), 0.0) for who, seconds in now.cpu_seconds.items()}
    whole = max(busy, sum(used.values()))  # the counters are read at different moments
    return {who: seconds / whole for who, seconds in used.items()} if whole > 0 else {}


class RunEnergy:
    """Keeps the accounting up to date with the node's samples."""

    def __init__(self, context: Context) -> None:
        """Go on where an exporter before has stopped."""
        self._context = context
        self._state = StateFile(context.config().path_state, NAME, context.procfs)
        self.accounting = restored(self._state.load())
        self._seen: dict[Who, float] = dict.fromkeys(self.accounting.accounts, context.clock())
        self._stored = context.clock()

    def collect(self) -> Iterator[Sample]:
        """What each rank that is shown has drawn so far, by source."""
        now, clock = usage(self._context.latest()), self._context.clock()
        self.accounting.advance(now)
        unseen = [who for who, seen in self._seen.items() if who not in now.began and clock - seen < FORGET_SECONDS]
        self._seen = {who: self._seen[who] for who in unseen[-MOST_UNSEEN:]} | dict.fromkeys(now.began, clock)
        self.accounting.forget(self._seen)
        if clock - self._stored >= STORE_SECONDS:
            self._stored = clock
            self.close()
        for who in now.began:
            for source, joules in self.accounting.accounts.get(who, {}).items():
                yield Sample(catalog.TRAIN_ENERGY_JOULES_TOTAL, (*who, source), joules)

    def close(self) -> None:
        """Store the accounting."""
        self._state.store(stored(self.accounting))


def usage(samples: Iterable[Sample]) -> Usage:
    """What a cycle's samples say of meters and of who uses them."""
    of: defaultdict[str, list[tuple[Sequence[str], float]]] = defaultdict(list)
    for metric, labels, value in samples:
        if metric.name in _NEEDED and not isinstance(value, HistogramValue):
            of[metric.name].append((labels, value))
    gpus: defaultdict[str, set[Who]] = defaultdict(set)
    for (run, rank, gpu, _), _one in of[catalog.TRAIN_DEVICE_INFO.name]:
        gpus[gpu].add((run, rank))
    sm: defaultdict[str, defaultdict[Who, float]] = defaultdict(lambda: defaultdict(float))
    for (gpu, _pid, _command, run, rank, _user), share in of[catalog.GPU_PROCESS_SM_RATIO.name]:
        sm[gpu][run, rank] += share
    parts = {gpu: part for (gpu,), part in of[catalog.GPU_PART_RATIO.name]}
    load = {gpu: ratio for (gpu,), ratio in of[catalog.GPU_UTILIZATION_RATIO.name]}
    cpu: defaultdict[Who, float] = defaultdict(float)
    for (run, rank, _role), seconds in of[catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL.name]:
        cpu[run, rank] += seconds
    meters = ((GPU, catalog.GPU_ENERGY_JOULES_TOTAL), (CPU, catalog.CPU_ENERGY_JOULES_TOTAL))
    began = {(run, rank): time for (run, rank), time in of[catalog.TRAIN_START_TIMESTAMP_SECONDS.name]}
    return Usage(
        {(source, name): joules for source, metric in meters for (name,), joules in of[metric.name]},
        gpus,
        sm,
        _instances((*parts, *load, *gpus), parts, load),
        cpu,
        sum(seconds for (mode,), seconds in of[catalog.CPU_SECONDS_TOTAL.name] if mode not in _IDLE),
        began,
        frozenset((run, rank) for (run, rank), up in of[catalog.TRAIN_UP.name] if up and (run, rank) in began),
    )


def _instances(
    names: Iterable[str], parts: Mapping[str, float], load: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """How much each MIG instance works, by GPU."""
    cut: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        if name != _whole(name):
            cut[_whole(name)].add(name)
    return {gpu: _work(instances, parts, load) for gpu, instances in cut.items()}


def _work(instances: AbstractSet[str], parts: Mapping[str, float], load: Mapping[str, float]) -> dict[str, float]:
    """Size times load; size alone where a load is unknown or none has any, load alone where a size is unknown."""
    sizes = {name: parts[name] if instances <= parts.keys() else 1.0 for name in instances}
    work = {name: size * load[name] for name, size in sizes.items()} if instances <= load.keys() else {}
    return work if any(work.values()) else sizes


def stored(accounting: Accounting) -> dict[str, Any]:
    """The accounting as JSON has it: keys of several parts become lists."""
    return {
        "meters": [[*meter, joules] for meter, joules in accounting.meters.items()],
        "accounts": [[*who, accounting.began[who], account] for who, account in accounting.accounts.items()],
        "cpu": [[*who, seconds] for who, seconds in accounting.cpu.items()],
    }


def restored(content: Mapping[str, Any]) -> Accounting:
    """The same backwards; an empty accounting from what is none."""
    accounting = Accounting()
    try:
        for source, name, joules in content.get("meters", ()):
            accounting.meters[str(source), str(name)] = float(joules)
        for run, rank, began, account in content.get("accounts", ()):
            who = (str(run), str(rank))
            accounting.began[who] = float(began)
            accounting.accounts[who] = {str(source): float(joules) for source, joules in account.items()}
        for run, rank, seconds in content.get("cpu", ()):
            accounting.cpu[str(run), str(rank)] = float(seconds)
    except (AttributeError, TypeError, ValueError):
        return Accounting()
    return accounting
