"""A node under attack: a running exporter, and a training of somebody else's that nothing may happen to.

The exporter is root's, or that of the user whose number is in `YOLOSCOPE_FAULTS_USER`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.exporter.test_serve import get, wait_for
from tests.users import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Row = Callable[[str, str, object], None]

USER = os.environ.get("YOLOSCOPE_FAULTS_USER", "")
FLEET = Path(__file__).parents[1] / "benchmarks" / "fleet.py"
#: A training of Alice's that goes on.
VICTIM = """
made = record("victim", facts={"model": "m"})
slot = made.slot(catalog.TRAIN_BATCHES_TOTAL, "victim", "0")
last = made.slot(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, "victim", "0")
import threading
def train():
    while True:
        made.begin(); made.values[slot] += 1; made.values[last] = time.time(); made.end(time.time()); time.sleep(0.02)
threading.Thread(target=train, daemon=True).start()
"""
BATCHES = r'yoloscope_train_batches_total\{rank="0",run="victim"'
#: 0 where the snapshot is older than three cycles, on a machine without a free CPU: no run is told of then.
RUNS_UP = r'yoloscope_collector_up\{collector="runs"'
UP = re.compile(r'^yoloscope_train_up\{rank="([^"]*)",run="([^"]*)"\} (\d)', re.MULTILINE)


class Exporter:
    """A running exporter."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        """Take the process, its address and what it writes on stderr."""
        self.process, self.url, self.log = process, url, log

    def metrics(self) -> str:
        """The exposition now."""
        return get(f"{self.url}/metrics")[1]

    def up(self) -> dict[str, bool]:
        """Runs whose rank 0 is shown, and whether it lives."""
        return {run: value == "1" for rank, run, value in UP.findall(self.metrics()) if rank == "0"}

    def ranks(self) -> int:
        """That live."""
        return sum(value == "1" for _, _, value in UP.findall(self.metrics()))

    def value(self, pattern: str) -> float:
        """The first value whose line begins so; NaN if there is none."""
        return value(self.metrics(), pattern)

    def collector(self, name: str) -> bool:
        """Whether a collector is up."""
        return self.value(rf'yoloscope_collector_up\{{collector="{name}"') == 1

    def series(self) -> int:
        """Of one scrape."""
        return sum(not line.startswith("#") for line in self.metrics().splitlines())

    def age(self) -> float:
        """Seconds since the snapshot that is served."""
        return time.time() - self.value("yoloscope_snapshot_timestamp_seconds")

    def milliseconds(self, collector: str = "runs") -> float:
        """That the last cycle of a collector took."""
        return 1e3 * self.value(rf'yoloscope_collector_duration_seconds\{{collector="{collector}"')

    def megabytes(self) -> float:
        """Resident."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)

    def threads(self) -> int:
        """Of the process."""
        return int(psutil.Process(self.process.pid).num_threads())

    def refused(self) -> set[str]:
        """Reasons."""
        return set(re.findall(r'records_refused_total\{reason="(\w+)"', self.metrics()))


def value(text: str, pattern: str) -> float:
    """The first value of an exposition whose line begins so; NaN if there is none."""
    found = re.search(rf"(?m)^{pattern}\S* (\S+)", text)
    return float(found[1]) if found else float("nan")


@contextmanager
def serving(
    base: Path,
    log: Path,
    *flags: str,
    environ: Mapping[str, str] | None = None,
    without: tuple[str, ...] = ("stacks", "post_mortem", "gpu"),
    descriptors: int = 0,
) -> Iterator[Exporter]:
    """An exporter over a directory; with so many descriptors at most, if a number is given."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address=127.0.0.1:0", *flags]
    command += [f"--no-collector.{name}" for name in without]
    if descriptors:
        command = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(descriptors), *command]
    if USER:
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        _open_to_all(log.parent)
    path = os.pathsep.join(sys.path)
    with log.open("wb") as out:
        variables = {**environment(), **(environ or {}), "PYTHONPATH": path, "YOLOSCOPE_DIR": str(base)}
        process = subprocess.Popen(command, env=variables, stderr=out)
    try:
        wait_for(lambda: b"url=" in log.read_bytes(), 30)
        url = re.search(r"url=(\S+)", log.read_text())[1]  # type: ignore[index]
        wait_for(lambda: get(f"{url}/-/ready")[0] == 200, 30)
        yield Exporter(process, url, log)
    finally:
        process.kill()
        process.wait()


def _open_to_all(folder: Path) -> None:
    """What pytest makes for a test is root's alone."""
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.geteuid() and part.is_relative_to(tempfile.gettempdir()):
            part.chmod(part.stat().st_mode | 0o755)
    for inside in folder.rglob("*"):
        inside.chmod(inside.stat().st_mode | (0o755 if inside.is_dir() else 0o444))


@contextmanager
def fleet(base: Path, ranks: int) -> Iterator[None]:
    """So many processes of a run, each of which writes a batch every quarter of a second."""
    command = [sys.executable, str(FLEET), str(base), str(ranks), "0"]
    variables = {**environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.terminate()
