"""Each collector once: what it gave, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.checks import readings
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK
from yoloscope_exporter.checks.readings import Reading
from yoloscope_exporter.collectors import NoData

from tests.fake_nvml import FakeNvml, steps

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_collector_gave() -> None:
    """A number, a reason why there is nothing, an error, no end, a GPU that is lost."""
    lost = Sample(catalog.GPU_UP, ("2",), 0.0)
    cases = {
        Reading("cpu", 13, 0.002): (OK, "13 samples in 2.0 ms", ""),
        Reading("gpu", error=NoData("no driver")): (NOTE, "has no data here: no driver", ""),
        Reading("disk", error=ValueError("one two")): (FAIL, "ValueError: one two", ""),
        Reading("disk", error=TimeoutError()): (FAIL, "did not finish within 10 s", "end what hangs there"),
        Reading("gpu", 1, samples=(lost,)): (FAIL, "GPU 2 does not answer: fallen off the bus", "dmesg"),
    }
    for reading, (severity, told, fix) in cases.items():
        (found,) = readings.findings([reading], [])
        assert (found.subject, found.severity, found.told) == (f"collector {reading.name}", severity, told)
        assert found.fix.startswith(fix)


def test_what_was_rejected() -> None:
    """By whom and why."""
    (found,) = readings.findings([], [Sample(catalog.SAMPLES_REJECTED_TOTAL, ("cpu", "name"), 2.0)])
    assert (found.severity, found.told) == (NOTE, "2 by cpu, reason name")


def test_compute_capabilities(tmp_path: Path) -> None:
    """Of each GPU, as the driver tells; none without a driver."""
    assert readings.capabilities() == {}
    with FakeNvml(tmp_path, steps("lost_gpu")[0]).in_process():
        told = readings.capabilities()
    assert set(told) >= {"0", "1"}
    assert all(version.replace(".", "").isdigit() for version in told.values())
