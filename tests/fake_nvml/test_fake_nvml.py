"""The fake behaves as the driver's library does, seen through the real nvidia-ml-py."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pynvml as nvml
import pytest

from tests.fake_nvml import NEWER_SYMBOLS, SCENARIOS, FakeNvml, InProcess, build, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOON = 1_700_000_000.0


@pytest.fixture
def fake(tmp_path: Path) -> FakeNvml:
    return FakeNvml(tmp_path)


@pytest.fixture
def library(fake: FakeNvml) -> Iterator[InProcess]:
    with fake.in_process() as library:
        library.set_clock(NOON)
        nvml.nvmlInit()
        yield library


def device(index: int = 0) -> object:
    return nvml.nvmlDeviceGetHandleByIndex(index)


def code_of(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(nvml.NVMLError) as error:
        call(*arguments)
    return int(error.value.value)


@pytest.mark.usefixtures("library")
class TestControl:
    """What the control file does to all calls."""

    def test_default_is_one_idle_h100(self) -> None:
        """Without control lines there is one healthy, idle device."""
        assert nvml.nvmlDeviceGetCount() == 1
        assert nvml.nvmlDeviceGetName(device()) == "NVIDIA H100 80GB HBM3"
        assert nvml.nvmlDeviceGetUtilizationRates(device()).gpu == 0

    def test_rewritten_file_is_seen_at_once(self, fake: FakeNvml) -> None:
        """A change holds from the next call on, and a value taken back is the default again."""
        fake.set({"gpus": 2, "gpu.1.power_usage": 123456})
        assert nvml.nvmlDeviceGetPowerUsage(device(1)) == 123456
        fake.unset("gpu.1.power_usage")
        assert nvml.nvmlDeviceGetPowerUsage(device(1)) == 70000

    def test_later_line_wins(self, fake: FakeNvml) -> None:
        """`gpu.*` set after `gpu.0` holds for device 0 too."""
        fake.set({"gpu.*.temperature": 1, "gpu.0.temperature": 2})
        fake.set({"gpu.*.temperature": 3})
        assert nvml.nvmlDeviceGetTemperature(device(), 0) == 3

    @pytest.mark.parametrize(
        ("version", "counters", "settings"),
        [("570.172.08", [], []), ("580.65.06", [251], [269]), ("580.82.07", [269], [251]), ("590.44.01", [269], [251])],
    )
    def test_throttle_fields_of_the_driver(
        self, fake: FakeNvml, library: InProcess, version: str, counters: list[int], settings: list[int]
    ) -> None:
        """The thermal counter has the number of the driver's bindings; the other number is a setting, or refused."""
        fake.set({"gpu.0.throttle_reasons": 0x20, "driver_version": version})
        nvml.nvmlDeviceGetCount()
        library.set_clock(NOON + 3)
        answers = {one.fieldId: one for one in nvml.nvmlDeviceGetFieldValues(device(), [251, 269, 74])}
        known = {field: one.value.ullVal for field, one in answers.items() if one.nvmlReturn == 0 and field != 74}
        assert known == dict.fromkeys(counters, 3_000_000_000) | dict.fromkeys(settings, 1)

    def test_lost_device_that_is_still_found(self, fake: FakeNvml) -> None:
        """What the driver knows by heart it tells of a lost GPU, too; nothing else."""
        fake.set({"gpu.0.lost": 2})
        assert nvml.nvmlDeviceGetName(device()) == "NVIDIA H100 80GB HBM3"
        assert code_of(nvml.nvmlDeviceGetTemperature, device(), 0) == nvml.NVML_ERROR_GPU_IS_LOST
        fake.set({"gpu.0.lost": 1})
        assert code_of(nvml.nvmlDeviceGetHandleByIndex, 0) == nvml.NVML_ERROR_GPU_IS_LOST

    def test_failure_of_one_function_on_one_device(self, fake: FakeNvml) -> None:
        """Return codes can be scripted per function and per device."""
        fake.set({"gpus": 2, "gpu.1.fail.nvmlDeviceGetPowerUsage": 4})
        assert nvml.nvmlDeviceGetPowerUsage(device(0)) == 70000
        assert code_of(nvml.nvmlDeviceGetPowerUsage, device(1)) == nvml.NVML_ERROR_NO_PERMISSION
        fake.set({"fail.nvmlDeviceGetPowerUsage": 999})
        assert code_of(nvml.nvmlDeviceGetPowerUsage, device(0)) == nvml.NVML_ERROR_UNKNOWN

    def test_hang_ends_when_the_line_goes(self, fake: FakeNvml) -> None:
        """A hung call blocks neither other calls nor the test: it ends once the line is taken back."""
        fake.set({"hang.nvmlDeviceGetPowerUsage": 60})
        handle = device()
        caller = threading.Thread(target=nvml.nvmlDeviceGetPowerUsage, args=(handle,))
        caller.start()
        assert nvml.nvmlDeviceGetTemperature(handle, 0) == 30
        assert caller.is_alive()
        fake.unset("hang.nvmlDeviceGetPowerUsage")
        caller.join(timeout=10)
        assert not caller.is_alive()

    def test_calls_are_counted(self, library: InProcess) -> None:
        """Tests can ask how often a function was called."""
        before = library.calls("nvmlDeviceGetPowerUsage")
        nvml.nvmlDeviceGetPowerUsage(device())
        assert library.calls("nvmlDeviceGetPowerUsage") == before + 1


class TestLifeCycle:
    """Loading, initialising, losing and finding again."""

    def test_nothing_works_before_init(self, fake: FakeNvml) -> None:
        """Calls before nvmlInit answer UNINITIALIZED."""
        with fake.in_process():
            nvml._LoadNvmlLibrary()
            assert code_of(nvml.nvmlDeviceGetCount) == nvml.NVML_ERROR_UNINITIALIZED

    def test_driver_not_loaded(self, fake: FakeNvml) -> None:
        """Without a driver nvmlInit fails and later succeeds."""
        fake.set({"driver_loaded": 0})
        with fake.in_process():
            assert code_of(nvml.nvmlInit) == nvml.NVML_ERROR_DRIVER_NOT_LOADED
            fake.set({"driver_loaded": 1})
            nvml.nvmlInit()
            assert nvml.nvmlDeviceGetCount() == 1

    def test_reload_needs_a_new_init(self, fake: FakeNvml, library: InProcess) -> None:
        """After a reload all calls fail until shutdown and init; then the version is new and old handles are void."""
        old = device()
        fake.set({"driver_generation": 2, "driver_version": "560.35.03"})
        assert code_of(nvml.nvmlDeviceGetPowerUsage, old) == nvml.NVML_ERROR_DRIVER_NOT_LOADED
        assert code_of(nvml.nvmlDeviceGetCount) == nvml.NVML_ERROR_DRIVER_NOT_LOADED
        nvml.nvmlShutdown()
        nvml.nvmlInit()
        assert nvml.nvmlSystemGetDriverVersion() == "560.35.03"
        assert code_of(nvml.nvmlDeviceGetPowerUsage, old) == nvml.NVML_ERROR_INVALID_ARGUMENT
        assert nvml.nvmlDeviceGetPowerUsage(device()) == 70000

    def test_library_of_another_driver_is_refused(self, tmp_path: Path) -> None:
        """The user-space part of one driver does not talk to the kernel part of another."""
        fake = FakeNvml(tmp_path, {"driver_version": "560.35.03"}, library=build(driver_version="550.54.15"))
        with fake.in_process():
            assert code_of(nvml.nvmlInit) == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
            fake.set({"driver_version": "550.54.15"})
            nvml.nvmlInit()

    def test_no_devices(self, fake: FakeNvml, library: InProcess) -> None:
        """A driver without devices counts 0, and the number may change."""
        fake.set({"gpus": 0})
        assert nvml.nvmlDeviceGetCount() == 0
        assert code_of(device) == nvml.NVML_ERROR_INVALID_ARGUMENT
        fake.set({"gpus": 3})
        assert nvml.nvmlDeviceGetCount() == 3

    def test_lost_device_does_not_disturb_others(self, fake: FakeNvml, library: InProcess) -> None:
        """GPU_IS_LOST on every call with the device, its look-up included; the other one answers."""
        fake.set({"gpus": 2})
        handle = device(1)
        fake.set({"gpu.1.lost": 1})
        assert code_of(nvml.nvmlDeviceGetPowerUsage, handle) == nvml.NVML_ERROR_GPU_IS_LOST
        assert code_of(device, 1) == nvml.NVML_ERROR_GPU_IS_LOST
        assert nvml.nvmlDeviceGetPowerUsage(device(0)) == 70000

    def test_left_out_symbols(self, tmp_path: Path) -> None:
        """An old driver's library lacks newer functions; each of them answers FUNCTION_NOT_FOUND."""
        with FakeNvml(tmp_path, library=build(without=NEWER_SYMBOLS)).in_process():
            nvml.nvmlInit()
            call = nvml.nvmlDeviceGetComputeRunningProcesses_v3
            assert code_of(call, device()) == nvml.NVML_ERROR_FUNCTION_NOT_FOUND
            assert nvml.nvmlDeviceGetPowerUsage(device()) == 70000

    def test_child_process_finds_it_through_the_loader(self, tmp_path: Path) -> None:
        """A child with our environment loads the fake by its plain name."""
        fake = FakeNvml(tmp_path, {"gpus": 5})
        program = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"
        answer = subprocess.run(
            [sys.executable, "-c", program], env=fake.environment(), check=True, capture_output=True, text=True
        )
        assert answer.stdout.strip() == "5"
        assert not answer.stderr


class TestLoad:
    """Utilisation, its samples and its past."""

    @pytest.fixture(autouse=True)
    def _square(self, fake: FakeNvml) -> None:
        fake.set({"gpu.0.square": "period=3 duty=0.3 low=0 high=95", "gpu.0.memory_utilization": 20})

    def samples(self, seen: int, kind: int = nvml.NVML_GPU_UTILIZATION_SAMPLES) -> list[tuple[int, int]]:
        """Times in µs and per cents, newer than `seen`."""
        _, found = nvml.nvmlDeviceGetSamples(device(), kind, seen)
        return [(sample.timeStamp, sample.sampleValue.uiVal) for sample in found]

    def test_samples_hold_the_exact_mean(self, library: InProcess) -> None:
        """Over whole periods the samples' mean is duty x high, whatever the sample period."""
        values = [value for time, value in self.samples(0) if time > (NOON - 18) * 1e6]
        assert len(values) == pytest.approx(18 / 0.166667, abs=1)
        assert sum(values) / len(values) == pytest.approx(0.3 * 95, abs=0.5)

    def test_samples_advance_with_last_seen(self, library: InProcess) -> None:
        """Only samples after the last one seen come, and without a new one the answer is NOT_FOUND."""
        first = self.samples(0)
        assert len(first) == 120
        assert code_of(self.samples, first[-1][0]) == nvml.NVML_ERROR_NOT_FOUND
        library.set_clock(NOON + 1)
        fresh = self.samples(first[-1][0])
        assert len(fresh) == 6
        assert fresh[0][0] == first[-1][0] + 166667

    def test_past_load_is_remembered(self, fake: FakeNvml, library: InProcess) -> None:
        """Samples of the time before a change keep the load of that time."""
        fake.set({"gpu.0.utilization": 10})
        fake.unset("gpu.0.square")
        library.set_clock(NOON + 100)
        assert self.samples(0)[-1][1] == 10
        fake.set({"gpu.0.utilization": 90})
        assert self.samples(0)[-1][1] == 10
        library.set_clock(NOON + 110)
        assert {value for _, value in self.samples(int((NOON + 101) * 1e6))} == {90}

    def test_memory_load_has_its_own_samples(self, library: InProcess) -> None:
        """The memory controller's samples are another kind."""
        assert {value for _, value in self.samples(0, nvml.NVML_MEMORY_UTILIZATION_SAMPLES)} == {20}

    def test_no_load_in_mig_mode(self, fake: FakeNvml, library: InProcess) -> None:
        """With MIG on, utilisation and its samples are not supported, as on real devices."""
        fake.set({"gpu.0.mig": 1})
        assert code_of(self.samples, 0) == nvml.NVML_ERROR_NOT_SUPPORTED
        assert code_of(nvml.nvmlDeviceGetUtilizationRates, device()) == nvml.NVML_ERROR_NOT_SUPPORTED

    def test_sentinels_pass_unchanged(self, fake: FakeNvml, library: InProcess) -> None:
        """A load above 100 is given out as it was set."""
        fake.unset("gpu.0.square")
        fake.set({"gpu.0.utilization": 4294967295})
        library.set_clock(NOON + 10)
        assert nvml.nvmlDeviceGetUtilizationRates(device()).gpu == 4294967295


class TestCounters:
    """What grows with time, and field values."""

    def test_energy_follows_power(self, fake: FakeNvml, library: InProcess) -> None:
        """Energy in mJ grows with the power in mW, across changes of it."""
        start = nvml.nvmlDeviceGetTotalEnergyConsumption(device())
        fake.set({"gpu.0.power_usage": 300000})
        library.set_clock(NOON + 10)
        fake.set({"gpu.0.power_usage": 100000})
        library.set_clock(NOON + 15)
        assert nvml.nvmlDeviceGetTotalEnergyConsumption(device()) - start == 3_500_000

    def test_violation_time_grows_while_the_reason_holds(self, fake: FakeNvml, library: InProcess) -> None:
        """Nanoseconds at the power cap, the same by function and by field."""
        fake.set({"gpu.0.throttle_reasons": "0x4"})
        library.set_clock(NOON + 2)
        fake.set({"gpu.0.throttle_reasons": 0})
        library.set_clock(NOON + 9)
        assert nvml.nvmlDeviceGetViolationStatus(device(), nvml.NVML_PERF_POLICY_POWER).violationTime == 2_000_000_000
        value = nvml.nvmlDeviceGetFieldValues(device(), [nvml.NVML_FI_DEV_PERF_POLICY_POWER])[0]
        assert (value.nvmlReturn, value.value.ullVal) == (0, 2_000_000_000)

    def test_each_field_has_its_own_return_code(self, fake: FakeNvml, library: InProcess) -> None:
        """The call succeeds if any field does; what is unknown says so for itself."""
        fake.set({"gpu.0.field.82": 55, "gpu.0.field.90.fail": 4})
        memory, unsupported, forbidden = nvml.nvmlDeviceGetFieldValues(device(), [82, 197, 90])
        assert (memory.nvmlReturn, memory.value.uiVal) == (0, 55)
        assert unsupported.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED
        assert forbidden.nvmlReturn == nvml.NVML_ERROR_NO_PERMISSION
        assert code_of(nvml.nvmlDeviceGetFieldValues, device(), [197]) == nvml.NVML_ERROR_NOT_SUPPORTED

    def test_nvlink_bytes_by_link_and_in_sum(self, fake: FakeNvml, library: InProcess) -> None:
        """The scope picks a link, or all of them."""
        fake.set({"gpu.0.field.138.rate": 1800})
        library.set_clock(NOON + 10)
        every = (nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, 0xFFFFFFFF)
        one = (nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, 3)
        values = nvml.nvmlDeviceGetFieldValues(device(), [every, one])
        assert [value.value.ullVal for value in values] == [18000, 1000]

    def test_errors_by_function(self, fake: FakeNvml, library: InProcess) -> None:
        """ECC, remapped rows, retired pages and NVLink errors answer from the same numbers as the fields."""
        fake.set({"gpu.0.field.5": 7, "gpu.0.field.6": 2, "gpu.0.field.143": 3, "gpu.0.field.144": 1})
        fake.set({"gpu.0.field.29": 4, "gpu.0.field.30": 0, "gpu.0.field.52": 9})
        assert nvml.nvmlDeviceGetTotalEccErrors(device(), 0, 1) == 7
        assert nvml.nvmlDeviceGetTotalEccErrors(device(), 1, 1) == 2
        assert nvml.nvmlDeviceGetDetailedEccErrors(device(), 0, 1).deviceMemory == 7
        assert nvml.nvmlDeviceGetRemappedRows(device()) == (0, 3, 1, 0)
        assert len(nvml.nvmlDeviceGetRetiredPages(device(), 0)) == 4
        assert nvml.nvmlDeviceGetRetiredPages(device(), 1) == []
        assert nvml.nvmlDeviceGetNvLinkErrorCounter(device(), 0, nvml.NVML_NVLINK_ERROR_DL_REPLAY) == 9
        assert nvml.nvmlDeviceGetNvLinkState(device(), 17) == 1


@pytest.mark.usefixtures("library")
class TestProcesses:
    """Lists whose size is asked for first."""

    def test_list_empty_growing_and_gone(self, fake: FakeNvml) -> None:
        """The size call answers as the driver does, so that the bindings return what there is."""
        call = nvml.nvmlDeviceGetComputeRunningProcesses
        assert call(device()) == []
        fake.set({"gpu.0.process.7": "memory=1024", "gpu.0.process.8": "sm=3", "gpu.0.process.9": "graphics=1"})
        assert [(p.pid, p.usedGpuMemory, p.gpuInstanceId) for p in call(device())] == [
            (7, 1024, 0xFFFFFFFF),
            (8, None, 0xFFFFFFFF),
        ]
        assert [p.pid for p in nvml.nvmlDeviceGetGraphicsRunningProcesses(device())] == [9]
        fake.unset("gpu.0.process.7", "gpu.0.process.8")
        assert call(device()) == []

    def test_list_that_outgrows_its_buffer(self, fake: FakeNvml) -> None:
        """A list that grew past count x 2 + 5 between the calls is INSUFFICIENT_SIZE, a smaller growth is not."""
        fake.set({"gpu.0.process.7": "memory=1024", "gpu.0.process_growth": 6})
        assert len(nvml.nvmlDeviceGetComputeRunningProcesses(device())) == 7
        fake.set({"gpu.0.process_growth": 7})
        code = code_of(nvml.nvmlDeviceGetComputeRunningProcesses, device())
        assert code == nvml.NVML_ERROR_INSUFFICIENT_SIZE

    def test_utilisation_of_processes(self, fake: FakeNvml) -> None:
        """No process, or none since the last look, is NOT_FOUND; otherwise one sample per process."""
        assert code_of(nvml.nvmlDeviceGetProcessUtilization, device(), 0) == nvml.NVML_ERROR_NOT_FOUND
        fake.set({"gpu.0.process.7": "sm=30 mem=10", "gpu.0.process.8": "sm=5"})
        found = nvml.nvmlDeviceGetProcessUtilization(device(), 0)
        assert [(sample.pid, sample.smUtil, sample.memUtil) for sample in found] == [(7, 30, 10), (8, 5, 0)]
        seen = found[0].timeStamp
        assert code_of(nvml.nvmlDeviceGetProcessUtilization, device(), seen) == nvml.NVML_ERROR_NOT_FOUND


@pytest.mark.usefixtures("library")
class TestEvents:
    """Xid events through event sets."""

    def test_only_registered_devices_and_only_new_events(self, fake: FakeNvml) -> None:
        """Events come in order, once, for registered devices, and without one the wait times out."""
        fake.set({"gpus": 2, "event.1": "gpu=0 xid=13"})
        events = nvml.nvmlEventSetCreate()
        nvml.nvmlDeviceRegisterEvents(device(0), nvml.nvmlEventTypeXidCriticalError, events)
        assert code_of(nvml.nvmlEventSetWait_v2, events, 0) == nvml.NVML_ERROR_TIMEOUT
        fake.set({"event.3": "gpu=0 xid=63", "event.2": "gpu=0 xid=48", "event.4": "gpu=1 xid=31"})
        assert [nvml.nvmlEventSetWait_v2(events, 0).eventData for _ in range(2)] == [48, 63]
        assert code_of(nvml.nvmlEventSetWait_v2, events, 0) == nvml.NVML_ERROR_TIMEOUT
        nvml.nvmlEventSetFree(events)

    def test_lost_device_still_delivers_its_xid(self, fake: FakeNvml) -> None:
        """The Xid of a device that falls off the bus comes first, then the set answers GPU_IS_LOST."""
        events = nvml.nvmlEventSetCreate()
        nvml.nvmlDeviceRegisterEvents(device(), nvml.nvmlEventTypeXidCriticalError, events)
        fake.set({"event.1": "gpu=0 xid=79", "gpu.0.lost": 1})
        assert nvml.nvmlEventSetWait_v2(events, 0).eventData == 79
        assert code_of(nvml.nvmlEventSetWait_v2, events, 0) == nvml.NVML_ERROR_GPU_IS_LOST
        nvml.nvmlEventSetFree(events)

    def test_event_set_of_a_former_session_is_refused(self, library: InProcess) -> None:
        """After a new init an old set is void, and sets are counted."""
        events = nvml.nvmlEventSetCreate()
        assert library.event_sets_alive() == 1
        nvml.nvmlShutdown()
        nvml.nvmlInit()
        assert code_of(nvml.nvmlEventSetWait_v2, events, 0) == nvml.NVML_ERROR_INVALID_ARGUMENT
        nvml.nvmlEventSetFree(events)
        assert library.event_sets_alive() == 0


class TestGpm:
    """Metrics between two samples."""

    @staticmethod
    def ask(first: object, second: object, *metrics: int) -> list[tuple[int, float]]:
        """Return code and value of each metric."""
        request = nvml.c_nvmlGpmMetricsGet_t()
        request.version, request.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(metrics)
        request.sample1, request.sample2 = first, second
        for slot, metric in zip(request.metrics, metrics, strict=False):
            slot.metricId = metric
        nvml.nvmlGpmMetricsGet(request)
        return [(slot.nvmlReturn, slot.value) for slot in request.metrics[: len(metrics)]]

    def test_two_samples_and_a_window(self, fake: FakeNvml, library: InProcess) -> None:
        """Metrics need two samples at least 100 ms apart and have a return code each."""
        assert nvml.nvmlGpmQueryDeviceSupport(device()).isSupportedDevice
        fake.set({"gpu.0.utilization": 80, "gpu.0.gpm.3": 42.5, "gpu.0.gpm.5.fail": 3, "gpu.0.pcie_tx": 1048576})
        first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        nvml.nvmlGpmSampleGet(device(), first)
        library.set_clock(NOON + 0.05)
        nvml.nvmlGpmSampleGet(device(), second)
        assert self.ask(first, second, 2) == [(nvml.NVML_ERROR_NO_DATA, 0.0)]
        library.set_clock(NOON + 1)
        nvml.nvmlGpmSampleGet(device(), second)
        assert self.ask(first, second, 2, 3, 5, 20) == [(0, 80.0), (0, 42.5), (3, 0.0), (0, 1000.0)]
        assert code_of(self.ask, second, first, 2) == nvml.NVML_ERROR_INVALID_ARGUMENT
        assert library.gpm_samples_alive() == 2
        nvml.nvmlGpmSampleFree(first)
        nvml.nvmlGpmSampleFree(second)
        assert library.gpm_samples_alive() == 0

    def test_before_hopper(self, fake: FakeNvml, library: InProcess) -> None:
        """A device without GPM says so."""
        fake.set({"gpu.0.gpm_supported": 0})
        assert not nvml.nvmlGpmQueryDeviceSupport(device()).isSupportedDevice
        sample = nvml.nvmlGpmSampleAlloc()
        assert code_of(nvml.nvmlGpmSampleGet, device(), sample) == nvml.NVML_ERROR_NOT_SUPPORTED


@pytest.mark.usefixtures("library")
class TestMig:
    """Devices cut into instances."""

    def test_instances(self, fake: FakeNvml) -> None:
        """MIG devices have identity, memory and processes of their own, and little else."""
        fake.set(steps("mig")[0])
        parent = device(0)
        assert nvml.nvmlDeviceGetMigMode(parent) == [1, 1]
        first = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, 0)
        assert code_of(nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, 3) == nvml.NVML_ERROR_NOT_FOUND
        assert nvml.nvmlDeviceGetName(first).endswith("3g.40gb")
        assert nvml.nvmlDeviceGetUUID(first).startswith("MIG-")
        assert nvml.nvmlDeviceGetMemoryInfo(first, nvml.nvmlMemory_v2).used == 30064771072
        assert [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(first)] == [41001]
        assert len(nvml.nvmlDeviceGetComputeRunningProcesses(parent)) == 2
        assert code_of(nvml.nvmlDeviceGetPowerUsage, first) == nvml.NVML_ERROR_NOT_SUPPORTED
        assert nvml.nvmlDeviceGetGpuInstanceId(first) == 1

    def test_gpm_of_an_instance(self, fake: FakeNvml, library: InProcess) -> None:
        """GPM samples of an instance are taken on the parent by the GPU instance's id."""
        fake.set(steps("mig")[0])
        first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        nvml.nvmlGpmMigSampleGet(device(0), 1, first)
        library.set_clock(NOON + 1)
        nvml.nvmlGpmMigSampleGet(device(0), 1, second)
        assert TestGpm.ask(first, second, 1) == [(0, 88.0)]

    def test_enabled_without_instances(self, fake: FakeNvml) -> None:
        """An empty MIG device: every index is NOT_FOUND."""
        fake.set({"gpu.0.mig": 1})
        assert code_of(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device(), 0) == nvml.NVML_ERROR_NOT_FOUND


@pytest.mark.parametrize("scenario", sorted(path.stem for path in SCENARIOS.glob("*.conf")))
def test_scenarios_have_only_known_lines(tmp_path: Path, scenario: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Every line of every scenario means something to the library."""
    fake = FakeNvml(tmp_path)
    with fake.in_process():
        nvml.nvmlInit()
        for lines in steps(scenario):
            fake.set(lines)
            nvml._nvmlGetFunctionPointer("nvmlDeviceGetCount_v2")(nvml.byref(nvml.c_uint()))
    assert "unknown" not in capfd.readouterr().err
