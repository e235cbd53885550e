"""What the hooks cost: microseconds per batch of all callbacks, and the throughput of a training with and without them.

python tests/benchmarks/bench_hooks.py                  # callbacks alone, some seconds
python tests/benchmarks/bench_hooks.py --end-to-end 5   # and five pairs of real trainings, some minutes
python tests/benchmarks/bench_hooks.py --write          # put the figures into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import yoloscope_hooks  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.trainer_hooks.loop import Loop, Workers  # noqa: E402
from tests.training import make_dataset, train  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCHES = 20_000
EPOCH = 500
ROUNDS = 5


def microseconds_per_batch(trainer: Loop, batches: int = BATCHES) -> list[float]:
    """Time of every batch of a loop in which nothing but the callbacks and taps costs anything."""
    trainer.train_loader.batches = EPOCH
    batch = {"img": [0, 1, 2, 3]}
    trainer.run("on_pretrain_routine_start")
    trainer.run("on_train_start")
    times = []
    for index in range(batches):
        if index % EPOCH == 0:
            trainer.epoch = index // EPOCH
            trainer.run("on_train_epoch_start")
        began = time.perf_counter()
        trainer.run("on_train_batch_start")
        trainer.step(batch)
        trainer.run("on_train_batch_end")
        times.append((time.perf_counter() - began) * 1e6)
    trainer.run("teardown")
    return times


def with_torch(trainer: Loop) -> Loop:
    """Give the loop real tensors, a dict of scalars as Ultralytics has since 8.4.110, and loader workers to look at."""
    import torch  # noqa: PLC0415 - the benchmark runs without it, too

    losses = {name: torch.tensor(0.3) for name in ("box_loss", "cls_loss", "dfl_loss")}
    step = trainer.step
    trainer.train_loader.iterator = Workers()

    def stepped(batch: Any) -> None:
        step(batch)
        trainer.loss, trainer.tloss = losses["box_loss"], losses

    trainer.step = stepped  # type: ignore[method-assign]
    return trainer


def callbacks_alone(folder: Path) -> list[tuple[str, float, float]]:
    """Median and 99th percentile in microseconds, the bare loop taken off; of several rounds the quietest."""
    bare, watched = [], []
    for index in range(ROUNDS):
        bare.append(_figures(microseconds_per_batch(with_torch(Loop(folder)))))
        model = yoloscope_hooks.attach(with_torch(Loop(folder)), run=f"bench{index}")
        watched.append(_figures(microseconds_per_batch(model)))
        print(f"round {index}: bare {bare[-1][0]:.1f}, watched {watched[-1][0]:.1f} us", flush=True)
    loop = min(bare)[0]
    rows = [("yoloscope, all callbacks and taps", min(watched))]
    for name, peer in (("TensorBoard, six scalars per batch", tensorboard), ("TraceML, `trace_step` alone", traceml)):
        try:
            rows.append((name, _figures(peer(folder))))
        except ImportError as error:  # noqa: PERF203 - two peers
            print(f"not compared: {error}")
    return [(name, median - loop, p99 - loop) for name, (median, p99) in rows]


def tensorboard(folder: Path) -> list[float]:
    """Per batch what Ultralytics' own TensorBoard callback does per epoch: write losses and learning rates."""
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    def write_scalars(trainer: Loop) -> None:
        for name in ("train/box", "train/cls", "train/dfl", "lr/pg0", "lr/pg1", "lr/pg2"):
            writer.add_scalar(name, 0.5, trainer.epoch)

    writer = SummaryWriter(str(folder / "tensorboard"))
    trainer = with_torch(Loop(folder))
    trainer.callbacks["on_train_batch_end"] = [write_scalars]
    times = microseconds_per_batch(trainer, 2000)
    writer.close()
    return times


def traceml(folder: Path) -> list[float]:
    """The nearest peer's step boundary, its forward, backward and loader patches left out; it wants its own server."""
    import torch  # noqa: PLC0415
    import traceml_ai  # noqa: PLC0415

    launch = "from traceml_ai.launcher.cli import main; main()"
    command = [sys.executable, "-c", launch, "serve", "--logs-dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        traceml_ai.init(mode="manual", ui_mode="summary", logs_dir=str(folder))
        trainer, model, batch, times = with_torch(Loop(folder)), torch.nn.Linear(1, 1), {"img": [0, 1, 2, 3]}, []
        for _ in range(5000):
            began = time.perf_counter()
            with traceml_ai.trace_step(model):
                trainer.step(batch)
            times.append((time.perf_counter() - began) * 1e6)
    finally:
        server.terminate()
        server.wait()
    return times


def _figures(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def end_to_end(folder: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Images per second of alternating real trainings, without and with hooks, first epoch left out."""
    data = make_dataset(folder / "data", images=64, size=160)
    rates: dict[str, list[float]] = {"none": [], "attach": []}
    for index in range(2 * pairs):
        hooks = ("none", "attach")[(index + index // 2) % 2]
        done = train(
            data, folder / f"runs{index}", hooks=hooks, epochs=4, imgsz=160, batch=8, timeout=600, script=TIMER
        )
        seconds = [float(value) for value in re.findall(r"^EPOCH (\S+)$", done.output, re.MULTILINE)]
        rates[hooks].append(64 / statistics.median(seconds[1:]))
        print(f"{hooks:7} {rates[hooks][-1]:.2f} images/s", flush=True)
    return rates["none"], rates["attach"]


#: Runs in the training process: time of the batches of each epoch, from the second batch on.
TIMER = """
import time
def start(trainer): trainer.began = time.perf_counter()
def end(trainer): print("\\nEPOCH", time.perf_counter() - trainer.began, flush=True)
model.add_callback("on_train_epoch_start", start)
model.add_callback("on_train_epoch_end", end)
"""


def report(rows: Sequence[tuple[str, float, float]], rates: tuple[list[float], list[float]] | None) -> str:
    """The section of docs/benchmarks.md."""
    lines = [f"## Hooks\n\n{page.made_by('bench_hooks.py')}\n"]
    lines += ["| per batch | median | p99 |\n|---|---|---|"]
    lines += [f"| {name} | {median:.1f} us | {p99:.1f} us |" for name, median, p99 in rows]
    lines.append(
        "\nThe bare loop is taken off; the goal on the CPU is a median of 10 us. With CUDA events (goal 50 us) nothing "
        "was measured yet: `pytest tests/gpu/test_hooks.py -k cost -s` does, on a machine with a GPU."
    )
    if rates:
        without, with_hooks = rates
        ratio = statistics.median(with_hooks) / statistics.median(without)
        spread = (max(without) - min(without)) / statistics.median(without)
        lines.append(
            f"\nEnd to end, {len(without)} pairs of real trainings (yolo11n, 160 px, CPU), alternating: "
            f"{statistics.median(without):.2f} images/s without, {statistics.median(with_hooks):.2f} with hooks: "
            f"{(ratio - 1) * 100:+.2f} %. The trainings without hooks differ by {spread * 100:.1f} % among themselves."
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--end-to-end", type=int, default=0, metavar="PAIRS", help="pairs of real trainings")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["YOLOSCOPE_DIR"] = str(Path(folder) / "records")
        gc.collect()
        rows = callbacks_alone(Path(folder))
        section = report(rows, end_to_end(Path(folder), options.end_to_end) if options.end_to_end else None)
    print(section)
    if options.write:
        page.write(section)


if __name__ == "__main__":
    main()
