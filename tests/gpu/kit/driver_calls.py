"""How long the driver takes for each question of the exporter: every NVML function timed, over some cycles.

Prints JSON: for the fast and the slow collector, milliseconds of a cycle and, by function, calls per cycle and
milliseconds per cycle.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, PLC0415

from __future__ import annotations

import functools
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path

import pynvml

CYCLES = 15
SPENT = defaultdict(lambda: [0, 0.0])


def _timed(function):
    @functools.wraps(function)
    def timed(*args, **kwargs):
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent = SPENT[function.__name__]
            spent[0] += 1
            spent[1] += time.perf_counter() - began

    return timed


def main():
    """Time both collectors, as the exporter makes them; what they ask is replaced before they are imported."""
    for name, function in list(vars(pynvml).items()):
        if name.startswith("nvml") and type(function) is type(_timed):
            setattr(pynvml, name, _timed(function))
    from yoloscope_exporter.collectors import Context
    from yoloscope_exporter.collectors.gpu import collectors
    from yoloscope_exporter.config import defaults

    context = Context(
        Path("/proc"), Path("/sys"), Path("/nowhere"), time.monotonic, time.time, lambda *_: None, config=defaults
    )
    found = {}
    made = list(collectors(context))
    for collector in made * 2:
        list(collector.collect())
    for collector in made:
        SPENT.clear()
        times = []
        for _ in range(CYCLES):
            time.sleep(0.15)
            began = time.perf_counter()
            list(collector.collect())
            times.append((time.perf_counter() - began) * 1e3)
        calls = {
            name: [n / CYCLES, round(s * 1e3 / CYCLES, 3)]
            for name, (n, s) in sorted(SPENT.items(), key=lambda item: -item[1][1])
        }
        found[collector.name] = {"median_ms": statistics.median(times), "worst_ms": max(times), "calls": calls}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
