"""The machine fails: its driver hangs, descriptors or disks are used up, it is suspended; or it has two exporters."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from yoloscope_record import keeping
from yoloscope_record.reader import Reader

from tests.conftest import require_binary
from tests.exporter.test_serve import get, wait_for
from tests.fake_nvml import FakeNvml
from tests.faults.node import BATCHES, USER, VICTIM, fleet, serving
from tests.training import make_dataset, start
from tests.users import ALICE, environment, living_as, needs_root, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.node import Exporter, Row

pytestmark = [pytest.mark.faults, needs_root, pytest.mark.timeout(300)]

# --- a driver that hangs --------------------------------------------------------------------------------------------


def test_the_driver_hangs(shared: Path, tmp_path: Path, row: Row) -> None:
    """In one call, for as long as the line is there; and in the first call of all."""
    nvml = FakeNvml(tmp_path, {"gpus": 8})
    with living_as(ALICE, shared, VICTIM), _with_gpus(shared, tmp_path / "log", nvml) as exporter:
        wait_for(lambda: exporter.collector("gpu"), 20)
        threads = exporter.threads()
        nvml.set({"hang.nvmlDeviceGetPowerUsage": 3600})
        down = wait_for(lambda: not exporter.collector("gpu"), 30)
        before, ages, gpus = exporter.value(BATCHES), [], 0
        for _ in range(20):
            time.sleep(0.5)
            ages.append(exporter.age())
            gpus += exporter.metrics().count("\nyoloscope_gpu_power_watts{")
        batches, more = exporter.value(BATCHES) - before, exporter.threads() - threads
        nvml.unset("hang.nvmlDeviceGetPowerUsage")
        again = wait_for(lambda: exporter.collector("gpu"), 30)
        row(
            "a driver that hangs in a call, with eight GPUs",
            "`collector_up` 0 for `gpu`, nothing of the GPUs told, the rest goes on; up again when it answers",
            f"down after {down:.1f} s; {gpus} readings of the GPUs then, {batches:.0f} batches in 10 s, snapshots to "
            f"{max(ages):.1f} s, {more} more threads; up again {again:.1f} s after",
        )
        assert gpus == 0
        assert batches > 0
        assert max(ages) < 3
        assert more <= 2
    nvml.set({"hang.nvmlInitWithFlags": 3600})
    with _with_gpus(shared, tmp_path / "log", nvml) as exporter:
        wait_for(lambda: exporter.collector("cpu"), 20)
        time.sleep(4)
        up, age = exporter.collector("gpu"), exporter.age()
        exporter.process.terminate()
        begun = time.monotonic()
        code = exporter.process.wait(20)
        row(
            "a driver that hangs in its first call",
            "served without GPUs; ends when it is asked to",
            f"`gpu` up: {up}, snapshot {age:.1f} s old; ended with {code} after {time.monotonic() - begun:.1f} s",
        )
        assert not up
        assert age < 3
        assert code == 0


@contextmanager
def _with_gpus(base: Path, log: Path, nvml: FakeNvml) -> Iterator[Exporter]:
    found = nvml.environment()
    environ = {name: found[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONTROL")}
    with serving(base, log, environ=environ, without=("stacks", "post_mortem")) as exporter:
        yield exporter


# --- descriptors ----------------------------------------------------------------------------------------------------

DESCRIPTORS = 64


def test_descriptors_are_used_up(shared: Path, tmp_path: Path, row: Row) -> None:
    """Fewer than ranks and clients that keep their connections."""
    with (
        fleet(shared, 64),
        serving(shared, tmp_path / "log", descriptors=DESCRIPTORS) as exporter,
        ExitStack() as stack,
    ):
        wait_for(lambda: exporter.ranks() == 64, 30)
        host, port = exporter.url.partition("://")[2].split(":")
        for _ in range(200):
            stack.enter_context(socket.create_connection((host, int(port))))
        ages, ranks, down = [], [], set[str]()
        for _ in range(20):
            ages.append(exporter.age())
            ranks.append(exporter.ranks())
            down |= {name for name in ("cpu", "memory", "runs", "process") if not exporter.collector(name)}
            time.sleep(0.5)
        size = exporter.log.stat().st_size
        row(
            f"an exporter that may have {DESCRIPTORS} descriptors, 64 ranks and 200 silent connections",
            "every scrape answered, every rank shown",
            f"{len(ages)} of 20 scrapes, at least {min(ranks)} ranks, snapshots to {max(ages):.1f} s; down: "
            f"{', '.join(sorted(down)) or 'nothing'}; {size:,} bytes of log",
        )
        assert min(ranks) == 64
        assert max(ages) < 3
        assert down == set()
        assert size < 100_000


def test_a_trainer_without_descriptors(shared: Path, row: Row) -> None:
    """As many as it may have are open when its training begins."""
    code = """
trainer = Trainer()
count = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
try:
    print("opened", opening.open_for(trainer))
except RecordError as error:
    print("no record:", error)
"""
    said = run_as(ALICE, shared, code).strip().splitlines()[-1]
    row("a training that has no descriptor left when it begins", "no record, one reason, it goes on", said)
    assert "Too many open files" in said


# --- full disks -----------------------------------------------------------------------------------------------------


@contextmanager
def small(path: Path, size: str, *, full: bool = False) -> Iterator[Path]:
    """A file system of its own, with so much room or none."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "none", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this root may not mount: {done.stderr.decode().strip()}")
    try:
        if full:
            fill(path)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Leave no room in a file system."""
    with suppress(OSError), (path / "filling").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@pytest.mark.train
def test_shared_memory_is_full(tmp_path: Path, row: Row) -> None:
    """When a real training begins, and after it has begun; what is kept of its end has no room either."""
    data = make_dataset(tmp_path / "data", images=16)
    with small(tmp_path / "full", "1m", full=True) as none, small(tmp_path / "filled", "8m") as some:
        running = {}
        for name, records in (("none", none), ("some", some)):
            environ = {"YOLOSCOPE_DIR": str(records), "YOLOSCOPE_RUN": name, keeping.VARIABLE: str(none)}
            running[name] = start(
                data, tmp_path / "runs", name=name, epochs=4, workers=1, step_sleep=0.3, environ=environ,
                log=tmp_path / f"{name}.log",
            )  # fmt: skip
        with serving(some, tmp_path / "log", environ={"TMPDIR": str(none)}) as exporter:
            pattern = r'yoloscope_train_batches_total\{rank="0",run="some"'
            wait_for(lambda: exporter.value(pattern) > 1, 90)
            fill(some)
            codes = {name: process.wait(120) for name, process in running.items()}
            logs = {name: (tmp_path / f"{name}.log").read_text() for name in running}
            trained = {name: int(re.findall(r'RESULT .*"batches": (\d+)', logs[name])[0]) for name in running}
            wait_for(lambda: exporter.up() == {"some": False})
            counted = exporter.value(pattern)
        state = Reader(next(some.glob("**/rank-0.rec"))).read().state
        lines = [line for line in logs["none"].splitlines() if "yoloscope" in line and "left on device" in line]
        row(
            "/dev/shm full when a real training begins, and after",
            "both train to their end; the first without a record and with one line, the second with every batch",
            f"exit codes {codes['none']} and {codes['some']}; {trained['none']} batches, {len(lines)} line; "
            f"{counted:.0f} of {trained['some']} batches, `{state}`",
        )
        assert set(codes.values()) == {0}, logs
        assert counted == trained["some"] == trained["none"]
        assert state == "finished"
        assert len(lines) == 1, logs["none"]


def test_the_disk_of_a_recording_is_full(shared: Path, tmp_path: Path, row: Row) -> None:
    """`record` ends and leaves what it had; a report leaves the one that was there."""
    with (
        small(tmp_path / "disk", "400k") as disk,
        living_as(ALICE, shared, VICTIM),
        serving(shared, tmp_path / "log", "--sample.interval=200ms") as exporter,
    ):
        wait_for(lambda: exporter.up() == {"victim": True})
        file, report = disk / "night.om", disk / "report.html"
        report.write_text("the one before")
        record = _yoloscope("record", str(file), "--exporter", exporter.url, "--interval", "200ms")
        code, said = record.returncode, record.stderr.strip().splitlines()[-1]
        blocks = subprocess.run(
            [require_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", file, tmp_path / "blocks"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        read = _yoloscope("diagnose", "--recording", str(file))
        row(
            "the disk full while `record` writes",
            "it ends with one line; promtool and `diagnose` take what is there",
            f"exit code {code}, “{said}”; promtool {blocks.returncode}, `diagnose` {read.returncode}",
        )
        assert code == 2
        assert "No space left on device" in said
        assert blocks.returncode == 0, blocks.stderr
        assert "victim" in read.stdout, read.stdout + read.stderr
        fill(disk)
        made = _yoloscope("report", str(file), "--html", str(report))
        left = sorted(path.name for path in disk.iterdir())
        said = made.stderr.strip().splitlines()[-1]
        row(
            "the disk full while `report` writes",
            "one line; the report before is whole, nothing else is left",
            f"exit code {made.returncode}, “{said}”; {', '.join(left)}",
        )
        assert made.returncode == 2
        assert "No space left on device" in said
        assert report.read_text() == "the one before"
        assert left == ["filling", "night.om", "report.html"]


def _yoloscope(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "yoloscope_exporter.cli", *arguments],
        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_no_room_for_what_is_left_of_a_training(shared: Path, tmp_path: Path, row: Row) -> None:
    """It is refused once, and kept as soon as there is room."""
    with small(tmp_path / "disk", "1m", full=True) as disk:
        flags = (f"--keep-post-mortem={disk}", "--sample.interval=200ms")
        with serving(shared, tmp_path / "log", *flags, without=("stacks", "gpu")) as exporter:
            with living_as(ALICE, shared, VICTIM) as victim:
                wait_for(lambda: exporter.up() == {"victim": True})
                victim.kill()
                victim.wait()
            refused = wait_for(lambda: _post_mortems(exporter, "refused") > 0, 60)
            time.sleep(6)
            times, age = _post_mortems(exporter, "refused"), exporter.age()
            (disk / "filling").unlink()
            with suppress(AssertionError):
                wait_for(lambda: _post_mortems(exporter, "kept") > 0, 30)
            kept = [str(path.relative_to(disk)) for path in disk.glob("**/*.rec")]
        row(
            "the disk full on which the end of a killed training is to be kept",
            "refused once, the rest goes on; kept when there is room",
            f"refused {times:.0f} time after {refused:.0f} s, snapshot {age:.1f} s old; then "
            f"{', '.join(kept) or 'nothing'}",
        )
        assert times == 1
        assert kept == [f"yoloscope-{ALICE}/victim/rank-0.rec"]


def _post_mortems(exporter: Exporter, result: str) -> float:
    return exporter.value(rf'yoloscope_train_post_mortems_total\{{result="{result}"')


# --- two exporters --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(USER), reason="removes what root has left")
def test_two_exporters(shared: Path, tmp_path: Path, row: Row) -> None:
    """Over one directory, with many old runs to remove and one training that is killed."""
    old = """
day = time.time() - 3 * 86400
for n in range(40):
    made = record(f"old-{n}", state="finished", slots=8, ring=0)
    made.end(day); made.let_go()
    for path in (made.path, made.path.parent):
        os.utime(path, (day, day))
"""
    _as_root(shared, old)
    keep = tmp_path / "kept"
    flags = (f"--keep-post-mortem={keep}", "--sample.interval=200ms", "--log.level=debug")
    without = ("stacks", "gpu")
    with (
        living_as(ALICE, shared, VICTIM) as victim,
        serving(shared, tmp_path / "log-1", *flags, without=without) as one,
        serving(shared, tmp_path / "log-2", *flags, without=without) as two,
    ):
        both = (one, two)
        wait_for(lambda: all(exporter.up().get("victim") for exporter in both))
        removed = wait_for(lambda: not list(shared.glob("**/old-*")), 100)
        counts = []
        for _ in range(20):
            counts += [exporter.value(BATCHES) for exporter in both]
            time.sleep(0.2)
        victim.kill()
        victim.wait()
        dead = wait_for(lambda: all(exporter.up() == {"victim": False} for exporter in both))
        last = {exporter.value(BATCHES) for exporter in both}
        wait_for(lambda: list(keep.glob("**/rank-0.rec")), 60)
        time.sleep(5)
        kept = sum(_post_mortems(exporter, "kept") == 1 for exporter in both)
        bad = [line for exporter in both for line in exporter.log.read_text().splitlines() if "level=error" in line]
        one.process.kill()
        goes_on = two.up()
    row(
        "two exporters over one directory",
        "both tell the same; what is old is removed, and what is left of a training kept, once",
        f"both `killed` after {dead:.1f} s at {', '.join(f'{number:.0f}' for number in last)} batches; 40 old runs "
        f"gone after {removed:.1f} s; kept by {kept}; {len(bad)} errors",
    )
    assert counts[0::2] == sorted(counts[0::2])
    assert counts[1::2] == sorted(counts[1::2])
    assert len(last) == 1
    assert kept == 1
    assert bad == []
    assert goes_on == {"victim": False}


def _as_root(base: Path, code: str) -> None:
    run_as(0, base, code)


# --- a machine that stands still ------------------------------------------------------------------------------------

SUSPENDED_SECONDS = 40
_HOLDS = re.compile(r'(?m)^yoloscope_train_verdict\{.*run="victim",verdict="(\w+)"\} 1')


def test_a_suspended_machine(shared: Path, exporter: Exporter, row: Row) -> None:
    """Exporter and training stand still, and go on: the training was neither killed nor did it hang.

    A minute without a batch may be too little to judge, and is said to be.
    """
    with living_as(ALICE, shared, VICTIM) as victim:
        wait_for(lambda: exporter.up() == {"victim": True})
        time.sleep(15)
        before, verdicts = exporter.value(BATCHES), set(_HOLDS.findall(exporter.metrics()))
        for process in (victim, exporter.process):
            process.send_signal(signal.SIGSTOP)
        time.sleep(SUSPENDED_SECONDS)
        for process in (exporter.process, victim):
            process.send_signal(signal.SIGCONT)
        fresh = wait_for(lambda: get(f"{exporter.url}/-/ready")[0] == 200 and exporter.age() < 2, 20)
        told, lives = set[str](), True
        for _ in range(40):
            text = exporter.metrics()
            told |= set(_HOLDS.findall(text))
            lives = lives and exporter.up() == {"victim": True}
            time.sleep(0.5)
        after = exporter.value(BATCHES)
    row(
        f"exporter and training stopped for {SUSPENDED_SECONDS} s, as on a machine that is suspended",
        "fresh within 3 s of going on; no verdict but `insufficient_data`, no counter backwards",
        f"fresh after {fresh:.1f} s; lives: {lives}; verdicts: {', '.join(sorted(told - verdicts)) or 'none'}; "
        f"{before:.0f}, then {after:.0f} batches",
    )
    assert fresh < 3
    assert lives
    assert told - verdicts <= {"insufficient_data"}
    assert after > before
