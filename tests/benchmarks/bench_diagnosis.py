"""What the diagnosis costs the exporter: 8 GPUs, 8 ranks x 8 workers, a snapshot a second, in one process.

python tests/benchmarks/bench_diagnosis.py            # milliseconds per cycle, share of a core, memory of the windows
python tests/benchmarks/bench_diagnosis.py --write    # put the figures into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter import simulation  # noqa: E402
from yoloscope_exporter.diagnosis.live import Live  # noqa: E402

from tests.benchmarks import page  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Sample

START = 1_790_000_000.0
WARM, CYCLES = 120, 300
HEAD = (
    "## Diagnosis",
    "",
    "One node with 8 GPUs and a training of 8 ranks with 8 loader workers each, simulated; a snapshot a second, the",
    "diagnosis' part alone. CPU time of its thread.",
    "",
    "| training | samples per snapshot | cycle | cycle with a judgement | of one core | memory held |",
    "|---|---|---|---|---|---|",
)
LEGEND = ("Cycles are medians; the share of a core is the mean over all cycles. Every fifth cycle judges all ranks.",)


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    section = measure()
    print(section)
    if options.write:
        page.write(section)


def measure() -> str:
    """Feed simulated snapshots; the simulation's own time is left out. CPU time, so that neighbours do not count."""
    rows = []
    for scenario in ("healthy", "starved"):
        plain, judged, samples = cycles(scenario)
        share = (sum(plain) + sum(judged)) / CYCLES
        rows.append(
            f"| {scenario} | {samples} | {1000 * statistics.median(plain):.2f} ms "
            f"| {1000 * statistics.median(judged):.1f} ms | {share:.2%} | {held(scenario) / 2**20:.1f} MiB |"
        )
    return "\n".join([*HEAD[:2], page.made_by("bench_diagnosis.py"), *HEAD[2:], *rows, "", *LEGEND])


def cycles(scenario: str) -> tuple[list[float], list[float], int]:
    """CPU seconds of the cycles without and with a judgement, and the number of samples."""
    live = Live()
    plain: list[float] = []
    judged: list[float] = []
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
