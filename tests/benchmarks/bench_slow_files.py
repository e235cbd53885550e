"""Twenty slow files planted among two thousand images of real trainings: which are told, and what the list costs.

python tests/benchmarks/bench_slow_files.py             # four trainings of 500 images, and the cost of one
python tests/benchmarks/bench_slow_files.py --cost      # the cost alone
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from click.testing import CliRunner  # noqa: E402
from yoloscope_exporter.cli import main as yoloscope  # noqa: E402
from yoloscope_hooks import decoding  # noqa: E402

from tests.training import make_dataset, train  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS, IMAGES, PLANTED = 4, 500, 5
ROUNDS, READS = 9, 20_000
#: The fifth of a run's files is quick to compute and slow to read, as from far away.
FAR = """
import time
from ultralytics.data import base
plain = base.imread
def imread(path, *arguments, **named):
    if "/train/0404." in str(path):
        time.sleep(0.5)
    return plain(path, *arguments, **named)
base.imread = imread
"""


def plant(folder: Path) -> set[str]:
    """Four large files and one that is far away; their names."""
    import cv2  # noqa: PLC0415 - comes with ultralytics
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(0)
    large = random.integers(0, 255, (2500, 3000, 3), np.uint8)
    names = {"0404.jpg"}
    for index, suffix in ((0, ".png"), (101, ".png"), (202, ".jpg"), (303, ".jpg")):
        (folder / f"{index:04d}.jpg").unlink()
        names.add(f"{index:04d}{suffix}")
        cv2.imwrite(str(folder / f"{index:04d}{suffix}"), large)
    return names


def told(base: Path, number: int) -> tuple[set[str], set[str]]:
    """The files that were planted into one training, and those that are told of it."""
    folder, records = base / f"run-{number}", base / f"records-{number}"
    os.environ["YOLOSCOPE_DIR"] = str(records)
    data = make_dataset(folder / "data", images=IMAGES)
    planted = plant(folder / "data" / "images" / "train")
    done = train(data, folder / "runs", timeout=900, workers=2, epochs=1, everywhere=FAR)
    if done.code:
        raise SystemExit(done.output)
    printed = CliRunner().invoke(yoloscope, ["diagnose", "--black-box", _newest(records), "--format", "json"]).stdout
    files = json.loads(printed)["runs"][0]["slow_files"]
    return planted, {Path(file["path"]).name for file in files}


def _newest(records: Path) -> str:
    from yoloscope_exporter.recordings import postmortem  # noqa: PLC0415

    return postmortem.runs(records)[0]


def cost() -> list[float]:
    """Microseconds of CPU time that an image costs more, with and without the list in turn; its reader does nothing."""
    return [_reading(measured=True) - _reading(measured=False) for _ in range(ROUNDS)]


def _reading(*, measured: bool) -> float:
    dataset: Any = SimpleNamespace(ims=[None] * READS, cache=False, im_files=["/nowhere"] * READS)
    dataset.load_image = lambda index: (None, (640, 640), (640, 640))
    if measured:
        found = decoding.instrument(dataset)
        if found is None:
            raise SystemExit("the reader is not measured")
        found.least = 1.0  # the list is full of slower files, as it is soon
    read = dataset.load_image
    began = time.thread_time()
    for index in range(READS):
        read(index)
    return (time.thread_time() - began) / READS * 1e6


def section(found: Sequence[tuple[set[str], set[str]]], costs: Sequence[float]) -> str:
    """For docs/benchmarks.md."""
    load = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {machine}; load {load:.1f}; `python tests/benchmarks/bench_slow_files.py`.",
        "",
        "| | |",
        "|---|---|",
    ]
    if found:
        planted, named = (sum(len(part) for part in parts) for parts in zip(*found, strict=True))
        right = sum(len(one & other) for one, other in found)
        lines += [
            f"| images, trainings | {RUNS * IMAGES}, {RUNS} |",
            f"| planted files that are in the lists of their runs | {right} of {planted} |",
            f"| other files in the lists | {named - right} |",
        ]
    lines.append(f"| CPU time per image, median of {ROUNDS} pairs | {statistics.median(costs):.2f} us |")
    return "\n".join(lines)


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true", help="the cost of an image alone")
    alone = parser.parse_args().cost
    costs = cost()
    with tempfile.TemporaryDirectory() as folder:
        found = [] if alone else [told(Path(folder), number) for number in range(RUNS)]
    print(section(found, costs))


if __name__ == "__main__":
    main()
