"""The demo, as a user starts it: real trainings, a live line, the advice followed, a table; and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main

ROOT = Path(__file__).parents[3]
YOLOSCOPE = [sys.executable, "-m", "yoloscope_exporter.cli", "demo", "--no-prometheus", "--epochs", "2"]


#: What the tables of README.md and of the demo have, whatever the machine; single words, for cells may be wrapped.
ROWS = ("evidence", "fix ", "effect", "gain", "throughput", "waiting", "mAP50", "promised", "delivered")


def below(folder: Path) -> list[psutil.Process]:
    """Processes that were started by a demo which writes to `folder`."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and str(folder) in words(one)]


def words(process: psutil.Process) -> str:
    """Command line and environment, as far as they can be read."""
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return ""


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_demo(tmp_path: Path) -> None:
    """It ends with tables of the first and the last training, both of which learned, and of promises, and a report."""
    pytest.importorskip("ultralytics", reason="needs the extra train: make test installs it")
    done = subprocess.run(YOLOSCOPE, cwd=tmp_path, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train  epoch 1/2" in done.stdout
    assert "loader_" in done.stdout
    assert re.search(r"│ (cache|workers) +│ \S+ +│ \S+ +│", done.stdout), done.stdout
    report = (tmp_path / "demo-output/report.md").read_text()
    before, after = map(float, re.findall(r"waiting for data \| ([\d.]+)%[^|]*\| ([\d.]+)%", report)[0])
    assert before > after + 10
    learned = re.findall(r"best mAP50 \| ([\d.]+) \| ([\d.]+)", report)[0]
    assert min(map(float, learned)) > 0.3
    promises = done.stdout[done.stdout.index("promised and delivered") :]
    told = re.sub(r"[│\n ]+", " ", promises)
    assert re.search(r"demo-fixed (cache|workers)=.* [\d.]+x \([\d.]+ -> [\d.]+", told), promises
    assert (tmp_path / "demo-output/report.html").read_text().count("<svg") > 2
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    assert [row for row in ROWS if row not in shown or row not in done.stdout] == []
    assert not below(tmp_path)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle of a training leaves no process behind, and no traceback."""
    pytest.importorskip("ultralytics", reason="needs the extra train: make test installs it")
    demo = subprocess.Popen(YOLOSCOPE, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while len(below(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # somewhere in the imports of the training
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode not in {0, None}
    assert "Traceback" not in output
    assert not below(tmp_path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """One line that names the option, exit code 2."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["demo", "--output", str(tmp_path / "file" / "x")])
    assert result.exit_code == 2
    assert "--output" in result.output
    assert "choose a writable folder" in result.output


def test_folder_of_somebody_else(tmp_path: Path) -> None:
    """Refused, and nothing in it is touched: it may have records of its own."""
    own = tmp_path / "records" / "run" / "0"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "choose a new or an empty folder" in " ".join(result.output.split())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
