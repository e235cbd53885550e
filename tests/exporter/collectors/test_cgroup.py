"""The cgroup of a run, both versions, nested, and from inside containers."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Trainer, cgroup
from yoloscope_exporter.collectors.cgroup import Finder, parse_cgroup

from tests.exporter import world
from tests.exporter.world import RUN

if TYPE_CHECKING:
    from pathlib import Path

THROTTLED, QUOTA = catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL.name, catalog.CGROUP_CPU_QUOTA_CORES.name
PERIODS = catalog.CGROUP_CPU_PERIODS_TOTAL.name
THROTTLED_PERIODS = catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL.name
LIMIT, USED = catalog.CGROUP_MEMORY_LIMIT_BYTES.name, catalog.CGROUP_MEMORY_USED_BYTES.name
CPU, OOM = catalog.CGROUP_CPU_SECONDS_TOTAL.name, catalog.CGROUP_OOM_KILLS_TOTAL.name

V1 = {
    "cpu/release_agent": "",
    "cpu/cpu.stat": "nr_periods 0\nthrottled_time 99000000000\n",
    "cpu/job/cpu.cfs_quota_us": "250000\n",
    "cpu/job/cpu.cfs_period_us": "100000\n",
    "cpu/job/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 4000000000\n",
    "cpu/job/step/cpu.cfs_quota_us": "-1\n",
    "cpu/job/step/cpu.cfs_period_us": "100000\n",
    "cpu/job/step/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
    "cpuacct/release_agent": "",
    "cpuacct/job/step/cpuacct.usage": "12500000000\n",
    "memory/release_agent": "",
    "memory/job/memory.limit_in_bytes": "1073741824\n",
    "memory/job/step/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/job/step/memory.usage_in_bytes": "536870912\n",
    "memory/job/step/memory.stat": "total_inactive_file 0\n",
    "memory/job/step/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V1_PATHS = "9:name=systemd:/\n4:memory:/job/step\n2:cpu,cpuacct:/job/step\n"


@pytest.fixture
def node(tmp_path: Path) -> world.World:
    """One living rank; no cgroups mounted yet."""
    made = world.World(tmp_path, trainers={700: Trainer(RUN, "0", 700)})
    world.process(made.procfs, 700)
    world.write(made.procfs, {"self/mountinfo": ""})
    return made


def collected(node: world.World) -> dict[str, object]:
    """One collection of a new collector, by name; pressure left out."""
    (collector,) = cgroup.collectors(node.context)
    return by_name(world.values(collector))


def by_name(values: dict[tuple[str, tuple[str, ...]], object]) -> dict[str, object]:
    """Values of the metrics that have no label but the run."""
    return {name: value for (name, labels), value in values.items() if labels == (RUN,)}


def test_version_2_limits_of_parents_count(node: world.World) -> None:
    """Quota and memory limit of the pod above, its throttled time, and the run's own use."""
    world.write(node.cgroups, world.CGROUP_V2)
    found = collected(node)
    assert (found.pop(PERIODS), found.pop(THROTTLED_PERIODS)) == (400.0, 30.0)
    assert found == {CPU: 50.0, THROTTLED: 7.0, QUOTA: 4.0, USED: 2.0**32, LIMIT: 2.0**33, OOM: 1.0}


def test_version_1(node: world.World) -> None:
    """The same from the hierarchies of version 1; the whole machine's files at the top say nothing of the run."""
    world.write(node.cgroups, V1)
    world.write(node.procfs, {"700/cgroup": V1_PATHS})
    found = collected(node)
    assert (found.pop(PERIODS), found.pop(THROTTLED_PERIODS)) == (9.0, 3.0)
    assert found == {CPU: 12.5, THROTTLED: 4.0, QUOTA: 2.5, USED: 2.0**29, LIMIT: 2.0**30, OOM: 2.0}


def test_periods_are_those_of_one_group(node: world.World) -> None:
    """Of the group that was stopped most often: with another's periods, its share would be none."""
    pod, own = "kubepods.slice/pod7.slice", "kubepods.slice/pod7.slice/trainer"
    for inner, outer, wanted in (((50, 20), (900, 10), (50, 20)), ((50, 20), (900, 90), (900, 90))):
        stats = {own: inner, pod: outer}
        files = {f"{at}/cpu.stat": f"nr_periods {all_}\nnr_throttled {some}\n" for at, (all_, some) in stats.items()}
        world.write(node.cgroups, {**world.CGROUP_V2, **files})
        found = collected(node)
        assert (found[PERIODS], found[THROTTLED_PERIODS]) == wanted


def test_both_versions_at_once(node: world.World) -> None:
    """In systemd's hybrid layout both tell the CPU time: it is published once."""
    own = {"unified/job/cgroup.type": "domain\n", "unified/job/cpu.stat": "usage_usec 12400000\n"}
    world.write(node.cgroups, {**V1, **own})
    world.write(node.procfs, {"700/cgroup": f"{V1_PATHS}0::/job\n"})
    (collector,) = cgroup.collectors(node.context)
    names = [sample.metric.name for sample in collector.collect()]
    assert sorted(names) == sorted(set(names))
    assert collected(node)[CPU] == 12.5


def test_page_cache_is_not_in_use(node: world.World) -> None:
    """Images read once fill any limit with page cache, which goes when memory is wanted: it does not count."""
    own = "kubepods.slice/pod7.slice/trainer"
    world.write(node.cgroups, {**world.CGROUP_V2, f"{own}/memory.stat": f"anon 1\ninactive_file {3 * 2**30}\n"})
    assert collected(node)[USED] == 2.0**30
    shutil.rmtree(node.cgroups)
    stat = f"inactive_file 5\ntotal_inactive_file {2**28}\n"
    world.write(node.cgroups, {**V1, "memory/job/step/memory.stat": stat})
    world.write(node.procfs, {"700/cgroup": V1_PATHS})
    assert collected(node)[USED] == 2.0**28


@pytest.mark.parametrize("stat", ["", "anon 1\n"])
def test_memory_whose_cache_is_not_known_is_left_out(node: world.World, stat: str) -> None:
    """With the cache in it, it would be taken for a lack of memory."""
    own = "kubepods.slice/pod7.slice/trainer"
    world.write(node.cgroups, {**world.CGROUP_V2, f"{own}/memory.stat": stat})
    found = collected(node)
    assert USED not in found
    assert found[LIMIT] == 2.0**33


def test_no_limit_is_absent(node: world.World) -> None:
    """`max` and -1 are no numbers: quota and limit are not there."""
    files = {**world.CGROUP_V2, "kubepods.slice/pod7.slice/cpu.max": "max 100000\n"}
    world.write(node.cgroups, files)
    (node.cgroups / "kubepods.slice/pod7.slice/memory.max").unlink()
    assert {QUOTA, LIMIT}.isdisjoint(collected(node))


def test_the_whole_machine_is_nobodys_group(node: world.World) -> None:
    """A trainer in the root group has none of its own: nothing is published, in both versions."""
    world.write(node.cgroups, world.CGROUP_V2)
    world.write(node.procfs, {"700/cgroup": "0::/\n"})
    assert collected(node) == {}
    shutil.rmtree(node.cgroups)
    world.write(node.cgroups, V1)
    world.write(node.procfs, {"700/cgroup": "2:cpu,cpuacct:/\n4:memory:/\n"})
    assert collected(node) == {}


def test_container_that_sees_only_itself(node: world.World) -> None:
    """In a cgroup namespace the container's own group is the root, and no less its own."""
    files = {"cgroup.controllers": "cpu\n", "cgroup.procs": "1\n", "cgroup.type": "domain\n"}
    world.write(
        node.cgroups, {**files, "cpu.stat": "usage_usec 5000000\nthrottled_usec 0\n", "cpu.max": "50000 100000\n"}
    )
    world.write(node.procfs, {"700/cgroup": "0::/\n"})
    assert collected(node) == {CPU: 5.0, THROTTLED: 0.0, QUOTA: 0.5}


def test_container_without_a_namespace(node: world.World) -> None:
    """Version 1 shows the container its part of the tree under the whole tree's paths."""
    world.write(node.cgroups, {"memory/memory.usage_in_bytes": "77\n", "memory/memory.stat": "total_inactive_file 0\n"})
    mounts = f"35 31 0:32 /docker/abc {node.cgroups}/memory ro - cgroup cgroup rw,memory\n"
    world.write(node.procfs, {"700/cgroup": "4:memory:/docker/abc\n", "self/mountinfo": mounts})
    assert collected(node) == {USED: 77.0}


def test_exporter_in_a_container_finds_the_others(node: world.World, tmp_path: Path) -> None:
    """With the node's tree mounted, paths like /../../other are resolved from where our own group lies in it."""
    world.write(node.cgroups, {**world.CGROUP_V2, "kubepods.slice/podX.slice/exporter/cgroup.type": "domain\n"})
    view = tmp_path / "view"
    view.symlink_to(node.cgroups / "kubepods.slice/podX.slice/exporter")
    world.write(node.procfs, {"700/cgroup": "0::/../../pod7.slice/trainer\n"})
    find = Finder(node.procfs, node.cgroups, view)
    assert find([700])[""][0] == node.cgroups / "kubepods.slice/pod7.slice/trainer"


def test_ranks_in_groups_of_their_own_share_the_one_above(node: world.World) -> None:
    """Slurm gives each task a group: the run's is the step that holds them all."""
    world.write(node.cgroups, world.CGROUP_V2)
    pod = node.cgroups / "kubepods.slice/pod7.slice"
    shutil.copytree(pod / "trainer", pod / "other")
    node.trainers[701] = Trainer(RUN, "1", 701)
    world.process(node.procfs, 701)
    world.write(node.procfs, {"701/cgroup": "0::/kubepods.slice/pod7.slice/other\n"})
    assert collected(node)[CPU] == 60.0


def test_oom_kill_is_seen_after_the_death(node: world.World) -> None:
    """The group is followed for a while after the trainer has gone; when the group goes, so do its series."""
    world.write(node.cgroups, world.CGROUP_V2)
    (collector,) = cgroup.collectors(node.context)
    assert by_name(world.values(collector))[OOM] == 1
    node.trainers.clear()
    shutil.rmtree(node.procfs / "700")
    events = "kubepods.slice/pod7.slice/trainer/memory.events"
    world.write(node.cgroups, {events: "oom 2\noom_kill 2\n"})
    node.now += 60
    assert by_name(world.values(collector))[OOM] == 2
    node.now += 120
    assert world.values(collector) == {}


def test_few_of_the_runs_that_are_over_are_followed(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones of hundreds that come and go; each has two dozen series. None of those that live is left out."""
    monkeypatch.setattr(cgroup, "MOST_LINGERING", 3)
    world.write(node.cgroups, world.CGROUP_V2)
    (collector,) = cgroup.collectors(node.context)
    for number in range(20):
        world.process(node.procfs, 1000 + number)
        node.trainers[1000 + number] = Trainer(f"short-{number}", "0", 1000 + number)
        node.trainers.pop(999 + number, None)
        node.now += 1
        told = {labels[0] for _, labels in world.values(collector)}
        assert told == {RUN, *(f"short-{n}" for n in range(max(number - 3, 0), number + 1))}


def test_group_that_is_removed(node: world.World) -> None:
    """Its directory gone while it is followed: nothing of it is published, and nothing fails."""
    world.write(node.cgroups, world.CGROUP_V2)
    (collector,) = cgroup.collectors(node.context)
    assert world.values(collector)
    shutil.rmtree(node.cgroups / "kubepods.slice")
    node.trainers.clear()
    assert world.values(collector) == {}


def test_lines_of_proc_cgroup() -> None:
    """Only the controllers that are read, and version 2."""
    text = "12:devices:/a\n4:memory:/b:c\n2:cpu,cpuacct:/d\n1:name=systemd:/e\n0::/f\n"
    assert list(parse_cgroup(text)) == [("memory", "/b:c"), ("cpu", "/d"), ("cpuacct", "/d"), ("", "/f")]


def test_this_machine(tmp_path: Path) -> None:
    """The real trees of this machine can be walked for this very process, whatever they look like."""
    (tmp_path / "proc").symlink_to("/proc")
    (tmp_path / "sys").symlink_to("/sys")
    real = world.World(tmp_path, trainers={os.getpid(): Trainer(RUN, "0", os.getpid())})
    for value in collected(real).values():
        assert value >= 0
