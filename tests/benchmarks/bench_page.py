"""What the live page costs: its size, the time until it is useful, ten open pages, and the memory of its history.

python tests/benchmarks/bench_page.py                   # all of it, some minutes
python tests/benchmarks/bench_page.py --rounds 2        # fewer pairs of rounds
python tests/benchmarks/bench_page.py --write           # put the figures into docs/benchmarks.md

The exporter is that of bench_scrape.py: 8 fake GPUs, 8 ranks with 8 loader workers as real processes. Needs cc and
chromium.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter import simulation  # noqa: E402
from yoloscope_exporter.history.store import History  # noqa: E402
from yoloscope_exporter.web import assets  # noqa: E402
from yoloscope_exporter.web import page as live  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.benchmarks.bench_scrape import (  # noqa: E402
    KEPT,
    Client,
    Target,
    exporter,
    fleet,
    latency,
    middle,
    p99,
    resident,
    share,
)
from tests.chromium import chromium  # noqa: E402
from tests.fake_nvml import FakeNvml, steps  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGES, ROUNDS, LOADS = 10, 5, 5
SECONDS, SCRAPES = 30.0, 100
USEFUL = """document.body.dataset.state === "live" && document.querySelector("#verdicts").innerText
  && document.querySelectorAll("figure:not([hidden]) canvas").length > 5 && performance.now()"""


@contextmanager
def reading(target: Target, pages: int) -> Iterator[None]:
    """So many pages that are open and read what they are told."""
    request = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(pages):
            connection = stack.enter_context(socket.create_connection((target.host, target.port), timeout=60))
            connection.sendall(request)
            stack.callback(connection.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=_drain, args=(connection,), daemon=True).start()
        time.sleep(5)  # the first message is the large one
        yield


def _drain(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed meanwhile
        while connection.recv(1 << 18):
            pass


def useful(url: str, folder: Path) -> list[float]:
    """Milliseconds from the beginning of the navigation until verdict and charts stand there, the first time cold."""
    with chromium(folder) as tab:
        found = []
        for _ in range(LOADS):
            tab.go(url)
            found.append(tab.wait(USEFUL, 60))
            tab.go("about:blank")
    return found


def held(cycles: int) -> tuple[float, float, float]:
    """Memory of a history (MB) after a tenth and after all of so many cycles, one a second, and the CPU time of one."""
    node = simulation.fleet("healthy", 1, 8, start=1_790_000_000.0)
    (name,) = node.trainings
    samples = [node.node(name, 1_790_000_000.0 + 600 + 2 * step) for step in range(20)]
    history, now = History(), 1_790_000_000.0
    begun = resident(os.getpid())
    grown, cpu = [], time.thread_time()
    for cycle in range(cycles):
        now += 1
        history.feed(now, samples[cycle // 2 % len(samples)])
        if cycle + 1 in (cycles // 10, cycles):
            gc.collect()
            grown.append(resident(os.getpid()) - begun)
    return grown[0], grown[1], (time.thread_time() - cpu) / cycles


def measure(rounds: int, cycles: int) -> list[str]:
    """The section of docs/benchmarks.md."""
    assert shutil.which("cc"), "apt-get install gcc"
    early, late, feed = held(cycles)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))  # where records lie
        environment = {
            **FakeNvml(root, steps("healthy_h100x8")[0]).environment(),
            "YOLOSCOPE_DIR": str(root / "records"),
        }
        stack.enter_context(fleet(root / "records"))
        ours = stack.enter_context(exporter(root / "records", environment))
        time.sleep(120)  # so that there is a past to draw
        load = os.getloadavg()[0]
        alone, watched, p50 = [], [], {"alone": [], "watched": []}
        slow: dict[str, list[float]] = {"alone": [], "watched": []}
        client = {f"yoloscope, {KEPT}": Client(ours, keep=True)}
        for _ in range(rounds):
            for name, cpu in (("alone", alone), ("watched", watched)):
                with reading(ours, PAGES if name == "watched" else 0):
                    cpu.append(share(ours, SECONDS))
                    (times,) = latency(client, SCRAPES).values()
                p50[name].append(statistics.median(times))
                slow[name].append(p99(times))
        memory = resident(ours.pid)
        shown = useful(f"http://{ours.host}:{ours.port}/", root / "chromium")
    return report(alone, watched, p50, slow, memory, shown, (early, late, feed), cycles, load)


def report(  # noqa: PLR0917 - one of each figure
    alone: Sequence[float],
    watched: Sequence[float],
    p50: dict[str, list[float]],
    slow: dict[str, list[float]],
    memory: float,
    shown: Sequence[float],
    history: tuple[float, float, float],
    cycles: int,
    load: float,
) -> list[str]:
    """The section, line by line."""
    html = live.render("en", "/metrics").encode()
    size = len(html) + sum(len(one.body) for one in assets.assets().values())
    sent = len(html) + sum(len(one.gzipped) for one in assets.assets().values())
    grown = "{:.1f} -> {:.1f}".format(*history)
    added = [more - less for more, less in zip(watched, alone, strict=True)]
    return [
        "## Live page",
        "",
        page.made_by("bench_page.py"),
        f"The exporter of 8 fake GPUs and 8 ranks with 8 workers; load of the machine at the start {load:.1f}.",
        "",
        "| what | measured | wanted |",
        "|---|---|---|",
        f"| page with script, styles and charts | {size / 1000:.0f} kB, {sent / 1000:.0f} kB as sent | <= 150 kB |",
        f"| until it is useful, Chromium, first load | {shown[0]:.0f} ms | <= 1000 ms |",
        f"| the same, later loads | {statistics.median(shown[1:]):.0f} ms | |",
        f"| CPU that {PAGES} open pages add, of one core | {middle(added, '%')} | <= 1 % |",
        f"| CPU of the exporter meanwhile | {middle(watched, '%')} | <= 3 % |",
        f"| scrape, p50, nobody looks | {middle(p50['alone'], 'ms')} | |",
        f"| scrape, p50, {PAGES} open pages | {middle(p50['watched'], 'ms')} | as above |",
        f"| scrape, p99, nobody looks | {middle(slow['alone'], 'ms')} | |",
        f"| scrape, p99, {PAGES} open pages | {middle(slow['watched'], 'ms')} | |",
        f"| resident memory, pages open | {memory:.1f} MB | <= 64 MB |",
        f"| history, {cycles} cycles (a tenth of them -> all): memory | {grown} MB | no growth |",
        f"| CPU of the history while nobody looks, of one core | {100 * history[2]:.2f} % | |",
        "",
        f"Rounds of {SECONDS:.0f} s and {SCRAPES} scrapes, without pages and with {PAGES} of them in turn; the middle",
        f"one of {len(alone)} (in brackets: least to most). Pages are connections that read the stream. Useful is one",
        "with its verdict and more than five charts drawn.",
    ]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"pairs of rounds (default {ROUNDS})")
    parser.add_argument("--cycles", type=int, default=100_000, help="cycles of the history (default 100000)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    lines = measure(options.rounds, options.cycles)
    print("\n".join(lines))
    if options.write:
        page.write("\n".join(lines))


if __name__ == "__main__":
    main()
