"""Runs an exporter for a day's cycles, as fast as they go, and measures whether it grows.

    python -m tests.faults.soak 86400
    python -m tests.faults.soak 86400 --seconds 1800        # as many of them as half an hour takes
    python -m tests.faults.soak 9000 --without pages --census   # what holds the memory, and whether pages do

Each cycle is a second of a clock that exporter and trainings share, so that a day's history passes, runs expire and are
removed, and diagnoses come and go, as in a day. Meanwhile four runs train at a time and end in every way, three pages
are open and are opened anew, a Prometheus scrapes, and the configuration is changed and reloaded. The server's own
clock is the real one: pages get their messages twice as often instead.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import psutil

from tests.exporter.test_serve import get, wait_for
from tests.fake_nvml import FakeNvml
from tests.faults import memory
from tests.faults.accelerated import CENSUS, Clock

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

DAY = 86_400
PAGES = 3
PARTS = ("runs", "pages", "scrapes", "reloads")
RELOAD_EVERY, LOOK_EVERY = 5.0, 2.0  # real seconds
#: Before this the hour of history fills; a measurement is judged by what comes after.
WARM = 4200
#: A third of the cycles may have so much more than the third before.
MORE_MEMORY, MORE_DESCRIPTORS, MORE_THREADS = 0.02, 2, 1


class Point(NamedTuple):
    """One look: cycles so far, resident megabytes, descriptors, threads, runs ever begun, milliseconds of a scrape."""

    cycles: int
    megabytes: float
    descriptors: int
    threads: int
    runs: int
    scrape: float = 0.0


def grown(points: Sequence[Point]) -> list[str]:
    """What has grown from the middle third of the warm looks to the last one; empty if nothing has."""
    warm = [one for one in points if one.cycles >= WARM]
    if len(warm) < 9:
        return [f"too short to tell: {len(warm)} looks after {WARM} cycles"]
    middle, last = warm[len(warm) // 3 : 2 * len(warm) // 3], warm[2 * len(warm) // 3 :]
    limits = {
        "megabytes": lambda before: before * (1 + MORE_MEMORY),
        "descriptors": lambda before: before + MORE_DESCRIPTORS,
        "threads": lambda before: before + MORE_THREADS,
    }
    medians = {name: [median(getattr(one, name) for one in part) for part in (middle, last)] for name in limits}
    return [f"{name}: {a:g}, then {b:g}" for name, (a, b) in medians.items() if b > limits[name](a)]


# --- the processes ------------------------------------------------------------------------------------------------


def start(role: str, folder: Path, **environ: str) -> subprocess.Popen[bytes]:
    """One of the two, as a process."""
    path = os.pathsep.join(sys.path)
    variables = {**os.environ, **environ, "PYTHONPATH": path, "YOLOSCOPE_DIR": str(folder / "records")}
    command = [sys.executable, "-m", "tests.faults.accelerated", role, str(folder)]
    with (folder / f"{role}.log").open("wb") as log:
        return subprocess.Popen(command, env=variables, stderr=log)


# --- who looks at it ----------------------------------------------------------------------------------------------


class Page(threading.Thread):
    """A page that is opened, looked at for some seconds, and opened again."""

    def __init__(self, url: str, number: int, counts: Counter[str], ended: threading.Event) -> None:
        """Each has dice of its own."""
        super().__init__(daemon=True)
        self._url, self._counts, self._ended = url.partition("://")[2], counts, ended
        self._dice = random.Random(number)

    def run(self) -> None:
        """Until all is over."""
        while not self._ended.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._open()

    def _open(self) -> None:
        connection = http.client.HTTPConnection(self._url, timeout=10)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.request("GET", "/api/v1/events?lang=zh", headers={"Accept": "text/event-stream"})
            answer = connection.getresponse()
            self._counts["pages"] += answer.status == http.client.OK
            end = time.monotonic() + self._dice.uniform(1, 12)
            while time.monotonic() < end and not self._ended.is_set() and (line := answer.readline()):
                self._counts["messages"] += line.startswith(b"data:")
        finally:
            connection.close()


def configure(folder: Path, number: int) -> None:
    """Write settings that differ from those before."""
    other = number % 2
    text = f"collector: {{network: {str(not other).lower()}}}\n"
    text += f"runs: {{keep: {1 + other}m, keep-killed: 5m, remove-after: 1h}}\n"
    (folder / "config.yml").write_text(text, encoding="ascii")


def look(folder: Path, process: subprocess.Popen[bytes], clock: Clock, scrape: float) -> Point:
    """What the exporter takes now; a scrape has taken so many milliseconds."""
    one = psutil.Process(process.pid)
    with one.oneshot():
        begun = int((folder / "runs").read_text(encoding="ascii") or 0) + 1
        return Point(clock.ticks, one.memory_info().rss / 1e6, one.num_fds(), one.num_threads(), begun, scrape)


def scraped(url: str, counts: Counter[str]) -> float:
    """Milliseconds until all metrics are there."""
    begun = time.monotonic()
    counts["scrapes"] += 1
    try:
        get(f"{url}/metrics")
    except OSError:  # within five seconds
        counts["unanswered"] += 1
    return 1e3 * (time.monotonic() - begun)


def soak(cycles: int, seconds: float, folder: Path, without: Collection[str] = ()) -> tuple[list[Point], Counter[str]]:
    """Run so many cycles, or as many as there is time for; what was seen meanwhile, and counts of what was done.

    `without` names those of PARTS that are left out.
    """
    (folder / "records").mkdir(mode=0o1777)
    (folder / "runs").write_text("0", encoding="ascii")
    clock, counts, ended, points = Clock(folder / "clock"), Counter[str](), threading.Event(), list[Point]()
    nvml = FakeNvml(folder, {"gpus": 2}).environment()
    with ExitStack() as stack:
        configure(folder, 0)
        process = start("exporter", folder, **{name: nvml[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONTROL")})
        for one in (process, *([] if "runs" in without else [start("trainings", folder)])):
            stack.callback(one.wait)
            stack.callback(one.kill)
        log = folder / "exporter.log"
        wait_for(lambda: "url=" in log.read_text(), 60)
        url = log.read_text().partition("url=")[2].split()[0]
        wait_for(lambda: get(f"{url}/-/ready")[0] == 200, 60)
        stack.callback(ended.set)
        for number in range(0 if "pages" in without else PAGES):
            Page(url, number, counts, ended).start()
        end = time.monotonic() + seconds
        for number in count():
            if clock.ticks >= cycles or time.monotonic() > end or process.poll() is not None:
                break
            took = 0.0 if "scrapes" in without else scraped(url, counts)
            points.append(look(folder, process, clock, took))
            if number * LOOK_EVERY % RELOAD_EVERY < LOOK_EVERY and "reloads" not in without:
                counts["reloads"] += 1
                configure(folder, counts["reloads"])
                process.send_signal(signal.SIGHUP)
            time.sleep(LOOK_EVERY)
        assert process.poll() is None, log.read_text()[-3000:]
        points.append(look(folder, process, clock, points[-1].scrape))
        counts["errors"] = log.read_text().count("level=error")
        if counts["errors"]:
            sys.stdout.write(log.read_text()[-3000:])
    return points, counts


def table(points: Sequence[Point]) -> str:
    """The curve: twelve of the looks."""
    chosen = [points[round(index * (len(points) - 1) / 11)] for index in range(12)]
    rows = [
        f"| {one.cycles:,} | {one.runs:,} | {one.megabytes:.1f} | {one.descriptors} | {one.threads} "
        f"| {one.scrape:.0f} |"
        for one in chosen
    ]
    head = "| cycles | runs so far | MB | descriptors | threads | ms of a scrape |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cycles", nargs="?", type=int, default=DAY, help="how many")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--without", nargs="+", choices=PARTS, default=(), help="leave these out")
    parser.add_argument("--census", action="store_true", help="tell where the memory is")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        begun = time.monotonic()
        if given.census:
            os.environ[CENSUS] = "1"
        points, counts = soak(given.cycles, given.seconds, Path(name), given.without)
        census = memory.table(Path(name, "census")) + "\n" if given.census else ""
    found = grown(points)
    told = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    sys.stdout.write(f"{table(points)}\n{points[-1].cycles:,} cycles in {time.monotonic() - begun:.0f} s; {told}\n")
    taken = sorted(one.scrape for one in points)
    sys.stdout.write(f"a scrape: {median(taken):.0f} ms, the slowest {taken[-1]:.0f} ms\n{census}")
    sys.stdout.write(f"grown: {'; '.join(found) or 'nothing'}\n")
    sys.exit(bool(found) or bool(counts["errors"]))


if __name__ == "__main__":
    main()
