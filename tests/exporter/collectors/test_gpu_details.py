"""The slow half: limits, links, errors, processes, MIG."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Trainer

from tests.exporter.collectors.gpu_world import GpuWorld, Series, gpu_world
from tests.fake_nvml import NEWER_SYMBOLS, build, steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DETAILS = "gpu_details"
USER = getpass.getuser()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GpuWorld]:
    with gpu_world(tmp_path, {"gpu.0.throttle_reasons": 0}) as world:
        yield world


def details(world: GpuWorld) -> Series:
    """A slow cycle behind a fast one, as the sampler runs them."""
    world.cycle(5)
    return world.cycle(5, DETAILS)


def test_limits_and_links(world: GpuWorld) -> None:
    """Power and temperature limits, highest clocks, PCIe now and at most."""
    world.fake.set({"gpu.0.pcie_width": 8, "gpu.0.pcie_generation": 1, "gpu.0.encoder_utilization": 25})
    series = details(world)
    assert series.value(catalog.GPU_POWER_LIMIT_WATTS, "0") == pytest.approx(700)
    assert series.value(catalog.GPU_POWER_LIMIT_MIN_WATTS, "0") == pytest.approx(200)
    assert series.value(catalog.GPU_POWER_LIMIT_DEFAULT_WATTS, "0") == pytest.approx(700)
    assert series.value(catalog.GPU_POWER_LIMIT_MAX_WATTS, "0") == pytest.approx(700)
    assert series.of(catalog.GPU_TEMPERATURE_LIMIT_CELSIUS) == {
        ("0", "slowdown"): 89,
        ("0", "shutdown"): 92,
        ("0", "max_operating"): 87,
    }
    assert series.value(catalog.GPU_CLOCK_MAX_HERTZ, "0", "sm") == pytest.approx(1980e6)
    assert series.value(catalog.GPU_PCIE_LINK_WIDTH, "0") == 8
    assert series.value(catalog.GPU_PCIE_LINK_WIDTH_MAX, "0") == 16
    assert series.value(catalog.GPU_PCIE_LINK_GENERATION, "0") == 1
    assert series.value(catalog.GPU_PCIE_LINK_GENERATION_MAX, "0") == 5
    assert series.value(catalog.GPU_ENCODER_UTILIZATION_RATIO, "0") == pytest.approx(0.25)
    assert series.value(catalog.GPU_DECODER_UTILIZATION_RATIO, "0") == 0


def test_errors_of_memory_and_links(world: GpuWorld) -> None:
    """Lifetime ECC errors, remapped rows, and NVLink errors over all links."""
    world.fake.set({"gpu.0.field.5": 12, "gpu.0.field.6": 1, "gpu.0.field.142": 3, "gpu.0.field.143": 2})
    world.fake.set({"gpu.0.field.144": 1, "gpu.0.field.38": 4, "gpu.0.field.45": 5, "gpu.0.field.52": 6})
    series = details(world)
    assert series.of(catalog.GPU_ECC_ERRORS_TOTAL) == {("0", "corrected"): 12, ("0", "uncorrected"): 1}
    assert series.of(catalog.GPU_REMAPPED_ROWS_TOTAL) == {("0", "correctable"): 3, ("0", "uncorrectable"): 2}
    assert series.value(catalog.GPU_ROW_REMAP_PENDING, "0") == 1
    assert series.value(catalog.GPU_ROW_REMAP_FAILURE, "0") == 0
    kinds = {"replay": 6, "recovery": 0, "crc": 9, "ecc": 0}
    assert series.of(catalog.GPU_NVLINK_ERRORS_TOTAL) == {("0", kind): count for kind, count in kinds.items()}
    assert not series.of(catalog.GPU_RETIRED_PAGES_TOTAL), "an H100 remaps rows"


def test_errors_since_the_driver_was_loaded(world: GpuWorld) -> None:
    """Volatile ECC errors beside those of the device's life, and packets that PCIe sent again."""
    world.fake.set({"gpu.0.field.3": 2, "gpu.0.field.4": 1, "gpu.0.field.6": 9, "gpu.0.field.94": 31})
    series = details(world)
    assert series.of(catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL) == {("0", "corrected"): 2, ("0", "uncorrected"): 1}
    assert series.value(catalog.GPU_ECC_ERRORS_TOTAL, "0", "uncorrected") == 9
    assert series.value(catalog.GPU_PCIE_REPLAYS_TOTAL, "0") == 31


def test_sram(world: GpuWorld) -> None:
    """Both kinds of uncorrected errors of the SRAM together, and the flag that there were too many."""
    world.fake.set({"gpu.0.sram_corrected": 8, "gpu.0.sram_parity": 2, "gpu.0.sram_secded": 1})
    series = details(world)
    assert series.of(catalog.GPU_SRAM_ECC_ERRORS_TOTAL) == {("0", "corrected"): 8, ("0", "uncorrected"): 3}
    assert series.value(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, "0") == 0
    world.fake.set({"gpu.0.sram_threshold": 1})
    assert details(world).value(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, "0") == 1


@pytest.mark.parametrize("degrees", [27, 0, -3])
def test_margin_has_a_sign(world: GpuWorld, degrees: int) -> None:
    """Beyond the slowdown the margin is below zero; -1 is no blank value here."""
    world.fake.set({"gpu.0.temperature_margin": degrees})
    assert details(world).value(catalog.GPU_TEMPERATURE_MARGIN_CELSIUS, "0") == degrees


def test_fan_recovery_and_persistence(world: GpuWorld) -> None:
    """A fan's speed as a ratio, which may pass 1; what the driver wants done; whether it stays loaded."""
    world.fake.set({"gpu.0.fans": 1, "gpu.0.fan_speed": 105, "gpu.0.field.230": 2, "gpu.0.persistence": 0})
    series = details(world)
    assert series.value(catalog.GPU_FAN_SPEED_RATIO, "0") == pytest.approx(1.05)
    assert catalog.RECOVERY_ACTIONS[int(series.value(catalog.GPU_RECOVERY_ACTION, "0"))] == "node_reboot"
    assert series.value(catalog.GPU_PERSISTENCE_MODE, "0") == 0


def test_limits_that_are_only_counted(world: GpuWorld) -> None:
    """Board limit and reliability have a count and no state, which stays absent."""
    world.fake.set({"gpu.0.field.77": 2_500_000_000, "gpu.0.field.79": 4_000_000})
    seconds = details(world).of(catalog.GPU_THROTTLED_SECONDS_TOTAL)
    assert seconds == {("0", "board_limit"): 2.5, ("0", "reliability"): 0.004}
    assert not {reason for _, reason in world.cycle().of(catalog.GPU_THROTTLED)} & set(catalog.COUNTED_REASONS)


FABRIC = {"degraded_bandwidth": 0, "route_recovery": 2, "route_unhealthy": 4, "access_timeout_recovery": 6}


@pytest.mark.parametrize("fault", FABRIC)
def test_fabric_faults(world: GpuWorld, fault: str) -> None:
    """Each fault by its two bits of the health mask; all others are known to be none."""
    world.fake.set({"gpu.0.fabric_state": 3, "gpu.0.fabric_health": 0x1AA ^ (3 << FABRIC[fault])})
    series = details(world)
    assert series.value(catalog.GPU_FABRIC_READY, "0") == 1
    faults = {name: value for (_, name), value in series.of(catalog.GPU_FABRIC_FAULT).items()}
    assert faults == dict.fromkeys(catalog.FABRIC_FAULTS, 0.0) | {fault: 1.0}


def test_fabric_that_is_wrong_or_not_ready(world: GpuWorld) -> None:
    """A wrong configuration is a fault whatever is wrong with it; what a driver cannot tell is absent."""
    world.fake.set({"gpu.0.fabric_state": 3, "gpu.0.fabric_health": 0x502})
    assert details(world).of(catalog.GPU_FABRIC_FAULT) == {
        ("0", "degraded_bandwidth"): 0,
        ("0", "incorrect_configuration"): 1,
    }
    for lines in ({"gpu.0.fabric_state": 2}, {"gpu.0.fabric_state": 3, "gpu.0.fabric_status": 999}):
        world.fake.set(lines)
        series = details(world)
        assert series.value(catalog.GPU_FABRIC_READY, "0") == 0
        assert not series.of(catalog.GPU_FABRIC_FAULT), "its health is not known before it has joined"


def test_what_a_device_does_not_have_is_absent(world: GpuWorld) -> None:
    """Never 0: no fan, no fabric, no margin, no recovery action; refused once, none is asked for again."""
    lines = {f"fail.nvmlDeviceGet{name}": 3 for name in ("SramEccErrorStatus", "PersistenceMode", "TotalEccErrors")}
    limits = ("PowerManagementDefaultLimit", "PowerManagementLimitConstraints")
    lines |= {f"fail.nvmlDeviceGet{name}": 3 for name in limits}
    world.fake.set({**lines, "gpu.0.field.77.fail": 3, "gpu.0.field.79.fail": 3, "gpu.0.field.94.fail": 3})
    for _ in range(2):
        series = details(world)
    absent = {
        catalog.GPU_FAN_SPEED_RATIO,
        catalog.GPU_FABRIC_READY,
        catalog.GPU_FABRIC_FAULT,
        catalog.GPU_TEMPERATURE_MARGIN_CELSIUS,
        catalog.GPU_RECOVERY_ACTION,
        catalog.GPU_SRAM_ECC_ERRORS_TOTAL,
        catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED,
        catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL,
        catalog.GPU_PERSISTENCE_MODE,
        catalog.GPU_POWER_LIMIT_MIN_WATTS,
        catalog.GPU_POWER_LIMIT_DEFAULT_WATTS,
        catalog.GPU_POWER_LIMIT_MAX_WATTS,
        catalog.GPU_PCIE_REPLAYS_TOTAL,
        catalog.GPU_THROTTLED_SECONDS_TOTAL,
    }
    assert not {sample.metric for sample in series} & absent
    refused = ("FanSpeed", "MarginTemperature", "SramEccErrorStatus", "PersistenceMode")
    assert [world.library.calls(f"nvmlDeviceGet{name}") for name in refused] == [1] * len(refused)
    assert not world.rejected


FIFTH = {f"gpu.0.field.{field}.fail": 3 for field in (38, 45, 52, 59, 160)} | {
    "gpu.0.fail.nvmlDeviceGetNvLinkErrorCounter": 3
}


def test_nvlink_errors_of_generation_5(world: GpuWorld) -> None:
    """Blackwell counts other kinds, on each link; links that are down do not hide those that are up."""
    world.fake.set(FIFTH | {"gpu.0.nvlink_links": 4})
    world.fake.set({"gpu.0.field.208": 4, "gpu.0.field.211": 0, "gpu.0.field.214": 1, "gpu.0.field.215": 3})
    kinds = {"receive": 4, "integrity": 0, "recovery_failed": 1, "recovery": 3}
    for _ in range(2):
        series = details(world)
        assert series.of(catalog.GPU_NVLINK_ERRORS_TOTAL) == {("0", kind): count for kind, count in kinds.items()}


def test_nvlink_errors_of_generation_5_beside_the_older_ones(world: GpuWorld) -> None:
    """As NVIDIA's mock library: a driver that answers the questions of both hides neither; recoveries are told once."""
    world.fake.set({"gpu.0.field.52": 6, "gpu.0.nvlink_links": 4, "gpu.0.field.208": 4, "gpu.0.field.215": 3})
    kinds = {"replay": 6, "recovery": 3, "crc": 0, "ecc": 0, "receive": 4}
    for _ in range(2):
        series = details(world)
        assert series.of(catalog.GPU_NVLINK_ERRORS_TOTAL) == {("0", kind): count for kind, count in kinds.items()}


def test_nvlink_errors_of_generation_5_are_asked_once_where_there_are_none(world: GpuWorld) -> None:
    """A device without them is not asked for ninety fields every ten seconds."""
    world.fake.set(FIFTH)
    details(world)
    calls = world.library.calls("nvmlDeviceGetFieldValues")
    assert not details(world).of(catalog.GPU_NVLINK_ERRORS_TOTAL)
    assert world.library.calls("nvmlDeviceGetFieldValues") == calls + 2, "the fast half's, and the slow one's"


def test_nvlink_errors_link_by_link(world: GpuWorld) -> None:
    """Where the fields over all links are not there, the links' own counters are added up."""
    world.fake.set({f"gpu.0.field.{field}.fail": 3 for field in (38, 45, 52, 59, 160)})
    world.fake.set({"gpu.0.field.59": 7, "gpu.0.field.59.fail": 3})
    assert details(world).value(catalog.GPU_NVLINK_ERRORS_TOTAL, "0", "recovery") == 7


def test_without_nvlink(world: GpuWorld) -> None:
    """A device without NVLink has no NVLink series, and is asked about it once."""
    world.fake.set({"gpu.0.nvlink_links": 0})
    series = details(world)
    assert not series.of(catalog.GPU_NVLINK_ERRORS_TOTAL)
    asked = world.library.calls("nvmlDeviceGetNvLinkState")
    details(world)
    assert world.library.calls("nvmlDeviceGetNvLinkState") == asked


def test_old_device(tmp_path: Path) -> None:
    """A V100 under an old driver: retired pages instead of rows, PCIe bytes from spot values, no GPM."""
    with gpu_world(tmp_path, steps("old_driver")[0], library=build(without=NEWER_SYMBOLS)) as world:
        details(world)
        series = details(world)
        assert series.of(catalog.GPU_RETIRED_PAGES_TOTAL)["0", "single_bit"] == 3
        assert series.of(catalog.GPU_RETIRED_PAGES_TOTAL)["0", "double_bit"] == 1
        assert not series.of(catalog.GPU_REMAPPED_ROWS_TOTAL)
        assert series.value(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL, "0") == pytest.approx(8e8 * 10)
        assert ("0", "41001", "", "", "", "") in series.of(catalog.GPU_PROCESS_MEMORY_BYTES)
        assert not world.rejected


def test_pcie_bytes_are_published_once(tmp_path: Path) -> None:
    """With GPM the slow half leaves PCIe to the fast one, and does not spend 20 ms per look."""
    with gpu_world(tmp_path, steps("healthy_h100x8")[0]) as world:
        assert not details(world).of(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL)
        assert world.library.calls("nvmlDeviceGetPcieThroughput") == 0


def test_processes_are_joined_to_runs(world: GpuWorld) -> None:
    """Name and user from /proc, run and rank from the records; others have neither, and arguments never show."""
    comm = world.procfs / "4711" / "comm"
    comm.parent.mkdir(parents=True)
    comm.write_text("python\n")
    world.trainers[4711] = Trainer(run="exp7", rank="3", pid=4711)
    world.fake.set({"gpu.0.process.4711": "memory=1073741824 sm=45", "gpu.0.process.4712": "memory=2048 graphics=1"})
    series = details(world)
    assert series.of(catalog.GPU_PROCESS_MEMORY_BYTES) == {
        ("0", "4711", "python", "exp7", "3", USER): 1073741824,
        ("0", "4712", "", "", "", ""): 2048,
    }
    assert series.of(catalog.GPU_PROCESS_SM_RATIO)["0", "4711", "python", "exp7", "3", USER] == pytest.approx(0.45)


def test_process_churn(tmp_path: Path) -> None:
    """Processes come and go with their series; a list that outgrows its buffer fails once, and the next is complete."""
    with gpu_world(tmp_path, {}) as world:
        seen = []
        for lines in steps("process_churn"):
            world.fake.set(lines)
            seen.append({labels[1] for labels in details(world).of(catalog.GPU_PROCESS_MEMORY_BYTES)})
        assert seen == [set(), {"41001"}, {"41001", "41002", "41003"}, set()]
        world.fake.unset("gpu.0.process_growth", "gpu.0.process.41001")
        assert {labels[1] for labels in details(world).of(catalog.GPU_PROCESS_MEMORY_BYTES)} == {"41002", "41003"}


def test_too_many_processes(world: GpuWorld) -> None:
    """Only the largest 64 processes have series; the others are counted."""
    world.fake.set({"gpu.0.process_growth": 0, "gpu.0.process.1": "memory=5"})
    world.fake.set({f"gpu.0.process.{pid}": f"memory={pid}" for pid in range(100, 163)})
    world.fake.set({"gpu.0.process.9000": "memory=77777 graphics=1", "gpu.0.process_growth": 7})
    pids = {labels[1] for labels in details(world).of(catalog.GPU_PROCESS_MEMORY_BYTES)}
    assert len(pids) == 64
    assert not pids & {"1", "100"}
    assert world.rejected["too_many"] > 0


def test_mig_instances(tmp_path: Path) -> None:
    """An instance is `0/1`: identity, memory, GPM, load from GPM, processes of its own; the rest is the GPU's."""
    with gpu_world(tmp_path, steps("mig")[0]) as world:
        world.cycle()
        fast = world.cycle(10)
        slow = details(world)
    assert {labels[0] for labels in fast.of(catalog.GPU_INFO)} == {"0", "0/0", "0/1", "0/2", "1", "2"}
    assert {labels[0] for labels in fast.of(catalog.GPU_UP)} == {"0", "1", "2"}
    assert fast.value(catalog.GPU_MEMORY_USED_BYTES, "0/0") == 30064771072
    assert fast.value(catalog.GPU_UTILIZATION_RATIO, "0/0") == pytest.approx(0.88)
    assert fast.value(catalog.GPU_BUSY_SECONDS_TOTAL, "0/1") == pytest.approx(2.0)
    assert fast.value(catalog.GPU_SM_ACTIVE_RATIO, "0/1") == pytest.approx(0.2)
    assert ("0",) not in fast.of(catalog.GPU_UTILIZATION_RATIO), "the driver has no utilisation of a divided GPU"
    assert {labels[0] for labels in fast.of(catalog.GPU_POWER_WATTS)} == {"0", "1", "2"}
    assert {labels[:2] for labels in slow.of(catalog.GPU_PROCESS_MEMORY_BYTES)} == {
        ("0/0", "41001"),
        ("0/1", "41002"),
        ("1", "41003"),
    }
    assert not world.rejected


def test_mig_switched_on_and_cut_anew(tmp_path: Path) -> None:
    """Instances that appear or go are seen at the next slow cycle, and switching MIG on ends the GPU's utilisation."""
    with gpu_world(tmp_path, {"gpu.0.utilization": 50}) as world:
        details(world)
        assert ("0",) in world.cycle().of(catalog.GPU_UTILIZATION_RATIO)
        world.fake.set({"gpu.0.mig": 1, "gpu.0.mig_count": 2})
        details(world)
        assert world.cycle().gpus() == {"0", "0/0", "0/1"}
        world.fake.set({"gpu.0.mig_count": 1})
        details(world)
        assert world.cycle().gpus() == {"0", "0/0"}
        world.fake.set({"gpu.0.mig": 0})
        details(world)
        assert ("0",) in world.cycle(5).of(catalog.GPU_UTILIZATION_RATIO)
