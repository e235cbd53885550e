"""What the exporter costs and how true it is, beside node_exporter on the same machine in the same run.

python tests/benchmarks/bench_scrape.py                   # all of it, some minutes
python tests/benchmarks/bench_scrape.py --cycles 10000    # fewer accelerated cycles
python tests/benchmarks/bench_scrape.py --write           # put the figures into docs/benchmarks.md

8 fake GPUs (the real nvidia-ml-py on tests/fake_nvml), 8 ranks with 8 loader workers as real processes with real
records. Needs cc and prometheus-node-exporter.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import httptools  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from yoloscope_exporter import catalog, collectors  # noqa: E402
from yoloscope_exporter.collectors import ActiveRanks, Collector, Context  # noqa: E402
from yoloscope_exporter.config import defaults  # noqa: E402
from yoloscope_exporter.sampling.exposition import Form  # noqa: E402
from yoloscope_exporter.sampling.sampler import Rejections, Sampler  # noqa: E402
from yoloscope_exporter.sampling.sources import Source  # noqa: E402

from tests.benchmarks import page  # noqa: E402
from tests.fake_nvml import FakeNvml, steps  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RANKS, WORKERS = 8, 8
ROUNDS = 7  # of latency and CPU: the machine has slow minutes, so the middle round counts, and the range is shown
SCRAPES = 200  # in each round
WATCH_SECONDS = 30  # in each round
KEPT, NEW = "kept connection", "new connection"
SQUARE = "period=3 duty=0.3 low=0 high=95"
SQUARE_MEAN = 0.3 * 0.95
PROMETHEUS = {  # the headers of Prometheus 2.42
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}


class Target(NamedTuple):
    """A process that serves metrics."""

    name: str
    pid: int
    host: str
    port: int


@contextmanager
def child(
    command: Sequence[str], environment: Mapping[str, str] | None = None, stderr: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone when the block is left."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, 15)


@contextmanager
def fleet(records: Path, ranks: int = RANKS, workers: int = WORKERS) -> Iterator[None]:
    """A node full of trainings."""
    path = str(ROOT / "tests" / "benchmarks" / "fleet.py")
    command = [sys.executable, path, str(records), str(ranks), str(workers)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'exporter'}:{ROOT / 'trainer_hooks'}"}
    with child(command, environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while len(list(records.glob("*/*.rec"))) < ranks * (workers + 1):
            time.sleep(0.1)
        yield


@contextmanager
def exporter(records: Path, environment: Mapping[str, str]) -> Iterator[Target]:
    """`yoloscope serve` at its defaults."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address=127.0.0.1:0"]
    with child([*command, f"--path.records={records}"], environment, subprocess.PIPE) as process:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            if found := re.search(r"url=http://([\d.]+):(\d+)", line):
                break
        assert found, "the exporter did not start"
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or a full pipe would stop it
        target = Target("yoloscope", process.pid, found[1], int(found[2]))
        _await(target)
        yield target


@contextmanager
def node_exporter() -> Iterator[Target]:
    """Debian's node_exporter at its defaults."""
    binary = shutil.which("prometheus-node-exporter")
    assert binary, "apt-get install prometheus-node-exporter"
    port = 19100
    command = [binary, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with child(command) as process:
        target = Target("node_exporter", process.pid, "127.0.0.1", port)
        _await(target)
        yield target


#: Answers each connection with the same bytes, and does nothing else.
BARE = """
import socket, sys
answer = open(sys.argv[1], "rb").read()
listening = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listening.getsockname()[1], flush=True)
while True:
    connection, _ = listening.accept()
    connection.recv(65536)
    connection.sendall(answer)
    connection.close()
"""


#: The libraries' part: the same bytes by Starlette on uvicorn with httptools, and nothing of ours.
LIBRARIES = """
import socket, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = open(sys.argv[1], "rb").read()
async def metrics(request):
    return Response(body, headers={"Content-Encoding": "gzip"}, media_type="text/plain")
listening = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listening.getsockname()[1], flush=True)
app = Starlette(routes=[Route("/metrics", metrics)])
config = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, access_log=False)
uvicorn.Server(config).run([listening])
"""


@contextmanager
def sending(name: str, program: str, content: bytes, directory: Path) -> Iterator[Target]:
    """A process of `program` that answers with `content` from memory, whatever is asked."""
    file = directory / f"{len(content)}-bytes"
    file.write_bytes(content)
    with child([sys.executable, "-c", program, str(file)]) as process:
        assert process.stdout is not None
        target = Target(name, process.pid, "127.0.0.1", int(process.stdout.readline()))
        _await(target)
        yield target


def _await(target: Target) -> None:
    for _ in range(100):
        with suppress(OSError):
            scrape(target)
            return
        time.sleep(0.1)
    raise TimeoutError(f"{target.name} does not answer")


def scrape(target: Target, headers: Mapping[str, str] = PROMETHEUS) -> bytes:
    """One scrape over a connection of its own."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=dict(headers))
        return connection.getresponse().read()
    finally:
        connection.close()


REQUEST = "\r\n".join(
    ["GET /metrics HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in PROMETHEUS.items()), "", ""]
).encode()


class Client:
    """A Prometheus, but for its own cost: Python's client takes half a millisecond for itself, as a scrape does."""

    def __init__(self, target: Target, *, keep: bool) -> None:
        """Ask `target`, on one connection if it may be kept and the target keeps it."""
        self._target = target
        self._keep = keep
        self._connection: socket.socket | None = None

    def ask(self) -> bytes:
        """One scrape, connecting where there is no connection: all bytes of the answer."""
        connection = self._connection or socket.create_connection((self._target.host, self._target.port), timeout=10)
        connection.sendall(REQUEST)
        self._parser, self._complete, data = httptools.HttpResponseParser(self), False, b""
        while not self._complete:
            part = connection.recv(1 << 18)
            assert part, "closed in the middle of an answer"
            self._parser.feed_data(part)
            data += part
        self._connection = connection if self._keeps else None
        if not self._keeps:
            connection.close()
        return data

    def on_headers_complete(self) -> None:
        """The parser has seen whether the target keeps the connection."""
        self._keeps = self._keep and self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """The parser has seen the end of the answer."""
        self._complete = True


def values(target: Target) -> dict[tuple[str, ...], float]:
    """A scrape by name and label values."""
    families = text_string_to_metric_families(scrape(target, {}).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


# --- the four measurements ------------------------------------------------------------------------------------------


def latency(clients: Mapping[str, Client], scrapes: int = SCRAPES) -> dict[str, list[float]]:
    """Milliseconds of each scrape, sorted; the clients take turns, at moments that do not beat with the sampling.

    Who comes first after the pause finds the machine cold, and who comes second to the same target finds it warm, so
    the order is another one each time.
    """
    names, dice = list(clients), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(scrapes):
        dice.shuffle(names)
        for name in names:
            begin = time.perf_counter()
            answer = clients[name].ask()
            times[name].append((time.perf_counter() - begin) * 1e3)
            assert answer.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")), answer[:80]
        time.sleep(0.05 + 0.0137 * (number % 7))
    return {name: sorted(found) for name, found in times.items()}


def without_pauses(client: Client, scrapes: int = 5000) -> float:
    """Median milliseconds of scrapes one straight after the other."""
    times = []
    for _ in range(scrapes):
        begin = time.perf_counter()
        client.ask()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Resident memory, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def share(target: Target, seconds: float = WATCH_SECONDS) -> float:
    """Per cent of one core, scraped every 15 s as Prometheus would."""
    begin, cpu = time.monotonic(), cpu_seconds(target.pid)
    while (left := begin + seconds - time.monotonic()) > 0:
        scrape(target)
        time.sleep(min(15.0, left))
    return 100 * (cpu_seconds(target.pid) - cpu) / (time.monotonic() - begin)


def accuracy(target: Target, scrapes: int = 5) -> tuple[float, list[float]]:
    """Mean utilisation by the counter over scrapes 15 s apart, and what the gauge said at each of them."""
    busy, gauge = (catalog.GPU_BUSY_SECONDS_TOTAL.name, "0"), (catalog.GPU_UTILIZATION_RATIO.name, "0")
    seen = []
    for number in range(scrapes):
        if number:
            time.sleep(15)
        now = values(target)
        seen.append((now[catalog.SNAPSHOT_TIMESTAMP_SECONDS.name,], now[busy], now[gauge]))
    (start, before, _), (end, after, _) = seen[0], seen[-1]
    return (after - before) / (end - start), [value for *_, value in seen]


class Clock:
    """A clock that runs ahead."""

    def __init__(self) -> None:
        """Start with the real one."""
        self.now = time.time()

    def __call__(self) -> float:
        """Read it."""
        return self.now


def growth(records: Path, cycles: int) -> dict[str, list[float]]:
    """Memory (MB), descriptors and threads of this process at a tenth and at the end of so many cycles."""
    clock = Clock()
    rejections = Rejections()
    settled = defaults()  # once, as the exporter does: it looks for third parties' collectors
    context = Context(
        procfs=Path("/proc"),
        sysfs=Path("/sys"),
        records=records,
        clock=clock,
        wall=clock,
        reject=rejections,
        trainers=ActiveRanks(),
        config=lambda: settled,
    )
    sources = [
        Source(module, collector) for module in collectors.MODULES for collector in collectors.build(module, context)
    ]
    sources += [
        Source(name, Collector(name, tuple), derived=collectors.derive(name, context)) for name in collectors.DERIVED
    ]
    sampler = Sampler(sources, interval=1.0, reject=rejections, clock=clock, wall=clock)
    seen: dict[str, list[float]] = {"resident": [], "descriptors": [], "threads": []}
    for number in range(cycles):
        clock.now += 1.0
        sampler.cycle()
        if number % 15 == 0:
            sampler.exposition(Form(openmetrics=True, gzipped=True))
        if number + 1 in (cycles // 10, cycles):
            seen["resident"].append(resident(os.getpid()))
            seen["descriptors"].append(len(list(Path("/proc/self/fd").iterdir())))
            seen["threads"].append(threading.active_count())
    sampler.stop()
    return seen


# --- putting it together --------------------------------------------------------------------------------------------


def measure(cycles: int, count: int) -> list[str]:
    """All four; lines of the report."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))  # where records lie
        nvml = FakeNvml(root, steps("healthy_h100x8")[0])
        environment = {**nvml.environment(), "YOLOSCOPE_DIR": str(root / "records")}
        full, small = root / "records", root / "small"
        with fleet(full), exporter(full, environment) as ours, node_exporter() as theirs:
            time.sleep(12)  # one round of the slow sources
            series = sum(line[:1] not in (b"#", b"") for line in scrape(ours, {}).split(b"\n"))
            load = os.getloadavg()[0]
            print(f"{count} rounds of {WATCH_SECONDS} s ...", file=sys.stderr, flush=True)
            cpu = [share(ours) for _ in range(count)]
            with (
                sending("bare", BARE, Client(ours, keep=False).ask(), root) as least,
                sending("Starlette and uvicorn", LIBRARIES, scrape(ours), root) as alone,
            ):
                clients = {
                    f"{target.name}, {kind}": Client(target, keep=kind == KEPT)
                    for target in (ours, theirs)
                    for kind in (KEPT, NEW)
                }
                clients[f"{alone.name}, {KEPT}"] = Client(alone, keep=True)
                clients["bare"] = Client(least, keep=False)
                print(f"{count} rounds of {SCRAPES} scrapes ...", file=sys.stderr, flush=True)
                rounds = [latency(clients) for _ in range(count)]
            warm = without_pauses(clients[f"yoloscope, {KEPT}"])
            nvml.set({"gpu.0.square": SQUARE})
            mean, gauges = accuracy(ours)
            memory = resident(ours.pid)
        kept = f"yoloscope, {KEPT}"
        shown = (statistics.median(statistics.median(one[kept]) for one in rounds), statistics.median(cpu))
        print("p50 {:.2f} ms, CPU {:.2f} %; now {} cycles ...".format(*shown, cycles), file=sys.stderr, flush=True)
        with fleet(small, 1, 2):
            command = [sys.executable, __file__, "--growth", str(small), "--cycles", str(cycles)]
            grown = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    return report(series, rounds, warm, cpu, memory, mean, gauges, grown, cycles, load)


def middle(values: Sequence[float], unit: str) -> str:
    """The median over the rounds, and the range."""
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


def p99(ascending: Sequence[float]) -> float:
    """99 % of the values are below."""
    return ascending[int(0.99 * len(ascending))]


def report(  # noqa: PLR0917 - one of each figure
    series: int,
    rounds: Sequence[Mapping[str, Sequence[float]]],
    warm: float,
    cpu: Sequence[float],
    memory: float,
    mean: float,
    gauges: Sequence[float],
    grown: Mapping[str, list[float]],
    cycles: int,
    load: float,
) -> list[str]:
    """The section of docs/benchmarks.md."""
    p50 = {name: [statistics.median(one[name]) for one in rounds] for name in rounds[0]}
    slow = {name: [p99(one[name]) for one in rounds] for name in rounds[0]}
    ours, theirs = f"yoloscope, {KEPT}", f"node_exporter, {KEPT}"
    ratio = statistics.median(mine / other for mine, other in zip(p50[ours], p50[theirs], strict=True))
    scrapes = [
        f"| {name}, {which} | {middle(values[name], 'ms')} | {wanted if name == ours else ''} |"
        for name in p50
        for which, values, wanted in (("p50", p50, "<= 0.5 ms"), ("p99", slow, "<= 5 ms"))
    ]
    stood = ", ".join(
        f"{name} {before:.0f} -> {after:.0f}" for name, (before, after) in grown.items() if name != "resident"
    )
    heap = "{:.1f} -> {:.1f} MB".format(*grown["resident"])
    shown = ", ".join(f"{100 * value:.0f}" for value in gauges)
    return [
        "## Exporter",
        "",
        page.made_by("bench_scrape.py"),
        f"8 fake GPUs, {RANKS} ranks with {WORKERS} workers as real processes, {series} series, sampling every second.",
        "",
        "| what | measured | wanted |",
        "|---|---|---|",
        *scrapes,
        f"| our p50 over node_exporter's, {KEPT} | {ratio:.3f} | <= 0.1 |",
        f"| CPU, of one core | {middle(cpu, '%')} | <= 2 % |",
        f"| resident memory | {memory:.1f} MB | <= 64 MB |",
        f"| {cycles} accelerated cycles (a tenth of them -> all): memory | {heap} | no growth |",
        f"| the same: descriptors and threads | {stood} | no growth |",
        f"| a square wave's mean, true {SQUARE_MEAN:.1%}, by the counter | {mean:.1%} | within 2 points |",
        f"| the same, by the gauge at each scrape | {shown} % | |",
        "",
        f"CPU and scrapes are those of the middle one of {len(rounds)} rounds (in brackets: least to most), for the",
        f"machine has slow minutes; its load was {load:.1f} at the start. A round is {WATCH_SECONDS} s or {SCRAPES}",
        "scrapes of each. The wave is at 95 % for 30 % of every 3 s, and is scraped every 15 s. All are scraped in",
        "turn with Prometheus' headers, through a bare socket: Python's own client takes half a millisecond itself.",
        "`Starlette and uvicorn` send the same bytes from memory with nothing of ours: the difference is what we add.",
        "`bare` is the least: a process that sends those bytes to whoever connects. Each scrape comes after a pause,",
        f"as Prometheus' do, and finds cold caches: in a loop without pauses the median of ours is {warm:.2f} ms.",
    ]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100_000, help="accelerated cycles (default 100000)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of latency and CPU (default {ROUNDS})")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    parser.add_argument("--growth", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.growth:
        print(json.dumps(growth(options.growth, options.cycles)))
        return
    lines = measure(options.cycles, options.rounds)
    print("\n".join(lines))
    if options.write:
        page.write("\n".join(lines))


if __name__ == "__main__":
    main()
