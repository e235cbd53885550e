"""What the hooks cost a prediction: microseconds per call of one image, and per batch of a stream, in turn with none.

python tests/benchmarks/bench_predictions.py            # a loop in which nothing but the callbacks costs anything
python tests/benchmarks/bench_predictions.py --real 6   # so many pairs of real predictions with yolo11n instead
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import yoloscope_hooks  # noqa: E402

from tests.trainer_hooks.predictor import Predictor  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS, CALLS = 5, 4000


def calls(predictor: Predictor) -> list[float]:
    """Microseconds of each call with one image."""
    return [_taken(lambda: predictor([1])) for _ in range(CALLS)]


def batches(predictor: Predictor) -> list[float]:
    """Microseconds from batch to batch of a stream of eight images each."""
    times, last = [], time.perf_counter()
    for index, _ in enumerate(predictor([8] * CALLS, stream=True)):
        if index % 8 == 0:
            now = time.perf_counter()
            times.append((now - last) * 1e6)
            last = now
    return times[1:]


def _taken(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return (time.perf_counter() - began) * 1e6


def alone(folder: Path) -> None:
    """Both, with and without hooks in turn: of several rounds the quietest."""
    for name, measure in (("call of one image", calls), ("batch of a stream", batches)):
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for watched in (False, True):
                predictor = Predictor(folder)
                if watched:
                    yoloscope_hooks.attach(predictor)
                found[watched].append(_figures(measure(predictor)))
        (bare, bare99), (median, p99) = min(found[False]), min(found[True])
        print(f"{name}: {median - bare:.1f} us, p99 {p99 - bare99:.1f} us (the bare loop, {bare:.1f} us, taken off)")


def real(folder: Path, pairs: int) -> None:
    """Calls of yolo11n from its YAML with one image of 64 px, with and without hooks in turn."""
    import numpy as np  # noqa: PLC0415 - the benchmark runs without it, too
    import torch  # noqa: PLC0415
    from ultralytics import YOLO  # noqa: PLC0415

    torch.set_num_threads(1)
    image = np.zeros((64, 64, 3), np.uint8)
    quiet = {"imgsz": 64, "device": "cpu", "verbose": False, "save": False, "project": str(folder)}
    bare, watched = YOLO("yolo11n.yaml"), yoloscope_hooks.attach(YOLO("yolo11n.yaml"))
    ratios, added = [], []
    for _ in range(pairs):
        medians = []
        for model in (bare, watched):
            model(image, **quiet)
            medians.append(statistics.median(_taken(lambda one=model: one(image, **quiet)) for _ in range(150)))  # type: ignore[misc]
        ratios.append(medians[1] / medians[0])
        added.append(medians[1] - medians[0])
        print(f"bare {medians[0]:.0f} us, watched {medians[1]:.0f} us, {ratios[-1]:.4f}", flush=True)
    print(f"middle of {pairs} pairs: {statistics.median(added):+.0f} us per call, x {statistics.median(ratios):.4f}")


def _figures(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def main() -> None:
    """Measure, with the load of the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=0, metavar="PAIRS")
    pairs = parser.parse_args().real
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("YOLOSCOPE_DIR", "/dev/shm/yoloscope-bench")
        print(f"load {os.getloadavg()[0]:.1f}")
        if pairs:
            real(Path(folder), pairs)
        else:
            alone(Path(folder))
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
