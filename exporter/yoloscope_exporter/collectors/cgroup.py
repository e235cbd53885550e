"""The cgroup of each run: CPU, quota and throttling, memory and its limit, OOM kills, pressure. Versions 1 and 2.

What holds a process down may stand in any group above its own (a pod, a Slurm job): limits are the smallest, throttled
time is the largest on the way up, and periods are those of the group that was throttled most often. A run of several
ranks belongs to the deepest group that holds them all.
The group is followed for a while after the trainer's death, because the OOM kill is counted at that moment.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Metric, Sample
from yoloscope_exporter.collectors import Collector, NoData
from yoloscope_exporter.collectors.files import read, read_or_empty
from yoloscope_exporter.collectors.pressure import RESOURCES, parse_pressure
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from yoloscope_exporter.collectors import Context

LINGER_SECONDS = 120.0  # of a run that is over, for what its last batches have cost
MOST_LINGERING = 32  # the ones that lived last: runs may come and go by the hundred
FIND_AGAIN_SECONDS = 10.0  # processes are seldom moved to another group
CONTROLLERS = ("cpu", "cpuacct", "memory")  # of version 1
_NO_LIMIT_V1 = 1 << 62  # the kernel shows 'no limit' as the largest multiple of a page below 2^63
MAX_HOME_SEARCH = 20_000  # directories


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    return [Collector("cgroup", Cgroups(context).collect)]


@dataclass(frozen=True)
class _Groups:
    """A run's groups: controller -> directories from the run's own upwards; `` is version 2."""

    groups: Mapping[str, Sequence[Path]]
    pids: Sequence[int]
    found: float
    seen: float


class Cgroups:
    """Follows the cgroups of the runs that are alive."""

    def __init__(self, context: Context) -> None:
        """Know of no run yet."""
        self._context = context
        self._runs: dict[str, _Groups] = {}
        self._base = context.sysfs / "fs" / "cgroup"
        self._find = Finder(context.procfs, self._base)

    def collect(self) -> Iterator[Sample]:
        """Samples of every run's group.

        Raises:
            NoData: no cgroups here.
        """
        if not self._base.is_dir():
            raise NoData(text("{path} is not there", path=self._base))
        now = self._context.clock()
        pids = defaultdict(list)
        for trainer in self._context.trainers().values():
            pids[trainer.run].append(trainer.pid)
        for run, ranks in pids.items():
            place = self._runs.get(run)
            if place is None or place.pids != ranks or now - place.found > FIND_AGAIN_SECONDS:
                place = _Groups(self._find(ranks), ranks, now, now)
            self._runs[run] = replace(place, seen=now)
        over = [name for name, place in self._runs.items() if name not in pids and now - place.seen <= LINGER_SECONDS]
        self._runs = {name: self._runs[name] for name in (*over[-MOST_LINGERING:], *pids)}
        for name, place in self._runs.items():
            for metric, labels, value in _values(place.groups):
                yield Sample(metric, (name, *labels), value)


# --- where the groups lie -------------------------------------------------------------------------------------------


class Finder:
    """Finds the directories of processes' cgroups below the mount `base`."""

    def __init__(self, procfs: Path, base: Path, view: Path = Path("/sys/fs/cgroup")) -> None:
        """`view` is the mount of our own cgroup namespace."""
        self._procfs, self._base, self._view = procfs, base, view
        self._own: Path | None = None

    def __call__(self, pids: Sequence[int]) -> dict[str, list[Path]]:
        """Directories of the deepest group that holds all `pids`, by controller, from it up to the mount."""
        paths = defaultdict(list)
        for pid in pids:
            with suppress(OSError):  # the process has ended
                for controller, path in parse_cgroup(read(self._procfs / str(pid) / "cgroup")):
                    paths[controller].append(path)
        found = {}
        for controller, places in paths.items():
            mount = self._mount(controller)
            directories = [self._directory(mount, place) for place in places] if mount else []
            if mount is None or None in directories or not directories:
                continue
            shared = Path(os.path.commonpath([str(directory) for directory in directories]))
            if shared.is_dir() and not _is_whole_machine(shared):
                found[controller] = _upwards(shared, mount)
        return found

    def _mount(self, controller: str) -> Path | None:
        """The top of a controller's hierarchy."""
        unified = (self._base / "cgroup.controllers").exists()
        candidate = self._base / (controller or ("" if unified else "unified"))
        return candidate if candidate.is_dir() and not (unified and controller) else None

    def _directory(self, mount: Path, place: str) -> Path | None:
        """The directory of a group, whichever part of the hierarchy is to be seen from here."""
        if place.startswith("/.."):  # outside our cgroup namespace; needs the node's whole tree below `base`
            home = self._home()
            place = os.path.normpath(f"/{home.relative_to(self._base)}/{place}") if home else place
        direct = mount / place.lstrip("/")
        if direct.is_dir():
            return direct
        root = self._root(mount)  # a container without a namespace sees a part of the tree, but the whole path
        inside = place == root or place.startswith(f"{root}/")
        return mount / place[len(root) :].lstrip("/") if root != "/" and inside else None

    def _root(self, mount: Path) -> str:
        """The part of its hierarchy that the mount shows."""
        text = (self._procfs / "self" / "mountinfo").read_text()
        lines = (line.split() for line in text.splitlines())
        return next((fields[3] for fields in lines if fields[4] == str(mount)), "/")

    def _home(self) -> Path | None:
        """Our own group in the node's tree: the directory that is the root of our own view. Searched for once."""
        if self._own is None and self._base != self._view:
            with suppress(OSError):
                wanted = self._view.stat().st_ino
                for count, (folder, _, _) in enumerate(os.walk(self._base)):
                    if count > MAX_HOME_SEARCH:
                        break
                    if Path(folder).stat().st_ino == wanted:
                        self._own = Path(folder)
                        break
        return self._own


def parse_cgroup(text: str) -> Iterator[tuple[str, str]]:
    """Controller and path of each line of /proc/PID/cgroup that matters here (cgroups(7)); `` is version 2."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in ("", *CONTROLLERS):
                yield controller, path


def _is_whole_machine(directory: Path) -> bool:
    """Whether it is the root group of the whole machine, whose files differ."""
    if (directory / "release_agent").exists():  # version 1
        return True
    return (directory / "cgroup.procs").exists() and not _version_1(directory) and _is_root(directory)


def _version_1(directory: Path) -> bool:
    return (directory / "notify_on_release").exists()


def _is_root(directory: Path) -> bool:
    return not (directory / "cgroup.type").exists()


def _upwards(directory: Path, mount: Path) -> list[Path]:
    """The group and those above it, without the whole machine."""
    chain = [directory]
    while chain[-1] != mount and mount in chain[-1].parents:
        chain.append(chain[-1].parent)
    return chain[:-1] if _is_whole_machine(chain[-1]) else chain


# --- what is in them ------------------------------------------------------------------------------------------------

_Value = tuple[Metric, tuple[str, ...], float]


def _values(groups: Mapping[str, Sequence[Path]]) -> Iterator[_Value]:
    """Metric, labels without the run, and value; once where both versions tell it (systemd's hybrid layout)."""
    found: dict[tuple[Metric, tuple[str, ...]], float] = {}
    for controller, chain in groups.items():
        for metric, labels, value in _READERS[controller](chain):
            found.setdefault((metric, labels), value)
    yield from ((metric, labels, value) for (metric, labels), value in found.items())


def _unified(chain: Sequence[Path]) -> Iterator[_Value]:
    own = chain[0]
    stats = [_pairs(group / "cpu.stat") for group in chain]
    yield from _scaled(catalog.CGROUP_CPU_SECONDS_TOTAL, [stats[0].get("usage_usec")], 1e6)
    yield from _scaled(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, [stat.get("throttled_usec") for stat in stats], 1e6)
    yield from _periods(stats)
    quotas = [_quota(read_or_empty(group / "cpu.max").split()) for group in chain]
    yield from _least(catalog.CGROUP_CPU_QUOTA_CORES, quotas)
    charged, cached = _number(read_or_empty(own / "memory.current")), _pairs(own / "memory.stat").get("inactive_file")
    yield from _scaled(catalog.CGROUP_MEMORY_USED_BYTES, [_in_use(charged, cached)])
    yield from _least(
        catalog.CGROUP_MEMORY_LIMIT_BYTES, [_number(read_or_empty(group / "memory.max")) for group in chain]
    )
    yield from _scaled(catalog.CGROUP_OOM_KILLS_TOTAL, [_pairs(own / "memory.events").get("oom_kill")])
    for resource in RESOURCES:
        for kind, seconds in parse_pressure(read_or_empty(own / f"{resource}.pressure")):
            yield catalog.CGROUP_PRESSURE_SECONDS_TOTAL, (resource, kind), seconds


def _cpu(chain: Sequence[Path]) -> Iterator[_Value]:
    stats = [_pairs(group / "cpu.stat") for group in chain]
    yield from _scaled(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, [stat.get("throttled_time") for stat in stats], 1e9)
    yield from _periods(stats)
    words = [[read_or_empty(group / "cpu.cfs_quota_us"), read_or_empty(group / "cpu.cfs_period_us")] for group in chain]
    yield from _least(catalog.CGROUP_CPU_QUOTA_CORES, [_quota(pair) for pair in words])


def _periods(stats: Sequence[Mapping[str, float]]) -> Iterator[_Value]:
    """Periods of one group's quota, throttled ones among them: two groups' counters make no share."""
    told = [stat for stat in stats if "nr_throttled" in stat and "nr_periods" in stat]
    if told:
        most = max(told, key=lambda stat: (stat["nr_throttled"], stat["nr_periods"]))
        yield catalog.CGROUP_CPU_PERIODS_TOTAL, (), most["nr_periods"]
        yield catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (), most["nr_throttled"]


def _cpuacct(chain: Sequence[Path]) -> Iterator[_Value]:
    yield from _scaled(catalog.CGROUP_CPU_SECONDS_TOTAL, [_number(read_or_empty(chain[0] / "cpuacct.usage"))], 1e9)


def _memory(chain: Sequence[Path]) -> Iterator[_Value]:
    own = chain[0]
    charged = _number(read_or_empty(own / "memory.usage_in_bytes"))
    cached = _pairs(own / "memory.stat").get("total_inactive_file")
    yield from _scaled(catalog.CGROUP_MEMORY_USED_BYTES, [_in_use(charged, cached)])
    limits = [_number(read_or_empty(group / "memory.limit_in_bytes")) for group in chain]
    yield from _least(
        catalog.CGROUP_MEMORY_LIMIT_BYTES,
        [None if limit is None or limit >= _NO_LIMIT_V1 else limit for limit in limits],
    )
    yield from _scaled(catalog.CGROUP_OOM_KILLS_TOTAL, [_pairs(own / "memory.oom_control").get("oom_kill")])


def _in_use(charged: float | None, cached: float | None) -> float | None:
    """Charged memory less the page cache that goes first: the working set of cAdvisor and Kubernetes.

    A training that reads its images fills any limit with page cache; that is no lack of memory. Without knowing the
    cache nobody knows the rest.
    """
    return None if charged is None or cached is None else max(charged - cached, 0.0)


_READERS: Mapping[str, Callable[[Sequence[Path]], Iterator[_Value]]] = {
    "": _unified,
    "cpu": _cpu,
    "cpuacct": _cpuacct,
    "memory": _memory,
}


def _scaled(metric: Metric, values: Sequence[float | None], scale: float = 1.0) -> Iterator[_Value]:
    """The largest of the values that exist."""
    known = [value for value in values if value is not None]
    if known:
        yield metric, (), max(known) / scale


def _least(metric: Metric, values: Sequence[float | None]) -> Iterator[_Value]:
    known = [value for value in values if value is not None]
    if known:
        yield metric, (), min(known)


def _quota(words: Sequence[str]) -> float | None:
    """Cores from quota and period; None if there is no quota (`max`, or -1)."""
    quota, period = (_number(word) for word in words) if len(words) == 2 else (None, None)  # noqa: PLR2004 - a pair
    return quota / period if quota is not None and quota >= 0 and period else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # nothing, or `max`
        return None


def _pairs(path: Path) -> dict[str, float]:
    rows = (line.split() for line in read_or_empty(path).splitlines())
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}  # noqa: PLR2004 - key and value
