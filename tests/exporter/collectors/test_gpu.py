"""The GPU collector on a healthy node: what it publishes, and how exact its integrals are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog

from tests.exporter.collectors.gpu_world import GpuWorld, gpu_world
from tests.fake_nvml import NEWER_SYMBOLS, build, steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GpuWorld]:
    with gpu_world(tmp_path, steps("healthy_h100x8")[0]) as world:
        yield world


def test_core_values_in_base_units(world: GpuWorld) -> None:
    """Driver's units become ratios, bytes, watts, hertz; one series per GPU."""
    world.cycle()
    series = world.cycle()
    assert series.gpus() == set("01234567")
    assert series.value(catalog.GPU_UTILIZATION_RATIO, "3") == pytest.approx(0.96)
    assert series.value(catalog.GPU_MEMORY_USED_BYTES, "0") == 61203283968
    assert series.value(catalog.GPU_MEMORY_TOTAL_BYTES, "0") == 85520809984
    assert series.value(catalog.GPU_MEMORY_RESERVED_BYTES, "0") == 555024384
    assert series.value(catalog.GPU_POWER_WATTS, "7") == pytest.approx(612)
    assert series.value(catalog.GPU_TEMPERATURE_CELSIUS, "0", "core") == 61
    assert series.value(catalog.GPU_TEMPERATURE_CELSIUS, "0", "memory") == 74
    assert series.value(catalog.GPU_CLOCK_HERTZ, "0", "sm") == pytest.approx(1905e6)
    assert series.value(catalog.GPU_CLOCK_HERTZ, "0", "memory") == pytest.approx(2619e6)
    assert series.value(catalog.GPU_UP, "0") == 1
    facts = ("5", "GPU-00000000-0000-0000-0000-000000000005", "NVIDIA H100 80GB HBM3", "550.54.15", "12.4")
    assert (*facts, "00000000:15:00.0") in series.of(catalog.GPU_INFO)
    details = world.cycle(0.0, "gpu_details")
    assert details.value(catalog.GPU_PERFORMANCE_STATE, "0") == 0
    assert not world.rejected


def test_busy_seconds_are_the_true_mean(tmp_path: Path) -> None:
    """A 3 s square wave of 30 % duty sampled each second: the counter is within half a point of the truth.

    The gauge of the moment, which is what others publish, is off by tens of points at most cycles.
    """
    with gpu_world(tmp_path, steps("data_starved")[0]) as world:
        first = world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "0")
        gauges = []
        for _ in range(60):
            series = world.cycle()
            gauges.append(series.value(catalog.GPU_UTILIZATION_RATIO, "0"))
        mean = (series.value(catalog.GPU_BUSY_SECONDS_TOTAL, "0") - first) / 60
    assert mean == pytest.approx(0.3 * 0.95, abs=0.005)
    assert max(abs(gauge - mean) for gauge in gauges) > 0.2


@pytest.mark.parametrize("interval", [0.25, 1.0, 5.0, 14.0])
def test_nothing_between_two_cycles_is_lost(tmp_path: Path, interval: float) -> None:
    """Whatever the interval, the driver's samples cover all the time in between."""
    with gpu_world(tmp_path, steps("data_starved")[0]) as world:
        first = world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "1")
        cycles = int(84 / interval)
        for _ in range(cycles):
            series = world.cycle(interval)
        mean = (series.value(catalog.GPU_BUSY_SECONDS_TOTAL, "1") - first) / (cycles * interval)
    assert mean == pytest.approx(0.3 * 0.95, abs=0.005)


def test_histogram_tells_the_share_of_time_above_85_percent(tmp_path: Path) -> None:
    """Samples of the square wave lie below 5 % and above 85 %, in the proportion of its duty."""
    with gpu_world(tmp_path, steps("data_starved")[0]) as world:
        world.cycle()
        for _ in range(60):
            series = world.cycle()
    counts, total = series.value(catalog.GPU_UTILIZATION_SAMPLED_RATIO, "0")
    above = sum(counts[catalog.UTILIZATION_BUCKETS.index(0.85) + 1 :])
    assert sum(counts) == pytest.approx(60 / 0.166667, abs=2)
    assert above / sum(counts) == pytest.approx(0.3, abs=0.06)
    assert total / sum(counts) == pytest.approx(0.3 * 0.95, abs=0.01)


def test_polling_where_the_driver_has_no_samples(tmp_path: Path) -> None:
    """Without a sample buffer the polled figure is integrated, from 0 on."""
    lines = {"gpu.0.utilization": 60, "fail.nvmlDeviceGetSamples": 3}
    with gpu_world(tmp_path, lines) as world:
        world.pass_time(60)
        assert world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "0") == 0
        for _ in range(10):
            series = world.cycle()
        assert series.value(catalog.GPU_BUSY_SECONDS_TOTAL, "0") == pytest.approx(6.0)
        assert world.library.calls("nvmlDeviceGetSamples") <= 2, "what is not supported is not asked for again"


def test_samples_that_dry_up_are_replaced_by_polling(tmp_path: Path) -> None:
    """A buffer that gives nothing new for some seconds is not waited for, and nothing is counted twice."""
    with gpu_world(tmp_path, {"gpu.0.utilization": 50}) as world:
        world.pass_time(60)
        world.cycle()
        first = world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "0")
        world.fake.set({"fail.nvmlDeviceGetSamples": 6})
        for _ in range(20):
            world.cycle()
        world.fake.unset("fail.nvmlDeviceGetSamples")
        for _ in range(10):
            series = world.cycle()
        assert series.value(catalog.GPU_BUSY_SECONDS_TOTAL, "0") - first == pytest.approx(15, abs=0.2)


def test_a_long_pause_is_left_out(tmp_path: Path) -> None:
    """Time in which nobody looked and the driver kept no samples is not made up."""
    with gpu_world(tmp_path, {"gpu.0.utilization": 100, "fail.nvmlDeviceGetSamples": 3}) as world:
        world.pass_time(60)
        world.cycle()
        assert world.cycle(3600).value(catalog.GPU_BUSY_SECONDS_TOTAL, "0") == 0


def test_clock_set_back(tmp_path: Path) -> None:
    """After the wall clock is set back, counting goes on and does not fall."""
    with gpu_world(tmp_path, {"gpu.0.utilization": 100}) as world:
        world.pass_time(60)
        world.cycle()
        before = world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "0")
        world.pass_time(-3600)
        world.cycle()
        after = world.cycle().value(catalog.GPU_BUSY_SECONDS_TOTAL, "0")
        assert before <= after <= before + 3


def test_energy_from_the_driver(world: GpuWorld) -> None:
    """The driver's millijoules, which grow with the power."""
    first = world.cycle().value(catalog.GPU_ENERGY_JOULES_TOTAL, "0")
    assert world.cycle(10).value(catalog.GPU_ENERGY_JOULES_TOTAL, "0") - first == pytest.approx(6120)


def test_energy_integrated_where_the_driver_has_none(tmp_path: Path) -> None:
    """Before Volta, power is integrated."""
    with gpu_world(tmp_path, {"gpu.0.power_usage": 200000, "fail.nvmlDeviceGetTotalEnergyConsumption": 3}) as world:
        assert world.cycle().value(catalog.GPU_ENERGY_JOULES_TOTAL, "0") == 0
        assert world.cycle(2).value(catalog.GPU_ENERGY_JOULES_TOTAL, "0") == pytest.approx(400)


def test_a_counter_of_energy_that_stays_at_0_is_none(tmp_path: Path) -> None:
    """The driver answers, and counts nothing: power is integrated. Of a device with 0 W nothing is known."""
    still = {"gpus": 2, "gpu.*.field.83": 0, "gpu.*.field.83.rate": 1e-6, "gpu.0.power_usage": 200000}
    with gpu_world(tmp_path, {**still, "gpu.1.power_usage": 0}) as world:
        assert world.cycle().of(catalog.GPU_ENERGY_JOULES_TOTAL) == {("0",): 0}
        assert world.cycle(2).of(catalog.GPU_ENERGY_JOULES_TOTAL) == {("0",): pytest.approx(400)}


def test_throttling_states_and_seconds(tmp_path: Path) -> None:
    """Each reason by itself; idle and clocks set by an operator are none; seconds counted by driver and by us."""
    with gpu_world(tmp_path, steps("throttling")[0]) as world:
        first = world.cycle()
        series = world.cycle(10)
    held = {labels for labels, value in series.of(catalog.GPU_THROTTLED).items() if value}
    assert held == {
        ("0", "sw_power_cap"),
        ("1", "hw_slowdown"),
        ("1", "hw_thermal_slowdown"),
        ("1", "sw_thermal_slowdown"),
        ("2", "hw_slowdown"),
        ("2", "hw_power_brake_slowdown"),
    }
    assert {reason for _, reason in series.of(catalog.GPU_THROTTLED)} == set(catalog.THROTTLE_REASONS)
    for labels, value in series.of(catalog.GPU_THROTTLED_SECONDS_TOTAL).items():
        grown = value - first.value(catalog.GPU_THROTTLED_SECONDS_TOTAL, *labels)
        assert grown == pytest.approx(10 if labels in held else 0), labels


def test_gpm_without_waiting(world: GpuWorld) -> None:
    """GPM has nothing in the first cycle and means over the cycle from then on."""
    assert not world.cycle().of(catalog.GPU_SM_ACTIVE_RATIO)
    series = world.cycle()
    assert series.value(catalog.GPU_GRAPHICS_ACTIVE_RATIO, "0") == pytest.approx(0.96)
    assert series.value(catalog.GPU_SM_ACTIVE_RATIO, "0") == pytest.approx(0.96)
    assert series.value(catalog.GPU_SM_OCCUPANCY_RATIO, "0") == pytest.approx(0.48)
    assert series.value(catalog.GPU_TENSOR_ACTIVE_RATIO, "0") == pytest.approx(0.384)
    assert series.value(catalog.GPU_DRAM_ACTIVE_RATIO, "0") == pytest.approx(0.55)


def test_gpm_keeps_its_window_at_short_intervals(world: GpuWorld) -> None:
    """Cycles shorter than the window repeat its means and do not count its bytes twice."""
    world.cycle()
    for _ in range(40):
        series = world.cycle(0.25)
    assert series.value(catalog.GPU_SM_ACTIVE_RATIO, "0") == pytest.approx(0.96)
    assert series.value(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL, "0") == pytest.approx(4.2e9 * 10, rel=0.01)


def test_bytes_over_pcie_and_nvlink(world: GpuWorld) -> None:
    """PCIe from GPM means, NVLink from the driver's counters in KiB."""
    world.cycle()
    first = world.cycle()
    second = world.cycle(10)

    def grown(metric: catalog.Metric) -> float:
        return second.value(metric, "0") - first.value(metric, "0")

    assert grown(catalog.GPU_PCIE_TRANSMIT_BYTES_TOTAL) == pytest.approx(9e9)
    assert grown(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL) == pytest.approx(42e9)
    assert grown(catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL) == pytest.approx(90e6 * 1024 * 10)


def test_old_driver(tmp_path: Path) -> None:
    """Without the newer symbols the older ones serve, and what has none is absent."""
    with gpu_world(tmp_path, steps("old_driver")[0], library=build(without=NEWER_SYMBOLS)) as world:
        world.cycle()
        series = world.cycle()
        assert series.value(catalog.GPU_MEMORY_USED_BYTES, "0") == 17179869184
        assert series.value(catalog.GPU_UTILIZATION_RATIO, "0") == pytest.approx(0.64)
        assert series.value(catalog.GPU_THROTTLED, "0", "sw_power_cap") == 1
        assert not series.of(catalog.GPU_MEMORY_RESERVED_BYTES)
        assert not series.of(catalog.GPU_SM_ACTIVE_RATIO)
        assert not world.rejected
