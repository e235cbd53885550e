"""Stages a field case: a real training on the CPU, the real exporter beside it, and what it saw as a recording.

    python -m tests.field_cases.stage callback_per_batch sleeping_storage    # writes tests/recordings/real/*.om.gz
    python -m tests.field_cases.stage --into /tmp/field healthy_detect_newest_2
    python -m tests.field_cases.stage --missing healthy --most 0.3    # those that are not recorded yet, about an hour

To be run while the machine has nothing else to do (`--most 0.3` sees to that): what others use of the CPUs stands in a
recording's first line, because it is true of that training, too.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from yoloscope_exporter.recordings.compression import unpacked

from tests import training
from tests.field_cases.cases import EVERY, Case
from tests.live import free_port, get, killed_with_its_group, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL = training.ROOT / "tests/recordings/real"
#: No verdict reads them, and they are most of a recording.
LEFT_OUT = re.compile(
    r"yoloscope_(exporter|collector|network|swap|load_average|context_switches|train_(verdict|learning_rate|job))|"
    r"(python|process)_"
)
_BUSY = "while True: pass"
#: Seconds from which on a recording has a moment every five, to stay small.
LONG = 150.0


@dataclass(frozen=True)
class Staged:
    """A recording that was made, what the training printed, and how many CPUs others used meanwhile."""

    recording: Path
    output: str
    others: float


def stage(name: str, case: Case, into: Path) -> Staged:
    """Train, watch, and write `into/name.om.gz`."""
    with tempfile.TemporaryDirectory(prefix="field-") as directory, contextlib.ExitStack() as stack:
        folder = Path(directory)
        data = training.make_dataset(
            folder / "data", images=case.images, size=case.size, task=case.options.get("task", "detect")
        )
        recorded = folder / f"{name}.om.gz"
        stop = stack.enter_context(_recorder(folder, recorded, 1.0 if case.seconds < LONG else 5.0))
        began = Clock()
        for _ in range(case.neighbours):
            stack.enter_context(_running([sys.executable, "-c", _BUSY]))
        with _trainer(case, data, folder, name) as process:
            _watch(case, process)
            others = began.others(process.pid)
            stop()
        target = into / f"{name}.om.gz"
        target.write_bytes(_small(recorded.read_bytes(), f"# {case.why}; others used {others:.1f} CPUs\n"))
        return Staged(target, (folder / "log").read_text(), others)


@contextlib.contextmanager
def _recorder(folder: Path, file: Path, interval: float) -> Iterator[object]:
    """`yoloscope serve` with `yoloscope record` beside it; the value ends the recording."""
    records = folder / "records"
    records.mkdir()
    url = f"127.0.0.1:{free_port()}"
    program = [sys.executable, "-m", "yoloscope_exporter.cli"]
    serve = ["serve", "--web.listen-address", url, "--path.records", str(records), "--log.level", "error"]
    with _running([*program, *serve]):
        wait_for(lambda: "yoloscope" in get(f"http://{url}/metrics"), what="the exporter", timeout=60)
        record = ["record", str(file), "--exporter", f"http://{url}", "--interval", f"{interval:g}s"]
        with _running([*program, *record]) as recorder:

            def stop() -> None:
                recorder.send_signal(signal.SIGINT)
                recorder.wait(30)

            yield stop


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    paths = os.pathsep.join(str(training.ROOT / part) for part in ("exporter", "trainer_hooks"))
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _trainer(case: Case, data: Path, folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """The training, ended with all its processes at the end of the block."""
    process = training.start(
        data,
        folder / "runs",
        version=case.version,
        environ={"YOLOSCOPE_DIR": str(folder / "records")},
        log=folder / "log",
        prefix=case.prefix,
        name=name,
        **case.options,
    )
    with killed_with_its_group(process):
        yield process


def _watch(case: Case, process: subprocess.Popen[str]) -> None:
    """Until it has ended, or has been watched for long enough; a signal on the way."""
    begin, due = time.monotonic(), case.signal
    while process.poll() is None and time.monotonic() - begin < case.seconds:
        if due and time.monotonic() - begin >= case.signal_after and _send(process.pid, *due):
            due = None
        time.sleep(0.1)
    if process.poll() is not None:
        time.sleep(8)  # how it ended is seen, too


def _send(pid: int, whom: str, name: str) -> bool:
    """Send a signal; False while there is nobody to get it."""
    trainer = psutil.Process(pid)
    found = [trainer] if whom == "main" else [p for p in trainer.children(recursive=True) if _is_worker(p)]
    for one in found[: 1 if whom == "worker" else None]:
        one.send_signal(signal.Signals[name])
    return bool(found)


def _is_worker(process: psutil.Process) -> bool:
    """A forked loader worker has its parent's command, a spawned one says what it is; the resource tracker is none."""
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        spawned = any("spawn_main" in part for part in process.cmdline())
        return parent is not None and (spawned or process.cmdline() == parent.cmdline())
    return False


class Clock:
    """CPU seconds of the node against those of this process's children."""

    def __init__(self) -> None:
        """Begin to count."""
        self._began, self._busy, self._own = time.monotonic(), _busy(), _reaped()

    def others(self, pid: int) -> float:
        """CPUs used by others than the training `pid` since then."""
        own = _reaped() - self._own + _cpu_seconds(pid)
        return max(_busy() - self._busy - own, 0.0) / (time.monotonic() - self._began)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - times.guest - times.guest_nice)


def _reaped() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _cpu_seconds(pid: int) -> float:
    """Those of a process, its living descendants, and what it has reaped."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += sum(one.cpu_times()[:4])
    return total


def _small(recording: bytes, first: str) -> bytes:
    """One gzip member without what no verdict reads, and without this machine's name."""
    text = b"".join(content for _, content in unpacked(io.BytesIO(recording))).decode()
    kept = [line for line in text.splitlines() if not LEFT_OUT.match(line.removeprefix("# TYPE "))]
    kept = [line for line in kept if not line.startswith(("# HELP", "# UNIT", "# EOF"))]
    return gzip.compress((first + "\n".join(kept) + "\n# EOF\n").encode(), mtime=0)


def missing(prefix: str, into: Path) -> list[str]:
    """The cases whose names begin like that and that have no recording."""
    return [name for name in EVERY if name.startswith(prefix) and not (into / f"{name}.om.gz").exists()]


def main() -> None:
    """Stage and record the cases that were named, or that are missing."""
    parser = argparse.ArgumentParser(description="Stage field cases and record them.")
    parser.add_argument("names", nargs="*", choices=[*EVERY, []], metavar="NAME")
    parser.add_argument("--missing", metavar="PREFIX", help="all that begin like that and have no recording yet")
    parser.add_argument("--into", type=Path, default=REAL)
    parser.add_argument("--most", type=float, default=9.0, help="drop a recording if others used more CPUs than that")
    parser.add_argument("--verbose", action="store_true", help="print what the trainings print")
    arguments = parser.parse_args()
    names = [*arguments.names, *(missing(arguments.missing, arguments.into) if arguments.missing is not None else ())]
    if not names:
        parser.error("nothing to record: a NAME or --missing PREFIX of cases without a recording")
    for number, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory(prefix="field-") as folder:
            staged = stage(name, EVERY[name], Path(folder))
            dropped = staged.others > arguments.most
            size = staged.recording.stat().st_size / 1024
            what = f"{size:.0f} KiB, others used {staged.others:.1f} CPUs{', dropped' * dropped}"
            print(f"{number}/{len(names)} {name}: {what}", flush=True)
            if arguments.verbose:
                print(staged.output[-2000:], flush=True)
            if not dropped:
                arguments.into.mkdir(parents=True, exist_ok=True)
                shutil.copy(staged.recording, arguments.into)


if __name__ == "__main__":
    main()
