"""Where the sources are: another /proc, none, another platform, and this machine beside node_exporter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from yoloscope_exporter import catalog, collectors
from yoloscope_exporter.collectors import NoData, Trainer
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source

from tests import live
from tests.conftest import require_binary
from tests.exporter import world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Metric

HOST = ("cpu", "memory", "disk", "network", "pressure", "cgroup", "process")


# --- nothing to read ------------------------------------------------------------------------------------------------


def test_nothing_to_read_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With an empty /proc and /sys the exporter runs; what it cannot read is absent and said once, as no failure."""
    node = world.World(tmp_path, trainers={700: Trainer(world.RUN, "0", 700)})
    node.procfs.mkdir()
    caplog.set_level("INFO")
    sources = [Source(name, each) for name in HOST for each in collectors.build(name, node.context)]
    sampler = Sampler(sources, interval=30.0, clock=node.context.clock, wall=node.context.wall)
    try:
        for _ in range(11):  # the slow ones twice
            sampler.cycle()
        samples = list(sampler.snapshot)
    finally:
        sampler.stop()
    assert samples == []
    said = [re.match(r"collector (\w+) has no data here: .+", text) for text in caplog.messages]
    assert sorted(match[1] for match in said if match) == sorted([*HOST, "filesystem"])
    assert all(said)


def test_the_given_proc_is_read(tmp_path: Path) -> None:
    """Two nodes one after the other: psutil follows the one whose collectors were made last."""
    values = []
    for name, kilobytes in (("one", "16000000"), ("other", "32000000")):
        node = world.build(tmp_path / name)
        world.write(node.procfs, {"meminfo": world.PROC["meminfo"].replace("16000000", kilobytes)})
        (collector,) = collectors.build("memory", node.context)
        values.append(world.values(collector)[catalog.MEMORY_TOTAL_BYTES.name, ()])
    assert values == [16_000_000 * 1024, 32_000_000 * 1024]


# --- other platforms ------------------------------------------------------------------------------------------------

WITHOUT = """
import os, psutil
for name in {names}:
    delattr(os, name)
psutil.LINUX = False
from importlib import import_module
for name in {collectors}:
    import_module(f"yoloscope_exporter.collectors.{{name}}")
print("imported")
"""


def test_modules_import_on_other_platforms() -> None:
    """Without calls that Linux alone has; what is without POSIX' modules, too, is tried in tests/other_systems."""
    names = ("O_CLOEXEC", "getloadavg", "major", "minor", "sched_getaffinity", "statvfs", "sysconf")
    code = WITHOUT.format(names=names, collectors=HOST)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean())
    assert (answer.stdout, answer.stderr) == ("imported\n", "")


def clean() -> dict[str, str]:
    """This environment with the packages' sources on the path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> world.World:
    """A platform without /proc, where psutil has less to tell: Windows' counters, macOS' processes."""
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.delattr(psutil.Process, "io_counters")
    times = SimpleNamespace(user=1.0, system=2.0, idle=3.0, interrupt=0.5, dpc=0.5)
    monkeypatch.setattr(psutil, "cpu_times", lambda *, percpu=False: [times] * 4 if percpu else times)
    disk = SimpleNamespace(read_count=1, write_count=2, read_bytes=3, write_bytes=4, read_time=5, write_time=6)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: {"PhysicalDrive0": disk})
    mount = SimpleNamespace(device="C:", mountpoint=str(tmp_path), fstype="NTFS", opts="rw")
    monkeypatch.setattr(psutil, "disk_partitions", lambda: [mount])
    return world.World(tmp_path / "no", trainers={os.getpid(): Trainer(world.RUN, "0", os.getpid())})


def test_what_another_platform_tells(elsewhere: world.World, tmp_path: Path) -> None:
    """What psutil knows there is told, the rest is absent; nothing is 0 for want of knowledge."""
    found: dict[str, object] = {}
    for module in ("cpu", "memory", "disk", "network", "process"):
        for collector in collectors.build(module, elsewhere.context):
            found |= {f"{name}{labels}": value for (name, labels), value in world.values(collector).items()}
    for module in ("pressure", "cgroup"):
        (collector,) = collectors.build(module, elsewhere.context)
        with pytest.raises(NoData):
            world.values(collector)
    assert found[f"{catalog.CPU_SECONDS_TOTAL.name}('idle',)"] == 3.0
    assert found[f"{catalog.CPU_CORES.name}()"] == 4
    assert found[f"{catalog.MEMORY_TOTAL_BYTES.name}()"] == psutil.virtual_memory().total
    assert found[f"{catalog.DISK_READ_SECONDS_TOTAL.name}('PhysicalDrive0',)"] == 0.005
    size = f"{catalog.FILESYSTEM_SIZE_BYTES.name}{(str(tmp_path), 'NTFS')}"
    assert found[size] == shutil.disk_usage(tmp_path).total
    role = (world.RUN, "0", "main")
    assert found[f"{catalog.TRAIN_PROCESS_RESIDENT_BYTES.name}{role}"] > 1e6
    missing = (
        catalog.LOAD_AVERAGE,
        catalog.DISK_IO_SECONDS_TOTAL,
        catalog.MEMORY_CACHED_BYTES,
        catalog.PRESSURE_SECONDS_TOTAL,
        catalog.TRAIN_PROCESS_AFFINITY_CORES,
        catalog.TRAIN_PROCESS_READ_BYTES_TOTAL,
        catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL,
    )
    assert [key for key in found for metric in missing if key.startswith(metric.name)] == []


def test_loader_workers_on_another_platform(elsewhere: world.World) -> None:
    """Children are found by their parents there, and workers by their command line."""
    code = "import os, time\nif os.fork(): print('up', flush=True)\ntime.sleep(60)"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            elsewhere.trainers = {child.pid: Trainer(world.RUN, "0", child.pid)}
            (collector,) = collectors.build("process", elsewhere.context)
            values = world.values(collector)
        finally:
            os.killpg(child.pid, 9)
    assert values[catalog.TRAIN_PROCESSES.name, (world.RUN, "0", "worker")] == 1


# --- this machine ---------------------------------------------------------------------------------------------------


@pytest.fixture
def node_exporter() -> Iterator[dict[str, float]]:
    """What node_exporter says of this machine."""
    binary, port = require_binary("prometheus-node-exporter"), live.free_port()
    command = [binary, f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/metrics"
            text = live.wait_for(lambda: urllib.request.urlopen(url, timeout=10).read().decode(), what="node_exporter")
            lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
            yield {name: float(value) for name, _, value in lines}
        finally:
            process.kill()


def test_this_machine_as_node_exporter_sees_it(node_exporter: dict[str, float]) -> None:
    """The same figures, but for what has happened between the two readings."""
    context = world.World(Path("/")).context
    ours: dict[tuple[str, tuple[str, ...]], object] = {}
    for module in ("cpu", "memory", "disk", "network"):
        ours |= world.values(collectors.build(module, context)[0])

    def mine(metric: Metric, *labels: str) -> float:
        return float(ours[metric.name, labels])  # type: ignore[arg-type]

    for mode in ("user", "system", "idle"):
        theirs = sum(value for name, value in node_exporter.items() if re.match(rf'node_cpu_.*mode="{mode}"', name))
        assert mine(catalog.CPU_SECONDS_TOTAL, mode) == pytest.approx(theirs, abs=5.0, rel=0.001)
    assert mine(catalog.MEMORY_TOTAL_BYTES) == node_exporter["node_memory_MemTotal_bytes"]
    cached = node_exporter["node_memory_Cached_bytes"]
    assert mine(catalog.MEMORY_CACHED_BYTES) == pytest.approx(cached, abs=64 * 2**20)
    assert mine(catalog.CONTEXT_SWITCHES_TOTAL) >= node_exporter["node_context_switches_total"]
    for theirs, metric in (
        ("node_disk_read_bytes_total", catalog.DISK_READ_BYTES_TOTAL),
        ("node_disk_reads_completed_total", catalog.DISK_READS_TOTAL),
        ("node_disk_io_time_seconds_total", catalog.DISK_IO_SECONDS_TOTAL),
        ("node_network_receive_bytes_total", catalog.NETWORK_RECEIVE_BYTES_TOTAL),
    ):
        for name, (device,) in ((name, labels) for name, labels in ours if name == metric.name):
            value = node_exporter[f'{theirs}{{device="{device}"}}']
            assert mine(metric, device) == pytest.approx(value, rel=0.01, abs=64 * 2**20), name
