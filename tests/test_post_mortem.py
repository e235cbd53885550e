"""After a death: what is kept beside the results is found when the record is gone, and a reboot is told by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from yoloscope_exporter import catalog
from yoloscope_exporter.cli import main
from yoloscope_exporter.collectors import circumstances
from yoloscope_record import keeping, paths
from yoloscope_record.file_format import HEAD
from yoloscope_record.reader import Reader

from tests.exporter.test_serve import exporter, get, series, wait_for
from tests.fake_nvml import FakeNvml
from tests.training import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = "detect/train7-20261127"
LOOP = """
import os, pathlib, signal, sys, time
from loop import Loop
import yoloscope_hooks
from yoloscope_hooks import facts
loop = Loop(pathlib.Path(sys.argv[1]), epochs=2)
loop.save_dir = pathlib.Path(sys.argv[1]) / "train7"
loop.save_dir.mkdir(exist_ok=True)
if uuid := os.environ.get("GPU_UUID"):
    facts.gpu = lambda *_: {"gpu_uuid": uuid}
def act(trainer):
    exec(sys.argv[2], globals())
yoloscope_hooks.attach(loop).callbacks.setdefault("on_train_epoch_end", []).append(act)
loop.train()
"""
WAIT = "print('waits', flush=True); time.sleep(60)"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


class Place:
    """A user's directory, with records and results in it."""

    def __init__(self, base: Path) -> None:
        """Empty."""
        self.base, self.records, self.results = base, base / "records", base / "runs/detect"
        self.results.mkdir(parents=True)
        self.kept = self.results / "train7" / keeping.FOLDER

    def start(self, code: str, run: str = RUN, **environ: str) -> subprocess.Popen[str]:
        """A training that executes `code` after its first epoch."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("YOLOSCOPE", "SLURM", "POD_"))}
        where = os.pathsep.join(str(ROOT / part) for part in ("trainer_hooks", "tests/trainer_hooks"))
        own = {"YOLOSCOPE_DIR": str(self.records), "YOLOSCOPE_RUN": run, "PYTHONPATH": where, **environ}
        command = [sys.executable, "-c", LOOP, str(self.results), code]
        return subprocess.Popen(command, env=known | own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def train(self, code: str, run: str = RUN, **environ: str) -> int:
        """The same to its end; returns the exit code."""
        with self.start(code, run, **environ) as process:
            process.communicate(timeout=60)
        return process.returncode

    def file(self, run: str = RUN) -> Path:
        """What is kept of the run's rank."""
        return paths.run_directory(self.kept, run) / "rank-0.rec"

    def ask(self, *command: str) -> str:
        """What a command says."""
        result = CliRunner().invoke(main, [*command, "--records", str(self.records)])
        return result.output

    def reboot(self, run: str = RUN) -> None:
        """As if the machine had been started since: the records are gone, and the kept one is of another boot."""
        shutil.rmtree(self.records)
        boot, since = circumstances.boot_of(Path("/proc"))
        data = bytearray(self.file(run).read_bytes().replace(boot.encode(), b"0" * len(boot)))
        head = list(HEAD.unpack_from(data))
        head[-2] = since - 600  # the last write
        HEAD.pack_into(data, 0, *head)
        self.file(run).write_bytes(data)
        assert Reader(self.file(run)).read().updated == since - 600


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Seen from the user's directory."""
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


@pytest.mark.parametrize("wanted", [RUN, "runs/detect/train7"])
def test_an_exception_is_told_when_the_record_is_gone(place: Place, wanted: str) -> None:
    """By name or by folder, with the last batches, by both commands."""
    assert place.train("1 / 0") == 1
    shutil.rmtree(place.records)
    told = place.ask("report", "--black-box", wanted)
    assert f"{RUN}: failed\nfrom {place.kept}\n" in told
    assert "ZeroDivisionError: division by zero; in <module>" in told
    assert "the last 3 batches" in told
    assert "failed: The training ended with an error" in place.ask("diagnose", "--black-box", wanted)
    assert "# detect/train7" in place.ask("report", wanted)


def test_a_kill_is_kept_by_the_next_training_of_the_user(place: Place) -> None:
    """With what a signal has left; not a second time, and nothing of trainings that live."""
    assert place.train("os.kill(os.getpid(), signal.SIGHUP)") == -signal.SIGHUP
    assert Reader(place.file()).read().state != "killed"  # nobody has been here
    assert place.train("pass", "other") == 0
    assert Reader(place.file()).read().state == "killed"
    before = place.file().stat().st_mtime_ns
    assert place.train("pass", "third") == 0
    assert place.file().stat().st_mtime_ns == before
    shutil.rmtree(place.records)
    told = place.ask("diagnose", "--black-box", RUN)
    assert "SIGHUP; in <module>" in told
    assert "cause     hangup: " in told
    assert sorted(one.name for one in place.kept.iterdir()) == [place.file().parent.name]


def test_results_elsewhere_are_not_touched(place: Place) -> None:
    """They may lie on a server that does not answer any more."""
    place.train(KILL)
    before = place.file().stat().st_mtime_ns
    place.results = place.base / "other/project"
    place.results.mkdir(parents=True)
    assert place.train("pass", "other") == 0
    assert place.file().stat().st_mtime_ns == before


def test_the_record_itself_comes_first(place: Place) -> None:
    """While it is there it knows more than a copy."""
    place.train(KILL)
    told = place.ask("report", "--black-box", "runs/detect/train7")
    assert f"{RUN}: killed" in told
    assert "\nfrom " not in told


def test_a_beginning_is_no_end(place: Place) -> None:
    """On another machine, or when its record was cleared up: it may train on."""
    place.train(KILL)
    shutil.rmtree(place.records)
    for command in ("report", "diagnose"):
        told = place.ask(command, "--black-box", RUN)
        assert f"Error: the end of {RUN} is not known here" in told
        assert os.uname().nodename in told


@pytest.mark.parametrize("wanted", [RUN, "runs/detect/train7"])
def test_a_reboot_is_the_cause(place: Place, wanted: str) -> None:
    """Of a training that had not ended: by its boot, when the record has gone with /dev/shm."""
    with place.start(WAIT) as process:
        process.stdout.readline()
        process.kill()
    place.reboot()
    told = place.ask("report", "--black-box", wanted)
    assert f"{RUN}: killed" in told
    assert "the node was started after the run's last word" in told
    assert "cause node_rebooted: the node was restarted before the run had told its end" in told
    assert "cause     node_rebooted" in place.ask("diagnose", "--black-box", wanted)


def test_a_death_before_the_reboot_stays_what_it_was(place: Place) -> None:
    """Kept by the next training, as the failed one by itself."""
    place.train("os.kill(os.getpid(), signal.SIGTERM)")
    place.train("pass", "other")
    place.reboot()
    assert "cause terminated: " in place.ask("report", "--black-box", RUN)


def test_nothing_is_kept_of_a_good_end_or_where_that_is_off(place: Place) -> None:
    """Nor made for it."""
    assert place.train("pass") == 0
    assert place.train("1 / 0", "off", YOLOSCOPE_KEEP_POST_MORTEM="off") == 1
    assert list(place.kept.parent.iterdir()) == []
    shutil.rmtree(place.records)
    assert "nothing of a run is kept in runs/detect/train7" in place.ask("report", "--black-box", "runs/detect/train7")


def test_a_directory_for_all_runs(place: Place) -> None:
    """In place of the run's own folder, by the variable that all of yoloscope reads."""
    ends = place.base / "ends"
    assert place.train("1 / 0", YOLOSCOPE_KEEP_POST_MORTEM=str(ends)) == 1
    shutil.rmtree(place.records)
    assert list(place.kept.parent.iterdir()) == []
    assert f"from {ends}" in place.ask("report", "--black-box", RUN, "--keep-post-mortem", str(ends))


def test_results_on_a_full_disk(place: Place) -> None:
    """A training is neither harmed nor delayed by what cannot be kept, and no false beginning stays."""
    stop = "from yoloscope_record import keeping\ndef full(*_):\n    raise OSError(28, 'No space left on device')\n"
    assert place.train(f"{stop}keeping._fill = full\n1 / 0") == 1
    assert not place.kept.exists()


# --- with an exporter ----------------------------------------------------------------------------------------------
@contextmanager
def watched(place: Place, *flags: str, **environ: str) -> Iterator[str]:
    """The address of an exporter of these records."""
    known = {**environ, "YOLOSCOPE_DIR": str(place.records)}
    with exporter("--diagnosis.window=5s", *flags, **known) as (_, url):
        yield url


def cause(url: str) -> str:
    """The cause that is published."""
    found = [labels for name, labels in series(url) if name == catalog.TRAIN_VERDICT_CAUSE_INFO.name]
    return found[0][3] if found else ""


def test_the_exporter_keeps_what_it_has_seen(place: Place) -> None:
    """The cause with it; page, metric and diagnosis show it too."""
    with watched(place) as url, place.start(WAIT) as process:
        process.stdout.readline()
        wait_for(lambda: any(name == catalog.TRAIN_UP.name for name, _ in series(url)))
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: cause(url).startswith("terminated: "))
        wait_for(lambda: Reader(place.file()).read().state == "killed", 20)
        (run,) = json.loads(get(f"{url}/api/v1/runs")[1])["runs"]
        shown = json.loads(get(f"{url}/api/v1/run?run={quote(run['run'])}")[1])["run"]
        assert shown["verdicts"][0]["cause"].startswith("terminated: somebody sent SIGTERM")
        wait_for(lambda: series(url).get((catalog.TRAIN_POST_MORTEMS_TOTAL.name, ("kept",))) == 1)
        (told,) = json.loads(get(f"{url}/api/v1/diagnosis")[1])["runs"]
        assert told["verdicts"][0]["cause"].startswith("terminated: ")
    facts = Reader(place.file()).read().facts
    assert facts["cause"] == "terminated"
    assert re.search(r"SIGTERM; in <module>", facts["exception_message"])


def test_an_exporter_that_ends_keeps_what_it_has_not_yet(place: Place) -> None:
    """One that `yoloscope run` has started ends with the training."""
    with exporter(YOLOSCOPE_DIR=str(place.records)) as (child, url):
        place.train(KILL)
        wait_for(lambda: series(url).get((catalog.TRAIN_STATE.name, (RUN, "0", "killed"))) == 1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    assert Reader(place.file()).read().state == "killed"


@pytest.mark.skipif(os.geteuid() != 0, reason="runs the exporter as another user")
def test_another_users_exporter_keeps_it_in_its_own_directory(place: Place) -> None:
    """It may not write to the run's folder, or must not: the user does not want it there."""
    place.train("os.kill(os.getpid(), signal.SIGTERM)")
    results, ends = place.results / "train7", place.base / "ends"
    shutil.rmtree(place.kept)
    for one in (results, place.records, *place.records.rglob("*")):
        os.chown(one, 12345, 12345)
    with watched(place, f"--keep-post-mortem={ends}") as url:
        wait_for(lambda: series(url).get((catalog.TRAIN_POST_MORTEMS_TOTAL.name, ("kept",))) == 1, 20)
    assert list(results.iterdir()) == []
    shutil.rmtree(place.records)
    assert "cause terminated: " in place.ask("report", "--black-box", RUN, "--keep-post-mortem", str(ends))


UUID = "GPU-00000000-0000-0000-0000-000000000002"


def test_a_gpu_that_is_lost_is_the_cause(place: Place, tmp_path: Path) -> None:
    """By the driver's Xid and its silence, beside a kill that leaves nothing: with the GPU of the rank, and kept."""
    lines = {"gpus": 4, "gpu.2.uuid": UUID}
    fake = FakeNvml(tmp_path, lines)
    with watched(place, **fake.environment()) as url, place.start(WAIT, GPU_UUID=UUID) as process:
        process.stdout.readline()
        device = (catalog.TRAIN_DEVICE_INFO.name, (RUN, "0", "2", UUID))
        wait_for(lambda: device in series(url), 20)
        fake.set({"event.1": "gpu=2 xid=79", "gpu.2.lost": 1})
        process.kill()
        wait_for(lambda: cause(url).startswith("gpu_lost: "), 30)
        (told,) = json.loads(get(f"{url}/api/v1/diagnosis")[1])["runs"]
        assert "Xid 79 of GPU 2" in told["verdicts"][0]["evidence"]
        wait_for(lambda: Reader(place.file()).read().facts.get("cause") == "gpu_lost", 30)


def test_another_ranks_gpu_is_no_cause(place: Place, tmp_path: Path) -> None:
    """Of a kill beside it nothing is known."""
    fake = FakeNvml(tmp_path, {"gpus": 4, "gpu.2.uuid": UUID})
    with watched(place, **fake.environment()) as url, place.start(WAIT, GPU_UUID=UUID) as process:
        process.stdout.readline()
        wait_for(lambda: (catalog.TRAIN_DEVICE_INFO.name, (RUN, "0", "2", UUID)) in series(url), 20)
        fake.set({"event.1": "gpu=1 xid=79", "gpu.1.lost": 1})
        process.kill()
        wait_for(lambda: cause(url) != "")
        time.sleep(3)
        assert cause(url).startswith("unknown: ")
