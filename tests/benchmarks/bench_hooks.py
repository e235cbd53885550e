"""What the hooks cost: microseconds per batch of all callbacks, and the throughput of a training with and without them.

python tests/benchmarks/bench_hooks.py                  # callbacks alone, some seconds
python tests/benchmarks/bench_hooks.py --end-to-end 8   # eight pairs of real trainings instead, some minutes
python tests/benchmarks/bench_hooks.py --parts 4        # by part, in real trainings; --against COMMIT in turn with it
python tests/benchmarks/bench_hooks.py --cold 80        # batches with cold caches, some seconds; --against likewise
python tests/benchmarks/bench_hooks.py --write          # put the figures into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import yoloscope_hooks  # noqa: E402

from tests.benchmarks import cold_hooks, hook_parts, page  # noqa: E402
from tests.trainer_hooks.loop import Loop, Workers  # noqa: E402
from tests.training import environment, make_dataset, train  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    Batches = list[dict[str, float]]

BATCHES = 20_000
EPOCH = 500
ROUNDS = 5
#: Of a real training.
EPOCHS, IMAGES = 6, 64
COLD_ROUNDS, COLD_PACE, COLD_WARM_UP = 2, 0.1, 5  # rounds, seconds, batches
WARM_UP, DISTURBED = 20, 0.001  # batches at the start of a training, seconds


def microseconds_per_batch(trainer: Loop, batches: int = BATCHES) -> list[float]:
    """Time of every batch of a loop in which nothing but the callbacks and wrappers costs anything."""
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
    rows = [("yoloscope, all callbacks and wrappers", min(watched))]
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
        for _ in range(2000):  # more of these empty steps than its queue takes would cost it warnings
            began = time.perf_counter()
            with traceml_ai.trace_step(model):
                trainer.step(batch)
            times.append((time.perf_counter() - began) * 1e6)
    finally:
        server.kill()  # it takes its time when asked to end
        server.wait()
    return times


def _figures(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def end_to_end(folder: Path, pairs: int) -> list[Pair]:
    """Alternating real trainings without and with hooks, on one thread, first epoch left out."""
    data = make_dataset(folder / "data", images=IMAGES, size=160)
    found = []
    for index in range(pairs):
        order = ("none", "attach") if index % 2 == 0 else ("attach", "none")
        epochs = {hooks: _epoch(data, folder / f"runs{index}-{hooks}", hooks) for hooks in order}
        found.append(Pair(epochs["none"], epochs["attach"]))
        print(f"pair {index}: CPU {found[-1].ratio('cpu'):+.2%}, wall {found[-1].ratio('wall'):+.2%}", flush=True)
    return found


def _epoch(data: Path, project: Path, hooks: str) -> Epoch:
    done = train(data, project, hooks=hooks, epochs=EPOCHS, imgsz=160, batch=8, timeout=600, script=TIMER)
    printed = re.findall(r"^EPOCH (\S+) (\S+)$", done.output, re.MULTILINE)[1:]
    wall, cpu = zip(*((float(a), float(b)) for a, b in printed), strict=True)
    return Epoch(statistics.median(wall), statistics.median(cpu))


class Epoch(NamedTuple):
    """The middle one of a training's epochs: its length and the CPU time of its process, in seconds."""

    wall: float
    cpu: float


class Pair(NamedTuple):
    """Two trainings one after the other."""

    without: Epoch
    hooks: Epoch

    def ratio(self, clock: str) -> float:
        """What the hooks add, as a share; `clock` is `wall` or `cpu`."""
        return float(getattr(self.hooks, clock) / getattr(self.without, clock) - 1)


#: Runs in the training process: time of each epoch's batches.
TIMER = """
import time
def start(trainer): trainer.began = time.perf_counter(), time.process_time()
def end(trainer):
    wall, cpu = trainer.began
    print("\\nEPOCH", time.perf_counter() - wall, time.process_time() - cpu, flush=True)
model.add_callback("on_train_epoch_start", start)
model.add_callback("on_train_epoch_end", end)
"""


def parts(folder: Path, rounds: int, imgsz: int, against: str) -> dict[str, list[Batches]]:
    """Seconds by part of each batch of each round's training, by what it was trained with, all in one process."""
    data = make_dataset(folder / "data", images=256, size=imgsz)
    hooks = {"now": str(ROOT / "trainer_hooks")}
    if against:
        hooks = {against: str(_checked_out(against, folder / "against")), **hooks}
    job = hook_parts.Job(str(data), str(folder / "runs"), hooks, rounds, imgsz)
    command = [sys.executable, hook_parts.__file__, json.dumps(asdict(job))]
    environ = environment(folder / "runs") | {"YOLOSCOPE_DIR": os.environ["YOLOSCOPE_DIR"], "PYTHONPATH": ""}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    found: dict[str, list[Batches]] = {name: [] for name in hooks}
    for name, _, batches in map(json.loads, re.findall("^PARTS (.*)$", done.stdout, re.MULTILINE)):
        found[name].append(batches[WARM_UP:])
    return found


def cold(folder: Path, batches: int, against: str) -> dict[str, list[cold_hooks.Loop]]:
    """Loops with cold caches, by what they were gone through with."""
    hooks = {"now": str(ROOT / "trainer_hooks")}
    if against:
        hooks = {against: str(_checked_out(against, folder / "against")), **hooks}
    job = cold_hooks.Job(str(folder), hooks, COLD_ROUNDS, batches, COLD_PACE)
    done = subprocess.run(
        [sys.executable, cold_hooks.__file__, json.dumps(asdict(job))], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    found: dict[str, list[cold_hooks.Loop]] = {}
    for line in re.findall("^COLD (.*)$", done.stdout, re.MULTILINE):
        loop = cold_hooks.Loop(*json.loads(line))
        found.setdefault(loop.name, []).append(loop)
    return found


def with_cold_caches(found: dict[str, list[cold_hooks.Loop]]) -> str:
    """The section `Hooks: cold caches`."""
    some = next(iter(found.values()))
    command = f"bench_hooks.py --cold {len(some[0].batches)}"
    lines = [
        f"## Hooks: cold caches\n\n{page.made_by(command)} Load {os.getloadavg()[1]:.0f} at the end.\n",
        "| us per batch: mean, median, p90 |" + "".join(f" {part} |" for part in cold_hooks.PARTS),
        "|---|" + "---|" * len(cold_hooks.PARTS),
    ]
    for name, loops in found.items():
        batches = [one for loop in loops for one in loop.batches[COLD_WARM_UP:] if max(one.values()) < DISTURBED]
        cells = [_spread([1e6 * one[part] for one in batches]) for part in cold_hooks.PARTS]
        lines.append(f"| {name} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines) + "\n" + COLD_NOTE.format(rounds=len(some), pace=COLD_PACE * 1000)


def _checked_out(commit: str, folder: Path) -> Path:
    """The hooks of a commit."""
    command = ["git", "-C", str(ROOT), "archive", commit, "trainer_hooks"]
    with tarfile.open(fileobj=BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "trainer_hooks"


def _undisturbed(batches: Batches) -> Batches:
    """Those in which no part took a millisecond: there the kernel has given the CPU to somebody else."""
    own = [{part: seconds for part, seconds in one.items() if part != hook_parts.TRAINING} for one in batches]
    return [one for one in own if max(one.values()) < DISTURBED]


def by_part(found: dict[str, list[Batches]], imgsz: int) -> str:
    """The section `Hooks: by part, in a real training`."""
    names = list(found)
    kept = {name: [one for batches in rounds for one in _undisturbed(batches)] for name, rounds in found.items()}
    lines = [
        f"## Hooks: by part, in a real training of {imgsz} px\n",
        f"{page.made_by(f'bench_hooks.py --parts {len(found[names[0]])} --imgsz {imgsz}')}",
        f"Load {os.getloadavg()[1]:.0f} at the end. "
        + "; ".join(f"`{name}`: {len(kept[name])} of {sum(map(len, found[name]))} batches" for name in names)
        + ".\n",
        "| us per batch: mean, median, p90 |" + "".join(f" {name} |" for name in names),
        "|---|" + "---|" * len(names),
    ]
    for part in (*hook_parts.PARTS, "all"):
        cells = [_spread([_part(one, part) for one in kept[name] if part == "all" or part in one]) for name in names]
        lines.append(f"| {part} |" + "".join(f" {cell} |" for cell in cells))
    if len(names) > 1:
        pairs = [
            [statistics.mean(_part(one, "all") for one in _undisturbed(batches)) for batches in pair]
            for pair in zip(*found.values(), strict=True)
        ]
        ratios = ", ".join(f"{after / before:.2f}" for before, after in pairs)
        lines.append(f"\nMean of all, `{names[1]}` over `{names[0]}`, pair by pair: {ratios}.")
    return "\n".join(lines) + "\n" + PARTS_NOTE


def _part(batch: dict[str, float], part: str) -> float:
    return 1e6 * (sum(batch.values()) if part == "all" else batch[part])


def _spread(times: Sequence[float]) -> str:
    if len(times) < 2:
        return ""
    p90 = statistics.quantiles(times, n=10)[8]
    return f"{statistics.mean(times):.0f}, {statistics.median(times):.0f}, {p90:.0f}"


def per_batch(rows: Sequence[tuple[str, float, float]]) -> str:
    """The section `Hooks` of docs/benchmarks.md."""
    lines = [f"## Hooks\n\n{page.made_by('bench_hooks.py')}\n"]
    lines += ["| per batch | median | p99 |\n|---|---|---|"]
    lines += [f"| {name} | {median:.1f} us | {p99:.1f} us |" for name, median, p99 in rows]
    return "\n".join([*lines, NOTE]) + "\n"


def in_trainings(pairs: Sequence[Pair]) -> str:
    """The section `Hooks in real trainings`."""
    batch = statistics.median(pair.without.cpu for pair in pairs) / (IMAGES / 8)
    lines = [
        f"## Hooks in real trainings\n\n{page.made_by('bench_hooks.py --end-to-end')}",
        PAIRS.format(pairs=len(pairs), milliseconds=batch * 1000),
        _added("CPU time of the training process", [pair.ratio("cpu") for pair in pairs]),
        _added("length of an epoch", [pair.ratio("wall") for pair in pairs]),
        f"\nOne us is {1e-6 / batch:.5%} of such a batch. Where an interval holds 0, the pairs show nothing.",
    ]
    return "\n".join(lines) + "\n"


NOTE = """
The bare loop is taken off; the goal on the CPU is a median of 10 us. With CUDA events (goal
50 us): [on a real GPU](#on-a-real-gpu)."""
PARTS_NOTE = """
yolo11n, batch 8, 2 workers, one thread; trainings in turn in one process, their first 20 batches left out, and batches
in which a part took 1 ms or more, where the kernel gave the CPU to somebody else. A part is in the figures of the
batches that had it. Each part has the clock around it in it: an empty function there takes about 4 us.
"""
COLD_NOTE = """
{rounds} rounds in turn, {pace:.0f} ms a batch, in which a convolution and a sweep over 16 MB throw out the caches
before each part; batches in which a part took 1 ms or more are left out.
"""
PAIRS = """\
{pairs} pairs of real trainings on the CPU (yolo11n, 160 px, batch 8: {milliseconds:.0f} ms of CPU per batch), without
and with hooks in turn, the middle epoch of each:

| what the hooks add | middle pair | 95 % interval of the mean | least, most |
|---|---|---|---|"""


def _added(name: str, ratios: Sequence[float]) -> str:
    mean, half = statistics.mean(ratios), 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5
    return (
        f"| {name} | {statistics.median(ratios):+.2%} | {mean - half:+.2%} to {mean + half:+.2%} "
        f"| {min(ratios):+.2%}, {max(ratios):+.2%} |"
    )


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--end-to-end", type=int, default=0, metavar="PAIRS", help="pairs of real trainings instead")
    parser.add_argument("--parts", type=int, default=0, metavar="ROUNDS", help="real trainings by part instead")
    parser.add_argument("--cold", type=int, default=0, metavar="BATCHES", help="with cold caches instead")
    parser.add_argument("--imgsz", type=int, default=64, help="of the trainings by part (64)")
    parser.add_argument("--against", default="", metavar="COMMIT", help="with its hooks, too, in turn (by part, cold)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["YOLOSCOPE_DIR"] = str(Path(folder) / "records")
        gc.collect()
        if options.end_to_end:
            section = in_trainings(end_to_end(Path(folder), options.end_to_end))
        elif options.parts:
            section = by_part(parts(Path(folder), options.parts, options.imgsz, options.against), options.imgsz)
        elif options.cold:
            section = with_cold_caches(cold(Path(folder), options.cold, options.against))
        else:
            section = per_batch(callbacks_alone(Path(folder)))
    print(section)
    if options.write:
        page.write(section)


if __name__ == "__main__":
    main()
