"""What of the machine would keep a training from working."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.checks import machine
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN
from yoloscope_exporter.checks.machine import Driver, Gpu
from yoloscope_exporter.checks.readings import Reading
from yoloscope_exporter.collectors import NoData

if TYPE_CHECKING:
    from pathlib import Path


class Usage(NamedTuple):
    """Of a disk."""

    total: float
    used: float
    free: float


def reading(*samples: Sample, name: str = "gpu") -> Reading:
    """What a collector has given."""
    return Reading(name, len(samples), 0.001, samples)


def test_driver_and_gpus_in_their_order() -> None:
    """As the collectors tell them, the tenth behind the second; memory is absent where the driver knows none."""
    samples = [
        Sample(catalog.GPU_INFO, (gpu, f"uuid-{gpu}", "NVIDIA H200", "580.65.06", "13.0", "00:1"), 1.0)
        for gpu in ("10", "2")
    ]
    samples += [
        Sample(catalog.GPU_MEMORY_TOTAL_BYTES, ("2",), 150e9),
        Sample(catalog.GPU_MEMORY_USED_BYTES, ("2",), 5e8),
    ]
    found = machine.driver([reading(*samples[:2], name="gpu_details"), reading(*samples[2:])])
    assert found == Driver(
        "580.65.06", "13.0", (Gpu("2", "NVIDIA H200", 150e9, 5e8), Gpu("10", "NVIDIA H200", None, 0.0))
    )


def test_a_lost_gpu_is_none_of_them() -> None:
    """Its facts are kept and tell of the driver, but it is neither free nor one that shares the node's memory."""
    info = [
        Sample(catalog.GPU_INFO, (gpu, f"uuid-{gpu}", "NVIDIA H200", "580.65.06", "13.0", "00:1"), 1.0) for gpu in "01"
    ]
    memory = [Sample(catalog.GPU_MEMORY_TOTAL_BYTES, ("0",), 150e9), Sample(catalog.GPU_MEMORY_USED_BYTES, ("0",), 5e9)]
    up = [Sample(catalog.GPU_UP, ("0",), 1.0), Sample(catalog.GPU_UP, ("1",), 0.0)]
    found = machine.driver([reading(*info, *memory, *up)])
    assert found == Driver("580.65.06", "13.0", (Gpu("0", "NVIDIA H200", 150e9, 5e9),))
    assert all("device=1" not in one.fix for one in machine.gpus(found, 2))
    everything_lost = [sample._replace(value=0.0) for sample in up]
    assert machine.driver([reading(*info, *everything_lost)]) == Driver("580.65.06", "13.0", ())


def test_gpus_in_use_and_free() -> None:
    """Of one that somebody holds it is said which is free; a display's 200 MiB are nobody."""
    held, free = Gpu("0", "NVIDIA A100", 80e9, 3e9), Gpu("1", "NVIDIA A100", 80e9, 200 * 2**20)
    driver, first, second = machine.gpus(Driver("1", "12.4", (held, free)), 2)
    assert (driver.severity, driver.told) == (OK, "NVIDIA 1, CUDA up to 12.4")
    assert (first.severity, first.told) == (WARN, "NVIDIA A100, 2.79 GiB of 74.5 GiB in use")
    assert first.fix == "nvidia-smi and `yoloscope top` show by whom; device=1 is free"
    assert (second.severity, second.fix) == (OK, "")
    *_, alone = machine.gpus(Driver("1", "12.4", (held,)), 1)
    assert "free" not in alone.fix


@pytest.mark.parametrize(
    ("vendor", "kind", "severity"),
    [("0x10de", "0x030200", FAIL), ("0x10de", "0x040300", NOTE), ("0x1002", "0x030000", NOTE)],
)
def test_a_gpu_without_a_driver(tmp_path: Path, vendor: str, kind: str, severity: str) -> None:
    """An NVIDIA display controller; not the sound of one, and not another maker's."""
    device = tmp_path / "bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    (device.parent / "0000:02:00.0").mkdir()
    why = Reading("gpu", error=NoData("no NVIDIA driver here (libnvidia-ml.so.1 is missing)"))
    (found,) = machine.gpus(machine.driver([why]), machine.nvidia_on_the_bus(tmp_path))
    assert found.severity == severity
    assert found.told.endswith("no NVIDIA driver here (libnvidia-ml.so.1 is missing)")
    assert ("docker run --gpus all" in found.fix) == (severity == FAIL)


def test_memory() -> None:
    """Above nine tenths in use is told; what is not known is not."""
    total = Sample(catalog.MEMORY_TOTAL_BYTES, (), 64 * 2**30)
    for available, severity in ((7 * 2**30, OK), (6 * 2**30, WARN)):
        (found,) = machine.memory([reading(total, Sample(catalog.MEMORY_AVAILABLE_BYTES, (), float(available)))])
        assert (found.severity, found.told) == (severity, f"{available / 2**30:g} GiB of 64 GiB left")
        assert bool(found.fix) == (severity == WARN)
    assert list(machine.memory([reading(total)])) == []


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a twentieth it is nearly full; a folder that cannot be written gets no results."""
    for free, severity in ((6 * 2**30, OK), (4 * 2**30, WARN)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: Usage(100 * 2**30, 0, free))
        (found,) = machine.disk(tmp_path)
        assert (found.severity, found.told) == (severity, f"{tmp_path}: {free / 2**30:g} GiB of 100 GiB left")
    monkeypatch.setattr(os, "access", lambda *_: False)
    (found,) = machine.disk(tmp_path)
    assert (found.severity, found.fix) == (WARN, "yolo settings runs_dir=DIR, or project=DIR")


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's 64 MiB are too little for Ultralytics' own workers, batch and imgsz; without one nothing is said."""
    for free, severity in ((64 * 2**20, WARN), (2**30, OK)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: Usage(2**30, 0, free))
        (found,) = machine.shared_memory(tmp_path)
        assert found.severity == severity
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(64 * 2**20, 0, 64 * 2**20))
    (found,) = machine.shared_memory(tmp_path)
    assert found.told.endswith("64 MiB of 64 MiB left; 8 workers may prefetch 600 MiB and die with a bus error")
    assert "--ipc=host" in found.fix
    assert list(machine.shared_memory(tmp_path / "none")) == []
