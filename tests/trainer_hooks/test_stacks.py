"""Stacks inside a training process: who has a file, when, and what the training notices of it: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_record import clearing, stack_file
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

from tests.training import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUN = "runs/x"
SIGNAL = stack_file.signal_number()

_BEGIN = """
import faulthandler, os, signal, sys, threading, time
from pathlib import Path
from yoloscope_hooks import stacks
from yoloscope_record import stack_file
from yoloscope_record.paths import run_directory
number = stack_file.signal_number()
directory = run_directory(Path(sys.argv[1]), "runs/x")
directory.mkdir(parents=True, exist_ok=True)
def files(): return sorted(path.name for path in directory.iterdir() if stack_file.is_of_process(path.name))
def caught(): return int(Path("/proc/self/status").read_text().split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1
def arm(): stacks.arm(directory, "runs/x", "0")
"""


def run(base: Path, code: str, **environ: str) -> str:
    """What a process that executes `code` prints; it has to end by itself, and well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")} | environ
    command = [sys.executable, "-c", _BEGIN + code, str(base)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def stack_files(base: Path) -> list[Path]:
    """Those of the run's processes, the one for SIGHUP left out."""
    return sorted(path for path in run_directory(base, RUN).iterdir() if stack_file.is_of_process(path.name))


def test_a_process_writes_its_stacks_when_asked(tmp_path: Path) -> None:
    """Into its own file, which everybody may read like the record; its output says nothing, and it goes on."""
    out = run(tmp_path, "arm()\ndef here(): os.kill(os.getpid(), number)\nhere()\nprint(files(), 'still here')")
    assert out == "['rank-0.stacks'] still here\n"
    path = run_directory(tmp_path, RUN) / "rank-0.stacks"
    assert path.stat().st_mode & 0o777 == 0o644
    content = path.read_bytes()
    header = stack_file.header_of(content)
    assert (header.signal, header.run, header.rank) == (SIGNAL, RUN, "0")
    assert b" in here\n" in content[header.length :]
    assert f"thread {header.main} ".encode() in content


def test_a_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    """From the moment it is forked; its parent's stays its parent's, and stays locked."""
    code = """
arm()
pid = os.fork()
if not pid:
    stacks.note("worker 3 training")
    os.kill(os.getpid(), number)
    os._exit(0)
os.waitpid(pid, 0)
import subprocess
look = "import os, sys; from yoloscope_record import locks; print(locks.holder(os.open(sys.argv[1], 0)))"
print(int(subprocess.check_output([sys.executable, "-c", look, str(directory / "rank-0.stacks")])) == os.getpid())
"""
    assert run(tmp_path, code) == "True\n"
    child, parent = stack_files(tmp_path)
    assert stack_file.belongs_to(child.name, "0")
    assert b"# worker 3 training\nCurrent thread" in child.read_bytes()
    assert b"Current thread" not in parent.read_bytes()


def test_children_take_turns_in_a_few_files(tmp_path: Path) -> None:
    """A user's pool may fork thousands."""
    code = """
arm()
for _ in range(300):
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
print(len(files()) <= stack_file.SLOTS + 1)
"""
    assert run(tmp_path, code) == "True\n"


def test_slots_of_living_children_are_kept(tmp_path: Path) -> None:
    """A child that finds its slot taken takes another, and goes without one where there is none."""
    directory = run_directory(tmp_path, RUN)
    directory.mkdir(parents=True)
    claim = "arm()\nfile = stack_file.create(directory, 'runs/x', '0', 1, child=True)\n"
    code = f"{claim}print(os.getpid(), flush=True)\ninput()"
    command = [sys.executable, "-c", _BEGIN + code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        pid = int(other.stdout.readline())
        create = "stack_file.create(directory, 'runs/x', '0', 1, child=True)"
        taken = f"os.getpid = lambda: {pid}\n{create}\nprint(len(files()))"
        assert run(tmp_path, taken) == "3\n"  # the other's own, its child's, and one more
        with pytest.raises(AssertionError, match="living processes have all of the slots"):
            run(tmp_path, f"stack_file.PROBES = 1\n{taken}")
        other.communicate("\n")


@pytest.mark.parametrize("word", ["off", "0", "no"])
def test_it_can_be_switched_off(tmp_path: Path, word: str) -> None:
    """Then the signal is nobody's business."""
    assert run(tmp_path, "arm()\nprint(files(), caught())", YOLOSCOPE_STACKS=word) == "[] 0\n"


def test_somebody_elses_handler_stays(tmp_path: Path) -> None:
    """A signal that the user has taken is the user's."""
    code = "signal.signal(number, lambda *_: print('mine'))\narm()\nprint(files())\nos.kill(os.getpid(), number)"
    assert run(tmp_path, code) == "[]\nmine\n"


def test_outside_the_main_thread_nothing_is_installed(tmp_path: Path) -> None:
    """There Python could not be told to ignore the signal at its end."""
    code = "thread = threading.Thread(target=arm)\nthread.start()\nthread.join()\nprint(files(), caught())"
    assert run(tmp_path, code) == "[] 0\n"


def test_after_a_training_the_process_answers_no_more_and_does_not_die(tmp_path: Path) -> None:
    """A notebook lives on: the handler stays, its file is nobody's; the next training has a file again."""
    code = """
arm()
stacks.release(); stacks.release()
os.kill(os.getpid(), number)
pid = os.fork()
if not pid:
    os._exit(0)
print(os.waitpid(pid, 0)[1], files(), caught(), (directory / "rank-0.stacks").read_text().count("Current"))
arm()
os.kill(os.getpid(), number)
print(files(), (directory / "rank-0.stacks").read_text().count("Current"))
"""
    assert run(tmp_path, code) == "0 ['rank-0.stacks'] 1 0\n['rank-0.stacks'] 1\n"


def test_many_trainings_of_a_process_hold_no_more_files_than_one(tmp_path: Path) -> None:
    """A notebook trains again and again."""
    code = """
def opened(): return len(os.listdir("/proc/self/fd"))
arm(); stacks.release()
before = opened()
for _ in range(5):
    arm(); stacks.release()
print(opened() - before)
"""
    assert run(tmp_path, code) == "0\n"


def test_at_its_end_a_process_ignores_the_signal(tmp_path: Path) -> None:
    """The moment between the last look and the signal must not kill."""
    code = "arm()\nfaulthandler.unregister(number)\nos.kill(os.getpid(), number)\nprint('lives')"
    assert run(tmp_path, code) == "lives\n"


def test_programs_that_a_training_starts_have_the_default(tmp_path: Path) -> None:
    """`exec` makes of a caught signal what it was before anybody touched it."""
    code = """
arm()
import subprocess
text = subprocess.check_output(["cat", "/proc/self/status"], text=True)
masks = [int(text.split(name)[1].split()[0], 16) >> (number - 1) & 1 for name in ("SigCgt:", "SigIgn:")]
print(masks)
"""
    assert run(tmp_path, code) == "[0, 0]\n"


def test_nothing_is_raised_where_there_is_no_room(tmp_path: Path) -> None:
    """The recorder's guard counts it; the handler is not installed over a file that is not there."""
    code = """
try:
    stacks.arm(directory / "gone", "runs/x", "0")
except OSError as error:
    print(type(error).__name__, caught())
"""
    assert run(tmp_path, code) == "FileNotFoundError 0\n"


def test_a_crash_leaves_its_stack_and_kills_as_before(tmp_path: Path) -> None:
    """In the rank's file, or in that of the child that crashed; the exit status is the signal's."""
    code = """
arm()
for child in (True, False):
    pid = os.fork()
    if not pid:
        def crash(): os.abort()
        crash()
    print(os.waitpid(pid, 0)[1] & 127)
"""
    assert run(tmp_path, code) == "6\n6\n"
    children = list(run_directory(tmp_path, RUN).glob("*-child-*"))
    assert len(children) == 2
    for path in children:
        assert "Fatal Python error: Aborted" in path.read_text()
        assert "in crash" in path.read_text()
    assert "Fatal" not in (run_directory(tmp_path, RUN) / "rank-0.stacks").read_text()


def test_sighup_leaves_its_stack_in_a_file_of_its_own(tmp_path: Path) -> None:
    """And kills as before; after a training it finds what it found before one."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")}
    for code, written in (("arm()", True), ("arm(); stacks.release()", False)):
        command = [sys.executable, "-c", f"{_BEGIN}{code}\nos.kill(os.getpid(), signal.SIGHUP)", str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (-signal.SIGHUP, "")
        hangup = run_directory(tmp_path, RUN) / stack_file.hangup_filename("0")
        assert (b"Stack (most recent call first):" in hangup.read_bytes()) is written
        assert b"Stack" not in (run_directory(tmp_path, RUN) / "rank-0.stacks").read_bytes()


def test_sigterm_leaves_its_stack_and_kills_as_before(tmp_path: Path) -> None:
    """In a rank; workers are ended by it every day, and say nothing."""
    code = """
arm()
children = [os.fork() for _ in range(1)]
if not children[0]:
    time.sleep(60)
time.sleep(0.3)
os.kill(children[0], signal.SIGTERM)
print(os.waitpid(children[0], 0)[1], flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")}
    command = [sys.executable, "-c", _BEGIN + code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "15\n", "")
    child, parent = stack_files(tmp_path)
    assert "Stack (most recent call first)" in parent.read_text()
    assert "most recent" not in child.read_text()


def ended(base: Path, code: str) -> tuple[int, str]:
    """The exit code of a process with `word` and `arm`, and what it left in the file of its predictions."""
    word = "def word(): stacks.leave_word(directory / 'predicts', 'predicts', '0')\n(directory / 'predicts').mkdir()\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")}
    command = [sys.executable, "-c", _BEGIN + word + code, str(base)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, "".join(path.read_text() for path in base.glob("**/predicts/rank-0.stacks"))


TERMINATE = "os.kill(os.getpid(), signal.SIGTERM)"


@pytest.mark.parametrize(
    ("code", "written"),
    [
        (f"word(); {TERMINATE}", True),
        (f"threading.Thread(target=word).start(); time.sleep(0.2); {TERMINATE}", True),
        (f"word(); word(); {TERMINATE}", True),
        (f"word(); arm(); stacks.release(); {TERMINATE}", True),
        (f"word(); arm(); {TERMINATE}", False),  # the training tells it
        (f"arm(); word(); {TERMINATE}", False),
        (f"word()\nif not os.fork(): {TERMINATE}\nos.wait(); os.kill(os.getpid(), signal.SIGKILL)", False),
        (f"word(); stacks.withdraw_word(directory / 'predicts'); {TERMINATE}", False),
    ],
)
def test_who_predicts_leaves_word_of_sigterm(tmp_path: Path, code: str, written: bool) -> None:  # noqa: FBT001
    """Its own, in whatever thread it began, and dies of it as before; not its children's, nor while it trains."""
    died, told = ended(tmp_path, code)
    assert died == (-signal.SIGKILL if "SIGKILL" in code else -signal.SIGTERM)
    assert ("Stack (most recent call first):" in told) is written


def test_word_is_left_to_who_handles_sigterm(tmp_path: Path) -> None:
    """And nowhere if that is switched off; a word that was withdrawn leaves no file."""
    own = "signal.signal(signal.SIGTERM, lambda *_: os._exit(3)); word(); "
    off = "os.environ['YOLOSCOPE_STACKS'] = 'off'; word(); "
    gone = "word(); stacks.withdraw_word(directory / 'predicts'); (directory / 'predicts').rmdir(); "
    for name, code, died in (("own", own, 3), ("off", off, -signal.SIGTERM), ("gone", gone, -signal.SIGTERM)):
        assert ended(tmp_path / name, code + TERMINATE) == (died, ""), name


@pytest.mark.parametrize("later", [True, False])
def test_handlers_of_the_users_own_stay(tmp_path: Path, later: bool) -> None:  # noqa: FBT001 - a parameter
    """Of SIGTERM and of crashes, whoever came first."""
    own = "signal.signal(signal.SIGTERM, lambda *_: print('mine', flush=True)); faulthandler.enable(open('crash', 'w'))"
    order = f"arm()\n{own}" if later else f"{own}\narm()"
    code = f"os.chdir(directory)\n{order}\nstacks.release()\nos.kill(os.getpid(), signal.SIGTERM)\npid = os.fork()\n"
    code += "if not pid: os.abort()\nos.waitpid(pid, 0)"
    assert run(tmp_path, code) == "mine\n"
    assert "Fatal Python error" in (run_directory(tmp_path, RUN) / "crash").read_text()


# --- clearing -------------------------------------------------------------------------------------------------------


def left(base: Path, moment: float) -> Path:
    """What a training of long ago left: its record, its stacks, and its child's."""
    directory = run_directory(base, RUN)
    writer = Writer(directory / Identity(RUN).filename, Identity(RUN), slots=16, ring=0)
    writer.begin()
    writer.set_state("finished")
    writer.end(moment)
    writer.close()
    for child in (False, True):
        os.close(stack_file.create(directory, RUN, "0", 1, child=child))
    (directory / "rank-0-child-127.stacks").touch()  # its writer died over making it
    for path in directory.iterdir():
        os.utime(path, (moment, moment))
    return directory


def test_stacks_go_with_their_run(tmp_path: Path) -> None:
    """All of it, once nobody holds it."""
    now = time.time()
    directory = left(tmp_path, now - 1000)
    names = sorted(path.name for path in directory.iterdir())
    removal = clearing.remove_dead(directory, older_than=100, now=now)
    assert sorted(removal.removed) == names
    assert removal.removed[-1] == "rank-0.rec"  # what tells a run goes last
    assert removal.gone
    assert not directory.exists()


def test_a_living_child_keeps_the_run(tmp_path: Path) -> None:
    """Its lock does, however old its file is."""
    now = time.time()
    directory = left(tmp_path, now - 1000)
    code = "file = stack_file.create(directory, 'runs/x', '0', 1, child=True)\nprint(flush=True)\ninput()"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "trainer_hooks")}
    command = [sys.executable, "-c", _BEGIN + code, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        child.stdout.readline()
        for path in directory.iterdir():
            os.utime(path, (now - 1000, now - 1000))
        assert clearing.remove_dead(directory, older_than=100, now=now) == clearing.Removal()
        child.communicate("\n")


@pytest.mark.parametrize("content", [b"notes of mine\n", b'yoloscope-stacks 1 {"signal": 45}\n'])
def test_what_only_looks_like_stacks_keeps_the_run(tmp_path: Path, content: bytes) -> None:
    """A user's own file by that name."""
    now = time.time()
    directory = left(tmp_path, now - 1000)
    path = directory / "rank-0-child-1.stacks"
    path.write_bytes(content)
    os.utime(path, (now - 1000, now - 1000))
    assert clearing.remove_dead(directory, older_than=100, now=now).foreign == path.name
    assert path.exists()


def test_the_next_training_of_that_name_begins_without_them(tmp_path: Path) -> None:
    """Those of its own rank; those of another rank are that one's."""
    directory = left(tmp_path, time.time())
    os.close(stack_file.create(directory, RUN, "01", 1, child=False))
    clearing.remove_workers(directory / "rank-0.rec")
    assert sorted(path.name for path in directory.iterdir()) == ["rank-0.rec", "rank-01.stacks"]


def test_a_header_is_read_strictly() -> None:
    """Whatever a file holds, a header is one or refused."""
    for data in (
        b"",
        b"yoloscope-stacks 1 {}\n",
        b"yoloscope-stacks 2 {}\n",
        b"\xff" * 99,
        b"yoloscope-stacks 1 [[[\n",
    ):
        with pytest.raises(RecordError, match="header"):
            stack_file.header_of(data)
