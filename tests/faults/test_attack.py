"""What other users do: each row of the attack's table, with a running exporter."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from yoloscope_record.file_format import HEADER_LENGTH, Identity
from yoloscope_record.writer import Writer

from tests.exporter.test_serve import wait_for
from tests.faults.node import BATCHES, RUNS_UP, UP, VICTIM, serving, value
from tests.users import ALICE, MALLORY, living_as, needs_root, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.node import Exporter, Row

pytestmark = [pytest.mark.faults, needs_root, pytest.mark.timeout(300)]

# --- who is who -----------------------------------------------------------------------------------------------------


def test_a_killed_training_and_a_foreign_read_lock(shared: Path, exporter: Exporter, row: Row) -> None:
    """Whoever may read the file may lock it for reading."""
    with living_as(ALICE, shared, "made = record('victim')") as victim:
        wait_for(lambda: exporter.up() == {"victim": True})
        hold = f"f = os.open(base / 'yoloscope-{ALICE}/victim/rank-0.rec', 0)\n"
        hold += "import threading\ndef lock():\n  while True:\n"
        hold += "    try: fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB); return\n    except OSError: pass\n"
        with living_as(MALLORY, shared, f"{hold}threading.Thread(target=lock, daemon=True).start()"):
            victim.kill()
            seconds = wait_for(lambda: exporter.up() == {"victim": False})
    row("another user's read lock on the record of a training that is killed", "`killed`", f"after {seconds:.1f} s")


def test_racing_for_the_lock(shared: Path, exporter: Exporter, row: Row) -> None:
    """40 starts against a process that opens and locks every new file."""
    race = f"""
import threading
def grab():
    while True:
        for path in glob.glob(str(base / "yoloscope-{ALICE}" / "*" / "*")):
            try: fcntl.lockf(os.open(path, 0), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError: pass
threading.Thread(target=grab, daemon=True).start()
"""
    starts = "made = [record(f'run-{n}', slots=16, ring=0) for n in range(40) if not time.sleep(0.005)]"
    with living_as(MALLORY, shared, race), living_as(ALICE, shared, starts):
        wait_for(lambda: sum(exporter.up().values()) == 40, 20)
        row("a race for the lock of new records", "40 of 40 starts recorded", f"{sum(exporter.up().values())} of 40")


def test_two_users_one_name(shared: Path, exporter: Exporter, row: Row) -> None:
    """And a squatted directory."""
    squat = f"(base / 'yoloscope-{ALICE}').mkdir()\nmade = record('victim')"
    with living_as(MALLORY, shared, squat):
        wait_for(lambda: exporter.up() == {"victim": True})
        with living_as(ALICE, shared, "made = record('victim')"):
            wait_for(lambda: exporter.up() == {"victim": True, f"victim@{ALICE}": True})
            seen = sorted(exporter.up())
            assert exporter.refused() == {"owner"}
    row("one run name of two users, and the victim's directory squatted", "both shown, the squatter counted", seen)


def test_a_fake_rank_on_another_node(shared: Path, exporter: Exporter, row: Row) -> None:
    """It would be a straggler's peer."""
    code = "made = record('exp', rank='0', facts={'nodes': 'several'})"
    with living_as(ALICE, shared, code), living_as(MALLORY, shared, code):
        wait_for(lambda: len(exporter.up()) == 2)
        row("a fake rank of another user's run over several nodes", "another label", sorted(exporter.up()))
        assert set(exporter.up()) == {f"exp@{ALICE}", f"exp@{MALLORY}"}


# --- budgets --------------------------------------------------------------------------------------------------------


def test_two_thousand_busy_records(shared: Path, exporter: Exporter, row: Row) -> None:
    """Written without pause by a process that lives, in 8 runs of 250."""
    busy = """
import threading
made = [record(f'busy-{n // 250}', rank=str(n), slots=8, ring=0) for n in range(2000)]
for one in made:
    one._u64[2] |= 1
    os.pwrite(one._file, one._sequence, 16)
"""
    with ExitStack() as stack:
        for part in range(4):  # as many descriptors as a process has
            code = busy.replace("range(2000)", f"range({part * 500}, {part * 500 + 500})")
            stack.enter_context(living_as(MALLORY, shared, code))
        stack.enter_context(living_as(ALICE, shared, VICTIM))
        wait_for(lambda: exporter.up().get("victim") is True, 20)
        ages, counts = [], []
        for _ in range(20):
            time.sleep(0.5)
            ages.append(exporter.age())
            counts.append(exporter.value(BATCHES))
        took = exporter.milliseconds()
        row(
            "2,000 records that are busy for ever",
            "the victim is shown, snapshots go on",
            f"oldest snapshot {max(ages):.1f} s, cycle {took:.0f} ms, {counts[-1] - counts[0]:.0f} batches more",
        )
        assert max(ages) < 3
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]


def test_nested_headers(shared: Path, exporter: Exporter, row: Row) -> None:
    """Twenty of two megabytes."""
    nested = f"""
for n in range(20):
    made = record(f'nested-{{n}}', slots=8, header=1 << 21, ring=0)
    text = b'[' * ((1 << 20) - 8)
    os.pwrite(made._file, text, made._header.start)
    os.pwrite(made._file, struct.pack('=I', len(text)), 4 * {HEADER_LENGTH})
"""
    run_as(MALLORY, shared, nested)
    with living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up().get("victim") is True, 20)
        time.sleep(3)
        took = exporter.milliseconds()
        row(
            "20 headers of nested brackets, 1 MB each",
            "refused once each",
            f"{exporter.refused()}, cycle {took:.0f} ms",
        )
        assert took < 200
        assert exporter.refused() - {"time"} == {"header"}  # a machine without a free CPU has none for others either


def test_empty_records(shared: Path, exporter: Exporter, row: Row) -> None:
    """As many as there are places, and more."""
    empty = """
own = paths.make_own(base)
for n in range(300):
    (own / f'empty-{n}').mkdir()
    (own / f'empty-{n}' / 'rank-0.rec').touch()
"""
    run_as(MALLORY, shared, empty)
    run_as(ALICE, shared, empty)
    time.sleep(2)
    with living_as(ALICE, shared, VICTIM):
        seconds = wait_for(lambda: exporter.up().get("victim") is True, 30)
    row("300 empty records of another user, and 300 of the own", "a later training is shown", f"after {seconds:.1f} s")


def test_large_runs(shared: Path, exporter: Exporter, row: Row) -> None:
    """Six of 14 MB: as many series as fit."""
    large = """
for n in range(6):
    for rank in range(8):
        made = record(f'large-{n}', rank=str(rank), slots=4096, header=1 << 17, ring=20000)
        file, made._file = made._file, -1  # the header is written once
        for number in range(1300):
            made.values[made.slot(catalog.TRAIN_METRIC, f'large-{n}', str(rank), str(number))] = 1.0
        made._file = file
        made.set_facts({})
        made.close()
"""
    before = exporter.megabytes()
    run_as(MALLORY, shared, large)
    with living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up().get("victim") is True, 30)
        time.sleep(5)
        series, memory, age = exporter.series(), exporter.megabytes(), exporter.age()
        row(
            "six runs of eight ranks with as many series as their headers hold",
            "below `sample_limit` (50,000) and the unit's 256 MB",
            f"{series} series, {memory:.0f} MB (before {before:.0f}), snapshot {age:.1f} s old",
        )
        assert series < 50_000
        assert memory < 256


def test_a_hundred_thousand_entries(shared: Path, exporter: Exporter, row: Row) -> None:
    """In the directory that everybody may write to."""
    with living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up().get("victim") is True, 20)
        run_as(MALLORY, shared, "for n in range(20_000): (base / f'entry-{n}').mkdir()")
        time.sleep(3)
        age, shown = exporter.age(), exporter.up().get("victim")
        row(
            "20,000 directories beside the users'",
            "a known training stays",
            f"shown: {shown}, snapshot {age:.1f} s old",
        )
        assert shown is True
        assert age < 3
        assert "entries" in exporter.refused()


def test_a_log_that_grows(shared: Path, exporter: Exporter, row: Row) -> None:
    """Five files that are refused anew whenever they are read."""
    code = """
own = paths.make_own(base)
files = []
for n in range(5):
    (own / f'noise-{n}').mkdir()
    files.append(own / f'noise-{n}' / 'rank-0.rec')
end = time.monotonic() + 12
for turn in itertools.count():
    for file in files:
        file.write_bytes((b'YOLOSCP\\n' if turn % 2 else b'rubbish!') + os.urandom(400 + turn % 7))
    if time.monotonic() > end: break
    time.sleep(0.01)
"""
    run_as(MALLORY, shared, code)
    size = exporter.log.stat().st_size
    row("five files that change their fault a hundred times a second, for 12 s", "a log below 100 kB", f"{size} bytes")
    assert size < 100_000


def test_two_thousand_foreign_files_and_a_worker(shared: Path, row: Row) -> None:
    """It looked at all of them with each of its first batches."""
    folder = shared / f"yoloscope-{MALLORY}"
    for number in range(2000):
        path = folder / f"run-{number}" / "rank-0.rec"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 300)
    code = """
trainer = Trainer(); made = opening.open_for(trainer)
child = os.fork()
if not child:
    begun = time.perf_counter()
    for _ in range(20): found = workers._trainers_record()
    print((time.perf_counter() - begun) / 20, found is not None, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    seconds, found = run_as(ALICE, shared, code).split()
    row("2,000 records of another user, and a loader worker", "below 10 ms a look", f"{float(seconds) * 1e3:.2f} ms")
    assert found == "True"
    assert float(seconds) < 0.01


# --- once more, from outside ----------------------------------------------------------------------------------------

#: A process of root's that becomes so many users, each with a run of its own that lives.
MANY_USERS = """
parent = os.getpid()
for number in range(200_000, 200_150):
    if not os.fork():
        os.setresgid(number, number, number)
        os.setresuid(number, number, number)
        made = record(f'many-{number}', slots=16, ring=0)
        while os.getppid() == parent:
            made.begin(); made.end(time.time()); os.utime(made.path.parent); time.sleep(0.5)
        os._exit(0)
"""


def test_a_user_with_a_hundred_and_fifty_numbers(shared: Path, tmp_path: Path, row: Row) -> None:
    """As rootless containers have them."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/subuid").write_text(f"{MALLORY}:200000:65536\n")
    with (
        serving(shared, tmp_path / "log", f"--path.rootfs={tmp_path}") as exporter,
        living_as(0, shared, MANY_USERS),
    ):
        wait_for(lambda: len(exporter.up()) == 128, 30)
        with living_as(ALICE, shared, VICTIM):
            seconds = wait_for(lambda: exporter.up().get("victim") is True, 20)
            lost = sum("victim" not in exporter.up() for _ in range(20) if not time.sleep(0.25))
            row(
                "150 subordinate numbers of another user (/etc/subuid), a living run of each",
                "a later training is shown, and stays",
                f"after {seconds:.1f} s, missed in {lost} of 20 scrapes; {len(exporter.up())} runs shown",
            )
            assert lost == 0


#: Whatever else can lie where a record should, and a directory that is the victim's every other moment.
ODD_FILES = f"""
import socket, threading
own, theirs = paths.make_own(base), base / 'yoloscope-{ALICE}/victim'
def place(name):
    (own / name).mkdir()
    return own / name / 'rank-0.rec'
os.mkfifo(place('fifo'))
socket.socket(socket.AF_UNIX).bind(str(place('socket')))
place('directory').mkdir()
place('zero').symlink_to('/dev/zero')
place('self').symlink_to('rank-0.rec')
place('memory').symlink_to('/proc/self/mem')
place('victim').symlink_to(theirs / 'rank-0.rec')
with suppress(OSError): os.link(theirs / 'rank-0.rec', place('hard'))
place('closed').touch(0o000)
with open(place('endless'), 'wb') as file: file.truncate(1 << 40)
signal.signal(signal.SIGIO, signal.SIG_IGN)
leased = os.open(place('leased'), os.O_RDWR | os.O_CREAT)
os.write(leased, b'YOLOSCP' + bytes(4096))
with suppress(OSError): fcntl.fcntl(leased, 1024, fcntl.F_WRLCK)
copy = own / 'copy'
copy.mkdir()
(copy / 'rank-0.rec').write_bytes((theirs / 'rank-0.rec').read_bytes())
def flip():
    while True:
        with suppress(OSError): copy.rename(own / 'aside'); copy.symlink_to(theirs)
        with suppress(OSError): copy.unlink(); (own / 'aside').rename(copy)
threading.Thread(target=flip, daemon=True).start()
"""


def test_whatever_can_lie_where_a_record_should(shared: Path, exporter: Exporter, row: Row) -> None:
    """Pipes, sockets, devices, links, leases, files without end."""
    with living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up() == {"victim": True})
        with living_as(MALLORY, shared, f"from contextlib import suppress\n{ODD_FILES}"):
            ages, counts, shown = [], [], set()
            for _ in range(40):
                time.sleep(0.25)
                shown |= set(exporter.up())
                ages.append(exporter.age())
                counts.append(exporter.value(BATCHES))
            more, refused = counts[-1] - counts[0], ", ".join(sorted(exporter.refused()))
            row(
                "a pipe, a socket, devices, links, a leased and an endless file in place of records, and a directory "
                "that is a link to the victim's every other moment",
                "nobody's but the victim's run, which goes on",
                f"{', '.join(sorted(shown))}, {more:.0f} batches more, snapshots to {max(ages):.1f} s; "
                f"refused: {refused}",
            )
            assert shown == {"victim"}
            assert counts == sorted(counts)
            assert max(ages) < 3


def test_a_new_user_behind_twenty_thousand_entries(shared: Path, exporter: Exporter, row: Row) -> None:
    """Whose directory is none of those that are looked at."""
    run_as(MALLORY, shared, "for n in range(20_000): (base / f'yoloscope-{70_000 + n}').mkdir()")
    with living_as(ALICE, shared, VICTIM):
        seconds = wait_for(lambda: exporter.up().get("victim") is True, 20)
        age = exporter.age()
    row(
        "20,000 directories by the names of users, and a user's first training after them",
        "it is shown",
        f"after {seconds:.1f} s, snapshot {age:.1f} s old, cycle {exporter.milliseconds():.0f} ms",
    )


#: A hundred runs a second, each alive for a second, with the longest names there are.
CHURN = """
import threading
def churn():
    made, number = [], 0
    while True:
        for one in made: one.discard()
        made = []
        for _ in range(25):
            number += 1
            made.append(record(f'{os.getpid()}-{number:06d}-' + '\U0001f525' * 240, slots=64, ring=0))
            for slot in range(20):
                made[-1].values[made[-1].slot(catalog.TRAIN_METRIC, made[-1]._identity.run, '0', str(slot))] = 1.0
        time.sleep(1)
threading.Thread(target=churn, daemon=True).start()
"""


def test_a_hundred_runs_a_second(shared: Path, tmp_path: Path, row: Row) -> None:
    """For half a minute, of four processes."""
    with (
        serving(shared, tmp_path / "log", f"--path.state={tmp_path / 'state'}") as exporter,
        living_as(ALICE, shared, VICTIM),
        ExitStack() as stack,
    ):
        wait_for(lambda: exporter.up() == {"victim": True})
        before = exporter.megabytes()
        for _ in range(4):
            stack.enter_context(living_as(MALLORY, shared, CHURN))
        lost, starved, ages, series = 0, 0, [], []
        for _ in range(30):
            time.sleep(1)
            text = exporter.metrics()
            told = value(text, RUNS_UP) == 1
            starved += not told
            lost += told and ("0", "victim", "1") not in UP.findall(text)
            ages.append(exporter.age())
            series.append(exporter.series())
        row(
            "a hundred runs a second, each alive for one, by names of 256 flames, for 30 s",
            "the victim is always shown; below `sample_limit` and the unit's 256 MB",
            f"missed in {lost} of 30 scrapes{f', {starved} without any run' if starved else ''}, snapshots to "
            f"{max(ages):.1f} s, {max(series):,} series, {before:.0f} to {exporter.megabytes():.0f} MB",
        )
        assert lost == 0
        assert starved < 30
        assert max(series) < 50_000
        assert exporter.megabytes() < 256


# --- time and processes ---------------------------------------------------------------------------------------------


def test_an_exporter_that_is_killed_in_between(shared: Path, tmp_path: Path, row: Row) -> None:
    """Five times, with a training that goes on: no counter of it goes backwards, no batch is lost."""
    counts: list[float] = []
    with living_as(ALICE, shared, VICTIM) as victim:
        for number in range(5):
            with serving(shared, tmp_path / f"log-{number}") as exporter:
                for _ in range(5):
                    counts.append(exporter.value(BATCHES))
                    time.sleep(0.3)
                exporter.process.send_signal(signal.SIGKILL)
        victim.kill()
        victim.wait()
        with serving(shared, tmp_path / "log-last") as exporter:
            counts.append(exporter.value(BATCHES))
    row("an exporter killed and started five times", "no counter backwards", f"{counts[0]:.0f} to {counts[-1]:.0f}")
    assert counts == sorted(counts)


def test_records_of_version_0_1_beside_new_ones(shared: Path, exporter: Exporter, row: Row) -> None:
    """The old directories lie beside the users'."""
    path = shared / "old" / Identity("old").filename
    Writer(path, Identity("old"), slots=8, ring=0).close()
    with living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up() == {"old": False, "victim": True}, 20)
        row("a run of version 0.1 beside a new one", "both shown", sorted(exporter.up()))
