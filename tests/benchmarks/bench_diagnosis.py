"""What the diagnosis costs the exporter: 8 GPUs, 8 ranks x 8 workers, a snapshot a second, in one process.

Prints milliseconds per cycle with and without a judgement, the share of a core, and the memory its windows hold.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING

from yoloscope_exporter import simulation
from yoloscope_exporter.diagnosis.live import Live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Sample

START = 1_790_000_000.0
WARM, CYCLES = 120, 300


def main() -> None:
    """Feed simulated snapshots; the simulation's own time is left out. CPU time, so that neighbours do not count."""
    for scenario in ("healthy", "starved"):
        plain, judged, samples = cycles(scenario)
        share = (sum(plain) + sum(judged)) / CYCLES
        print(
            f"{scenario:<8} {samples} samples: cycle {1000 * statistics.median(plain):.2f} ms, "
            f"with a judgement {1000 * statistics.median(judged):.1f} ms, {share:.2%} of a core, "
            f"{held(scenario) / 2**20:.1f} MiB held"
        )


def cycles(scenario: str) -> tuple[list[float], list[float], int]:
    """CPU seconds of the cycles without and with a judgement, and the number of samples."""
    live, plain, judged = Live(), [], []
    for second, samples in snapshots(scenario):
        before = live._judged
        begin = time.thread_time()
        live.feed(START + 60 + second, samples)
        spent = time.thread_time() - begin
        if second >= WARM:
            (judged if live._judged != before else plain).append(spent)
    return plain, judged, len(samples)


def held(scenario: str) -> int:
    """Bytes that the windows hold at the end."""
    tracemalloc.start()
    live = Live()
    for second, samples in snapshots(scenario):
        live.feed(START + 60 + second, samples)
    del samples
    gc.collect()
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return current


def snapshots(scenario: str) -> Iterator[tuple[int, list[Sample]]]:
    """Seconds and samples."""
    fleet = simulation.fleet(scenario, nodes=1, gpus=8, start=START, workers=8, onset=60.0)
    (instance,) = fleet.trainings
    for second in range(WARM + CYCLES):
        yield second, fleet.node(instance, START + 60 + second)


if __name__ == "__main__":
    main()
