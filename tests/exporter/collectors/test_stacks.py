"""Stacks of processes that hang: who may be asked, what an answer may look like, and who is to blame."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.stacks import Stacks, dump
from yoloscope_exporter.collectors.stacks import process as kernel
from yoloscope_exporter.collectors.stacks.dump import Frame
from yoloscope_exporter.collectors.stacks.finding import Hang, find, stacks
from yoloscope_exporter.collectors.stacks.inquiry import AGAIN_SECONDS, Answer, Inquiry, Rank
from yoloscope_record import stack_file

from tests.exporter import world
from tests.exporter.collectors.stack_process import RUN, directory, process
from tests.live import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIGNAL = stack_file.signal_number() or 0
SLEEP = "def wait_forever(): time.sleep(99)\nwait_forever()"


class Asked:
    """What came of one inquiry."""

    def __init__(self, base: Path, **settings: object) -> None:
        """Ask whoever may be asked in `base`, and wait for the answers."""
        self.refused: Counter[str] = Counter()
        inquiry = Inquiry(directory(base), lambda reason: self.refused.update([reason]), **settings)  # type: ignore[arg-type]
        try:
            self.number = inquiry.ask()
            end = time.monotonic() + 2
            while self.number and not inquiry.complete() and time.monotonic() < end:
                time.sleep(0.02)
            self.answers = inquiry.answers()
            self.hang = find(inquiry.ranks, self.answers)
        finally:
            inquiry.close()

    def of(self, name: str) -> Answer:
        """The answer of one process."""
        return next(answer for answer in self.answers if answer.name == name)


def size(base: Path, name: str = "rank-0.stacks") -> int:
    return (directory(base) / name).stat().st_size


def newest(answer: Answer) -> Frame:
    assert answer.dump
    assert answer.dump.main
    return answer.dump.main.frames[0]


# --- who is asked ---------------------------------------------------------------------------------------------------


def test_a_rank_and_its_worker_answer(tmp_path: Path) -> None:
    """Function, file and line of both; the worker gets a file of its own when it is forked, and lives on."""
    os.mkfifo(tmp_path / "图 片.jpg")
    fork = (
        "arm()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    stacks.note('worker 2 training')\n"
        "    def read_image(path): return open(path)\n"
        f"    read_image({str(tmp_path / '图 片.jpg')!r})\n"
    )
    with process(tmp_path, SLEEP, before=fork) as child:
        wait_for(lambda: [path for path in directory(tmp_path).glob("*-child-*") if path.stat().st_size], every=0.02)
        time.sleep(0.2)
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (2, {})
        worker, main = asked.of("worker 2"), asked.of("main")
        assert main.pid == child.pid
        assert newest(main)[:2] == ("wait_forever", "<string>")
        assert newest(worker).function == "read_image"
        if worker.waits_in:  # the kernel lets root and debuggers know
            assert worker.waits_in == f"open() of {tmp_path / '图 片.jpg'}"
        assert child.poll() is None
        assert kernel.status(worker.pid).parent == child.pid


def test_what_does_not_catch_the_signal_is_not_sent_it(tmp_path: Path) -> None:
    """It would die of it: a process that holds the lock on a stack file, but has installed nothing."""
    claim = "stack_file.create(directory, run, rank, threading.get_ident(), child=False)"
    with process(tmp_path, SLEEP, before=claim) as child:
        assert not kernel.has(kernel.status(child.pid).caught, SIGNAL)
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {"not_caught": 1})
        time.sleep(0.2)
        assert child.poll() is None
        os.kill(child.pid, SIGNAL)  # what was spared it
        assert child.wait(5) == -SIGNAL


def test_a_signal_that_comes_too_late_does_not_kill(tmp_path: Path) -> None:
    """At its end Python puts back what was there before the handler: to ignore the signal."""
    late = "import faulthandler\nfaulthandler.unregister(stack_file.signal_number())\nready2 = True\ntime.sleep(99)"
    with process(tmp_path, "pass\n" + late) as child:
        wait_for(lambda: not kernel.has(kernel.status(child.pid).caught, SIGNAL), every=0.02)
        os.kill(child.pid, SIGNAL)
        time.sleep(0.2)
        assert child.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_the_signal_is_not_one_that_a_file_asks_for(tmp_path: Path, number: int) -> None:
    """Not even if the process catches that one."""
    before = "arm()\nfor number in (15, 10):\n    signal.signal(number, lambda *_: os._exit(9))"
    with process(tmp_path, SLEEP, before=before) as child:
        forge(tmp_path, rb'"signal": \d+', b'"signal": %2d' % number)
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {"signal": 1})
        time.sleep(0.2)
        assert child.poll() is None


def forge(base: Path, pattern: bytes, replacement: bytes, name: str = "rank-0.stacks") -> None:
    """Let a file's owner change it in place."""
    path = directory(base) / name
    with path.open("r+b") as file:
        content = re.sub(pattern, replacement, file.read())
        file.seek(0)
        file.write(content)


def test_the_pid_is_the_locks_and_not_the_files(tmp_path: Path) -> None:
    """A file that names another process is refused, and that one hears nothing."""
    with process(tmp_path, SLEEP) as child, process(tmp_path / "other", SLEEP) as innocent:
        forge(tmp_path, rb'"pid": \d+', b'"pid": %d' % innocent.pid)
        before = size(tmp_path / "other")
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {"pid": 1})
        time.sleep(0.2)
        assert size(tmp_path / "other") == before
        assert child.poll() is innocent.poll() is None


def test_only_a_rank_and_what_it_started_is_asked(tmp_path: Path) -> None:
    """A process that claims to be a rank's child, and holds the lock on such a file, but is none."""
    with process(tmp_path, SLEEP), process(tmp_path, SLEEP, rank="1", before="stacks.arm_child(directory, run, '0')"):
        (directory(tmp_path) / "rank-1.rec").unlink()
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (1, {"stranger": 1})


def test_nobody_is_asked_without_a_living_record(tmp_path: Path) -> None:
    """The lock on the record says who is a rank."""
    with process(tmp_path, "writer.close()\n(base / 'closed').touch()\n" + SLEEP):
        wait_for((tmp_path / "closed").exists, every=0.02)
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {"stranger": 1})


def test_only_the_same_user_or_root_asks(tmp_path: Path) -> None:
    """An exporter of another user leaves everybody alone."""
    with process(tmp_path, SLEEP):
        before = size(tmp_path)
        asked = Asked(tmp_path, user=4711)
        assert (asked.number, asked.refused) == (0, {"user": 1})
        assert size(tmp_path) == before
        assert Asked(tmp_path).number == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_asks_no_process_on_behalf_of_another_user(tmp_path: Path) -> None:
    """A user whose files a process of root happens to hold."""
    with process(tmp_path, SLEEP):
        for path in (directory(tmp_path), *directory(tmp_path).iterdir()):
            os.chown(path, 4711, 4711)
        assert Asked(tmp_path).refused["user"] == 1
        os.chown(directory(tmp_path), 0, 0)
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {"owner": 1})


def test_at_most_once_in_five_minutes(tmp_path: Path) -> None:
    """Whoever asks: the answer in the file says when it was."""
    with process(tmp_path, SLEEP):
        first = Asked(tmp_path)
        before = size(tmp_path)
        again = Asked(tmp_path)
        assert (first.number, again.number) == (1, 0)
        assert again.of("main").dump == first.of("main").dump  # the last answer is good for so long
        later = Asked(tmp_path, wall=lambda: time.time() + AGAIN_SECONDS + 1)
        assert later.number == 1
        assert size(tmp_path) > before
        assert later.of("main").dump == first.of("main").dump  # of the two in the file the last


def test_an_answer_from_before_the_hang_is_none(tmp_path: Path) -> None:
    """Somebody asked a while ago, when all was well; the process may not be asked again yet."""
    with process(tmp_path, SLEEP):
        assert Asked(tmp_path).number == 1
        asked = Asked(tmp_path, since=time.time() + 1)
        assert asked.number == 0
        assert asked.of("main").dump is None
        assert asked.hang
        assert not asked.hang.function


def test_nothing_is_queued_at_a_process_that_is_stopped(tmp_path: Path) -> None:
    """It is said to be stopped, and finds no signals when it goes on."""
    with process(tmp_path, SLEEP) as child:
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: kernel.status(child.pid).state == "T", every=0.02)
        asked = Asked(tmp_path)
        assert asked.number == 0
        assert asked.hang
        assert asked.hang.doing.startswith("stopped")
        assert not kernel.has(kernel.status(child.pid).pending, SIGNAL)
        child.send_signal(signal.SIGCONT)


def test_one_signal_on_its_way_is_enough(tmp_path: Path) -> None:
    """Real-time signals queue up: a process that blocks them would answer as often as it was asked."""
    with process(tmp_path, SLEEP, before="arm()\nsignal.pthread_sigmask(signal.SIG_BLOCK, [45])") as child:
        assert [Asked(tmp_path).number, Asked(tmp_path).number] == [1, 0]
        assert kernel.has(kernel.status(child.pid).pending, SIGNAL)


def test_sigusr_is_left_alone(tmp_path: Path) -> None:
    """Slurm and users have them."""
    with process(tmp_path, SLEEP) as child:
        caught = kernel.status(child.pid).caught
        assert kernel.has(caught, SIGNAL)
        assert not kernel.has(caught, signal.SIGUSR1)
        assert not kernel.has(caught, signal.SIGUSR2)


# --- files that are not what they should be -------------------------------------------------------------------------


def replaced_by_link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked_twice(path: Path) -> None:
    os.link(path, path.with_name("second"))


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(stack_file.MAX_FILE_BYTES + 1)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def empty(path: Path) -> None:
    os.truncate(path, 0)


def wrong_types(path: Path) -> None:
    path.write_text('yoloscope-stacks 1 {"signal": "9", "pid": null, "main": 1, "run": [], "rank": {}}\n')


def deep(path: Path) -> None:
    path.write_text("yoloscope-stacks 1 " + "[" * 4000 + "\n")


def of_another_rank(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"rank": "0"', b'"rank": "7"'))


def of_another_run(path: Path) -> None:
    path.write_bytes(re.sub(rb'"run": "[^"]*"', b'"run": "x"', path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replaced_by_link, "type"),
        (replaced_by_pipe, "type"),
        (linked_twice, "type"),
        (grown, "size"),
        (garbage, "header"),
        (empty, "header"),
        (wrong_types, "header"),
        (deep, "header"),
        (of_another_rank, "identity"),
        (of_another_run, "identity"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    """It is counted, nobody is asked for its sake, and nothing waits for it."""
    with process(tmp_path, SLEEP) as child:
        change(directory(tmp_path) / "rank-0.stacks")
        asked = Asked(tmp_path)
        assert (asked.number, asked.refused) == (0, {reason: 1})
        assert [answer.dump for answer in asked.answers] == [None]  # the rank is there, by its record
        assert child.poll() is None


@pytest.mark.parametrize(
    ("change", "reason"), [(lambda path: os.truncate(path, 10), "cut"), (lambda path: path.unlink(), "replaced")]
)
def test_a_file_that_changes_between_question_and_answer_is_refused(
    tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    """Cut, or another in its place."""
    refused: Counter[str] = Counter()
    with process(tmp_path, SLEEP, before="arm()\nsignal.pthread_sigmask(signal.SIG_BLOCK, [45])"):
        inquiry = Inquiry(directory(tmp_path), lambda reason: refused.update([reason]))
        assert inquiry.ask() == 1
        change(directory(tmp_path) / "rank-0.stacks")
        assert [answer.dump for answer in inquiry.answers()] == [None]
        inquiry.close()
    assert refused == {reason: 1}


def test_too_many_files_are_not_read(tmp_path: Path) -> None:
    """The first thousand are."""
    folder = directory(tmp_path)
    folder.mkdir(parents=True)
    for number in range(1100):
        (folder / f"rank-{number}.stacks").write_bytes(b"")
    asked = Asked(tmp_path)
    assert asked.refused == {"files": 1, "header": 256}


def test_a_process_that_ends_while_it_answers(tmp_path: Path) -> None:
    """Half a line is none, and a process without an answer is said to be gone or silent, not to do anything."""
    whole = b'Current thread 0x0000000000000001 (most recent call first):\n  File "a.py", line 7 in f\n'
    for end in range(len(whole)):
        found = dump.parse(whole[:end], "0x1")
        assert found is None
    assert dump.parse(whole, "0x1") is not None
    with process(tmp_path, "pass") as child:
        child.wait(10)
        asked = Asked(tmp_path)
        assert (asked.number, asked.answers, asked.hang) == (0, [], None)


def test_a_number_that_is_another_users_by_now() -> None:
    """What that process does is not told in a run of somebody else."""
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1) as child:
        assert child.stdout
        child.stdout.readline()
        assert kernel.doing(child.pid, os.getuid())[0] in {"S", "R"}  # about to sleep
        assert kernel.doing(child.pid, os.getuid() + 1) == ("", "")
        child.kill()
        child.wait()
        assert kernel.doing(child.pid, os.getuid()) == ("", "")


# --- what an answer looks like --------------------------------------------------------------------------------------


def test_control_characters_and_chinese() -> None:
    """Both are escaped in the file; the one is shown, the other is not."""
    text = (
        b"Thread 0x0000000000000001 [trainer] (most recent call first):\n"
        rb'  File "/\u6570\u636e/\x1b[2J\x0a\U0001f525/\xe9.py", line 12 in l\xe4dt' + b"\n"
        b'  File "' + b"d/" * 4000 + b'end.py", line ??? in ' + b"f" * 4000 + b"\n"
        rb'  File "\U99999999\ud800.py", line 1 in g' + b"\n"
        b"  \x1b]0;title\x07 nonsense\n"
    )
    found = dump.parse(text, "0x1")
    assert found
    assert found.main
    first, second, third = found.main.frames
    assert first == Frame("lädt", "/数据/?[2J?🔥/é.py", 12)
    assert second.file.endswith("d/end.py")
    assert (len(second.file), len(second.function), second.line) == (dump.MAX_TEXT, dump.MAX_TEXT, 0)
    assert third.file == "??.py"
    assert all(character.isprintable() for frame in found.main.frames for character in frame.file + frame.function)


def test_a_thousand_threads(tmp_path: Path) -> None:
    """A hundred are written; a forged file with more of them is bounded, too."""
    crowd = "arm()\nfor _ in range(1000):\n    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    with process(tmp_path, SLEEP, before=crowd):
        asked = Asked(tmp_path)
        main = asked.of("main")
        assert main.dump
        assert len(main.dump.threads) <= dump.MAX_THREADS
        assert len(list(stacks(asked.answers))) < 2000
    thread = (
        b"Thread 0x%016x (most recent call first):\n" + b'  File "a.py", line 1 in f\n' * 3 * dump.MAX_FRAMES + b"\n"
    )
    found = dump.parse(b"".join(thread % number for number in range(5 * dump.MAX_THREADS)), "0x1")
    assert found
    assert len(found.threads) == dump.MAX_THREADS
    assert max(len(one.frames) for one in found.threads) == dump.MAX_FRAMES


def test_the_main_thread_is_told_by_its_number() -> None:
    """It is not always the one that got the signal, nor the last."""
    text = b"".join(
        b'Thread 0x%x (most recent call first):\n  File "a.py", line %d in f\n\n' % (n, n) for n in (1, 2, 3)
    )
    assert [dump.parse(text, main).main.frames[0].line for main in ("0x2", "0x0002", "0x9", "junk")] == [2, 2, 3, 3]  # type: ignore[union-attr]


def test_the_last_of_several_answers_counts() -> None:
    """They follow each other without a line in between."""
    one = (
        b'Thread 0x1 (most recent call first):\n  File "a.py", line %d in f\n\n'
        b'Current thread 0x2 (most recent call first):\n  File "a.py", line %d in g\n'
    )
    found = dump.parse(one % (1, 2) + one % (3, 4), "0x2")
    assert found
    assert [thread.frames[0].line for thread in found.threads] == [3, 4]


# --- who is to blame ------------------------------------------------------------------------------------------------

SITE = "/venv/lib/python3.11/site-packages"
LOADER = (
    Frame("select", "/usr/lib/python3.11/selectors.py", 415),
    Frame("_try_get_data", f"{SITE}/torch/utils/data/dataloader.py", 1131),
    Frame("__next__", f"{SITE}/torch/utils/data/dataloader.py", 630),
    Frame("__iter__", f"{SITE}/ultralytics/data/build.py", 80),
    Frame("_do_train", f"{SITE}/ultralytics/engine/trainer.py", 390),
)
IDLE = (
    Frame("wait", "/usr/lib/python3.11/multiprocessing/connection.py", 930),
    Frame("get", "/usr/lib/python3.11/multiprocessing/queues.py", 113),
    Frame("_worker_loop", f"{SITE}/torch/utils/data/_utils/worker.py", 275),
)
READING = (
    Frame("imread", f"{SITE}/ultralytics/utils/patches.py", 31),
    Frame("load_image", f"{SITE}/ultralytics/data/base.py", 200),
    Frame("_worker_loop", f"{SITE}/torch/utils/data/_utils/worker.py", 300),
)
BACKWARD = (
    Frame("_engine_run_backward", f"{SITE}/torch/autograd/graph.py", 825),
    Frame("backward", f"{SITE}/torch/_tensor.py", 600),
    Frame("_do_train", f"{SITE}/ultralytics/engine/trainer.py", 420),
)
BARRIER = (
    Frame("barrier", f"{SITE}/torch/distributed/distributed_c10d.py", 4000),
    Frame("wrapper", f"{SITE}/torch/distributed/c10d_logger.py", 80),
    Frame("_do_train", f"{SITE}/ultralytics/engine/trainer.py", 370),
)
CALLBACK = (
    Frame("upload", "/home/ada/train.py", 12),
    Frame("__call__", f"{SITE}/yoloscope_hooks/other_callbacks.py", 113),
    Frame("_do_train", f"{SITE}/ultralytics/engine/trainer.py", 430),
)


def answer(rank: str, frames: tuple[Frame, ...] | None, name: str = "main", **facts: str) -> Answer:
    thread = dump.Thread("0x1", frames or ())
    told = None if frames is None else dump.Dump((thread,), thread)
    pid = 1000 * (int(rank) + 1) + (int(name.rsplit(maxsplit=1)[-1]) + 1 if name != "main" else 0)
    return Answer(rank, name, pid, facts.get("state", "S"), facts.get("waits_in", ""), told)


def verdict(*answers: Answer, gone: tuple[Rank, ...] = ()) -> Hang:
    ranks = [Rank(one.rank, one.pid, "train") for one in answers if one.name == "main"]
    found = find([*ranks, *gone], answers)
    assert found
    return found


def test_seven_of_eight_wait_for_the_worker_of_one() -> None:
    """The example of the issue."""
    crowd = [answer(str(rank), BACKWARD) for rank in range(8) if rank != 3]
    workers = [answer("3", IDLE, f"worker {n}") for n in (0, 1, 3)]
    culprit = answer("3", READING, "worker 2", waits_in="open() of /nfs/img/0017.jpg")
    found = verdict(*crowd, answer("3", LOADER), *workers, culprit)
    assert (found.rank, found.process, found.doing) == ("3", "worker 2", "open() of /nfs/img/0017.jpg")
    assert (found.function, found.file, found.line) == ("imread", f"{SITE}/ultralytics/utils/patches.py", "31")
    assert "7 of 8 ranks in backward: _do_train (ultralytics/engine/trainer.py:420)" in found.others
    assert "rank 3 waiting for its loader: __iter__ (ultralytics/data/build.py:80)" in found.others
    assert str(found).startswith(
        "rank 3, worker 2 (pid 4003), open() of /nfs/img/0017.jpg: imread (ultralytics/utils/patches.py:31); 7 of 8"
    )


def test_the_rank_that_does_something_else_is_waited_for() -> None:
    """In a callback, while the others are in a collective."""
    found = verdict(answer("0", BARRIER), answer("1", CALLBACK, waits_in="sleeping"))
    assert (found.rank, found.process, found.doing) == ("1", "main", "in a callback, sleeping")
    assert (found.function, found.file) == ("upload", "/home/ada/train.py")
    assert found.others == "rank 0 in the collective barrier: _do_train (ultralytics/engine/trainer.py:370)"


def test_a_hook_in_the_middle_of_backward_is_no_waiting() -> None:
    """There the call below backward is somebody's own."""
    hook = (Frame("log_gradient", "/home/ada/train.py", 40), *BACKWARD)
    found = verdict(answer("0", BACKWARD), answer("1", hook))
    assert (found.rank, found.doing, found.function) == ("1", "in backward", "log_gradient")


def test_stopped_dead_and_stuck_processes() -> None:
    """They answer nothing; the kernel says what they are, and the others where it is waited."""
    stopped = verdict(answer("0", BACKWARD), answer("1", None, state="T"))
    assert (stopped.rank, stopped.function) == ("1", "_do_train")
    assert stopped.doing.startswith("stopped")
    stuck = verdict(answer("0", LOADER), answer("0", None, "worker 1", state="D", waits_in="read() of /nfs/a.jpg"))
    assert (stuck.process, stuck.doing.split(";", maxsplit=1)[0]) == (
        "worker 1",
        "stuck in the kernel, read() of /nfs/a.jpg",
    )
    dead = verdict(answer("0", BARRIER), gone=(Rank("1", 0, "killed"),))
    assert (dead.rank, dead.pid, dead.function) == ("1", 0, "_do_train")
    assert "been killed" in dead.doing


def test_of_ranks_that_all_wait_the_odd_one_is_told() -> None:
    """In a collective of the user's own, while the others take their steps."""
    step = (Frame("_distributed_broadcast_coalesced", f"{SITE}/torch/nn/parallel/distributed.py", 2300), *BACKWARD[2:])
    for usual in (BACKWARD, step):
        found = verdict(answer("0", usual), answer("1", (*BARRIER[:2], Frame("sync", "/home/ada/train.py", 3))))
        assert (found.rank, found.doing, found.function) == ("1", "in the collective barrier", "sync")


def test_a_batch_that_is_taken_over_is_waited_for() -> None:
    """Torch asks the worker for the memory behind a batch: the rank then reads from a worker that is stopped."""
    taking = (Frame("rebuild_storage_fd", f"{SITE}/torch/multiprocessing/reductions.py", 538), *LOADER[1:])
    stopped = answer("0", None, "worker 0", state="T")
    found = verdict(answer("0", taking, waits_in="read() of socket:[1]"), stopped)
    assert (found.process, found.function) == ("worker 0", "__iter__")
    silent = verdict(answer("0", taking), answer("0", None, "worker 0"), answer("0", IDLE, "worker 1"))
    assert silent.process == "worker 0"


def test_all_waiting_is_nobodys_fault() -> None:
    """No rank is blamed where every one of them waits for the others."""
    found = verdict(answer("0", BACKWARD), answer("1", BACKWARD))
    assert (found.rank, found.process) == ("", "")
    assert found.doing == "all 2 ranks wait, in backward: for the GPU, the network or another node"


def test_no_answers_no_verdict() -> None:
    """Nothing is made up."""
    assert find([], []) is None
    assert find([Rank("0", 5, "train")], []) is None


# --- the collector --------------------------------------------------------------------------------------------------


@contextmanager
def collector(tmp_path: Path, told: list[catalog.Sample]) -> Iterator[tuple[Stacks, world.World]]:
    """The collector on records in `tmp_path`, told by the diagnosis what `told` holds."""
    node = world.World(tmp_path / "node")
    context = node.context.__class__(**{**vars(node.context), "records": tmp_path, "latest": lambda: told})
    stacks_ = Stacks(context)
    try:
        yield stacks_, node
    finally:
        stacks_.close()


def held(name: str, value: float = 1.0) -> catalog.Sample:
    return catalog.Sample(catalog.TRAIN_VERDICT, (RUN, "0", name), value)


def cycles(stacks_: Stacks, node: world.World, number: int = 3) -> list[catalog.Sample]:
    samples: list[catalog.Sample] = []
    for _ in range(number):
        node.now += 1
        time.sleep(0.1)
        samples = list(stacks_.collect())
    return samples


def test_a_stall_is_asked_about_once(tmp_path: Path) -> None:
    """One signal for as long as it lasts, and the info metric with it; a second stall soon after gets none."""
    told = [held("stalled", 0.0)]
    with process(tmp_path, SLEEP) as child, collector(tmp_path, told) as (stacks_, node):
        before = size(tmp_path)
        assert cycles(stacks_, node) == []
        assert size(tmp_path) == before
        told[:] = [held("stalled")]
        (sample,) = cycles(stacks_, node)
        assert sample.metric is catalog.TRAIN_HANG_INFO
        facts = sample.metric.labelled(sample.labels)
        assert (facts["culprit"], facts["process"], facts["pid"]) == ("0", "main", str(child.pid))
        assert (facts["function"], facts["file"]) == ("wait_forever", "<string>")
        after = size(tmp_path)
        assert after > before
        assert cycles(stacks_, node, 20) == [sample]
        told[:] = [held("stalled", 0.0)]
        assert cycles(stacks_, node) == []
        told[:] = [held("stalled")]
        cycles(stacks_, node)
        assert size(tmp_path) == after
        assert node.rejected == []


def test_a_set_up_that_moves_is_left_alone(tmp_path: Path) -> None:
    """A progress bar that grows or a process that computes is none that hangs, however long it takes."""
    progress = {"value": 0.0, "cpu": 0.0}

    def told() -> list[catalog.Sample]:
        return [
            held("setup_slow"),
            catalog.Sample(catalog.TRAIN_SETUP_PROGRESS_RATIO, (RUN, "0"), progress["value"]),
            catalog.Sample(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (RUN, "0", "main"), progress["cpu"]),
        ]

    latest: list[catalog.Sample] = []
    with process(tmp_path, SLEEP), collector(tmp_path, latest) as (stacks_, node):
        before = size(tmp_path)
        for moving in ("value", "cpu"):
            for _ in range(100):
                progress[moving] += 0.001 if moving == "value" else 1.0
                latest[:] = told()
                node.now += 1
                assert list(stacks_.collect()) == []
        assert size(tmp_path) == before
        for _ in range(40):
            latest[:] = told()
            node.now += 1
            list(stacks_.collect())
        wait_for(lambda: size(tmp_path) > before, every=0.02)


def test_a_run_that_did_not_answer_is_asked_again(tmp_path: Path) -> None:
    """After five minutes, while it still hangs: its processes had been asked a moment before it did."""
    told = [held("stalled"), catalog.Sample(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, (RUN, "0"), time.time() + 1)]
    with process(tmp_path, SLEEP), collector(tmp_path, told) as (stacks_, node):
        node.now = time.time()
        assert Asked(tmp_path).number == 1
        before = size(tmp_path)
        samples = cycles(stacks_, node, 8)
        assert size(tmp_path) == before
        assert all(not sample.labels[6] for sample in samples)  # no function
        node.now += AGAIN_SECONDS
        (sample,) = cycles(stacks_, node)
        assert size(tmp_path) > before
        assert sample.metric.labelled(sample.labels)["function"] == "wait_forever"


def test_runs_of_others_that_hang_come_in_turn(tmp_path: Path) -> None:
    """Thirty of them, by names that come first: only sixteen are looked at."""
    others = [catalog.Sample(catalog.TRAIN_VERDICT, (f"!{n}", "0", "stalled"), 1.0) for n in range(30)]
    with process(tmp_path, SLEEP), collector(tmp_path, [*others, held("stalled")]) as (stacks_, node):
        samples = cycles(stacks_, node)
        assert {sample.labels[0] for sample in samples} == {RUN}


def test_a_run_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Its directory may be removed while it hangs."""
    with collector(tmp_path, [held("stalled")]) as (stacks_, node):
        assert cycles(stacks_, node) == []
    with process(tmp_path, SLEEP), collector(tmp_path, [held("stalled")]) as (stacks_, node):
        cycles(stacks_, node, 1)
        shutil.rmtree(directory(tmp_path))
        cycles(stacks_, node)
