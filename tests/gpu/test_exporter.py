"""The GPU collectors on a real driver: metrics against `nvidia-smi -q` for the same moment, and the cost of a cycle.

Not part of the default run: `pytest tests/gpu/test_exporter.py -s` on a machine with an NVIDIA driver.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.collectors import Collector, Context
from yoloscope_exporter.collectors.gpu import collectors
from yoloscope_exporter.config import defaults

from tests.gpu import nvidia_smi

if TYPE_CHECKING:
    from collections.abc import Iterator

if shutil.which("nvidia-smi") is None:
    pytest.skip("needs an NVIDIA driver", allow_module_level=True)

CYCLES = 30


@pytest.fixture
def halves() -> Iterator[list[Collector]]:
    """The fast and the slow collector, as the exporter makes them."""
    context = Context(
        Path("/proc"), Path("/sys"), Path("/nowhere"), time.monotonic, time.time, lambda *_: None, config=defaults
    )
    made = list(collectors(context))
    yield made
    for collector in made:
        collector.close()


def values(halves: list[Collector]) -> nvidia_smi.Values:
    """One cycle of both, without histograms."""
    samples = [sample for half in halves for sample in half.collect()]
    return {(s.metric.name, s.labels): s.value for s in samples if not isinstance(s.value, tuple)}


def test_every_metric_against_nvidia_smi(halves: list[Collector]) -> None:
    """What nvidia-smi gives a number for is published, and is that number, or was a moment before or after."""
    before = values(halves)
    text = subprocess.run(["nvidia-smi", "-q", "-x"], check=True, capture_output=True, text=True).stdout
    after = values(halves)
    compared, wrong = nvidia_smi.compare(ET.fromstring(text), (before, after))
    print(f"{compared} figures compared")
    assert compared
    assert wrong == []


def test_cost_per_cycle(halves: list[Collector]) -> None:
    """Prints what the driver takes for a fast and for a slow cycle; a fast one must fit into its second."""
    values(halves)
    for half in halves:
        times = []
        for _ in range(CYCLES):
            began = time.perf_counter()
            list(half.collect())
            times.append(time.perf_counter() - began)
            time.sleep(0.05)
        print(f"{half.name}: median {statistics.median(times) * 1e3:.2f} ms, worst {max(times) * 1e3:.2f} ms")
        assert statistics.median(times) < 1.0
