"""What goes wrong with GPUs: the exporter stays up, says it once, and recovers; others' series stay."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import NoData

from tests.exporter.collectors.gpu_world import GpuWorld, Series, gpu_world
from tests.fake_nvml import SONAME, FakeNvml, build, steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yoloscope_exporter.catalog import Metric

DETAILS = "gpu_details"


def both(world: GpuWorld, seconds: float = 5.0) -> Series:
    """A fast and a slow cycle together."""
    return Series([*world.cycle(seconds), *world.cycle(0, DETAILS)])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_gpu_falls_off_the_bus_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its series go, `gpu_up` is 0, the Xid is counted, the others stay; later its counters go on where they were."""
    healthy, lost, back = steps("lost_gpu")
    with gpu_world(tmp_path, healthy) as world:
        both(world)
        before = both(world)
        assert before.gpus() == set("0123")
        world.fake.set(lost)
        during = both(world)
        assert during.gpus() == set("013")
        assert during.value(catalog.GPU_UP, "2") == 0
        assert during.value(catalog.GPU_XID_ERRORS_TOTAL, "2", "79") == 1
        for _ in range(5):
            both(world)
        world.fake.set(back)
        both(world)
        after = both(world)
    assert after.value(catalog.GPU_UP, "2") == 1
    busy = catalog.GPU_BUSY_SECONDS_TOTAL
    assert before.value(busy, "2") <= after.value(busy, "2") <= before.value(busy, "2") + 6
    said = warnings(caplog)
    assert sum("GPU 2 does not answer" in line for line in said) == 1
    assert sum("GPU 2 is back" in line for line in said) == 1


def test_lost_gpu_keeps_its_last_facts(tmp_path: Path) -> None:
    """Who reads the alert wants uuid and bus, which the driver does not tell any more; each series comes once."""
    healthy, lost, back = steps("lost_gpu")
    with gpu_world(tmp_path, healthy) as world:
        facts = both(world).of(catalog.GPU_INFO)
        for lines in (lost, back):
            world.fake.set(lines)
            for _ in range(3):
                series = world.cycle()
                assert series.of(catalog.GPU_INFO) == facts
                assert len({(sample.metric.name, sample.labels) for sample in series}) == len(series)
                both(world)


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_gpu_costs_the_others_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: int) -> None:
    """No session is opened anew while others answer, whose series are complete all the time; it is said once.

    2: the driver still finds the GPU and answers what it knows by heart, so that it seems to be back at each look.
    """
    caplog.set_level(logging.INFO)
    with gpu_world(tmp_path, steps("lost_gpu")[0]) as world:
        both(world)
        usual = {(s.metric.name, s.labels) for s in both(world) if s.labels[0] != "2"}
        opened = world.library.calls("nvmlInitWithFlags")
        world.fake.set({"gpu.2.lost": lost})
        for _ in range(40):
            series = both(world)
            assert {(s.metric.name, s.labels) for s in series if s.labels[0] != "2"} == usual
            assert series.value(catalog.GPU_UP, "2") == 0
            assert series.gpus() == set("013")
        assert world.library.calls("nvmlInitWithFlags") == opened
    told = [record.getMessage() for record in caplog.records]
    assert sum("does not answer" in line for line in told) == 1
    assert sum("is open" in line for line in told) == 1
    assert not any("is back" in line for line in told)


def test_lost_gpu_alone_is_looked_for_with_a_new_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While no device answers NVML is opened anew once a minute, without a word; some drivers need that."""
    caplog.set_level(logging.INFO)
    with gpu_world(tmp_path, {}) as world:
        both(world)
        before = world.library.calls("nvmlInitWithFlags")
        world.fake.set({"gpu.0.lost": 1})
        for _ in range(36):
            assert both(world).value(catalog.GPU_UP, "0") == 0
        assert world.library.calls("nvmlInitWithFlags") - before == pytest.approx(3, abs=1)
        world.fake.unset("gpu.0.lost")
        both(world)
        assert both(world).value(catalog.GPU_UP, "0") == 1
    assert sum("is open" in record.getMessage() for record in caplog.records) == 1


def test_counters_of_a_lost_gpu_start_anew_without_a_fault(tmp_path: Path) -> None:
    """After its reset the driver counts from nothing, whichever half noticed first that it was lost."""
    with gpu_world(tmp_path, {"gpus": 2, "gpu.1.field.83": 900_000_000, "gpu.1.field.5": 7}) as world:
        both(world)
        for noticed_by in ("gpu", DETAILS):
            world.fake.set({"gpu.1.lost": 1})
            world.cycle(1, noticed_by)
            both(world)
            world.fake.set({"gpu.1.lost": 0, "gpu.1.field.83": 0, "gpu.1.field.5": 0})
            both(world)
            assert both(world).value(catalog.GPU_ECC_ERRORS_TOTAL, "1", "corrected") == 0
            world.fake.set({"gpu.1.field.83": 900_000_000, "gpu.1.field.5": 7})
            both(world)
        assert not world.rejected


def test_slow_series_of_a_lost_gpu_go_with_the_fast_ones(tmp_path: Path) -> None:
    """What the slow half told of it some seconds ago does not hold any more; nor does anything without a driver."""
    with gpu_world(tmp_path, steps("lost_gpu")[0]) as world:
        world.cycle()
        slow = tuple(world.cycle(0, DETAILS))
        holding = world.halves[DETAILS].holding
        assert holding(slow) is slow
        world.fake.set({"gpu.2.lost": 1})
        assert world.cycle().value(catalog.GPU_UP, "2") == 0
        assert {sample.labels[0] for sample in holding(slow)} == set("013")
        world.fake.set({"driver_loaded": 0})
        with pytest.raises(NoData):
            world.cycle()
        assert holding(slow) == ()


def test_xid_counts_every_event(tmp_path: Path) -> None:
    """Several events between two cycles all count, by number; those before the start do not."""
    with gpu_world(tmp_path, {"event.1": "gpu=0 xid=13"}) as world:
        assert not world.cycle().of(catalog.GPU_XID_ERRORS_TOTAL)
        world.fake.set({"event.2": "gpu=0 xid=63", "event.3": "gpu=0 xid=63", "event.4": "gpu=0 xid=94"})
        world.cycle()
        assert world.cycle().of(catalog.GPU_XID_ERRORS_TOTAL) == {("0", "63"): 2, ("0", "94"): 1}


def test_driver_reload(tmp_path: Path) -> None:
    """Without the driver there is no data; with the next one there is again, under its version, and nothing falls."""
    loaded, unloaded, reloaded = steps("driver_reload")
    with gpu_world(tmp_path, loaded) as world:
        both(world)
        before = both(world)
        world.fake.set(unloaded)
        for half in ("gpu", DETAILS, "gpu"):
            with pytest.raises(NoData, match="driver"):
                world.cycle(1, half)
        world.fake.set(reloaded)
        world.pass_time(5)
        both(world)
        after = both(world)
        assert {labels[3] for labels in after.of(catalog.GPU_INFO)} == {"560.35.03"}
        busy = catalog.GPU_BUSY_SECONDS_TOTAL
        assert after.value(busy, "0") == pytest.approx(before.value(busy, "0") + 0.8 * 5, abs=0.5)
        assert after.value(catalog.GPU_ENERGY_JOULES_TOTAL, "0") < before.value(catalog.GPU_ENERGY_JOULES_TOTAL, "0")
        assert not world.rejected, "a counter that starts anew with the driver is not a fault"


def test_driver_reload_between_two_cycles(tmp_path: Path) -> None:
    """A reload that was over before anybody looked costs some seconds of data, no more."""
    loaded, _, reloaded = steps("driver_reload")
    with gpu_world(tmp_path, loaded) as world:
        both(world)
        world.fake.set(reloaded)
        with pytest.raises(NoData):
            world.cycle()
        assert both(world).gpus() == set("01")


UPGRADE = """
import sys
from pathlib import Path
from yoloscope_exporter.collectors.gpu.probe import DriverGone
from yoloscope_exporter.collectors.gpu.session import Session

installed, new, control = map(Path, sys.argv[1:])
now = 0.0
session = Session(lambda: now)
session.ensure()
print(session.devices[0].facts[2])
installed.unlink()
installed.symlink_to(new)
control.write_text("driver_version 560.35.03\\ndriver_generation 2\\n")
try:
    session.refresh()
except DriverGone as error:
    session.drop(str(error))
    now += 10
session.ensure()
print(session.devices[0].facts[2])
session.close()
"""


def test_driver_upgrade_loads_the_new_library(tmp_path: Path) -> None:
    """The old driver's library is refused by the new driver: the file that is installed now is loaded instead."""
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / SONAME).symlink_to(build(driver_version="550.54.15") / SONAME)
    fake = FakeNvml(tmp_path, library=installed)
    new = build(driver_version="560.35.03") / SONAME
    command = [sys.executable, "-c", UPGRADE, str(installed / SONAME), str(new), str(fake.control)]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**fake.environment(), "PYTHONPATH": paths}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.stdout.split() == ["550.54.15", "560.35.03"], answer.stderr


def test_no_library(tmp_path: Path) -> None:
    """Without libnvidia-ml.so.1 the collectors are down with one reason, and find it once it is there."""
    with gpu_world(tmp_path, {}) as world:
        world.fake.set({"fail.nvmlInitWithFlags": 12})
        with pytest.raises(NoData, match=r"no NVIDIA driver here \(libnvidia-ml.so.1 is missing\)"):
            world.cycle()
        asked = world.library.calls("nvmlInitWithFlags")
        with pytest.raises(NoData, match="missing"):
            world.cycle(1)
        assert world.library.calls("nvmlInitWithFlags") == asked, "it does not try at every cycle"
        world.fake.unset("fail.nvmlInitWithFlags")
        assert world.cycle(5).gpus() == {"0"}


def test_driver_without_devices_and_hot_plug(tmp_path: Path) -> None:
    """No device is no data; devices that come are seen, devices that are taken out go with their series."""
    with gpu_world(tmp_path, {"gpus": 0}) as world:
        with pytest.raises(NoData, match="no GPU"):
            world.cycle()
        world.fake.set({"gpus": 2})
        world.pass_time(5)
        assert both(world).gpus() == set("01")
        world.fake.set({"gpus": 3})
        both(world)
        assert both(world).gpus() == set("012")
        world.fake.set({"gpus": 1})
        both(world)
        series = both(world)
        assert series.gpus() == {"0"}
        assert set(series.of(catalog.GPU_UP)) == {("0",)}


def test_permission_denied_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What we may not read is absent, said once, and asked again only after ten minutes."""
    with gpu_world(tmp_path, {"fail.nvmlDeviceGetPowerUsage": 4}) as world:
        for _ in range(5):
            series = both(world)
        assert not series.of(catalog.GPU_POWER_WATTS)
        assert ("0",) in series.of(catalog.GPU_MEMORY_USED_BYTES)
        assert world.library.calls("nvmlDeviceGetPowerUsage") == 1
        assert [line for line in warnings(caplog) if "nvmlDeviceGetPowerUsage" in line] == [
            "GPU 0: nvmlDeviceGetPowerUsage answers 'Insufficient Permissions'; what it tells is left out"
        ]
        world.fake.unset("fail.nvmlDeviceGetPowerUsage")
        assert both(world, 601).of(catalog.GPU_POWER_WATTS)


def test_passing_error_costs_one_cycle(tmp_path: Path) -> None:
    """An unknown error of one call leaves one metric out and is tried again at the next cycle."""
    with gpu_world(tmp_path, {}) as world:
        world.cycle()
        world.fake.set({"fail.nvmlDeviceGetPowerUsage": 999})
        assert not world.cycle().of(catalog.GPU_POWER_WATTS)
        world.fake.unset("fail.nvmlDeviceGetPowerUsage")
        assert world.cycle().of(catalog.GPU_POWER_WATTS)


def test_a_total_does_not_change_its_source(tmp_path: Path) -> None:
    """If the driver's counters fail in the first cycles they are absent; an integral in between would make a jump."""
    failing = {"fail.nvmlDeviceGetTotalEnergyConsumption": 999, "fail.nvmlDeviceGetFieldValues": 999}
    totals = (catalog.GPU_ENERGY_JOULES_TOTAL, catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL)
    with gpu_world(tmp_path, {"gpu.0.throttle_reasons": 4, **failing}) as world:
        series = [world.cycle() for _ in range(3)]
        assert not any(one.of(metric) for one in series for metric in totals)
        assert not any(("0", "sw_power_cap") in one.of(catalog.GPU_THROTTLED_SECONDS_TOTAL) for one in series)
        world.fake.unset(*failing)
        assert all(world.cycle().of(metric) for metric in totals)


def throttled(world: GpuWorld, seconds: int) -> list[float | None]:
    """Seconds of software's thermal slowdown, cycle by cycle."""
    key = ("0", "sw_thermal_slowdown")
    return [world.cycle().of(catalog.GPU_THROTTLED_SECONDS_TOTAL).get(key) for _ in range(seconds)]  # type: ignore[misc]


HOT = {"gpu.0.throttle_reasons": 0x20}


@pytest.mark.parametrize("driver", ["570.172.08", "575.51.03", "580.65.06", "580.82.07", "590.44.01"])
def test_throttled_seconds_under_any_driver(tmp_path: Path, caplog: pytest.LogCaptureFixture, driver: str) -> None:
    """The fields have one number, another, or are not there; a GPU throttled for eleven seconds has eleven of them."""
    with gpu_world(tmp_path, {"driver_version": driver}) as world:
        throttled(world, 4)
        world.fake.set(HOT)
        before, *_, after = throttled(world, 12)
        world.fake.set({"gpu.0.throttle_reasons": 0})
        assert throttled(world, 3)[-1] == pytest.approx(after, abs=1)
    assert after - before == pytest.approx(11, abs=0.6)
    assert not warnings(caplog)


@pytest.mark.parametrize("begins", [0, 4], ids=["from the start", "later"])
@pytest.mark.parametrize(
    ("driver", "fields"),
    [
        ("580.65.06", {"throttle_fields": 269}),
        ("580.82.07", {"throttle_fields": 251}),
        ("580.82.07", {"throttle_fields": 251, "gpu.0.field.269": 50_000_000}),
        ("580.82.07", {"throttle_fields": 251, "gpu.0.field.269": 0}),
        ("580.82.07", {"throttle_fields": 251, "gpu.0.field.269": 7, "gpu.0.field.269.rate": 4e9}),
        ("580.82.07", {"throttle_fields": 0}),
    ],
    ids=["before the move", "after the move", "a large setting", "a setting of 0", "faster than time", "no such field"],
)
def test_field_that_counts_something_else(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    driver: str,
    fields: dict[str, object],
    begins: int,
) -> None:
    """A driver that numbers otherwise than its version says: its settings are no seconds, and the state is integrated.

    Settings of power smoothing read as nanoseconds would be 1e-09 s for a GPU that has been throttled for 11 s.
    """
    with gpu_world(tmp_path, {"driver_version": driver, **fields}) as world:
        cool = throttled(world, begins)
        world.fake.set(HOT)
        hot = throttled(world, 12)
    assert all(value is None or value == 0 or value >= 1e-6 for value in (*cool, *hot))
    assert hot[-1] == pytest.approx(11, abs=0.6)
    said = [line for line in warnings(caplog) if "does not count sw_thermal_slowdown" in line]
    assert len(said) == bool(fields["throttle_fields"]), "a field that is refused needs no word"


def test_a_reason_that_comes_and_goes_is_left_to_the_driver(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Throttling between two looks, or a state seen longer than it was counted, is no fault of the counter."""
    with gpu_world(tmp_path, {"driver_version": "580.82.07", "gpu.0.field.269.rate": 0.3e9}) as world:
        unseen = throttled(world, 20)
        world.fake.set({"throttle_fields": 269, "gpu.0.field.269": 0})
        world.fake.set(HOT)
        throttled(world, 20)
    assert unseen[-1] - unseen[0] == pytest.approx(0.3 * 19)
    assert not warnings(caplog)


def test_doubts_end_with_the_driver(tmp_path: Path) -> None:
    """After a reload another driver may number the fields as it should, and is believed."""
    lying = {"driver_version": "580.82.07", "throttle_fields": 251, **HOT}
    with gpu_world(tmp_path, lying) as world:
        throttled(world, 8)
        world.fake.set({"driver_generation": 2, "gpu.0.field.269": 500_000_000_000, "throttle_fields": 269})
        with pytest.raises(NoData):
            world.cycle()
        world.pass_time(5)
        assert throttled(world, 2)[-1] > 500


def test_hung_call_does_not_take_the_other_half_along(tmp_path: Path) -> None:
    """While one half hangs in the driver the other gives up after its turn, and both go on when the driver does."""
    with gpu_world(tmp_path, {}) as world:
        both(world)
        world.fake.set({"hang.nvmlDeviceGetTotalEccErrors": 60})
        before = world.library.calls("nvmlDeviceGetTotalEccErrors")
        slow = threading.Thread(target=world.cycle, args=(0, DETAILS))
        slow.start()
        while world.library.calls("nvmlDeviceGetTotalEccErrors") == before:
            time.sleep(0.01)
        with pytest.raises(TimeoutError, match="driver hangs"):
            world.cycle()
        world.fake.unset("hang.nvmlDeviceGetTotalEccErrors")
        slow.join(10)
        assert not slow.is_alive()
        assert both(world).gpus() == {"0"}


def test_blank_values_are_refused_and_counted(tmp_path: Path) -> None:
    """Not one sentinel is published; the other device is complete."""
    with gpu_world(tmp_path, steps("blank_sentinels")[0]) as world:
        both(world)
        series = both(world)
        refused = world.rejected["blank"]
        both(world)
    assert world.rejected["blank"] - refused == pytest.approx(2 * 30 + 15, abs=5), "each sample is refused once"
    of_blank = {sample.metric for sample in series if sample.labels[0] == "0"}
    assert not of_blank & BLANK_METRICS
    assert {sample.metric for sample in series if sample.labels[0] == "1"} >= BLANK_METRICS
    assert world.rejected["blank"] > 0
    assert world.rejected["range"] > 0
    for sample in series:
        if isinstance(sample.value, float | int):
            assert 0 <= sample.value < 2**62, sample


BLANK_METRICS: set[Metric] = {
    catalog.GPU_UTILIZATION_RATIO,
    catalog.GPU_BUSY_SECONDS_TOTAL,
    catalog.GPU_MEMORY_BUSY_SECONDS_TOTAL,
    catalog.GPU_MEMORY_USED_BYTES,
    catalog.GPU_POWER_WATTS,
    catalog.GPU_POWER_LIMIT_WATTS,
    catalog.GPU_ENERGY_JOULES_TOTAL,
    catalog.GPU_TEMPERATURE_CELSIUS,
    catalog.GPU_PERFORMANCE_STATE,
    catalog.GPU_ENCODER_UTILIZATION_RATIO,
    catalog.GPU_DECODER_UTILIZATION_RATIO,
    catalog.GPU_PCIE_LINK_GENERATION,
    catalog.GPU_PCIE_LINK_WIDTH,
    catalog.GPU_SM_ACTIVE_RATIO,
    catalog.GPU_SM_OCCUPANCY_RATIO,
    catalog.GPU_TENSOR_ACTIVE_RATIO,
    catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL,
    catalog.GPU_PROCESS_MEMORY_BYTES,
}


def test_counter_that_steps_back(tmp_path: Path) -> None:
    """One reading below the last is refused and counted; a second one there is a reset, and is believed."""
    with gpu_world(tmp_path, {"gpu.0.field.5": 100}) as world:
        ecc: Callable[[], object] = lambda: both(world).of(catalog.GPU_ECC_ERRORS_TOTAL).get(("0", "corrected"))  # noqa: E731
        assert ecc() == 100
        world.fake.set({"gpu.0.field.5": 7})
        assert ecc() is None
        assert world.rejected["backwards"] == 1
        assert ecc() == 7
        assert world.rejected["backwards"] == 1


def test_nothing_leaks_over_sessions(tmp_path: Path) -> None:
    """Event sets and GPM samples are given back at each loss of the driver (and at the end, which the world checks)."""
    with gpu_world(tmp_path, {"gpus": 2}) as world:
        for generation in range(2, 6):
            both(world)
            both(world)
            world.fake.set({"driver_generation": generation})
            with pytest.raises(NoData):
                world.cycle()
            assert world.library.gpm_samples_alive() == 0
            assert world.library.event_sets_alive() == 0
