"""Real causes in real trainings on the CPU: each yields its verdict, the healthy control none, and the fix helps.

Loading PyTorch takes longer than these trainings do, so one process trains again and again, as it is told.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import catalog, config
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.diagnosis import engine, rules
from yoloscope_exporter.diagnosis.thresholds import Thresholds
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.summary import Summary, summarize
from yoloscope_exporter.service.exporter import running

from tests import training

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.train, pytest.mark.slow]
#: What starves a training is judged by idle CPUs, and a quota limits nobody whom others leave less; a hang, a death, a
#: leak, a slow rank are what they are beside others.
alone = pytest.mark.alone

#: The training process: each line of a named pipe is a training, in the words of training.Options.
OBEY = """
import contextlib, sys, traceback
import ultralytics.data.base as base
import yoloscope_hooks
quick = base.imread
with open({orders!r}) as orders:
    for order in map(json.loads, orders):
        cpu_trainer.OPTIONS.update(order)
        os.environ["CPU_TRAINER"] = json.dumps(cpu_trainer.OPTIONS)
        base.imread = quick
        model = yoloscope_hooks.attach(ultralytics.YOLO({model!r}))
        exec(order["script"])
        with contextlib.suppress(Exception):
            model.train(trainer=cpu_trainer.TRAINERS["detect"],
                        **{{key: order[key] for key in ("data", "project", "name", "epochs", "batch", "imgsz")}},
                        **DEFAULTS | order["arguments"])
sys.exit()
"""
#: Storage that takes its time for each image, whatever reads it.
SLOW_STORAGE = """
import time
def slow(*arguments, **options):
    time.sleep(0.1)
    return quick(*arguments, **options)
base.imread = slow
"""
#: Callbacks keep memory; at the end the loss is not a number any more.
LEAK_AND_NAN = """
kept = []
model.add_callback("on_train_batch_end", lambda trainer: kept.append(b"x" * (8 << 20)))
def poison(trainer):
    if trainer.epoch + 1 == trainer.epochs:
        next(trainer.model.parameters()).data.fill_(float("nan"))
model.add_callback("on_train_epoch_start", poison)
"""
HANG = """
import time
def hang(trainer):
    if trainer.epoch == 1:
        time.sleep(600)
model.add_callback("on_train_batch_end", hang)
"""
#: Steps that leave the loader time, as a GPU would, even when others use this machine's CPUs.
UNHURRIED = {"step_sleep": 0.12}
#: What a loader is short of when others use the CPUs as well, and what callbacks of a test take then: it is true.
BUSY_MACHINE = {"loader_cpu", "cpu_oversubscribed", "loader_workers", "loader_wait", "cpu_contended", "callback_bound"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small images, and four to validate with after the last epoch."""
    yaml = training.make_dataset(tmp_path_factory.mktemp("data") / "data", images=40, size=64)
    for image in sorted((yaml.parent / "images/val").iterdir())[4:]:
        image.unlink()
    return yaml


class Trainings:
    """A real exporter, sampled in this process, and the trainings beside it."""

    def __init__(self, folder: Path, data: Path, stack: ExitStack) -> None:
        """Start the exporter; a training process follows with the first training."""
        self._folder, self._data, self._stack = folder, data, stack
        self._records = {"YOLOSCOPE_DIR": str(folder / "records")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("YOLOSCOPE_DIR", self._records["YOLOSCOPE_DIR"])
            arguments = ["--web.listen-address=127.0.0.1:0", "--sample.interval=150ms", "--no-collector.disk"]
            self._exporter = stack.enter_context(running(config.resolve(serve, arguments)))
        self._orders = folder / "orders"
        os.mkfifo(self._orders)
        self._pipe = stack.enter_context(os.fdopen(os.open(self._orders, os.O_RDWR), "w"))
        self.process: subprocess.Popen[str] | None = None
        self.store = Store()
        self.name = ""

    def begin(self, **options: Any) -> None:
        """Have the next training done by the process that waits for one; it is watched from here on."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._start(script=OBEY.format(orders=str(self._orders), model=training.TINY))
        order = training.Options(str(self._data), str(self._folder), **self._named(options))
        self._pipe.write(json.dumps(asdict(order)) + "\n")
        self._pipe.flush()

    def begin_alone(self, **options: Any) -> None:
        """A training in a process of its own."""
        self.process = self._start(**self._named(options))

    @property
    def pid(self) -> int:
        """Of the training process."""
        assert self.process is not None
        return self.process.pid

    def _named(self, options: dict[str, Any]) -> dict[str, Any]:
        self.name, self.store = f"training{time.monotonic_ns()}", Store()
        quiet = {"val": False, "save": False}
        chosen = {"name": self.name, "workers": 2, "batch": 4, "step_sleep": 0.05, **options}
        return {**chosen, "arguments": quiet | options.get("arguments", {})}

    def _start(self, **options: Any) -> subprocess.Popen[str]:
        log = self._folder / f"{time.monotonic_ns()}.log"
        process = training.start(self._data, self._folder, environ=self._records, log=log, **options)
        self._stack.callback(end, process)
        return process

    def until(self, condition: Callable[[], bool], timeout: float = 150) -> None:
        """Sample until it is true, and half a second more."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"it took too long; see {self._folder}/*.log"
            self.sample()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            self.sample()

    def sample(self) -> None:
        """Take the newest snapshot."""
        snapshot = self._exporter.sampler.snapshot
        if snapshot.time > self.store.last:
            self.store.add(snapshot.time, snapshot)
        time.sleep(0.02)

    def current(self, metric: catalog.Metric) -> list[float]:
        """Newest values of the training's ranks."""
        family = self.store.series.get(metric.name, {})
        return [series.values[-1] for labels, series in family.items() if self.name in labels[0]]

    def to_the_end(self, **options: Any) -> None:
        """One training, watched until it has ended."""
        self.begin(**options)
        self.until(self.ended)

    def ended(self) -> bool:
        """Whether the last training has come to its end, a good or a bad one."""
        return bool(self.current(catalog.TRAIN_END_TIMESTAMP_SECONDS))

    def diagnoses(self, **limits: float) -> list[engine.Diagnosis]:
        """Of the ranks of the last training."""
        course = diagnose_range([self.store], Thresholds(**limits))
        found = [one for one in course.diagnoses if self.name in one.run]
        assert found, f"see {self._folder}/*.log"
        return found

    def findings(self, **limits: float) -> dict[str, list[str]]:
        """Verdicts worse than ok by rank."""
        return {
            one.rank: [verdict.name for verdict in one.verdicts if verdict.severity != rules.OK]
            for one in self.diagnoses(**limits)
        }

    def summary(self) -> Summary:
        """The report on the last training."""
        return summarize([self.store], self.diagnoses()[0].run)


@pytest.fixture(scope="module")
def trainings(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    """Nothing of it is left at the end."""
    with ExitStack() as stack:
        yield Trainings(tmp_path_factory.mktemp("trainings"), data, stack)


def end(process: subprocess.Popen[str]) -> None:
    """The training and its children are gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@alone
def test_the_healthy_control_yields_nothing(trainings: Trainings) -> None:
    """Enough workers for what they have to do; long enough to be more than its beginning."""
    trainings.to_the_end(epochs=5, **UNHURRIED)
    assert set(trainings.findings()["0"]) <= {"cpu_contended"}  # where others use this machine's CPUs it is true


@alone
def test_slow_reading_is_found_and_the_printed_fix_helps(trainings: Trainings) -> None:
    """The advice, applied as it stands, raises throughput, and the report shows it."""
    trainings.to_the_end(script=SLOW_STORAGE, workers=1, epochs=4)
    before = trainings.summary()
    verdict = trainings.diagnoses()[0].verdicts[0]
    assert verdict.name == "loader_wait", verdict  # it sleeps: no disk is busy, and nothing else shows what it is
    assert verdict.advice.arguments["workers"] > 1
    fix = dict(verdict.advice.arguments)
    trainings.to_the_end(script=SLOW_STORAGE, epochs=5, workers=fix.pop("workers", 1), arguments=fix)
    after = trainings.summary()
    rows = {row.name: row for row in compare([before], [after]).rows}
    assert rows["throughput"].cells[1].change > "x 1.5", rows  # how sure that is, seconds of training cannot tell
    assert after.figures["throughput"].value > 1.5 * before.figures["throughput"].value


@alone
@pytest.mark.parametrize(
    ("options", "limits", "verdict"),
    [
        ({"image_work": 0.06}, {}, "loader_cpu"),
        # Whether CPUs idle depends on who else is on the machine, so this is not asked here.
        ({"workers": 1, "image_work": 0.05}, {"free_cores": 0.0}, "loader_workers"),
        ({"image_sleep": 0.1, "slow_worker": 1}, {}, "slow_worker"),
        ({"workers": 0, "image_sleep": 0.06}, {}, "loader_workers"),
    ],
    ids=["cpu", "few", "one-slow", "no-workers"],
)
def test_what_starves_it_is_named(
    trainings: Trainings, options: dict[str, Any], limits: dict[str, float], verdict: str
) -> None:
    """CPU-heavy transform, too few workers, one slow worker, slow reading without workers."""
    trainings.to_the_end(epochs=3, **options)
    found = trainings.findings(**limits)
    if verdict in BUSY_MACHINE and "cpu_contended" in found["0"]:
        pytest.skip("others use this machine's CPUs, and that is what is told")
    assert set(found["0"]) - {"cpu_contended"} == {verdict}


def test_a_leak_and_a_loss_that_is_no_number(trainings: Trainings) -> None:
    """Both are found in one training, memory kept by a callback and NaN in the last epoch; and that it failed by it."""
    trainings.to_the_end(epochs=10, script=LEAK_AND_NAN, **UNHURRIED)
    assert set(trainings.findings()["0"]) - BUSY_MACHINE == {"host_memory_leak", "diverged", "failed"}


@alone
def test_a_quota_is_named(trainings: Trainings) -> None:
    """A cgroup of half a CPU, where this machine lets us make one."""
    group = Path("/sys/fs/cgroup/cpu") / f"yoloscope-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        enter = f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))"
        trainings.to_the_end(epochs=2, image_work=0.03, script=enter)
    finally:
        (group.parent / "cgroup.procs").write_text(str(trainings.pid))
        group.rmdir()
    assert "cpu_throttled" in trainings.findings()["0"]  # and whatever else keeps this machine busy


def test_a_hang_and_a_kill(trainings: Trainings) -> None:
    """A callback that hangs is a stall; SIGKILL after it is seen, with the last epoch, from the record."""
    trainings.begin(epochs=3, script=HANG)
    trainings.until(lambda: trainings.current(catalog.TRAIN_EPOCH) == [2.0])  # it hangs in the first batch of it
    quiet = time.monotonic() + 4
    trainings.until(lambda: time.monotonic() > quiet)
    os.kill(trainings.pid, signal.SIGKILL)
    trainings.until(lambda: trainings.current(catalog.TRAIN_UP) == [0.0])
    (diagnosis,) = trainings.diagnoses(stall_seconds=3.0, stall_factor=0.0)
    told = {verdict.name: verdict for verdict in diagnosis.verdicts if verdict.severity != rules.OK}
    assert set(told) - BUSY_MACHINE == {"stalled", "killed"}
    assert "epoch 2 of 3" in told["killed"].evidence


def test_a_slow_rank_is_named(trainings: Trainings) -> None:
    """Rank 1 sleeps in its forward pass; rank 0, which waits for it, is not blamed."""
    trainings.begin_alone(ranks=2, batch=4, workers=1, epochs=5, step_sleep=0.2, slow_rank=1)
    trainings.until(lambda: len(trainings.current(catalog.TRAIN_END_TIMESTAMP_SECONDS)) == 2)
    found = trainings.findings()
    assert "straggler" in found["1"]
    assert "straggler" not in found["0"]
