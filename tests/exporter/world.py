"""A node made of files: /proc, /sys and records as a training with two ranks leaves them."""

from __future__ import annotations

import dataclasses
import os
import struct
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import ActiveRanks, Context, Trainer
from yoloscope_exporter.config import Config, defaults
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yoloscope_exporter.catalog import Sample
    from yoloscope_exporter.collectors import Collector

NOW = 1_800_000_000.0
RUN = "detect/night"
RANK_PIDS = {"0": 700, "1": 800}
POD = "/kubepods.slice/pod7.slice/trainer"

PROC = {
    "stat": """\
cpu  10000 200 3000 80000 1500 0 300 40 0 0
cpu0 5000 100 1500 40000 750 0 150 20 0 0
cpu1 5000 100 1500 40000 750 0 150 20 0 0
intr 545228 0 0
ctxt 606764
btime 1799990000
""",
    "loadavg": "1.50 2.25 3.00 3/400 12345\n",
    "meminfo": """\
MemTotal:       16000000 kB
MemFree:         1000000 kB
MemAvailable:   10000000 kB
Buffers:          100000 kB
Cached:          7000000 kB
Active:          5000000 kB
Inactive:        4000000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
Shmem:            200000 kB
SReclaimable:     300000 kB
HugePages_Total:       0
""",
    "vmstat": "pswpin 0\npswpout 0\noom_kill 3\n",
    "diskstats": """\
   7       0 loop0 5 0 10 0 0 0 0 0 0 0 0
 259       0 nvme0n1 1000 10 200000 5000 300 20 80000 900 0 4000 5900 0 0 0 0 0 0
 259       1 nvme0n1p1 990 10 199000 4900 300 20 80000 900 0 4000 5800 0 0 0 0 0 0
   8       0 sda 1 0 8 2 0 0 0 0 0 2 2
""",
    "1/net/dev": """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0
  eth0: 1000000 2000 3 0 0 0 0 0 500000 1500 1 0 0 0 0 0
veth12ab: 77 1 0 0 0 0 0 0 77 1 0 0 0 0 0 0
""",
    "1/mountinfo": """\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw
28 27 0:50 / /data\\040sets rw - nfs4 server:/sets rw
29 27 0:25 / /run rw - tmpfs tmpfs rw
30 27 254:0 /var/x /etc/hosts rw - ext4 /dev/vda rw
""",
    "pressure/cpu": "some avg10=0.03 avg60=0.40 avg300=1.38 total=32000000\nfull avg10=0.00 total=0\n",
    "pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=4000000\nfull avg10=0.00 total=2500000\n",
    "pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 total=0\n",
}

#: A package, with a part of it; what the whole machine draws, packages included.
SYSFS = {
    f"class/powercap/{zone}/{file}": f"{value}\n"
    for zone, name, energy in (
        ("intel-rapl:0", "package-0", 80_000_000),
        ("intel-rapl:0:0", "dram", 7_000_000),
        ("intel-rapl:1", "psys", 190_000_000),
    )
    for file, value in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", 262_143_328_850))
}

CGROUP_V2 = {
    "cgroup.controllers": "cpu io memory\n",
    "cgroup.procs": "1\n",
    "cpu.stat": "usage_usec 999000000\n",
    "kubepods.slice/pod7.slice/cgroup.type": "domain\n",
    "kubepods.slice/pod7.slice/cpu.max": "400000 100000\n",
    "kubepods.slice/pod7.slice/cpu.stat": "usage_usec 60000000\n"
    "nr_periods 400\nnr_throttled 30\nthrottled_usec 7000000\n",
    "kubepods.slice/pod7.slice/memory.max": "8589934592\n",
    "kubepods.slice/pod7.slice/trainer/cgroup.type": "domain\n",
    "kubepods.slice/pod7.slice/trainer/cpu.max": "max 100000\n",
    "kubepods.slice/pod7.slice/trainer/cpu.stat": "usage_usec 50000000\n"
    "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
    "kubepods.slice/pod7.slice/trainer/memory.current": "4294967296\n",
    "kubepods.slice/pod7.slice/trainer/memory.stat": "anon 4294967296\ninactive_file 0\n",
    "kubepods.slice/pod7.slice/trainer/memory.max": "max\n",
    "kubepods.slice/pod7.slice/trainer/memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
    "kubepods.slice/pod7.slice/trainer/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
    "kubepods.slice/pod7.slice/trainer/io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n",
    "kubepods.slice/pod7.slice/trainer/memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n",
}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below `root`, with the directories they need."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def process(
    procfs: Path,
    pid: int,
    *,
    parent: int = 1,
    children: tuple[int, ...] = (),
    command: str = "python\0train.py\0",
    ticks: int = 1000,
    pages: int = 2000,
    waits: tuple[int, ...] = (500_000_000,),
    read_bytes: int = 4096,
    blocked: int = 25,
    start: int = 10,
    state: str = "S",
    inner: tuple[int, ...] | None = None,
) -> None:
    """Write the directory of a process; `waits` in nanoseconds, one per thread; `inner` are its pids in containers."""
    fields = [state, str(parent), *["0"] * 9, str(ticks), "0", *["0"] * 6, str(start), "0", str(pages), *["0"] * 28]
    fields[39] = str(blocked)
    namespaces = "" if inner is None else "NSpid:\t" + "\t".join(map(str, (pid, *inner))) + "\n"
    threads = {f"task/{pid + number}/schedstat": f"1 {wait} 3\n" for number, wait in enumerate(waits)}
    write(
        procfs / str(pid),
        {
            "stat": f"{pid} (python (x) y) {' '.join(fields)}\n",
            "cmdline": command,
            "status": f"Name:\tpython\n{namespaces}Cpus_allowed:\t00000000,0000000f\nCpus_allowed_list:\t0-3\n",
            "statm": f"{pages} {pages} 0 0 0 0 0\n",
            "io": f"rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: {read_bytes}\nwrite_bytes: 0\n",
            "cgroup": f"0::{POD}\n",
            f"task/{pid}/children": " ".join(map(str, children)),
            **threads,
        },
    )


@dataclass
class World:
    """Roots of a node, clocks to be set, and what was refused."""

    root: Path
    now: float = NOW
    trainers: dict[int, Trainer] = field(default_factory=dict)
    config: Config = field(default_factory=defaults)
    rejected: list[tuple[str, str]] = field(default_factory=list)

    @property
    def procfs(self) -> Path:
        """The node's /proc."""
        return self.root / "proc"

    @property
    def cgroups(self) -> Path:
        """The node's cgroups."""
        return self.root / "sys" / "fs" / "cgroup"

    @property
    def records(self) -> Path:
        """The record directory."""
        return self.root / "records"

    @property
    def context(self) -> Context:
        """What collectors get."""
        return Context(
            procfs=self.procfs,
            sysfs=self.root / "sys",
            records=self.records,
            clock=lambda: self.now,
            wall=lambda: self.now,
            reject=lambda collector, reason: self.rejected.append((collector, reason)),
            trainers=lambda: self.trainers,
            config=lambda: self.config,
        )


def build(root: Path) -> World:
    """The whole node: two ranks of a finished run with two workers each, in a pod of cgroup version 2."""
    world = World(root)
    world.records.mkdir(parents=True)
    write(world.procfs, PROC)
    write(world.root / "sys", SYSFS)
    write(world.cgroups, CGROUP_V2)
    for rank, pid in RANK_PIDS.items():
        workers = (pid + 50, pid + 60)
        process(world.procfs, pid, children=workers, waits=(500_000_000, 250_000_000))
        for worker in workers:
            process(world.procfs, worker, parent=pid, ticks=3000)
        world.trainers[pid] = Trainer(RUN, rank, pid)
        records(world.records, rank)
    return world


def records(base: Path, rank: str, *, run: str = RUN, state: str = "finished", ended: float = NOW - 60) -> None:
    """The records that a rank and its two workers leave."""
    facts = {
        "model": "yolo11n.yaml",
        "data": "coco8.yaml",
        "user": "ada",
        "pid": "42",
        "gpu": rank,
        "gpu_uuid": "GPU-9",
    }
    who = (run, rank)
    for worker in ("", "0", "1"):
        identity = Identity(run, rank, "worker" if worker else "rank", worker)
        path = run_directory(base, run) / identity.filename
        with closing(Writer(path, identity, facts, slots=128, ring=8)) as writer:
            if worker:
                batches = writer.slot(catalog.TRAIN_WORKER_BATCHES_TOTAL, *who, worker)
                prepared = writer.histogram(catalog.TRAIN_LOADER_BATCH_SECONDS, *who)
                writer.begin()
                writer.values[batches] = 20.0 + int(worker)
                writer.observe(prepared, catalog.STEP_BUCKETS, 0.03)
            else:
                batches, epoch = writer.slot(catalog.TRAIN_BATCHES_TOTAL, *who), writer.slot(catalog.TRAIN_EPOCH, *who)
                wait = writer.histogram(catalog.TRAIN_DATA_WAIT_SECONDS, *who)
                writer.begin()
                writer.values[batches], writer.values[epoch] = 41.0, 3.0
                writer.observe(wait, catalog.STEP_BUCKETS, 0.015)
                writer.set_state(state)
            writer.end(ended)
        age(path, created=ended - 600, updated=ended)


def age(path: Path, *, created: float, updated: float) -> None:
    """Set the times in a record's head, and of its directory."""
    with path.open("r+b") as file:
        file.seek(72)
        file.write(struct.pack("2d", created, updated))
    os.utime(path.parent, (updated, updated))


def values(collector: Collector) -> dict[tuple[str, tuple[str, ...]], object]:
    """One collection, by name and labels."""
    samples: list[Sample] = list(collector.collect())
    found = {(sample.metric.name, sample.labels): sample.value for sample in samples}
    assert len(found) == len(samples), "a series came twice"
    return found


def replace_trainers(context: Context, ranks: ActiveRanks) -> Context:
    """The context with ranks that the collector `runs` sets."""
    return dataclasses.replace(context, trainers=ranks)
