"""What the page of a Prometheus costs with a thousand runs: that Prometheus, the exporter, and who waits.

    python tests/benchmarks/bench_fleet_page.py                 # 1,000 runs, some minutes
    python tests/benchmarks/bench_fleet_page.py --runs 200      # fewer
    python tests/benchmarks/bench_fleet_page.py --days 1        # a shorter past of the run that is looked back on
    python tests/benchmarks/bench_fleet_page.py --write         # put the figures into docs/benchmarks.md

A real Prometheus holds a quarter of an hour of so many nodes, one run and one GPU each, as far as the page asks for it:
some are simulated, the others are these under other names. One run more has a week behind it, for long time ranges:
a scrape each minute, 1.5 million samples. Nobody scrapes meanwhile, so what it works is for the page.
Needs prometheus and promtool.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter import simulation  # noqa: E402
from yoloscope_exporter.history.courses import ANATOMY, OF_GPUS, OF_RANKS, OF_RUN, metrics  # noqa: E402
from yoloscope_exporter.simulation.openmetrics import lines  # noqa: E402
from yoloscope_exporter.web import fleet  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.benchmarks.bench_scale import own_metrics  # noqa: E402
from tests.benchmarks.bench_scrape import Client, Target, cpu_seconds, exporter, latency, resident  # noqa: E402
from tests.live import free_port, running  # noqa: E402
from tests.prometheus import promtool  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.catalog import Metric

SIMULATED, STEP = 20, 60
PAST, AHEAD = 300, 720
#: The run with days behind it; how long ranges of it are called, in seconds.
LASTING, DAY = "train/yolo11m-lasting-0000", 86400
RANGES = {"6 hours": DAY // 4, "a day": DAY, "a week": 7 * DAY}
#: Seconds until every page that was opened has been told something twice.
SETTLE = 16.0


def wanted() -> set[Metric]:
    """Every metric that the page asks for."""
    courses = (*OF_RUN, *OF_GPUS, *OF_RANKS, *ANATOMY)
    named = (fleet._RANKS, fleet._LISTED, fleet._OF_RUN, fleet._OF_GPU, fleet._HAPPENS, fleet._COUNTED)
    return {*metrics(course.formula for course in courses), *(one for some in named for one in some)}


def fill(directory: Path, runs: int, days: float) -> None:
    """Write what the page asks of a node for days, and of so many from PAST seconds ago to AHEAD seconds from now."""
    begin = int(time.time()) // STEP * STEP - PAST - int(days * DAY)
    one = simulation.fleet("healthy", 1, 1, start=begin, workers=2, onset=0, epochs=100_000)
    while (end := begin + DAY) < time.time():  # promtool reads all of a file for each two hours of it
        _write(directory, one, ["lasting"], begin, DAY - STEP)
        begin = end
    start = int(time.time()) // STEP * STEP - PAST
    many = simulation.fleet(
        list(simulation.SCENARIOS), min(SIMULATED, runs), 1, start=start - 600, workers=2, onset=0, speed=4
    )
    _write(directory, one, ["lasting"], begin, start + PAST + AHEAD - begin)
    _write(directory, many, [f"{copy:03d}" for copy in range(-(-runs // SIMULATED))], start, PAST + AHEAD)


def _write(directory: Path, made: simulation.Fleet, copies: Sequence[str], start: float, seconds: float) -> None:
    """Blocks with a sample each STEP, as far as the page asks for it; `copies` are the names of the same nodes."""
    asked = {metric.name for metric in wanted()}
    text = directory / "samples.txt"
    with text.open("w", encoding="utf-8") as file:
        head = list(lines([]))
        file.writelines(head[:-1])
        for scrape in made.range(start, start + seconds, STEP):
            told = "".join(line for line in lines([scrape]) if line.partition("{")[0] in asked)
            for copy in copies:
                file.write(told.replace("yolo11m-", f"yolo11m-{copy}-").replace('"node', f'"node{copy}-'))
        file.write(head[-1])
    promtool("openmetrics", str(text), str(directory / "data"))
    text.unlink()


@contextmanager
def prometheus(directory: Path) -> Iterator[Target]:
    """A server of what lies in `directory`/data, and its process."""
    config = directory / "prometheus.yml"
    config.write_text("{}")
    port = free_port()
    command = [
        shutil.which("prometheus") or "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, directory / "prometheus.log", f"http://127.0.0.1:{port}") as url:
        own = own_metrics(url)
        assert own["process_cpu_seconds_total"]
        yield Target(url, 0, "127.0.0.1", port)


@dataclass
class Looked:
    """What a page was told.

    Attributes:
        first: seconds until the first message.
        told: messages, and their bytes.
        problems: what messages say instead of showing anything.
    """

    first: float = 0.0
    told: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


def _read(connection: socket.socket, looked: Looked) -> None:
    begin, left = time.monotonic(), b""
    with suppress(OSError):  # it is closed meanwhile
        while some := connection.recv(1 << 18):
            *events, left = (left + some).split(b"\n\n")
            for event in events:
                if b"data: " not in event:
                    continue
                looked.first = looked.first or time.monotonic() - begin
                looked.told += 1
                looked.size += len(event)
                if b'"problem"' in event[:2000]:
                    looked.problems.append(json.loads(event[event.index(b"data: ") + 6 :].split(b"\r\n")[0])["problem"])


@contextmanager
def reading(ours: Target, runs: Sequence[str], seconds: float) -> Iterator[list[Looked]]:
    """A page for each of `runs`, which shows its last `seconds`."""
    looked = [Looked() for _ in runs]
    with ExitStack() as stack:
        for run, one in zip(runs, looked, strict=True):
            query = urlencode({"run": run, "seconds": f"{seconds:.0f}", "lang": "en"})
            connection = stack.enter_context(socket.create_connection((ours.host, ours.port), timeout=120))
            lines_ = (f"GET /api/v1/events?{query} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", "", "")
            connection.sendall("\r\n".join(lines_).encode())
            stack.callback(connection.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=_read, args=(connection, one), daemon=True).start()
        yield looked


def observe(ours: Target, theirs: Target, runs: Sequence[str], seconds: float, watch: float) -> dict[str, Any]:
    """CPU of both while so many pages are open, in per cent of a core; questions a minute; what the pages wait for."""
    with reading(ours, runs, seconds) as looked:
        time.sleep(SETTLE)
        before, begin, cpu = own_metrics(theirs.name), time.monotonic(), cpu_seconds(ours.pid)
        (times,) = latency({"": Client(ours, keep=True)}, int(watch / 0.1)).values()
        while time.monotonic() - begin < watch:
            time.sleep(0.5)
        after, passed = own_metrics(theirs.name), time.monotonic() - begin
        used = cpu_seconds(ours.pid) - cpu
    asked = sum(after["prometheus_http_requests_total"]) - sum(before["prometheus_http_requests_total"])
    busy = sum(after["process_cpu_seconds_total"]) - sum(before["process_cpu_seconds_total"])
    told = sum(one.told for one in looked)
    return {
        "pages": len(runs),
        "ours": 100 * used / passed,
        "theirs": 100 * busy / passed,
        "asked": 60 * asked / passed,
        "first": max((one.first for one in looked), default=0.0),
        "size": sum(one.size for one in looked) / told / 1000 if told else 0.0,
        "problems": sum(len(one.problems) for one in looked),
        "p50": times[len(times) // 2],
        "resident": resident(ours.pid),
    }


def measure(runs: int, days: float, watch: float) -> list[str]:
    """The section of docs/benchmarks.md."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yoloscope-fleet-")))
        fill(root, runs, days)
        theirs = stack.enter_context(prometheus(root))
        environment = {**os.environ, "YOLOSCOPE_PAGE_PROMETHEUS": theirs.name}
        environment["PYTHONPATH"] = os.pathsep.join((str(ROOT / "exporter"), str(ROOT / "trainer_hooks")))
        (root / "records").mkdir()
        ours = stack.enter_context(exporter(root / "records", environment))
        load = os.getloadavg()[0]
        names = [f"train/yolo11m-{number // SIMULATED:03d}-{number % SIMULATED:04d}" for number in range(runs)]
        cases = {
            "nobody looks": ([], 3600),
            "1 page": (names[:1], 3600),
            "10 pages of one run": (names[:1] * 10, 3600),
            "50 pages of one run": (names[:1] * 50, 3600),
            "10 pages of ten runs": (names[:10], 3600),
            "24 pages of 24 runs": (names[:24], 3600),
            **{f"1 page, {name}": ([LASTING], seconds) for name, seconds in RANGES.items() if seconds <= days * DAY},
            "10 pages, the longest of these": ([LASTING] * 10, days * DAY),
        }
        found = {}
        for name, (looked_at, seconds) in cases.items():
            found[name] = observe(ours, theirs, looked_at, seconds, watch)
            print(name, found[name], flush=True)
    return report(found, runs, days, watch, load)


def report(found: dict[str, dict[str, Any]], runs: int, days: float, watch: float, load: float) -> list[str]:
    """The section, line by line."""
    heads = (
        *("open pages", "CPU of the exporter", "of Prometheus", "questions a minute"),
        *("first message", "a message", "scrape, p50", "resident"),
    )
    problems = sum(one["problems"] for one in found.values())
    return [
        "## Page of a Prometheus",
        "",
        page.made_by("bench_fleet_page.py"),
        f"A Prometheus of {runs:,} runs on as many nodes with five minutes of data, and of one with {days:g} days, a",
        f"sample each minute; load of the machine {load:.1f}.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(
            f"| {name} | {one['ours']:.1f} % | {one['theirs']:.1f} % | {one['asked']:.0f} "
            f"| {1000 * one['first']:.0f} ms | {one['size']:.0f} kB | {one['p50']:.2f} ms | {one['resident']:.0f} MB |"
            for name, one in found.items()
        ),
        "",
        f"CPU in per cent of one core over {watch:.0f} s each, in this order; the exporter was scraped every tenth of",
        "a second meanwhile. Pages are connections that read the stream, of the last hour where no time is named. The",
        "first message is that of the page which waits longest, the size is the mean of all messages;",
        f"{problems} of them showed a problem.",
    ]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="in Prometheus (default 1000)")
    parser.add_argument("--days", type=float, default=7, help="behind the run that is looked back on (default 7)")
    parser.add_argument("--seconds", type=float, default=45.0, help="to watch each case (default 45)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    told = measure(options.runs, options.days, options.seconds)
    print("\n".join(told))
    if options.write:
        page.write("\n".join(told))


if __name__ == "__main__":
    main()
