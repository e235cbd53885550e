"""What `yoloscope run` costs at start and end: milliseconds until the command runs, and after it has ended.

python tests/benchmarks/bench_run.py            # prints
python tests/benchmarks/bench_run.py --write    # put the figures into docs/benchmarks.md

A command says when it begins and when it ends; the time before the one and after the other is compared with that of
the same command without `run`, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter.commands import shared_exporter  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.live import free_port, get, wait_for  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
#: A command that says when it begins and ends, by the clock that all processes share.
SHORT = "import time; print(time.monotonic(), flush=True); print(time.monotonic(), flush=True)"
#: The same around a training whose events are Ultralytics' and whose steps take nothing.
TRAINING = """
import time
print(time.monotonic(), flush=True)
import pathlib, sys
from loop import Loop
import yoloscope_hooks
loop = Loop(pathlib.Path(sys.argv[1]), epochs=3, batches=200)
loop.save_dir.mkdir(parents=True, exist_ok=True)
yoloscope_hooks.attach(loop).train()
print(time.monotonic(), flush=True)
"""


class Case(NamedTuple):
    """A row: its name, the command, options of `run`, and whether an exporter is there already."""

    name: str
    command: tuple[str, ...]
    options: tuple[str, ...]
    beside: bool = False


class Times(NamedTuple):
    """Milliseconds before and after a command, and of CPU time in all."""

    start: float
    end: float
    cpu: float


def cases(folder: Path) -> list[Case]:
    """What is measured."""
    short = ("-c", SHORT)
    training = ("-c", TRAINING, str(folder))
    return [
        Case("no training, `--no-exporter`", short, ("--no-exporter",)),
        Case("no training, an exporter answers", short, (), beside=True),
        Case("no training, an exporter is started for it", short, ()),
        Case("a training with its card, `--no-exporter`", training, ("--no-exporter", "--summary")),
        Case("a training with its card, an exporter answers", training, ("--summary",), beside=True),
    ]


def measured(command: list[str], environ: dict[str, str]) -> Times:
    """One command, from its start to its end."""
    began, before = time.monotonic(), _cpu()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    ended = time.monotonic()
    first, last = map(float, done.stdout.splitlines()[:2])
    return Times((first - began) * 1e3, (ended - last) * 1e3, (_cpu() - before) * 1e3)


def _cpu() -> float:
    """CPU seconds of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(case: Case, address: str) -> list[str]:
    """The same command by `yoloscope run`, whose exporter is at `address`."""
    told = f"from yoloscope_exporter.commands import run; run.ADDRESS = {address!r}; "
    program = f"{told}from yoloscope_exporter.cli import main; main()"
    return [sys.executable, "-c", program, "run", *case.options, "--", sys.executable, *case.command]


@contextlib.contextmanager
def exporter(environ: dict[str, str]) -> Iterator[str]:
    """One that answers; the value is its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address", address]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: "yoloscope" in get(f"http://{address}/metrics"), timeout=60)
            yield address
        finally:
            process.terminate()
            process.wait(30)


def measure(folder: Path, rounds: int) -> dict[str, list[Times]]:
    """What `run` adds, by case."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("exporter", "trainer_hooks", "tests/trainer_hooks"))
    known = {key: value for key, value in os.environ.items() if not key.startswith("YOLOSCOPE_")}
    environ = known | {"PYTHONPATH": paths, "YOLOSCOPE_DIR": str(folder / "records")}
    found: dict[str, list[Times]] = {}
    with exporter(environ) as there:
        for number in range(rounds + 1):  # the first one fills caches
            for case in cases(folder):
                bare = measured([sys.executable, *case.command], environ)
                address = there if case.beside else f"127.0.0.1:{free_port()}"
                seen = measured(run(case, address), environ)
                shared_exporter.lock_path(address).unlink(missing_ok=True)
                if number:
                    added = Times(*(one - other for one, other in zip(seen, bare, strict=True)))
                    found.setdefault(case.name, []).append(added)
            print(f"round {number}", flush=True)
    return found


def report(found: dict[str, list[Times]], busy: str) -> list[str]:
    """The section of docs/benchmarks.md."""
    rows = []
    for name, times in found.items():
        columns = zip(*times, strict=True)
        cells = (f"{statistics.median(column):.0f} ms | {min(column):.0f} ms" for column in columns)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [
        "## The start and the end of a run",
        "",
        page.made_by("bench_run.py"),
        "Milliseconds that `yoloscope run` adds until the command runs and after it has ended, over the same command",
        f"without; {len(next(iter(found.values())))} pairs each, in turn.{busy}",
        "",
        "| command | start, median | at best | end, median | at best | CPU time, median | at best |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "At the start Python loads what `run` needs. At the end of a training it loads diagnosis and reports, and",
        "reads the record. After a failure, which is not in this table, it gives an exporter that is there up to three",
        "seconds to see what the run died of; otherwise it waits for nothing. CPU time includes an exporter that it",
        "starts.",
    ]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    busy = f" The machine was busy with other work meanwhile (load {load:.1f})." if load > 1 else ""
    with tempfile.TemporaryDirectory() as folder:
        lines = report(measure(Path(folder), options.rounds), busy)
    print("\n".join(lines))
    if options.write:
        page.write("\n".join(lines))


if __name__ == "__main__":
    main()
