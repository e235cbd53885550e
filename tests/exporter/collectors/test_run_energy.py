"""Joules of runs: against the truth, with fake NVML and a fake RAPL tree; divided; over a restart of the exporter."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import cpu, run_energy
from yoloscope_exporter.collectors.cpu_energy import PackageEnergy
from yoloscope_exporter.collectors.run_energy import Accounting, Usage, restored, stored
from yoloscope_exporter.collectors.state import StateFile, default_directory
from yoloscope_exporter.config import defaults

from tests.exporter import world
from tests.exporter.collectors.gpu_world import NOON, GpuWorld, gpu_world
from tests.fake_nvml import steps as fake_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors import Context

BEGAN = 1_000.0
ONE, OTHER, THIRD, NOBODY = ("train/one", "0"), ("train/other", "0"), ("train/third", "0"), ("", "")


# --- the arithmetic -------------------------------------------------------------------------------------------------


def moment(
    gpu: float,
    sm: Mapping[tuple[str, str], float] | None = None,
    ranks: Sequence[tuple[str, str]] = (ONE, OTHER),
    began: float = BEGAN,
) -> Usage:
    """A node with one GPU, on which these ranks train."""
    return Usage(
        {("gpu", "0"): gpu},
        {"0": set(ranks)},
        {"0": sm} if sm else {},
        {},
        {},
        0.0,
        dict.fromkeys(ranks, began),
        frozenset(ranks),
    )


@given(st.lists(st.tuples(st.floats(0, 1e4), *[st.floats(0, 1)] * 3), min_size=1, max_size=20))
def test_shares_add_up_to_the_whole(steps: list[tuple[float, float, float, float]]) -> None:
    """Of two trainings and a process without one: whatever each of them used, in each step."""
    accounting, meter, foreign = Accounting(), 5e6, 0.0
    accounting.advance(moment(meter))
    for drawn, one, other, nobody in steps:
        meter += drawn
        accounting.advance(moment(meter, {ONE: one, OTHER: other, NOBODY: nobody}))
        used = one + other + nobody
        foreign += drawn * (nobody / used if used else 1 / 3)
    drawn_by_runs = sum(account["gpu"] for account in accounting.accounts.values())
    assert drawn_by_runs + foreign == pytest.approx(meter - 5e6, rel=1e-9, abs=1e-3)


def cut(gpu: float, work: Sequence[float]) -> Usage:
    """The same GPU, cut by MIG: a training on each of the first two instances, nothing known on the third."""
    instances = {f"0/{number}": of for number, of in enumerate(work)}
    return moment(gpu)._replace(gpus={"0/0": {ONE}, "0/1": {OTHER}}, instances={"0": instances})


@given(st.lists(st.tuples(st.floats(0, 1e4), *[st.floats(0.01, 1)] * 3), min_size=1, max_size=20))
def test_shares_of_mig_instances_add_up_to_the_whole(steps: list[tuple[float, float, float, float]]) -> None:
    """The GPU has one meter: what runs do not have of it belongs to the instance without one."""
    accounting, meter, foreign = Accounting(), 5e6, 0.0
    accounting.advance(cut(meter, (1, 1, 1)))
    for drawn, *work in steps:
        meter += drawn
        accounting.advance(cut(meter, work))
        foreign += drawn * work[2] / sum(work)
    assert set(accounting.accounts) == {ONE, OTHER}
    drawn_by_runs = sum(account["gpu"] for account in accounting.accounts.values())
    assert drawn_by_runs + foreign == pytest.approx(meter - 5e6, rel=1e-9, abs=1e-3)


def test_a_rank_whose_instance_is_not_known_has_no_energy() -> None:
    """On a GPU that is cut, what it drew is not known; it is absent, and nobody else's is wrong."""
    accounting = Accounting()
    for joules in (100.0, 160.0):
        accounting.advance(cut(joules, (2, 1, 0))._replace(gpus={"0": {ONE}, "0/1": {OTHER}}))
    assert accounting.accounts == {ONE: {}, OTHER: {"gpu": 20.0}}


def test_ranks_that_no_driver_tells_of_share_in_equal_parts() -> None:
    """And one alone has all of it."""
    accounting = Accounting()
    for joules in (100.0, 160.0):
        accounting.advance(moment(joules))
    assert accounting.accounts == {ONE: {"gpu": 30.0}, OTHER: {"gpu": 30.0}}
    accounting.advance(replaced(moment(200.0), {ONE}))
    accounting.advance(replaced(moment(300.0), {ONE}))
    assert accounting.accounts[ONE]["gpu"] == 30 + 20 + 100
    assert accounting.accounts[OTHER]["gpu"] == 30 + 20  # it lived until the look before


def replaced(now: Usage, alive: set[tuple[str, str]]) -> Usage:
    return now._replace(alive=frozenset(alive))


def test_what_was_drawn_before_a_run_is_not_its() -> None:
    """Nor what another run of the same name has drawn."""
    accounting = Accounting()
    accounting.advance(moment(100.0, ranks=()))
    accounting.advance(moment(150.0, ranks=(ONE,)))
    assert accounting.accounts == {ONE: {"gpu": 0.0}}
    accounting.advance(moment(170.0, ranks=(ONE,)))
    assert accounting.accounts == {ONE: {"gpu": 20.0}}
    accounting.advance(moment(200.0, ranks=(ONE,), began=BEGAN + 60))
    assert accounting.accounts == {ONE: {"gpu": 0.0}}


def test_a_record_that_was_dead_before_is_charged_nothing() -> None:
    """An exporter that is shown it later: what the GPU draws then is another's."""
    accounting = Accounting()
    for joules in (100.0, 150.0):
        accounting.advance(replaced(moment(joules), {OTHER}))
    assert accounting.accounts == {OTHER: {"gpu": 50.0}}


def test_a_meter_that_begins_anew_is_counted_from_there() -> None:
    """The driver was loaded again, or the exporter that integrates power was restarted."""
    accounting = Accounting()
    for joules in (100.0, 400.0, 7.0, 9.0):
        accounting.advance(moment(joules, ranks=(ONE,)))
    assert accounting.accounts[ONE]["gpu"] == 300 + 7 + 2


def test_cpu_packages_are_divided_by_cpu_time() -> None:
    """Between two looks at the packages, which come every ten seconds; idle power goes along."""
    accounting = Accounting()

    def look(joules: float, one: float, other: float, busy: float) -> None:
        used = {ONE: one, OTHER: other}
        began, alive = dict.fromkeys(used, BEGAN), frozenset(used)
        accounting.advance(Usage({("cpu", "0"): joules, ("cpu", "1"): joules}, {}, {}, {}, used, busy, began, alive))

    look(1000, 50, 70, 500)
    look(1000, 55, 71, 510)  # the packages were not read anew
    look(1100, 60, 72, 520)
    assert accounting.accounts[ONE]["cpu"] == pytest.approx(2 * 100 * 10 / 20)
    assert accounting.accounts[OTHER]["cpu"] == pytest.approx(2 * 100 * 2 / 20)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_ledger_is_restored_as_it_was(gpu: float, cpu_seconds: float) -> None:
    """From what JSON makes of it."""
    accounting = Accounting()
    accounting.advance(moment(gpu))
    accounting.cpu = {ONE: cpu_seconds, NOBODY: 1.0}
    again = restored(stored(accounting))
    assert (again.meters, again.accounts, again.began, again.cpu) == (
        accounting.meters,
        accounting.accounts,
        accounting.began,
        accounting.cpu,
    )


@pytest.mark.parametrize("content", [{}, {"meters": [[1]]}, {"accounts": [["a", "0", "x", {}]]}, {"accounts": 3}])
def test_what_is_no_ledger_is_an_empty_one(content: dict[str, object]) -> None:
    """Somebody has edited the file."""
    assert restored(content) == Accounting()


# --- the file -------------------------------------------------------------------------------------------------------


def test_state_is_of_one_life_of_the_machine(tmp_path: Path) -> None:
    """After a reboot it is forgotten; what cannot be read is none."""
    boot = "sys/kernel/random/boot_id"
    world.write(tmp_path, {boot: "one\n"})
    StateFile(tmp_path / "state", "x", tmp_path).store({"a": 1})
    assert StateFile(tmp_path / "state", "x", tmp_path).load() == {"a": 1}
    world.write(tmp_path, {boot: "two\n"})
    assert StateFile(tmp_path / "state", "x", tmp_path).load() == {}
    (tmp_path / "state/x.json").write_text("[")
    assert StateFile(tmp_path / "state", "x", tmp_path).load() == {}


def test_files_of_others_beside_it_are_left_alone(tmp_path: Path) -> None:
    """In a directory that others may write to: a link by a guessed name is not followed, nor a pipe read."""
    directory, theirs = tmp_path / "state", tmp_path / "theirs"
    directory.mkdir()
    theirs.write_text("theirs")
    for name in ("x.new", "x.json"):
        (directory / name).symlink_to(theirs)
    state = StateFile(directory, "x", tmp_path)
    assert state.load() == {}
    state.store({"a": 1})
    assert theirs.read_text() == "theirs"
    assert state.load() == {"a": 1}
    assert sorted(path.name for path in directory.iterdir()) == ["x.json", "x.new"]
    (directory / "x.json").unlink()
    os.mkfifo(directory / "x.json")
    assert state.load() == {}


def test_a_directory_that_cannot_be_written_costs_the_memory_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once."""
    caplog.set_level("INFO")
    (tmp_path / "file").write_text("")
    state = StateFile(tmp_path / "file" / "below", "x", tmp_path)
    state.store({"a": 1})
    state.store({"a": 2})
    assert state.load() == {}
    assert len(caplog.records) == 1


def test_where_state_is_kept() -> None:
    """Where systemd says, else below the home directory; nowhere without one."""
    assert str(default_directory({"STATE_DIRECTORY": "/var/lib/y:/other", "HOME": "/h"})) == "/var/lib/y"
    assert str(default_directory({"XDG_STATE_HOME": "/s", "HOME": "/h"})) == "/s/yoloscope"
    assert str(default_directory({"HOME": "/h"})) == "/h/.local/state/yoloscope"
    assert default_directory({}) is None


MOST = 262_143_328_850  # microjoules, as Intel's packages count


def test_packages_go_on_after_a_restart(tmp_path: Path) -> None:
    """Over a wrap while the exporter was away as well."""
    zone, root = "class/powercap/intel-rapl:0/", tmp_path / "sys"
    world.write(root, {f"{zone}name": "package-0", f"{zone}max_energy_range_uj": str(MOST)})

    def read(energy: PackageEnergy, now: int) -> float:
        world.write(root, {f"{zone}energy_uj": str(now)})
        (sample,) = energy.collect()
        assert isinstance(sample.value, float)
        return sample.value

    def started() -> PackageEnergy:
        return PackageEnergy(root, StateFile(tmp_path / "state", "cpu_energy", tmp_path))

    first = started()
    assert read(first, MOST - 5_000_000) == pytest.approx(MOST * 1e-6 - 5)
    assert read(first, 1_000_000) == pytest.approx(MOST * 1e-6 + 1)
    assert read(started(), 4_000_000) == pytest.approx(MOST * 1e-6 + 4)
    second = started()
    assert read(second, MOST - 1_000_000) == pytest.approx(2 * MOST * 1e-6 - 1)
    assert read(started(), 2_000_000) == pytest.approx(2 * MOST * 1e-6 + 2)


# --- the whole node -------------------------------------------------------------------------------------------------

#: Of a training of ten minutes, on one of two GPUs and one package; the exporter is killed in the middle.
WATTS, PACKAGE_WATTS, CPU_SHARE, SECONDS, KILLED, AWAY = 400.0, 120.0, 0.25, 600, 300, 45
RUN = ("train/metered", "0")


def records(alive: bool) -> list[Sample]:  # noqa: FBT001 - of a rank
    """What the record of the rank says."""
    return [
        Sample(catalog.TRAIN_UP, RUN, float(alive)),
        Sample(catalog.TRAIN_START_TIMESTAMP_SECONDS, RUN, NOON),
        Sample(catalog.TRAIN_DEVICE_INFO, (*RUN, "1", "GPU-1"), 1.0),
    ]


def processes(seconds: float) -> list[Sample]:
    """CPU time of the rank's processes and of the node, of 16 CPUs."""
    return [
        Sample(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (*RUN, "main"), 500 + CPU_SHARE * 4 * seconds),
        Sample(catalog.CPU_SECONDS_TOTAL, ("user",), 9000 + 4 * seconds),
        Sample(catalog.CPU_SECONDS_TOTAL, ("idle",), 80_000 + 11 * seconds),
        Sample(catalog.CPU_SECONDS_TOTAL, ("steal",), 1000 + seconds),
    ]


def started(context: Context, latest: list[Sample]) -> tuple[PackageEnergy, run_energy.RunEnergy]:
    """The collectors of one life of the exporter."""
    packages = PackageEnergy(context.sysfs, StateFile(context.config().path_state, "cpu_energy", context.procfs))
    return packages, run_energy.RunEnergy(replace(context, latest=lambda: latest))


def test_energy_of_a_run_is_the_truth_over_a_kill_of_the_exporter(tmp_path: Path) -> None:
    """Within half a percent, by the fake NVML's counter and a fake RAPL tree that wraps; nothing is lost meanwhile."""
    zone, sysfs = "class/powercap/intel-rapl:0/", tmp_path / "sys"
    world.write(sysfs, {f"{zone}name": "package-0", f"{zone}max_energy_range_uj": str(MOST)})
    node = world.World(tmp_path, config=replace(defaults(), path_state=tmp_path / "state"))
    latest: list[Sample] = []
    drawn: list[Sample] = []
    told: dict[str, float] = {}
    packages, energy = started(node.context, latest)
    lines = {"gpus": 2, "gpu.1.power_usage": int(WATTS * 1000)}
    with gpu_world(tmp_path, lines) as gpus:
        for second in range(SECONDS + 3):
            node.now += 1.0
            gpus.pass_time(1.0)
            if KILLED <= second < KILLED + AWAY:
                continue
            if second == KILLED + AWAY:
                latest.clear()
                packages, energy = started(node.context, latest)
            told |= {sample.labels[2]: float(sample.value) for sample in energy.collect()}  # type: ignore[arg-type]
            if second % 10 == 0:
                counted = MOST - 5_000_000_000 + int(PACKAGE_WATTS * 1e6) * second
                world.write(sysfs, {f"{zone}energy_uj": str(counted % MOST)})
                drawn = list(packages.collect())
            latest[:] = [*gpus.halves["gpu"].collect(), *drawn, *records(second < SECONDS), *processes(second)]
    assert told["gpu"] == pytest.approx(WATTS * SECONDS, rel=0.005)
    assert told["cpu"] == pytest.approx(PACKAGE_WATTS * CPU_SHARE * SECONDS, rel=0.005)


def mig_cycle(gpus: GpuWorld, accounting: Accounting, trainings: Mapping[tuple[str, str], str]) -> float:
    """A second of a node whose ranks train on these devices; returns what the first GPU's meter shows."""
    samples = [*gpus.cycle(), *gpus.cycle(0.0, "gpu_details")]
    meter = next(one.value for one in samples if one[:2] == (catalog.GPU_ENERGY_JOULES_TOTAL, ("0",)))
    for who, device in trainings.items():
        samples += [
            Sample(catalog.TRAIN_UP, who, 1.0),
            Sample(catalog.TRAIN_START_TIMESTAMP_SECONDS, who, NOON),
            Sample(catalog.TRAIN_DEVICE_INFO, (*who, device, "MIG-1"), 1.0),
        ]
    accounting.advance(run_energy.usage(samples))
    assert isinstance(meter, float)
    return meter


@pytest.mark.parametrize(
    ("lines", "shares"),
    [
        ({}, {ONE: 0.88 * 3 / 3.04, OTHER: 0.2 / 3.04, THIRD: 0.2 / 3.04}),
        ({"gpu.0.mig.0.utilization": 0, "gpu.0.mig.1.utilization": 0}, {ONE: 3 / 6, OTHER: 1 / 6, THIRD: 1 / 6}),
        ({"gpu.0.gpm_supported": 0}, {ONE: 3 / 6, OTHER: 1 / 6, THIRD: 1 / 6}),
        ({"fail.nvmlDeviceGetAttributes_v2": 3}, {ONE: 0.88 / 1.08, OTHER: 0.1 / 1.08, THIRD: 0.1 / 1.08}),
    ],
    ids=["by size and load", "all idle", "load unknown, as on an A100", "size unknown"],
)
def test_energy_on_mig_instances(
    tmp_path: Path, lines: Mapping[str, object], shares: Mapping[tuple[str, str], float]
) -> None:
    """Of three, two and one slice by NVML; two trainings share the second, nobody trains on the third."""
    on = {ONE: "0/0", OTHER: "0/1", THIRD: "0/1"}
    accounting = Accounting()
    with gpu_world(tmp_path, {**fake_steps("mig")[0], "gpu.0.power_usage": 400_000, **lines}) as gpus:
        for _ in range(3):
            mig_cycle(gpus, accounting, {})
        began = mig_cycle(gpus, accounting, on)
        for _ in range(10):
            drawn = mig_cycle(gpus, accounting, on) - began
    assert drawn == pytest.approx(4000, rel=1e-6)
    assert {who: account["gpu"] / drawn for who, account in accounting.accounts.items()} == pytest.approx(shares)


def test_the_collector_is_one_of_the_exporters(tmp_path: Path) -> None:
    """Under its own name; the packages' counter is told where it is kept."""
    node = world.build(tmp_path)
    assert [one.name for one in run_energy.collectors(node.context)] == ["run_energy"]
    assert {one.name for one in cpu.collectors(node.context)} == {"cpu", "cpu_energy"}


def test_runs_that_come_and_go_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the dozen each second, with the longest names there are: the file stays small, and what is shown stays."""
    monkeypatch.setattr(run_energy, "MOST_UNSEEN", 50)
    node = world.World(tmp_path)
    node.config = replace(node.config, path_state=tmp_path / "state")
    latest: list[Sample] = []
    _, energy = started(node.context, latest)
    for second in range(30):
        node.now += 1.0
        latest[:] = [Sample(catalog.GPU_ENERGY_JOULES_TOTAL, ("1",), 100.0 * second), *records(alive=True)]
        for number in range(20):
            who = (f"{second:03d}-{number:02d}-{'🔥' * 249}", "🔥" * 256)
            latest += [
                Sample(catalog.TRAIN_UP, who, 1.0),
                Sample(catalog.TRAIN_START_TIMESTAMP_SECONDS, who, NOON + second),
                Sample(catalog.TRAIN_DEVICE_INFO, (*who, "1", "GPU-1"), 1.0),
            ]
        told = {sample.labels[:2] for sample in energy.collect()}
        assert RUN in told
        assert len(energy.accounting.accounts) <= 21 + 50
    energy.close()
    _, again = started(node.context, latest)
    assert RUN in again.accounting.accounts
    assert len(again.accounting.accounts) == 71
    assert (tmp_path / "state" / "run_energy.json").stat().st_size < 71 * 3000
