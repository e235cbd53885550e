"""What a cycle of each collector costs, of several trees of sources side by side.

python tests/benchmarks/bench_collectors.py                       # this tree
python tests/benchmarks/bench_collectors.py OTHER_CHECKOUT .      # before and after, in one run

8 ranks of 32 threads with 8 loader workers each: 72 real processes; 8 GPUs of a fake NVML, which answers at once, so
that what the real driver takes comes on top (tests/gpu/kit measures that). CPU time of the reading process, so that
neighbours do not count. The trees take turns, round by round; a figure is the median over all cycles of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.fake_nvml import FakeNvml, steps  # noqa: E402 - of this tree

MODULES = ("gpu", "cpu", "memory", "disk", "network", "pressure", "cgroup", "process")
RANKS, WORKERS, THREADS, ROUNDS, CYCLES = 8, 8, 32, 5, 40

RANK = f"""
import os, sys, threading
for _ in range({WORKERS}):
    if os.fork() == 0:
        break
else:
    for _ in range({THREADS} - 1):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    print("up", flush=True)
threading.Event().wait(600)
"""

READER = """
import json, sys, time
from pathlib import Path
tree, cycles, procfs, modules, pids = json.loads(sys.argv[1])
sys.path[:0] = [f"{tree}/exporter", f"{tree}/trainer_hooks"]
from yoloscope_exporter.config import defaults
from yoloscope_exporter import collectors
from yoloscope_exporter.collectors import Context, Trainer
trainers = {pid: Trainer("detect/bench", str(rank), pid) for rank, pid in enumerate(pids)}
roots = Path(procfs), Path("/sys"), Path("/nowhere")
context = Context(*roots, time.monotonic, time.time, lambda *_: None, lambda: trainers, config=defaults)
times = {}
for module in modules:
    for collector in collectors.build(module, context):
        times[collector.name] = []
        for number in range(cycles + 3):
            begun = time.process_time()
            try:
                list(collector.collect())
            except Exception:  # nothing to read there
                break
            if number >= 3:
                times[collector.name].append(time.process_time() - begun)
        collector.close()
print(json.dumps(times))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", default=[str(ROOT)], help="checkouts to compare; without any, this one")
    parser.add_argument("--procfs", default="/proc", help="another /proc, such as a copy of a larger machine's")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="collectors to read")
    options = parser.parse_args()
    ranks = [start() for _ in range(RANKS)]
    work = tempfile.TemporaryDirectory()
    environment = FakeNvml(Path(work.name), steps("healthy_h100x8")[0]).environment()
    try:
        for rank in ranks:
            assert rank.stdout is not None
            rank.stdout.readline()
        found = [defaultdict[str, list[float]](list) for _ in options.trees]
        for _ in range(ROUNDS):
            for tree, times in zip(options.trees, found, strict=True):
                one = [str(Path(tree).resolve()), CYCLES, options.procfs, options.modules, [rank.pid for rank in ranks]]
                for name, values in read(one, environment).items():
                    times[name] += values
    finally:
        for rank in ranks:
            os.killpg(rank.pid, signal.SIGKILL)
            rank.wait()
        work.cleanup()
    print(table(options.trees, found))


def start() -> subprocess.Popen[str]:
    """A rank, the leader of a process group of its own."""
    command = [sys.executable, "-c", RANK]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def read(arguments: list[object], environment: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each cycle, by collector, in a process of its own."""
    command = [sys.executable, "-c", READER, json.dumps(arguments)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    times: dict[str, list[float]] = json.loads(answer.stdout)
    return times


def table(trees: list[str], found: list[defaultdict[str, list[float]]]) -> str:
    """Microseconds per cycle, as Markdown."""
    lines = [f"| collector | {' | '.join(trees)} |", "|---" * (len(trees) + 1) + "|"]
    for name in found[0]:
        cells = [f"{statistics.median(times[name]) * 1e6:,.0f} us" if times[name] else "-" for times in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
