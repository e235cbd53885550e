"""A real training where there is no fcntl, no /proc, no descriptor of a folder and no fork: recorded, seen, told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_record.reader import Reader

from tests import training
from tests.other_systems import looks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]
CLI = [sys.executable, "-m", "yoloscope_exporter.cli"]
TIMEOUT = 120.0
ENABLE = "import yoloscope_hooks; yoloscope_hooks.enable()"


def started(tmp_path: Path, system: str, **options: Any) -> subprocess.Popen[str]:
    """A training that looks like one of another system; its output is in `training.log`."""
    data = training.make_dataset(tmp_path / "数据 data", images=32)
    environ = looks.environment(system, tmp_path / "home")
    return training.start(
        data,
        tmp_path / "runs",
        environ=environ,
        log=tmp_path / "training.log",
        **{"model": training.TINY, "workers": 1, "epochs": 2, **options},
    )


def told(tmp_path: Path, system: str, *command: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a command says on that system."""
    environ = looks.environment(system, tmp_path / "home") | {"COLUMNS": "110"}
    done = subprocess.run([*CLI, *command], env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def serving(tmp_path: Path, system: str) -> Iterator[str]:
    """An exporter of that system, and its URL; it ends by being asked to."""
    environ = looks.environment(system, tmp_path / "home")
    command = [*CLI, "serve", "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            log = ""
            while not (found := re.search(r"url=(\S+)", log)):
                line = process.stderr.readline()
                assert line, log
                log += line
            yield found[1].strip('"')
        finally:
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, log + rest
    assert "Traceback" not in log + rest


def metrics(url: str) -> str:
    """The exposition."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=TIMEOUT) as answer:
        return str(answer.read().decode())


def batches(text: str) -> float:
    """Batches of the one run in an exposition; 0 before there is one."""
    found = re.search(r"^yoloscope_train_batches_total\{[^}]*\} (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("system", "options"),
    [("windows", {}), pytest.param("macos", {"hooks": "none", "everywhere": ENABLE}, marks=pytest.mark.long)],
)
def test_training_is_seen_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, options: dict[str, Any]
) -> None:
    """`attach` and `enable` record into the user's folder; exporter, top, record, diagnose and report tell of it."""
    monkeypatch.delenv("YOLOSCOPE_DIR")
    process = started(tmp_path, system, epochs=40, image_sleep=0.02, **options)
    recording = tmp_path / "night.om"
    try:
        with serving(tmp_path, system) as url:
            seen = watched(url, process)
            shown = told(tmp_path, system, "top", "--exporter", url, "--once")
            told(tmp_path, system, "record", str(recording), "--exporter", url, "--interval", "1s", "--duration", "4s")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    log = (tmp_path / "training.log").read_text(encoding="utf-8")
    assert "yoloscope" not in re.sub(r".*/.*yoloscope.*", "", log), log  # no warning
    assert list(looks.records(system, tmp_path / "home").glob("**/rank-0.rec"))
    assert 'role="main"' in seen
    assert "yoloscope_train_worker_batches_total{" in seen  # spawned workers have their hooks
    assert ("train_worker_major_faults" in seen) == (system == "macos")  # Windows does not count them
    for hidden in ("pressure_seconds", "train_process_runqueue", "train_shm", "memory_cached"):
        assert f"yoloscope_{hidden}" not in re.sub("(?m)^#.*$", "", seen)  # absent, and not 0
    assert 'yoloscope_collector_up{collector="runs"} 1' in seen
    assert "yoloscope_train_hook_errors_total" not in seen or errors(seen) == 0.0
    assert "test-" in shown
    diagnosis = told(
        tmp_path, system, "diagnose", "--recording", str(recording), codes=(0, 1, 3)
    )  # or too early to say
    assert "test-" in diagnosis
    report = tmp_path / "report.html"
    told(tmp_path, system, "report", str(recording), "--html", str(report))
    assert "test-" in report.read_text(encoding="utf-8")


def watched(url: str, process: subprocess.Popen[str]) -> str:
    """The exposition once the training is well under way."""
    end = time.monotonic() + TIMEOUT
    text = ""
    while batches(text) < 20 or "yoloscope_train_processes{" not in text:
        assert time.monotonic() < end, text[-3000:]
        assert process.poll() is None, "the training has ended"
        time.sleep(0.5)
        text = metrics(url)
    return text


def errors(text: str) -> float:
    """Errors of hooks in an exposition."""
    return sum(float(value) for value in re.findall(r"(?m)^yoloscope_train_hook_errors_total\{[^}]*\} (\S+)", text))


@pytest.mark.parametrize("system", [pytest.param("windows", marks=pytest.mark.long), "macos"])
def test_training_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """`run` puts the hooks in; the record says how it ended, and the workers' are beside it."""
    monkeypatch.delenv("YOLOSCOPE_DIR")
    process = started(tmp_path, system, hooks="run")
    assert process.wait(TIMEOUT) == 0, (tmp_path / "training.log").read_text()
    (path,) = looks.records(system, tmp_path / "home").glob("**/rank-0.rec")
    record = Reader(path).read()
    values = {sample.metric.name: sample.value for sample in record.samples}
    assert record.state == "finished"
    assert values["yoloscope_train_batches_total"] == 16.0
    assert values.get("yoloscope_train_hook_errors_total", 0.0) == 0.0
    workers = [Reader(path).read() for path in path.parent.glob("rank-0-worker-*.rec")]
    assert (
        sum(
            sample.value
            for record in workers
            for sample in record.samples
            if sample.metric.name == "yoloscope_train_worker_batches_total"
        )
        >= 16.0
    )
