"""Whatever goes wrong in the hooks stays in the hooks: the training does what it would do without them."""

from __future__ import annotations

import copy
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import (
    batches,
    callbacks,
    counters,
    cuda_memory,
    ddp,
    facts,
    guard,
    image_sizes,
    inference_callbacks,
    instrumentation,
    learning,
    leftovers,
    naming,
    opening,
    progress,
    recorder,
    setup_stages,
    step_clock,
    validating,
)
from yoloscope_hooks import workers as loader_workers
from yoloscope_hooks.callbacks import CALLBACKS
from yoloscope_hooks.other_callbacks import OtherCallbacks
from yoloscope_record import catalog, paths
from yoloscope_record.file_format import ROWS_AHEAD, Identity, RecordError
from yoloscope_record.reader import Reader, Record
from yoloscope_record.writer import Writer

from tests.trainer_hooks.loop import Loop, Scalar, Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES = ROWS_AHEAD + 3  # more than are folded at once
CALLS = ["step"] * BATCHES + ["save"] + ["step"] * BATCHES + ["save", "final"]


def records() -> list[Record]:
    """What lies in the record directory."""
    return [Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")]


def value(seen: Record, name: str) -> Any:
    """The only series of that metric."""
    (found,) = (sample.value for sample in seen.samples if sample.metric.name == f"yoloscope_train_{name}")
    return found


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Two epochs of batches, watched, with loader workers to look at."""
    loop = Loop(tmp_path, epochs=2, batches=BATCHES)
    loop.train_loader.iterator = Workers()
    loop = yoloscope_hooks.attach(loop)
    for event in ("on_train_batch_start", "on_train_batch_end"):
        loop.callbacks[event] = [_nothing, *loop.callbacks[event], _nothing]
    return loop


def _nothing(_: object) -> object:
    """Somebody else's callback."""
    return _


@pytest.fixture(autouse=True)
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Our warnings; there is never more than one a training."""
    caplog.set_level(logging.WARNING, "yoloscope")
    yield caplog
    assert len(caplog.get_records("call")) <= 1, caplog.messages


def test_nothing_wrong(loop: Loop, warned: pytest.LogCaptureFixture) -> None:
    """The measure of the tests below: a training without a fault leaves a finished record and says nothing."""
    loop.train()
    (seen,) = records()
    assert loop.calls == CALLS
    assert seen.state == "finished"
    assert (value(seen, "batches_total"), value(seen, "images_total"), value(seen, "optimizer_steps_total")) == (
        2 * BATCHES,
        8 * BATCHES,
        2 * BATCHES,
    )
    assert value(seen, "hook_errors_total") == 0
    assert warned.messages == []


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("injected")


PLACES = [
    *((recorder.Recorder, name) for name in ("train_start", "epoch_start", "epoch_end")),
    *((recorder.Recorder, name) for name in ("fit_epoch_end", "end", "close", "_account", "_leave")),
    *((recorder.Recorder, name) for name in ("_add_up", "_look_at_loss", "_describe", "_restore", "__init__")),
    *((batches.Batches, name) for name in ("__init__", "time_callbacks", "epoch_start", "start", "end")),
    *((batches.Batches, name) for name in ("store_callbacks", "store", "account", "_fold", "_store")),
    *((batches.Batches, name) for name in ("_step_begins", "_step_ends")),
    *((progress.Progress, name) for name in ("__init__", "train_start", "epoch_start", "estimate")),
    (guard.Guard, "__init__"),
    *((OtherCallbacks, name) for name in ("__init__", "install", "spent", "store")),
    *((learning.Learning, name) for name in ("__init__", "check", "sample", "epoch")),
    *((loader_workers.Queue, name) for name in ("__init__", "look", "batch", "store", "count_deaths", "let_go")),
    *((step_clock.HostClock, name) for name in ("end", "account", "epoch")),
    *(
        (Writer, name)
        for name in (
            "__init__",
            "begin",
            "end",
            "append",
            "count",
            "set_facts",
            "set_state",
            "slot",
            "close",
        )
    ),
    *((setup_stages.SetupStages, name) for name in ("__init__", "spend", "over", "watch", "restore")),
    *((paths, name) for name in ("directory", "make_directory", "make_own", "run_directory", "is_readable_to_all")),
    *((naming, name) for name in ("run", "rank")),
    *((instrumentation, name) for name in ("install", "restore")),
    (facts, "gather"),
    (cuda_memory, "watch"),
    (ddp, "hook"),
    (counters.Counters, "store"),
    (opening, "open_for"),
    (leftovers, "clear"),
]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda place: getattr(place, "__name__", place))
def test_error_anywhere(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture, owner: object, name: str
) -> None:
    """An exception in any function of ours: training goes on, one warning, and either a count of it or no record."""
    monkeypatch.setattr(owner, name, _broken)
    loop.train()
    assert loop.calls == CALLS
    assert len(warned.messages) == 1
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (recorder.Recorder, "fit_epoch_end"),
        (recorder.Recorder, "epoch_end"),
        (progress.Progress, "epoch_start"),
        (progress.Progress, "estimate"),
    ],
)
def test_errors_are_counted(loop: Loop, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """What fails less than three times is counted, and the rest of the record is as good as ever."""
    monkeypatch.setattr(owner, name, _broken)
    loop.train()
    (seen,) = records()
    assert value(seen, "hook_errors_total") >= 2
    assert value(seen, "batches_total") == 2 * BATCHES
    assert seen.state == "finished"


def test_repeated_error_ends_the_record(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """If batches cannot be recorded there is no record, rather than one that looks like a hung training."""
    monkeypatch.setattr(batches.Batches, "end", _broken)
    loop.train()
    assert records() == []
    assert not hasattr(vars(loop).get("optimizer_step"), "__wrapped__")


def test_half_open_record_is_removed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that cannot be set up leaves no record behind that nobody updates."""
    monkeypatch.setattr(counters.Counters, "__init__", _broken)
    loop.train()
    assert records() == []


def test_failing_part_is_left_out(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that keeps failing is not tried again; batches are counted all the same."""
    monkeypatch.setattr(learning.Learning, "check", _broken)
    loop.train()
    (seen,) = records()
    assert value(seen, "hook_errors_total") == guard.ERROR_LIMIT
    assert value(seen, "batches_total") == 2 * BATCHES


ATTRIBUTES = ("args", "save_dir", "device", "epochs", "start_epoch", "accumulate", "scaler", "optimizer")
ATTRIBUTES += ("stopper", "loss", "tloss", "metrics", "_oom_retries", "nan_recovery_attempts", "train_loader", "epoch")


@pytest.mark.parametrize("missing", ATTRIBUTES)
def test_trainer_of_the_future(loop: Loop, missing: str) -> None:
    """A trainer without one of the attributes we know: its batches are recorded nevertheless."""
    seen: list[str] = []

    class Guarded(Loop):
        def __getattribute__(self, name: str) -> Any:
            if name == missing and seen:
                raise AttributeError(name)
            return super().__getattribute__(name)

    loop.__class__ = Guarded
    for event, functions in loop.callbacks.items():
        ours = functions[:]
        before, after = (lambda _: seen.append("in")), (lambda _: seen.clear())
        loop.callbacks[event] = [before, *ours, after]
    loop.train()
    (one,) = records()
    assert value(one, "batches_total") == 2 * BATCHES
    assert one.state == "finished"


@pytest.mark.parametrize("error", [KeyError, RuntimeError])
def test_a_trainer_whose_getattr_raises_something_else(tmp_path: Path, error: type[Exception]) -> None:
    """Also for what hangs on it only later: our own attribute."""

    class Strange(Loop):
        def __getattr__(self, name: str) -> Any:
            raise error(name)

    loop = Strange(tmp_path, batches=BATCHES)
    for event, function in CALLBACKS.items():
        loop.callbacks[event] = [function]
    loop.train()
    assert loop.calls.count("step") == BATCHES


def test_our_attribute_is_somebody_elses(loop: Loop) -> None:
    """By name, or because all of a trainer's attributes were replaced."""
    loop.callbacks["on_train_batch_end"].append(lambda trainer: setattr(trainer, "_yoloscope", 42))
    loop.train()
    assert loop.calls == CALLS


def test_copies(loop: Loop) -> None:
    """A callback keeps a copy of the trainer, or of its validator, as it can without the hooks."""
    copies: list[Any] = []

    def keep(trainer: Loop) -> None:
        copies.append(copy.deepcopy(trainer))
        copies.append(copy.deepcopy(trainer.validator))  # type: ignore[attr-defined]

    loop.validator = SimpleNamespace(callbacks={})  # type: ignore[attr-defined]
    loop.callbacks["on_train_epoch_end"].append(keep)
    loop.train()
    assert loop.calls == CALLS
    assert {vars(one).get("_yoloscope") for one in copies} == {None}
    assert [getattr(one, validating.TRAININGS, None) for one in copies] == [None, False, None, False]
    (seen,) = records()
    assert (seen.state, value(seen, "batches_total")) == ("finished", 2 * BATCHES)


#: A training that has no record to write to, which is said, in a process whose standard error is closed.
WITHOUT_STDERR = """
import sys
from pathlib import Path
import yoloscope_hooks
from tests.trainer_hooks.loop import Loop
loop = yoloscope_hooks.attach(Loop(Path(sys.argv[1])))
sys.stderr.close()
loop.train()
yoloscope_hooks.attach(object())
print(len(loop.calls))
"""


def test_standard_error_is_closed(tmp_path: Path) -> None:
    """Python's own logging raises then."""
    (tmp_path / "file").write_text("")
    environ = {**os.environ, "YOLOSCOPE_DIR": str(tmp_path / "file"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WITHOUT_STDERR, str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n")


def test_a_log_that_raises(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a handler of the user's does that wants no warnings at all; of an event, and of a file that is full."""

    class Strict(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.getMessage())

    monkeypatch.setattr(logging.getLogger("yoloscope"), "handlers", [Strict()])  # nobody hears it before
    monkeypatch.setattr(recorder.Recorder, "epoch_end", _broken)
    loop.callbacks["on_train_epoch_end"].append(lambda _: monkeypatch.setattr(os, "pwrite", _raise(errno.ENOSPC)))
    loop.train()
    assert loop.calls == CALLS
    assert records() == []


#: Programs that close what is not theirs, before they open files of their own.
CLOSES = {
    "all but three": lambda _: os.closerange(3, 1 << 16),
    "that one": lambda trainer: os.close(trainer._yoloscope._writer._file),
}
CLOSED = """
import os, sys
from pathlib import Path
import yoloscope_hooks
from tests.trainer_hooks.loop import Loop
from tests.trainer_hooks.yoloscope_hooks.test_faults import CLOSES
kept = []
def save(trainer):
    if not kept:
        CLOSES[sys.argv[2]](trainer)
        for name in range(8):
            kept.append(open(Path(sys.argv[1], f"weights-{name}"), "wb", buffering=0))
            kept[-1].write(b"mine")
loop = yoloscope_hooks.attach(Loop(Path(sys.argv[1]), epochs=2, batches=40))
loop.callbacks["on_train_batch_end"].append(save)
loop.train()
for one in kept:
    one.write(b"more")
print(len(loop.calls))
"""


@pytest.mark.parametrize("which", CLOSES)
def test_a_training_that_closes_our_file(tmp_path: Path, which: str) -> None:
    """What it opens next has the lowest numbers: nothing is written into that, and nobody closes it."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CLOSED, str(tmp_path), which]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "83\n"), done.stderr
    assert {path.read_bytes() for path in tmp_path.glob("weights-*")} == {b"minemore"}
    assert done.stderr.count("\n") == 1
    assert "Bad file descriptor" in done.stderr


@pytest.mark.parametrize("most", [0, 1000, 100_000])
def test_files_may_not_be_large(tmp_path: Path, most: int) -> None:
    """By `ulimit -f`, in a training that has put back what SIGXFSZ does: it kills whoever writes more."""
    code = f"""
import resource, signal, sys
from pathlib import Path
import yoloscope_hooks
from tests.trainer_hooks.loop import Loop
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
loop = yoloscope_hooks.attach(Loop(Path(sys.argv[1])))
loop.save_dir.mkdir()
loop.train()
print(len(loop.calls))
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    assert "File too large" in done.stderr


@pytest.mark.parametrize(
    "place",
    [(Writer, "_write"), (recorder.Recorder, "__init__"), (leftovers, "own_runs"), (opening, "open_for")],
    ids=lambda place: place[1],
)
def test_interrupted_while_its_record_is_opened(loop: Loop, place: tuple[object, str]) -> None:
    """Ctrl-C in these milliseconds: no record stays, of nobody or of one that went well; the next one has its own."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            loop.train()
    assert records() == []
    loop.train()
    assert loop.calls == CALLS
    assert [seen.state for seen in records()] == ["finished"]


class PreemptedError(Exception):
    """What a user's handler raises, to end the training."""


def _preempt(*_: object) -> None:
    raise PreemptedError


class Preempt:
    """The same as a method, and as something that can be called."""

    def __call__(self, *_: object) -> None:
        """Raise."""
        _preempt()

    def method(self, *_: object) -> None:
        """Raise."""
        _preempt()


@pytest.mark.parametrize(
    "place",
    [
        (opening, "open_for"),
        (recorder.Recorder, "epoch_start"),
        (recorder.Recorder, "end"),
        (batches.Batches, "end"),
        (learning.Learning, "check"),
        (loader_workers.Queue, "look"),
        (facts, "_asked_for"),
        (image_sizes, "_store_needs"),
    ],
    ids=lambda place: place[1],
)
@pytest.mark.parametrize(
    "handler",
    [_preempt, Preempt(), Preempt().method, partial(_preempt, 1)],
    ids=["function", "object", "method", "partial"],
)
def test_what_a_signal_handler_of_the_users_raises(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], handler: Any
) -> None:
    """It ends the training, as it would have a line earlier, though it comes while one of ours is at work."""
    monkeypatch.setattr(*place, lambda *_, **__: signal.raise_signal(signal.SIGUSR1))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(PreemptedError):
            loop.train()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", ["file", "below a file", "read-only", "full", "link", "somebody else's"])
def test_no_directory(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture, kind: str
) -> None:
    """A record that cannot be had costs one warning that names the place."""
    place = tmp_path / "place"
    monkeypatch.setenv("YOLOSCOPE_DIR", str(place / "below" if kind == "below a file" else place))
    if kind in ("file", "below a file"):
        place.write_text("")
    if kind == "link":
        place.symlink_to(tmp_path)
    if kind == "read-only":
        monkeypatch.setattr(Path, "mkdir", _raise(errno.EROFS))
    if kind == "full":
        monkeypatch.setattr(os, "posix_fallocate", _raise(errno.ENOSPC))
    if kind == "somebody else's":
        monkeypatch.setattr(os, "open", _raise(errno.EACCES, only=str(place)))
    loop.train()
    assert loop.calls == CALLS
    assert len(warned.messages) == 1
    assert str(place) in warned.messages[0]


def _raise(number: int, only: str = "") -> Any:
    original = os.open

    def function(path: Any, *arguments: Any, **options: Any) -> int:
        if only and not str(path).startswith(only):
            return original(path, *arguments, **options)
        raise OSError(number, os.strerror(number))

    return function


@pytest.mark.parametrize(
    "environ",
    [
        {"RANK": "abc", "LOCAL_RANK": "0"},
        {"RANK": "../../1", "LOCAL_RANK": ""},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "-2", "LOCAL_WORLD_SIZE": "x"},
        {"YOLOSCOPE_RUN": "../../../etc/passwd"},
        {"YOLOSCOPE_RUN": "line\nbreak\x00"[:10]},
        {"YOLOSCOPE_RUN": "x" * 10_000},
        {"YOLOSCOPE_RUN": "训练/一"},
        {"SLURM_JOB_ID": "{}\n", "SLURM_JOB_USER": '"' * 3000, "POD_NAME": "\t"},
        {"CUDA_VISIBLE_DEVICES": "GPU-,,MIG-"},
        {"YOLOSCOPE": "perhaps"},
    ],
    ids=str,
)
def test_hostile_environment(loop: Loop, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """Strange environment variables give a record in its place, or none; never an error."""
    for name, content in environ.items():
        monkeypatch.setenv(name, content)
    loop.train()
    assert loop.calls == CALLS
    (seen,) = records()
    assert seen.state == "finished"
    assert value(seen, "batches_total") == 2 * BATCHES


def test_off(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """YOLOSCOPE=off: attach does nothing, and callbacks that are there already do nothing."""
    monkeypatch.setenv("YOLOSCOPE", "off")
    other = yoloscope_hooks.attach(SimpleNamespace(callbacks={}))
    assert other.callbacks == {}
    loop.train()
    assert records() == []


def test_attach_to_anything(warned: pytest.LogCaptureFixture) -> None:
    """What is no model comes back as it is."""
    thing = object()
    assert yoloscope_hooks.attach(thing) is thing
    assert len(warned.messages) == 1


def test_attach_twice(loop: Loop) -> None:
    """Attaching again adds nothing."""
    yoloscope_hooks.attach(loop)
    loop.train()
    (seen,) = records()
    assert value(seen, "batches_total") == 2 * BATCHES
    assert set(loop.callbacks) == {*CALLBACKS, *inference_callbacks.CALLBACKS}


def test_error_of_the_training(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training's own exception passes through, and its type is in the record."""
    monkeypatch.setattr(loop, "validate", _broken)
    with pytest.raises(RuntimeError, match="injected"):
        loop.train()
    (seen,) = records()
    assert (seen.state, seen.facts["exception"]) == ("failed", "RuntimeError")
    assert value(seen, "batches_total") == BATCHES


def test_error_of_the_training_without_room(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that is full takes no exception any more, and the training has failed all the same."""

    def full(*_: object) -> None:
        raise RecordError("full", "no room")

    def validate() -> None:
        monkeypatch.setattr(Writer, "set_facts", full)
        raise RuntimeError("injected")

    monkeypatch.setattr(loop, "validate", validate)
    with pytest.raises(RuntimeError, match="injected"):
        loop.train()
    (seen,) = records()
    assert (seen.state, "exception" in seen.facts) == ("failed", False)


def test_training_inside_except(loop: Loop) -> None:
    """A training started while an exception is handled has not failed for that."""
    try:
        raise KeyError("earlier")  # noqa: TRY301 - the point of the test
    except KeyError:
        loop.train()
    (seen,) = records()
    assert seen.state == "finished"


def test_trainer_is_let_go(loop: Loop) -> None:
    """The hooks keep no trainer alive, and a trainer that disappears without teardown has failed."""
    import gc  # noqa: PLC0415
    import weakref  # noqa: PLC0415

    loop.run("on_pretrain_routine_start")
    loop.run("on_train_start")
    loop.run("on_train_epoch_start")
    path = loop._yoloscope._writer.path  # type: ignore[attr-defined]
    gone = weakref.ref(loop)
    callbacks.CALLBACKS["on_train_batch_start"](loop)
    del loop
    gc.collect()
    if gone() is None:  # the fixture may still hold it
        assert Reader(path).read().state == "failed"


def test_two_trainings_in_one_process(tmp_path: Path) -> None:
    """Each has its own record; nothing of the first is in the second."""
    for name in ("one", "two"):
        loop = yoloscope_hooks.attach(Loop(tmp_path / name, epochs=1), run=name)
        loop.train()
    assert {seen.identity.run: value(seen, "batches_total") for seen in records()} == {"one": 3, "two": 3}


def test_second_training_of_a_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first began with its process, which torchrun started for it; the second begins when it begins."""
    monkeypatch.setattr(opening, "_counted", set())
    monkeypatch.setattr(naming, "process_start", lambda _: time.time() - 1000)
    monkeypatch.setenv("LOCAL_RANK", "0")
    for name in ("one", "two"):
        yoloscope_hooks.attach(Loop(tmp_path / name, epochs=1), run=name).train()
    ages = {seen.identity.run: time.time() - value(seen, "start_timestamp_seconds") for seen in records()}
    assert ages == {"one": pytest.approx(1000, abs=60), "two": pytest.approx(0, abs=60)}


def test_same_name_again(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training under the name of one that has ended takes its place: workers of the old one are not its workers."""
    monkeypatch.setenv("YOLOSCOPE_RUN", "again")
    loop.train()
    (folder,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("*/*")
    for rank, worker in (("0", "7"), ("1", "0")):
        identity = Identity("again", rank, "worker", worker)
        Writer(folder / identity.filename, identity).close()
    yoloscope_hooks.attach(Loop(tmp_path / "second", epochs=1)).train()
    hangup = "rank-0-hangup.stacks"
    assert {path.name for path in folder.iterdir()} == {"rank-0.rec", "rank-0.stacks", hangup, "rank-1-worker-0.rec"}
    assert value(Reader(folder / "rank-0.rec").read(), "batches_total") == 3


def test_old_runs_go_and_nothing_else(loop: Loop, tmp_path: Path) -> None:
    """A folder full of other people's things, a day old, records among them: after a training all of it is there."""
    base = Path(os.environ["YOLOSCOPE_DIR"])
    long_ago = time.time() - 2 * leftovers.KEEP_SECONDS
    for run in ("exp1", "exp2", "old"):
        identity = Identity(run)
        with closing(Writer(base / run / identity.filename, identity)) as writer:
            writer.begin()
            writer.end(long_ago)
    (base / "exp1" / "weights").mkdir()
    (base / "exp1" / "weights" / "best.pt").write_text("a week of training")
    (base / "exp2" / "results.csv").write_text("epoch")
    (base / "data").mkdir()
    (base / "data" / "labels.tmp").write_text("0 0.5 0.5 1 1")
    (base / "empty").mkdir()
    (base / "home").symlink_to(tmp_path)
    os.mkfifo(base / "data" / "rank-0.rec")
    for path in (*base.rglob("*"), base):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    before = {path for path in base.rglob("*") if base / "old" not in (path, path.parent)}
    contents = {path: path.read_bytes() for path in before if path.is_file()}
    loop.train()
    assert before < set(base.rglob("*"))
    assert not (base / "old").exists()
    assert {path: path.read_bytes() for path in contents} == contents


def test_records_of_a_tuner_are_bounded(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many runs the oldest dead go though they are young; none that lives, none that has ended a moment ago."""
    monkeypatch.setattr(leftovers, "KEEP_RUNS", 3)
    base, now = Path(os.environ["YOLOSCOPE_DIR"]), time.time()
    for age in (700, 500, 400, 300, 200, 5, 4, 3):
        identity = Identity(f"tune-{age}")
        path = base / identity.run / identity.filename
        with closing(Writer(path, identity)) as writer:
            writer.begin()
            writer.end(now - age)
        for touched in (path, path.parent):
            os.utime(touched, (now - age, now - age))
    with subprocess.Popen([sys.executable, "-c", TRAIN_ON, base], stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == b"ready\n"
        loop.train()
        living.kill()
    assert {path.name for path in base.glob("tune-*")} == {"tune-600", "tune-5", "tune-4", "tune-3"}


def test_predictions_push_no_training_out(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many short predictions there were since: of those only the newest stay."""
    monkeypatch.setattr(leftovers, "KEEP_RUNS", 2)
    monkeypatch.setattr(leftovers, "KEEP_PREDICTIONS", 1)
    base, now = Path(os.environ["YOLOSCOPE_DIR"]), time.time()
    ended = [(900, "rank"), (800, "rank"), (700, "predict"), (600, "predict"), (500, "validate"), (400, "export")]
    for age, kind in ended:
        identity = Identity(f"{kind}-{age}", "0", kind)
        path = base / identity.run / identity.filename
        with closing(Writer(path, identity)) as writer:
            writer.begin()
            writer.set_state("failed")
            writer.end(now - age)
        for touched in (path, path.parent):
            os.utime(touched, (now - age, now - age))
    loop.train()
    assert {path.name for path in base.glob("*-[0-9]00")} == {"rank-900", "rank-800", "export-400"}


#: Another process, whose training said something last ten minutes ago.
TRAIN_ON = """
import os, sys, time
from pathlib import Path
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
identity, then = Identity("tune-600"), time.time() - 600
path = Path(sys.argv[1]) / identity.run / identity.filename
writer = Writer(path, identity)
writer.end(then)
os.utime(path, (then, then))
os.utime(path.parent, (then, then))
print("ready", flush=True)
time.sleep(600)
"""


def test_everything_is_put_back(loop: Loop) -> None:
    """After the training the trainer is as it was."""
    before = set(vars(loop)) | {"epoch", "metrics"}
    loop.train()
    assert set(vars(loop)) == before
    assert vars(loop.scaler) == {}


# --- processes and clocks -------------------------------------------------------------------------------------------


def test_a_second_training_under_the_name_of_one_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same process, too: it has a number behind its name, and the first keeps its record."""
    monkeypatch.setenv("YOLOSCOPE_RUN", "told")
    first = yoloscope_hooks.attach(Loop(tmp_path / "one"))
    first.run("on_pretrain_routine_start")
    yoloscope_hooks.attach(Loop(tmp_path / "two")).train()
    assert lives(first._yoloscope._writer.path) == "True"  # type: ignore[attr-defined]
    first.run("teardown")
    assert sorted(seen.identity.run for seen in records()) == ["told", "told-2"]


def lives(path: Path) -> str:
    """Whether the writer of a record lives, as another process sees it."""
    code = "import sys; from pathlib import Path; from yoloscope_record.reader import Reader\n"
    code += "print(Reader(Path(sys.argv[1])).read().alive)"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("ends", ["raise ValueError('the child')", "sys.exit(3)", "os._exit(1)", "pass"])
def test_how_a_forked_child_ends_is_not_how_its_parent_does(loop: Loop, ends: str) -> None:
    """It has a copy of the trainer, and may leave its loop by an exception."""
    alive = []

    def fork(trainer: Loop) -> None:
        child = os.fork()
        if not child:
            try:
                try:
                    exec(ends)
                finally:
                    trainer.run("teardown")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        alive.append(lives(trainer._yoloscope._writer.path))  # type: ignore[attr-defined]

    loop.callbacks["on_train_epoch_start"].append(fork)
    loop.train()
    assert set(alive) == {"True"}
    (seen,) = records()
    assert (seen.state, seen.facts.get("exception")) == ("finished", None)


def test_a_training_that_looks_at_its_own_record(loop: Loop) -> None:
    """Our own reader refuses; whoever opens the file otherwise takes the lock away, until batches are added up."""
    seen = []

    def look(trainer: Loop) -> None:
        writer = trainer._yoloscope._writer  # type: ignore[attr-defined]
        with pytest.raises(RecordError, match="own"):
            Reader(writer.path).read()
        seen.append(lives(writer.path))
        writer.path.read_bytes()
        seen.append(lives(writer.path))
        writer.begin()
        writer.end(time.time() + 2)
        seen.append(lives(writer.path))

    loop.callbacks["on_train_batch_end"].append(look)
    loop.epochs, loop.train_loader.batches = 1, 1
    loop.train()
    assert seen == ["True", "False", "True"]


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, the time left and the file go on as before; the moments are those of the clock as it is."""
    usual, steps = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: usual() + steps[0])
    seen: list[tuple[Any, ...]] = []

    class Learns(Loop):
        def step(self, batch: Any) -> None:
            super().step(batch)
            self.tloss = {"box_loss": Scalar(0.3 + self.epoch)}

    def before(trainer: Loop) -> None:
        steps[0] = -7200.0 if trainer.epoch else 0.0
        trainer._yoloscope._sampled -= 10.0  # type: ignore[attr-defined] # the next look at the losses is due

    def after(trainer: Loop) -> None:
        writer = trainer._yoloscope._writer  # type: ignore[attr-defined]
        who = trainer._yoloscope._who  # type: ignore[attr-defined]
        slots = (writer.slot(catalog.TRAIN_LOSS, *who, "box_loss"), writer.slot(catalog.TRAIN_REMAINING_SECONDS, *who))
        seen.append((trainer.epoch, *(writer.values[slot] for slot in slots)))

    loop = yoloscope_hooks.attach(Learns(tmp_path, epochs=2, batches=BATCHES))
    loop.callbacks["on_train_epoch_start"].append(before)
    loop.callbacks["on_train_batch_end"].append(after)
    loop.train()
    assert [loss for epoch, loss, _ in seen if epoch][-1] == 1.3  # within the epoch, not at its end
    assert len({remaining for epoch, _, remaining in seen if epoch}) > 1
    (record,) = records()
    assert abs(value(record, "last_batch_timestamp_seconds") - time.time()) < 60
    assert abs(record.updated - time.time()) < 60
