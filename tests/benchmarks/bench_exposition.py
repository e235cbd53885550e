"""What it costs to write the exposition: the renderer of our own and prometheus_client's, over the same snapshots.

python tests/benchmarks/bench_exposition.py            # prints, half a minute
python tests/benchmarks/bench_exposition.py --write    # put the figures into docs/benchmarks.md

The node is that of bench_scrape.py: 8 fake GPUs, 8 ranks with 8 loader workers as real processes. Needs cc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from prometheus_client import generate_latest  # noqa: E402
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics  # noqa: E402
from yoloscope_exporter import registry  # noqa: E402
from yoloscope_exporter.config import defaults  # noqa: E402
from yoloscope_exporter.sampling.exposition import Families, Form, Renderer  # noqa: E402
from yoloscope_exporter.sampling.families import families  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.benchmarks.bench_scrape import RANKS, WORKERS, fleet  # noqa: E402
from tests.fake_nvml import FakeNvml, steps  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_exporter.catalog import Sample

ROUNDS = 30
FORMS = ((Form(), generate_latest, "text"), (Form(openmetrics=True), generate_openmetrics, "OpenMetrics"))


def measure() -> dict[str, list[float]]:
    """Milliseconds of each writer in each round, in an exporter's process; and the number of series."""
    sampler, _ = registry.sampler_of(defaults())
    renderers = {form: Renderer() for form, _, _ in FORMS}
    found: dict[str, list[float]] = {"series": []}
    for number in range(ROUNDS + 12):  # a dozen for the slow sources
        sampler.cycle()
        samples = list(sampler.snapshot)
        for form, generate, name in FORMS:
            ours, took = timed(partial(by_us, renderers[form], form, samples))
            theirs, their_took = timed(partial(by_the_library, generate, samples))
            assert ours == theirs
            if number >= 12:
                found.setdefault(f"ours, {name}", []).append(took)
                found.setdefault(f"prometheus_client, {name}", []).append(their_took)
        found["series"] = [float(sum(line[:1] != b"#" for line in ours.splitlines()))]
        time.sleep(0.3)
    sampler.stop()
    return found


def by_us(renderer: Renderer, form: Form, samples: list[Sample]) -> bytes:
    """Their exposition, by a renderer that has written the last snapshot."""
    return renderer.render(samples).get(form)


def by_the_library(generate: Callable[[Families], bytes], samples: list[Sample]) -> bytes:
    """Families of the samples, and their exposition."""
    return generate(Families(families(samples)))


def timed(write: Callable[[], bytes]) -> tuple[bytes, float]:
    """What was written, and the milliseconds it took."""
    begin = time.perf_counter()
    body = write()
    return body, (time.perf_counter() - begin) * 1e3


def report(found: dict[str, list[float]]) -> list[str]:
    """The section of docs/benchmarks.md."""
    rows = [
        f"| {name} | {statistics.median(times):.2f} ms | {min(times):.2f} ms |"
        for name, times in found.items()
        if name != "series"
    ]
    return [
        "## Exposition",
        "",
        page.made_by("bench_exposition.py"),
        f"8 fake GPUs, {RANKS} ranks with {WORKERS} workers, {found['series'][0]:.0f} series; {ROUNDS} snapshots, each",
        "written by both in turn, which gives the same bytes. Not compressed.",
        "",
        "| writer, format | median | at best |",
        "|---|---|---|",
        *rows,
        "",
        "The lines of series that did not change are kept from one snapshot to the next.",
    ]


def main() -> None:
    """Measure in a process with the fake driver, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure()))
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder)
        nvml = FakeNvml(root, steps("healthy_h100x8")[0])
        environment = {**os.environ, **nvml.environment(), "YOLOSCOPE_DIR": str(root / "records")}
        with fleet(root / "records"):
            command = [sys.executable, __file__, "--inside"]
            found = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    lines = report(found)
    print("\n".join(lines))
    if options.write:
        page.write("\n".join(lines))


if __name__ == "__main__":
    main()
