"""The machine before a training: driver, GPUs, memory, disk, shared memory; looks at disks and the PCI bus itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN, Finding
from yoloscope_exporter.checks.readings import values
from yoloscope_exporter.diagnosis.rules import environment
from yoloscope_exporter.diagnosis.ultralytics_arguments import DEFAULTS
from yoloscope_exporter.language import finished, joined, text, units
from yoloscope_exporter.measures.thresholds import THRESHOLDS
from yoloscope_exporter.system import os

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from yoloscope_exporter.checks.readings import Reading

NVIDIA = "0x10de"
#: How the class of a display controller begins, with or without a screen.
DISPLAY = "0x03"


class Gpu(NamedTuple):
    """A GPU, or a MIG instance of one; bytes are absent where the driver knows no memory of its own."""

    label: str
    name: str
    total: float | None
    used: float

    @property
    def in_use(self) -> bool:
        """Whether somebody has more of it than the programs of a desktop take."""
        return self.used >= THRESHOLDS["held_bytes"].value


class Driver(NamedTuple):
    """What NVML tells: versions, and the GPUs by index; why it tells nothing, if it does not."""

    version: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    why: str = ""

    @property
    def whole(self) -> tuple[Gpu, ...]:
        """Without MIG instances."""
        return tuple(gpu for gpu in self.gpus if "/" not in gpu.label)


def driver(readings: Sequence[Reading]) -> Driver:
    """What the collectors of GPUs have found. A lost GPU is left out: that it is lost is told of the collector."""
    samples = [sample for reading in readings for sample in reading.samples]
    facts = {one.labels[0]: one.labels for one in samples if one.metric is catalog.GPU_INFO}
    error = next((str(one.error) for one in readings if one.name == "gpu" and one.error), "")
    if not facts:
        return Driver(why=error)
    total, used = values(samples, catalog.GPU_MEMORY_TOTAL_BYTES), values(samples, catalog.GPU_MEMORY_USED_BYTES)
    lost = {labels[0] for labels, up in values(samples, catalog.GPU_UP).items() if not up}
    gpus = tuple(
        Gpu(index, name, total.get((index,)), used.get((index,), 0.0))
        for index, (_, _, name, *_) in sorted(facts.items(), key=lambda item: units.in_order(item[0]))
        if index not in lost
    )
    version, cuda = next(iter(facts.values()))[3:5]
    return Driver(version, cuda, gpus)


def nvidia_on_the_bus(sysfs: Path) -> int:
    """How many NVIDIA display controllers the PCI bus has; 0 where there is no such list."""
    try:
        devices = list((sysfs / "bus/pci/devices").iterdir())
    except OSError:
        return 0
    return sum(map(_is_nvidia, devices))


def _is_nvidia(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
    except OSError:
        return False
    return vendor == NVIDIA and kind.startswith(DISPLAY)


def gpus(found: Driver, on_the_bus: int) -> Iterator[Finding]:
    """The driver, and each GPU with who has it."""
    if not found.version:
        yield _without_driver(found, on_the_bus)
        return
    yield Finding(
        OK, text("driver"), text("NVIDIA {version}, CUDA up to {cuda}", version=found.version, cuda=found.cuda)
    )
    free = [gpu.label for gpu in found.gpus if not gpu.in_use]
    for gpu in found.gpus:
        yield _gpu(gpu, free)


def _without_driver(found: Driver, on_the_bus: int) -> Finding:
    if not on_the_bus:
        return Finding(NOTE, text("driver"), finished(found.why) or text("no NVIDIA GPU is seen"))
    told = text("an NVIDIA GPU is on the bus, but nothing can be asked of it: {why}", why=finished(found.why))
    fix = text("install NVIDIA's driver, after an update restart the machine; in a container: docker run --gpus all")
    return Finding(FAIL, text("driver"), told, fix)


def _gpu(gpu: Gpu, free: Sequence[str]) -> Finding:
    subject = text("GPU {index}", index=gpu.label)
    if gpu.total is None:
        told = text(
            "{name}: the driver knows no memory of its own, as where it shares the CPUs' (Jetson, GB10): "
            "the node's is judged",
            name=gpu.name,
        )
        return Finding(NOTE, subject, told)
    sizes = {"used": units.size(gpu.used), "total": units.size(gpu.total)}
    told = text("{name}, {used} of {total} in use", name=gpu.name, **sizes)
    if not gpu.in_use:
        return Finding(OK, subject, told)
    whose = text("nvidia-smi and `yoloscope top` show by whom")
    other = [index for index in free if "/" not in index]
    fix = text("{whose}; device={free} is free", whose=whose, free=other[0]) if other else whose
    return Finding(WARN, subject, told, fix)


def memory(readings: Sequence[Reading]) -> Iterator[Finding]:
    """What of the node's memory is left."""
    samples = [sample for reading in readings for sample in reading.samples]
    total = values(samples, catalog.MEMORY_TOTAL_BYTES).get(())
    available = values(samples, catalog.MEMORY_AVAILABLE_BYTES).get(())
    if total and available is not None:
        tight = available / total < 1 - THRESHOLDS["host_memory"].value
        fix = text("end what is not needed, or train with fewer workers and without cache=ram")
        yield _space(text("memory"), _left(available, total), fix if tight else "")


def _left(free: float, total: float) -> str:
    return text("{free} of {total} left", free=units.size(free), total=units.size(total))


def _space(subject: str, left: str, fix: str) -> Finding:
    """Enough, or with a fix a warning."""
    return Finding(WARN if fix else OK, subject, left, fix)


def disk(folder: Path) -> Iterator[Finding]:
    """Where results and data sets are written."""
    total, _, free = shutil.disk_usage(folder)
    if not os.access(folder, os.W_OK):
        yield Finding(
            WARN,
            text("disk"),
            text("{folder} cannot be written, and Ultralytics writes there", folder=folder),
            text("yolo settings runs_dir=DIR, or project=DIR"),
        )
        return
    low = free / total < THRESHOLDS["disk_low"].value
    fix = text("remove old runs and caches, or write elsewhere: project=DIR")
    yield _space(text("disk"), joined((str(folder), _left(free, total)), ": "), fix if low else "")


def shared_memory(folder: Path) -> Iterator[Finding]:
    """Whether loader workers can hand batches over, with Ultralytics' own workers, batch and imgsz."""
    if not folder.is_dir():  # only Linux has one
        return
    total, _, free = shutil.disk_usage(folder)
    needed = environment.prefetched(*(float(DEFAULTS[name]) for name in ("workers", "batch", "imgsz")))
    told = joined((str(folder), _left(free, total)), ": ")
    if free >= needed:
        yield _space(text("shared memory"), told, "")
        return
    number, size = DEFAULTS["workers"], units.size(needed)
    dying = text("{workers} workers may prefetch {needed} and die with a bus error", workers=number, needed=size)
    yield _space(text("shared memory"), joined((told, dying)), environment.MORE_SHARED_MEMORY)
