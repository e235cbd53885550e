"""The GPU collectors in the exporter itself: the loader finds the library, a hung driver holds nobody up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.exporter.test_serve import exporter, get, wait_for
from tests.fake_nvml import FakeNvml, steps

if TYPE_CHECKING:
    from pathlib import Path


def value(text: str, series: str) -> float | None:
    """The value of a series written out with its labels."""
    found = re.search(rf"(?m)^yoloscope_{re.escape(series)} (\S+)$", text)
    return None if found is None else float(found[1])


def test_exporter_through_a_hung_driver(tmp_path: Path) -> None:
    """While the driver hangs GPUs have no series and the host's go on; afterwards all is as before."""
    fake = FakeNvml(tmp_path, steps("data_starved")[0])
    with exporter(**fake.environment()) as (_, url):

        def scrape() -> str:
            return get(f"{url}/metrics")[1]

        wait_for(lambda: value(scrape(), 'gpu_memory_used_bytes{gpu="1"}') == 21474836480)
        fake.set({"hang.nvmlDeviceGetPowerUsage": 60})
        wait_for(lambda: value(scrape(), 'collector_up{collector="gpu"}') == 0)
        hung = scrape()
        assert value(hung, 'gpu_memory_used_bytes{gpu="1"}') is None
        assert value(hung, 'collector_up{collector="cpu"}') == 1
        before = value(hung, "snapshot_timestamp_seconds")
        wait_for(lambda: (value(scrape(), "snapshot_timestamp_seconds") or 0) > (before or 0))
        fake.unset("hang.nvmlDeviceGetPowerUsage")
        wait_for(lambda: value(scrape(), 'gpu_memory_used_bytes{gpu="1"}') == 21474836480)


def test_exporter_without_a_driver_says_so_once(tmp_path: Path) -> None:
    """Without a GPU the exporter runs, has one line about it in the log, and finds a driver that comes later."""
    fake = FakeNvml(tmp_path, {"driver_loaded": 0})
    with exporter(**fake.environment()) as (child, url):
        wait_for(lambda: value(get(f"{url}/metrics")[1], 'collector_up{collector="gpu"}') == 0)
        fake.set({"driver_loaded": 1})
        wait_for(lambda: value(get(f"{url}/metrics")[1], 'collector_up{collector="gpu"}') == 1)
        child.terminate()
        log = child.communicate(timeout=10)[1]
    assert len(re.findall(r"collector gpu has no data here", log)) <= 1
    assert "Traceback" not in log
