"""Real trainings on the CPU that hang, and the real exporter beside them: it names rank, process, function, file, line.

The whole suite takes some ten minutes: `make hangs`. The default run stages one of them, and a healthy training.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import training
from tests.live import free_port, get, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.timeout(240)]

#: Hangs show sooner than they would with the defaults; what is a hang stays what it is.
THRESHOLDS = "stall_seconds: 6\nstall_factor: 2\nstill_seconds: 12\nsetup_seconds: 20\n"
NAMED_WITHIN = 60.0  # seconds from the verdict
BEGIN = """
import os, threading, time
import torch
from ultralytics.data import base
from torch.utils.data import get_worker_info
WHO = os.environ.get("RANK", "0")
calls = 0
"""
#: A worker reads some images well, then this.
IN_WORKER = (
    BEGIN
    + """
imread = base.imread
def read_image(path, *arguments, **options):
    global calls
    calls += 1
    worker = get_worker_info()
    if worker is not None and worker.id == 1 and calls > 20 and worker.dataset.augment:
        hang(path)
    return imread(path, *arguments, **options)
base.imread = read_image
"""
)


@dataclass(frozen=True)
class Case:
    """A hang: the code that makes it, and what has to be said."""

    code: str
    function: str
    doing: str = ""  # a pattern
    rank: str = "0"
    process: str = "main"
    verdict: str = "stalled"
    others: str = ""
    script: bool = False  # the code runs in the launching process alone, with `model` in scope
    options: dict[str, Any] = field(default_factory=dict)
    stop: str = ""  # this process gets SIGSTOP: a pattern of its role
    lines: bool = True  # that the place is in the code of the case


RANKS = {"ranks": 2, "batch": 8}
CASES = {
    "a worker in open() of a FIFO": Case(
        IN_WORKER + "def hang(path):\n    open(os.environ['FIFO'])\n",
        "hang",
        r"(open\(\) of .*/fifo|the kernel's .*|)",
        process="worker 1",
        others="waiting for its loader",
    ),
    "a worker in time.sleep": Case(
        IN_WORKER + "def hang(path):\n    time.sleep(9999)\n",
        "hang",
        process="worker 1",
        others="waiting for its loader",
    ),
    "a worker that was not forked": Case(  # the data set is pickled with a part of the module that runs the code
        IN_WORKER + "def hang(path):\n    time.sleep(9999)\n",
        "hang",
        process="worker 1",
        others="waiting for its loader",
        options={"start_method": "forkserver", "image_sleep": 0.001},
    ),
    "a worker in a lock": Case(
        IN_WORKER + "LOCK = threading.Lock()\ndef hang(path):\n    LOCK.acquire()\n    LOCK.acquire()\n",
        "hang",
        process="worker 1",
        others="waiting for its loader",
    ),
    "a deadlock after a fork": Case(
        BEGIN
        + """
LOCK = threading.Lock()
def hold():
    with LOCK:
        time.sleep(9999)
threading.Thread(target=hold, daemon=True).start()
imread = base.imread
def read_image(path, *arguments, **options):
    if get_worker_info() is not None and get_worker_info().dataset.augment is False:
        with LOCK:
            pass
    return imread(path, *arguments, **options)
base.imread = read_image
""",
        "read_image",
        process=r"validation worker \d",
        others="waiting for its loader",
    ),
    "rank 1 in a collective": Case(
        BEGIN
        + """
from cpu_trainer import CpuDetectionTrainer as Trainer
step = Trainer.optimizer_step
def optimizer_step(self):
    global calls
    calls += 1
    if WHO == "1" and calls == 12:
        torch.distributed.recv(torch.zeros(1), src=0, tag=7)
    step(self)
Trainer.optimizer_step = optimizer_step
""",
        "optimizer_step",
        "in the collective recv",
        rank="1",
        options=RANKS,
        others="rank 0 in ",
    ),
    "rank 1 in backward": Case(
        BEGIN
        + """
from cpu_trainer import CpuDetectionTrainer as Trainer
preprocess = Trainer.preprocess_batch
def hook(gradient):
    global calls
    calls += 1
    if WHO == "1" and calls == 12:
        time.sleep(9999)
def preprocess_batch(self, batch):
    if not calls:
        next(p for p in self.model.parameters() if p.requires_grad).register_hook(hook)
    return preprocess(self, batch)
Trainer.preprocess_batch = preprocess_batch
""",
        "hook",
        "in backward.*",
        rank="1",
        options=RANKS,
        others="rank 0 in backward",
    ),
    "rank 1 in validation": Case(
        BEGIN
        + """
from ultralytics.models.yolo.detect import DetectionValidator as Validator
postprocess = Validator.postprocess
def slow_postprocess(self, *arguments):
    if WHO == "1":
        time.sleep(9999)
    return postprocess(self, *arguments)
Validator.postprocess = slow_postprocess
""",
        "slow_postprocess",
        "in validation.*",
        rank="1",
        options=RANKS,
        others="rank 0",
    ),
    "the main process in a callback": Case(
        BEGIN
        + """
def upload(trainer):
    global calls
    calls += 1
    if calls == 12:
        time.sleep(9999)
model.add_callback("on_train_batch_end", upload)
""",
        "upload",
        "in a callback.*",
        script=True,
    ),
    "the AMP check": Case(
        BEGIN
        + """
import ultralytics.engine.trainer
def check_amp(model):
    while True:
        time.sleep(60)
ultralytics.engine.trainer.check_amp = check_amp
""",
        "check_amp",
        "in set-up.*",
        verdict="setup_slow",
        options={"arguments": {"amp": True}},
    ),
    "set-up": Case(
        BEGIN
        + """
from ultralytics.data import dataset
def verify_image_label(arguments):
    time.sleep(9999)
dataset.verify_image_label = verify_image_label
""",
        "verify_image_label",
        verdict="setup_slow",
    ),
    "a dead rank": Case(  # gloo notices a peer's death, NCCL may not; the store that ranks meet in does not, either
        BEGIN
        + """
from cpu_trainer import CpuDetectionTrainer as Trainer
step = Trainer.optimizer_step
def wait_for_peer():
    torch.distributed.distributed_c10d._get_default_store().wait(["here"])
def optimizer_step(self):
    global calls
    calls += 1
    step(self)
    if calls == 12 and WHO == "1":
        os._exit(0)
    if calls == 12:
        wait_for_peer()
Trainer.optimizer_step = optimizer_step
""",
        "wait_for_peer",
        "gone: the process has been killed; the others wait for it",
        rank="1",
        options=RANKS,
        others="rank 0 ",
    ),
    "a stopped worker": Case(
        BEGIN, "__iter__", r"stopped \(SIGSTOP.*", process=r"worker \d", stop="worker", lines=False
    ),
    "a full pipe": Case(
        BEGIN
        + """
def talk(trainer):
    global calls
    calls += 1
    if calls == 12:
        os.write(1, b"x" * 1000000)
model.add_callback("on_train_batch_end", talk)
""",
        "talk",
        r"in a callback, write\(\) of pipe:\[\d+\]|in a callback.*",
        script=True,
        options={"log": None},
    ),
}
#: What the default run stages.
FEW = ("a worker in open() of a FIFO",)


@contextlib.contextmanager
def exporter(base: Path, thresholds: str = THRESHOLDS) -> Iterator[str]:
    """`yoloscope serve` over the records in `base`; the value is its address."""
    url = f"127.0.0.1:{free_port()}"
    limits = base / "thresholds.yaml"
    limits.write_text(thresholds)
    (base / "records").mkdir()
    program = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address", url]
    options = ["--path.records", str(base / "records"), "--diagnosis.thresholds", str(limits)]
    paths = os.pathsep.join(str(training.ROOT / part) for part in ("exporter", "trainer_hooks"))
    with (
        (base / "exporter.log").open("w") as log,
        subprocess.Popen(
            [*program, *options], env=os.environ | {"PYTHONPATH": paths}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            wait_for(lambda: "yoloscope" in get(f"http://{url}/metrics"), what="the exporter", timeout=60)
            yield f"http://{url}"
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def trainer(base: Path, case: Case) -> Iterator[subprocess.Popen[str]]:
    """The training that hangs; all of its processes end with the block."""
    data = training.make_dataset(base / "data", images=32, size=64)
    code = base / "case.py"
    code.write_text(case.code)
    os.mkfifo(base / "fifo")
    run = f"exec(compile(open({str(code)!r}).read(), {str(code)!r}, 'exec'), globals())"
    if case.script:
        run = run.replace("globals()", "globals() | {'model': model}")
    options: dict[str, Any] = {
        "epochs": 99,
        "workers": 2,
        "log": base / "log",
        "script" if case.script else "everywhere": run,
    }
    process = training.start(
        data,
        base / "runs",
        environ={"YOLOSCOPE_DIR": str(base / "records"), "FIFO": str(base / "fifo")},
        **options | case.options,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            whole = psutil.Process(process.pid)
            for one in (*whole.children(recursive=True), whole):  # torchrun gives its ranks sessions of their own
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def sample(url: str, name: str, **labels: str) -> dict[str, str] | None:
    """Labels of the first series of that name with these labels and the value 1."""
    for family in text_string_to_metric_families(get(f"{url}/metrics")):
        for one in family.samples:
            if one.name == name and one.value == 1 and labels.items() <= one.labels.items():
                return dict(one.labels)
    return None


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.hang) for name in CASES]
)
def test_a_hang_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rank, process, function, file and line, within a minute of the verdict; in the verdict's evidence, too."""
    case = CASES[name]
    with exporter(tmp_path) as url, trainer(tmp_path, case) as process:
        if case.stop:
            wait_for(lambda: sample(url, "yoloscope_train_state", state="train"), timeout=90, what="training")
            time.sleep(5)
            worker = next(p for p in psutil.Process(process.pid).children(recursive=True))
            worker.send_signal(signal.SIGSTOP)
        told = wait_for(
            lambda: sample(url, "yoloscope_train_verdict", verdict=case.verdict), timeout=150, what=_story(tmp_path)
        )
        began = time.monotonic()
        hang = wait_for(
            lambda: sample(url, "yoloscope_train_hang_info", run=told["run"]), timeout=60, what=_story(tmp_path)
        )
        took = time.monotonic() - began
        answer = wait_for(lambda: _verdict(url, case.verdict, hang["function"]), timeout=20, what=_story(tmp_path))
    with capsys.disabled():
        print(f"\n  {name}: named after {took:.1f} s: {answer['evidence']}")
    assert took < NAMED_WITHIN
    assert hang["culprit"] == case.rank
    assert re.fullmatch(case.process, hang["process"]), hang
    assert hang["function"] == case.function, hang
    assert re.fullmatch(case.doing or ".*", hang["doing"]), hang
    assert case.others in hang["others"], hang
    if case.lines:
        line = (tmp_path / "case.py").read_text().splitlines()[int(hang["line"]) - 1]
        assert hang["file"] == str(tmp_path / "case.py")
        assert re.search(r"sleep|open|LOCK|write|recv|wait", line), line
    assert f"rank {case.rank}, " in answer["evidence"]
    assert f"{case.function} (" in answer["evidence"]


def _verdict(url: str, name: str, function: str) -> dict[str, Any] | None:
    """The verdict as JSON, once its evidence names the function."""
    runs = json.loads(get(f"{url}/api/v1/diagnosis"))["runs"]
    found = [verdict for one in runs for verdict in one["verdicts"] if verdict["name"] == name]
    return next((verdict for verdict in found if function in verdict["evidence"]), None)


class _story:  # noqa: N801 - read only when it is needed
    """What training and exporter have printed."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def __str__(self) -> str:
        files = [self._base / name for name in ("log", "exporter.log")]
        return "the hang\n" + "\n".join(file.read_text()[-2000:] for file in files if file.exists())


def test_a_healthy_training_is_sent_nothing(tmp_path: Path) -> None:
    """With thresholds as they are: no stack is ever asked for."""
    case = Case(BEGIN, "", options={"epochs": 6})
    with exporter(tmp_path, "input_share: 0.1\n") as url, trainer(tmp_path, case) as process:
        assert process.wait(150) == 0, _story(tmp_path)
        assert sample(url, "yoloscope_train_verdict", verdict="stalled") is None
    stacks = list((tmp_path / "records").glob("**/*.stacks"))
    assert len(stacks) >= 3  # the rank and its workers
    for path in stacks:
        assert "most recent call first" not in path.read_text()
