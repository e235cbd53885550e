"""Real causes in real trainings on the CPU: each yields its verdict, the healthy control none, and the fix helps."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import catalog, config
from yoloscope_exporter.commands import serve
from yoloscope_exporter.diagnosis import engine, report, rules
from yoloscope_exporter.diagnosis.series import Store

from tests import training

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.train, pytest.mark.slow]

#: Storage that takes an eighth of a second per image, whatever reads it.
SLOW_STORAGE = """
import time
import ultralytics.data.base as base
quick = base.imread
def slow(*arguments, **options):
    time.sleep(0.12)
    return quick(*arguments, **options)
base.imread = slow
"""
#: From the second epoch on, callbacks keep memory; at the end the loss is not a number any more.
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
UNHURRIED = {"step_sleep": 0.08}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small images."""
    return training.make_dataset(tmp_path_factory.mktemp("data") / "data", images=60, size=64)


class Watched:
    """A training under a real exporter, sampled in this process."""

    def __init__(self, process: subprocess.Popen[str], exporter: serve.Exporter) -> None:
        """Nothing is sampled yet."""
        self.process, self._exporter = process, exporter
        self.store = Store()

    def until(self, condition: Callable[[], bool], timeout: float = 150) -> None:
        """Sample until it is true, and two seconds more."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it took too long"
            self.sample()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.sample()

    def sample(self) -> None:
        """Take the newest snapshot."""
        snapshot = self._exporter.sampler.snapshot
        if snapshot.time > self.store.last:
            self.store.add(snapshot.time, snapshot)
        time.sleep(0.02)

    def batches(self) -> float:
        """Training batches seen so far."""
        family = self.store.series.get(catalog.TRAIN_BATCHES_TOTAL.name, {})
        return sum(series.values[-1] for series in family.values())


@pytest.fixture
def watch(data: Path, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Start trainings with an exporter beside each; all are gone at the end."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Watched:
            arguments = ["--web.listen-address=127.0.0.1:0", "--sample.interval=150ms", "--no-collector.disk"]
            exporter = stack.enter_context(serve.running(config.resolve(serve.serve, arguments)))
            chosen = {"workers": 2, "batch": 4, "arguments": {"val": False, "save": False}} | options
            process = training.start(data, tmp_path / "runs", **chosen)
            stack.callback(process.stdout.close)  # type: ignore[union-attr]
            stack.callback(end, process)
            return Watched(process, exporter)

        yield begin


def end(process: subprocess.Popen[str]) -> None:
    """The training and its children are gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def to_the_end(watched: Watched) -> Store:
    """Sample until the training has ended well."""
    watched.until(lambda: watched.process.poll() is not None)
    assert watched.process.returncode == 0, watched.process.stdout.read()  # type: ignore[union-attr]
    return watched.store


def findings(store: Store, **limits: float) -> dict[str, list[str]]:
    """Verdicts worse than ok by rank."""
    course = engine.over([store], {**rules.DEFAULTS, **limits})
    assert course.diagnoses
    return {
        one.rank: [verdict.name for verdict in one.verdicts if verdict.severity != rules.OK] for one in course.diagnoses
    }


def test_the_healthy_control_yields_nothing(watch: Callable[..., Watched]) -> None:
    """Enough workers for what they have to do."""
    assert findings(to_the_end(watch(epochs=3, **UNHURRIED))) == {"0": []}


def test_slow_storage_is_found_and_the_printed_fix_helps(watch: Callable[..., Watched]) -> None:
    """The advice, applied as it stands, raises throughput, and the report shows it."""
    before = to_the_end(watch(name="before", script=SLOW_STORAGE))
    (diagnosis,) = engine.over([before]).diagnoses
    verdict = diagnosis.verdicts[0]
    assert verdict.name == "loader_io", verdict
    assert verdict.advice.arguments["cache"] == "ram"
    fix = {key: value for key, value in verdict.advice.arguments.items() if key != "workers"}
    workers = verdict.advice.arguments.get("workers", 2)
    mended = watch(
        name="after", script=SLOW_STORAGE, workers=workers, epochs=2, arguments={"val": False, "save": False} | fix
    )
    after = to_the_end(mended)
    summaries = [report.summarize([store], _run(store, name)) for store, name in ((before, "before"), (after, "after"))]
    rows = {row.name: row for row in report.compare(*summaries).rows}
    assert rows["throughput"].verdict == "better", rows
    assert summaries[1].figures["throughput"].value > 2 * summaries[0].figures["throughput"].value


def _run(store: Store, name: str) -> str:
    return next(run for run in report.known_runs([store]) if f"/{name}-" in run)


@pytest.mark.parametrize(
    ("options", "limits", "verdict"),
    [
        ({"image_work": 0.06}, {}, "loader_cpu"),
        # Whether CPUs idle depends on who else is on the machine, so this is not asked here.
        ({"workers": 1, "image_work": 0.05}, {"free_cores": 0.0}, "loader_workers"),
        ({"image_sleep": 0.15, "slow_worker": 1}, {}, "slow_worker"),
        ({"workers": 0, "image_sleep": 0.1}, {}, "loader_io"),
    ],
    ids=["cpu", "few", "one-slow", "no-workers"],
)
def test_what_starves_it_is_named(
    watch: Callable[..., Watched], options: dict[str, Any], limits: dict[str, float], verdict: str
) -> None:
    """CPU-heavy transform, too few workers, one slow worker, slow reading without workers."""
    assert findings(to_the_end(watch(epochs=2, **options)), **limits) == {"0": [verdict]}


def test_a_leak_and_a_loss_that_is_no_number(watch: Callable[..., Watched]) -> None:
    """Both are found in one training, memory kept by a callback and NaN in the last epoch; and that it failed by it."""
    watched = watch(epochs=9, script=LEAK_AND_NAN, **UNHURRIED)
    watched.until(lambda: watched.process.poll() is not None)
    assert set(findings(watched.store)["0"]) == {"host_memory_leak", "diverged", "failed"}


def test_a_hang_and_a_kill(watch: Callable[..., Watched]) -> None:
    """A callback that hangs is a stall; SIGKILL after it is seen, with the last epoch, from the record."""
    watched = watch(epochs=3, script=HANG)
    watched.until(lambda: watched.batches() >= 16)
    quiet = time.monotonic() + 5
    watched.until(lambda: time.monotonic() > quiet)
    end(watched.process)
    watched.until(lambda: watched.process.poll() is not None)
    course = engine.over([watched.store], {**rules.DEFAULTS, "stall_seconds": 3.0, "stall_factor": 0.0})
    told = {verdict.name: verdict for verdict in course.diagnoses[0].verdicts if verdict.severity != rules.OK}
    assert set(told) == {"stalled", "killed"}
    assert "epoch 2 of 3" in told["killed"].evidence


def test_a_slow_rank_is_named(watch: Callable[..., Watched]) -> None:
    """Rank 1 sleeps in its forward pass; rank 0, which waits for it, is not blamed."""
    found = findings(to_the_end(watch(epochs=2, ranks=2, batch=8, workers=1, step_sleep=0.2, slow_rank=1)))
    assert found["1"] == ["straggler"]
    assert "straggler" not in found["0"]


def test_a_quota_is_named(watch: Callable[..., Watched], data: Path) -> None:
    """A cgroup of half a CPU, where this machine lets us make one."""
    group = Path("/sys/fs/cgroup/cpu") / f"yoloscope-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        watched = watch(image_work=0.02)
        (group / "cgroup.procs").write_text(str(watched.process.pid))
        found = findings(to_the_end(watched))
    finally:
        end(watched.process)
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
    assert found == {"0": ["cpu_throttled"]}
