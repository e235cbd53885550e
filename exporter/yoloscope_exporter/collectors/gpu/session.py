"""The connection to NVML: opening, finding devices, losing them and finding them again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter.collectors.gpu.gpm import Gpm, gpm_of
from yoloscope_exporter.collectors.gpu.probe import DeviceLost, DriverGone, Probe, said
from yoloscope_exporter.collectors.gpu.xid import XidWatch
from yoloscope_exporter.language import text
from yoloscope_exporter.system import NVML, unload, wsl

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterator

    from yoloscope_exporter.collectors.gpu.device_cycle import Reading

    Answerer = Callable[..., Any]

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a driver that is not there.
RETRY = 5.0
#: Seconds between two new sessions while every device is lost: some drivers show one again only then. While others
#: answer there is none: it would cost them their GPM samples and their events.
REOPEN = 60.0


@dataclass(eq=False)
class Device:
    """A GPU, or a MIG instance of one.

    Attributes:
        gpu: value of the label: the NVML index, `0/3` for MIG device 3 of GPU 0.
        ask: questions to the device itself.
        facts: uuid, name, driver version, CUDA version, PCI bus address.
        mig: whether this is a whole GPU in MIG mode.
        parent: the whole GPU, for a MIG instance.
        instance: the GPU instance's id, for a MIG instance.
        refused: fields of nvmlDeviceGetFieldValues it does not have.
        constants: what never changes, once it was answered; a maximum clock takes an H200's driver 1.8 ms.
    """

    gpu: str
    ask: Probe
    facts: tuple[str, ...]
    mig: bool = False
    parent: Device | None = None
    instance: int | None = None
    refused: set[int] = field(default_factory=set)
    constants: dict[Reading, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What makes counters go on: label and uuid."""
        return self.gpu, self.facts[0]

    @property
    def whole(self) -> Device:
        """The GPU it is, or is a part of."""
        return self.parent or self

    @cached_property
    def driver(self) -> tuple[int, ...]:
        """Version of the driver, for comparison; empty if it is not known."""
        return tuple(int(part) for part in self.facts[2].split(".") if part.isdecimal())

    @property
    def identity(self) -> tuple[object, ...]:
        """What must not have changed for this object to be used on after a new look."""
        return *self.key, self.mig, self.instance

    @cached_property
    def gpm(self) -> Gpm | None:
        """Its performance metrics, where it has them."""
        return gpm_of(self.whole.ask, self.instance)

    def close(self) -> None:
        """Give back what is held; may be called more than once."""
        source = self.__dict__.pop("gpm", None)
        if source is not None:
            source.close()


class Session:
    """Keeps NVML open and knows the devices.

    Attributes:
        devices: those NVML shows, in its order, MIG instances behind their GPU.
        lost: whole GPUs that do not answer by their labels, with their last facts, empty if they were never known. NVML
            may show one all the same, and answer what it knows by heart: it is back once it was read as a whole.
        xids: their Xid errors.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Open nothing yet; `clock` gives monotonic seconds."""
        self.devices: list[Device] = []
        self.lost: dict[str, tuple[str, ...]] = {}
        self.xids = XidWatch()
        self._clock = clock
        self._open = False
        self._retry_at = -RETRY
        self._reopen_at = 0.0
        self._versions = ("", "")
        self._why = ""

    @property
    def is_open(self) -> bool:
        """Whether NVML is initialised."""
        return self._open

    @property
    def answering(self) -> list[Device]:
        """The devices without those of a lost GPU."""
        return [device for device in self.devices if device.whole.gpu not in self.lost]

    def ensure(self) -> None:
        """Be open and know the devices.

        Raises:
            DriverGone: no library, no driver, or no device.
        """
        if not self._open:
            if self._clock() < self._retry_at:
                raise DriverGone(self._why)
            self._try_to_open()
            log.info("NVML is open: driver %s, CUDA %s", *self._versions)
            self.refresh()
        if not self.devices and not self.lost:
            self.close()
            raise self._gone(text("the NVIDIA driver shows no GPU"))

    def _try_to_open(self) -> None:
        try:
            initialise()
            version = nvml.nvmlSystemGetCudaDriverVersion()
            self._versions = (_text(nvml.nvmlSystemGetDriverVersion), f"{version // 1000}.{version % 1000 // 10}")
        except nvml.NVMLError as error:
            raise self._gone(_no_driver(int(error.value))) from None
        self._open = True

    def _gone(self, why: str) -> DriverGone:
        """What to raise where there is nothing to be had; the next attempt waits a while."""
        self._why = why
        self._retry_at = self._clock() + RETRY
        return DriverGone(why)

    def refresh(self) -> None:
        """Look at the devices again: some may be new, gone, back, or cut differently by MIG.

        Raises:
            DriverGone: as for `ensure`.
        """
        if self.lost and not self.answering and self._clock() >= self._reopen_at:
            self._reopen_at = self._clock() + REOPEN
            self._reopen()
        try:
            count = int(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            raise DriverGone(said(int(error.value))) from None
        known = {device.identity: device for device in self.devices}
        found = [known.pop(device.identity, device) for index in range(count) for device in self._look_up(index)]
        for device in known.values():
            device.close()
        self.devices = found
        self.lost = {gpu: facts for gpu, facts in self.lost.items() if int(gpu) < count}

    def _reopen(self) -> None:
        self._give_back()
        self._try_to_open()

    def _look_up(self, index: int) -> Iterator[Device]:
        gpu = str(index)
        try:
            probe = Probe(nvml.nvmlDeviceGetHandleByIndex(index), gpu, self._clock)
            mode = probe(nvml.nvmlDeviceGetMigMode)
            mig = bool(mode and mode[0] == nvml.NVML_FEATURE_ENABLED)
            device = Device(gpu, probe, self._facts(probe), mig=mig)
            instances = list(self._instances(device)) if mig else []
        except (nvml.NVMLError, DeviceLost) as error:
            self._note_loss(gpu, str(error))
            return
        yield device
        yield from instances

    def _instances(self, parent: Device) -> Iterator[Device]:
        for index in range(parent.ask(nvml.nvmlDeviceGetMaxMigDeviceCount) or 0):
            handle = parent.ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, index)
            if handle is None:
                continue
            gpu = f"{parent.gpu}/{index}"
            probe = Probe(handle, gpu, self._clock)
            instance = probe(nvml.nvmlDeviceGetGpuInstanceId)
            facts = (*self._facts(probe)[:-1], parent.facts[-1])
            yield Device(gpu, probe, facts, parent=parent, instance=instance)

    def _facts(self, probe: Probe) -> tuple[str, ...]:
        pci = probe(nvml.nvmlDeviceGetPciInfo_v3)
        bus = _decode(pci.busId) if pci is not None else ""
        return (_text(probe, nvml.nvmlDeviceGetUUID), _text(probe, nvml.nvmlDeviceGetName), *self._versions, bus)

    def lose(self, device: Device, why: str) -> None:
        """Take a device that does not answer, and its MIG instances, out of the list."""
        whole = device.whole
        self._note_loss(whole.gpu, why)
        for one in [one for one in self.devices if one.whole is whole]:
            one.close()
            self.devices.remove(one)

    def welcome(self, device: Device) -> None:
        """A device was read as a whole: if it was lost, it is back."""
        if self.lost.pop(device.gpu, None) is not None:
            log.warning("GPU %s is back", device.gpu)

    def _note_loss(self, gpu: str, why: str) -> None:
        if gpu in self.lost:
            return
        self.lost[gpu] = next((device.facts for device in self.devices if device.gpu == gpu), ())
        self._reopen_at = self._clock() + REOPEN
        log.warning("GPU %s does not answer: %s; looking for it again from time to time", gpu, why)

    def drop(self, why: str) -> str:
        """The driver is gone: let go of everything, and try again after a while; returns what to tell."""
        gone = self._gone(text("the NVIDIA driver went away: {why}", why=why))
        self.close()
        return str(gone)

    def close(self) -> None:
        """Give everything back; may be called at any time."""
        self._give_back()
        self.lost.clear()

    def watch_xids(self) -> None:
        """Count the Xid errors since the last call."""
        self.xids.read({one.gpu: one.ask.handle for one in self.answering if one.parent is None})

    def _give_back(self) -> None:
        self.xids.release()
        for device in self.devices:
            device.close()
        self.devices = []
        if not self._open:
            return
        self._open = False
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError as error:
            log.debug("nvmlShutdown: %s", error)


def _no_driver(code: int) -> str:
    if code == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return text("no NVIDIA driver here ({nvml} is missing)", nvml=NVML)
    return text("the NVIDIA driver cannot be used: {said}", said=said(code))


def initialise() -> None:
    """nvmlInit; after a driver upgrade under our feet, with the library that fits the new driver.

    Raises:
        nvml.NVMLError: no library, or no driver.
    """
    wsl.prefer_windows_driver()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            raise
        _forget_library()
        nvml.nvmlInit()


def _forget_library() -> None:
    """Unload libnvidia-ml.so.1, so that the next nvmlInit loads the file that is installed now.

    nvidia-ml-py offers no way to do so. Its functions are looked up anew, as the old addresses are void.
    """
    library: ctypes.CDLL | None = nvml.nvmlLib
    if library is None:
        return
    nvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001
    nvml.nvmlLib = None
    unload(library._handle)  # noqa: SLF001


def _text(ask: Callable[..., Any], *arguments: object) -> str:
    try:
        return _decode(ask(*arguments))
    except UnicodeDecodeError:
        return ""


def _decode(text: str | bytes | None) -> str:
    """Versions of nvidia-ml-py differ in what they return."""
    return text.decode(errors="replace") if isinstance(text, bytes) else text or ""
