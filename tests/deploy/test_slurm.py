"""Slurm's prolog and epilog: with its documented environment, and under a real slurmctld and slurmd."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import postmortem
from yoloscope_record import stack_file
from yoloscope_record.reader import Reader

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "deploy/slurm"
_WRITER = """
import sys, time
from pathlib import Path
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer
identity = Identity(sys.argv[2])
writer = Writer(run_directory(Path(sys.argv[1]), identity.run) / identity.filename, identity)
writer.begin(); writer.end(float(sys.argv[3]))
print(flush=True)
time.sleep(float(sys.argv[4]))
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Slurm runs prolog and epilog as root")


class Node:
    """A node's directories, and the scripts run as slurmd would."""

    def __init__(self, base: Path, **settings: str) -> None:
        """Configure the scripts for directories below `base`."""
        base.chmod(0o755)
        self.records, self.targets, self.state = base / "records", base / "targets", base / "state"
        conf = base / "slurm.conf.d"
        settings = {
            "YOLOSCOPE_DIR": str(self.records),
            "YOLOSCOPE_TARGETS_DIR": str(self.targets),
            "YOLOSCOPE_STATE_DIR": str(self.state),
            **settings,
        }
        conf.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        self.environment = {
            "PATH": os.environ["PATH"],
            "YOLOSCOPE_SLURM_CONF": str(conf),
            "SLURMD_NODENAME": "gpu-17",
            "SLURM_CLUSTER_NAME": "lab",
            "SLURM_JOB_UID": str(os.getuid()),
            "SLURM_JOB_GID": str(os.getgid()),
        }

    def run(self, script: str, job: int = 1) -> subprocess.CompletedProcess[str]:
        """Run a script for a job; Slurm would take the node out of service if it failed."""
        environment = {**self.environment, "SLURM_JOB_ID": str(job)}
        done = subprocess.run(
            [SLURM / script], env=environment, capture_output=True, text=True, check=False, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done

    def before(self, command: str, then: str) -> None:
        """Run the shell's lines `then` each time the scripts call `command`: what somebody else does just before."""
        stubs = self.state.parent / "stubs"
        stubs.mkdir(exist_ok=True)
        stub = stubs / command
        stub.write_text(f'#!/bin/sh\n{then}\nexec {shutil.which(command)} "$@"\n', encoding="utf-8")
        stub.chmod(0o755)
        self.environment["PATH"] = f"{stubs}{os.pathsep}{os.environ['PATH']}"

    @contextmanager
    def training(self, run: str, written: float, lives: float = 60.0) -> Iterator[Path]:
        """A process that holds a record, last written at `written` (Unix seconds)."""
        command = [sys.executable, "-c", _WRITER, str(self.records), run, str(written), str(lives)]
        path = os.pathsep.join(str(ROOT / part) for part in ("exporter", "trainer_hooks"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield self.records / run
            finally:
                process.kill()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A fresh node."""
    return Node(tmp_path)


def test_shellcheck_is_content() -> None:
    """No shell of any node stumbles over the scripts."""
    scripts = sorted(SLURM.glob("*.sh"))
    assert len(scripts) == 3
    subprocess.run([require_binary("shellcheck"), "-x", "-P", ROOT, *scripts], check=True)


def test_prolog_prepares_the_records(node: Node) -> None:
    """The directory is there for every user, sticky, after one prolog as after two."""
    for _ in range(2):
        node.run("prolog.sh")
        assert stat.S_IMODE(node.records.stat().st_mode) == 0o1777


def test_prolog_writes_a_target(node: Node) -> None:
    """The file fits deploy/prometheus' pattern exporter*, names the node, and leaves no half-written one behind."""
    node.run("prolog.sh")
    (group,) = json.loads((node.targets / "exporter-gpu-17.yml").read_text(encoding="utf-8"))
    assert group == {"targets": ["gpu-17:9911"], "labels": {"cluster": "lab"}}
    assert [path.name for path in node.targets.iterdir()] == ["exporter-gpu-17.yml"]


def test_target_is_replaced_in_one_step(node: Node) -> None:
    """A reader that holds the old file open still reads it whole: the new one is another file, renamed."""
    node.run("prolog.sh")
    target = node.targets / "exporter-gpu-17.yml"
    with target.open(encoding="utf-8") as old:
        before = target.stat().st_ino
        node.run("prolog.sh", job=2)
        assert json.load(old)
    assert target.stat().st_ino != before


def test_target_stays_by_default(node: Node) -> None:
    """After the job the end of its training is still scraped."""
    node.run("prolog.sh")
    node.run("epilog.sh")
    assert (node.targets / "exporter-gpu-17.yml").exists()


def test_target_goes_with_the_last_job(tmp_path: Path) -> None:
    """Where so configured the target stays as long as any job is on the node."""
    node = Node(tmp_path, YOLOSCOPE_REMOVE_TARGET="yes")
    target = node.targets / "exporter-gpu-17.yml"
    for job in (1, 2):
        node.run("prolog.sh", job)
    node.run("epilog.sh", 1)
    assert target.exists()
    node.run("epilog.sh", 2)
    assert not target.exists()


def test_no_targets_without_a_directory(tmp_path: Path) -> None:
    """A site with a fixed list of nodes sets none, and gets none."""
    node = Node(tmp_path, YOLOSCOPE_TARGETS_DIR="")
    node.run("prolog.sh")
    node.run("epilog.sh")
    assert not node.targets.exists()


@needs_root
def test_epilog_removes_only_what_is_long_dead(node: Node) -> None:
    """A record goes if its process is dead and its last write an hour ago; one of the two is not enough."""
    node.run("prolog.sh")
    now = time.time()
    with ExitStack() as stack:
        living = stack.enter_context(node.training("living-but-silent", now - 7200))
        with node.training("dead-for-long", now - 7200) as old, node.training("just-killed", now - 60) as fresh:
            pass
        node.run("epilog.sh")
        assert living.exists()
        assert fresh.exists()
        assert not old.exists()


@needs_root
def test_epilog_leaves_other_users_alone(node: Node) -> None:
    """Only the records of the job's user are looked at."""
    node.run("prolog.sh")
    with node.training("dead-for-long", time.time() - 7200) as old:
        pass
    node.environment["SLURM_JOB_UID"] = "12345"
    node.run("epilog.sh")
    assert old.exists()


@needs_root
def test_a_link_is_not_followed(node: Node, tmp_path: Path) -> None:
    """A link in place of the record directory is neither opened to all nor cleared."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    node.records.symlink_to(secret)
    assert "cannot prepare" in node.run("prolog.sh").stderr
    node.run("epilog.sh")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700


@pytest.mark.parametrize("command", ["mkdir", "stat", "chmod"])
@pytest.mark.parametrize("target", ["secret", "records-of-old"])
def test_a_link_laid_in_between_is_not_followed(node: Node, tmp_path: Path, command: str, target: str) -> None:
    """Whichever command it is laid before: what it leads to keeps its mode."""
    for name in ("secret", "records-of-old"):
        (tmp_path / name).mkdir(mode=0o700)
    moved, stone = tmp_path / "moved", tmp_path / target
    exchange = f'mv -T "{node.records}" "{moved}"; ln -s "{stone}" "{node.records}"'
    node.before(command, f'case "$*" in *{node.state}*) ;; *) {{ {exchange}; }} 2>/dev/null ;; esac')
    node.run("prolog.sh")
    assert stat.S_IMODE(stone.stat().st_mode) == 0o700


_RACER = """
import os, sys
records, secret = sys.argv[1:]
os.setgroups([]); os.setgid(12345); os.setuid(12345)
print(flush=True)
steps = (
    lambda: os.symlink(secret, records),
    lambda: os.unlink(records),
    lambda: os.mkdir(records),
    lambda: os.rmdir(records),
)
for step in steps * 10**7:
    try:
        step()
    except OSError:
        pass
"""


@needs_root
def test_a_link_flipped_without_end_is_not_followed(shared: Path) -> None:
    """Another user races the prolog; it wins sometimes, and opens nothing."""
    memory, secret = shared / "shm", shared / "secret"
    memory.mkdir()
    memory.chmod(0o777)  # not sticky, or fs.protected_symlinks would hide the fault
    secret.mkdir(mode=0o700)
    node = Node(shared, YOLOSCOPE_DIR=str(memory / "records"), YOLOSCOPE_TARGETS_DIR="")
    records, refused = memory / "records", 0
    with subprocess.Popen([sys.executable, "-c", _RACER, records, secret], stdout=subprocess.PIPE) as racer:
        try:
            racer.stdout.readline()
            for _ in range(40):
                refused += "cannot prepare" in node.run("prolog.sh").stderr
                assert stat.S_IMODE(secret.stat().st_mode) == 0o700
                with suppress(OSError):  # the racer's, or a link of its
                    if records.lstat().st_uid == 0:
                        records.rmdir()
        finally:
            racer.kill()
    assert refused


@needs_root
def test_another_users_directory_is_left_alone(node: Node) -> None:
    """Its owner could exchange everybody's records."""
    node.records.mkdir(mode=0o755)
    os.chown(node.records, 12345, 12345)
    assert "cannot prepare" in node.run("prolog.sh").stderr
    assert stat.S_IMODE(node.records.stat().st_mode) == 0o755


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        yield Path(base)


@needs_root
def test_epilog_works_as_the_user(shared: Path) -> None:
    """With the user's uid and gid alone, without root's groups; what it leaves is what is not a dead record."""
    node = Node(shared)
    node.run("prolog.sh")
    with (
        node.training("dead-for-long", time.time() - 7200) as old,
        node.training("beside", time.time() - 7200) as beside,
    ):
        pass
    for child in (False, True):
        os.close(stack_file.create(old, "dead-for-long", "0", 1, child=child))
    (beside / "best.pt").write_text("weights")
    (node.records / "results").mkdir()
    (node.records / "results/best.pt").write_text("weights")
    for path in node.records.rglob("*"):
        os.chown(path, 12345, 23456)
    who = shared / "who"
    who.mkdir()
    who.chmod(0o777)
    node.before("find", f'id -u >"{who}/uid"; id -G >"{who}/groups"')
    node.environment |= {"SLURM_JOB_UID": "12345", "SLURM_JOB_GID": "23456"}
    node.run("epilog.sh")
    assert ((who / "uid").read_text(), (who / "groups").read_text()) == ("12345\n", "23456\n")
    assert not old.exists()
    assert [path.name for path in beside.iterdir()] == ["best.pt"]
    assert (node.records / "results/best.pt").exists()


def test_epilog_keeps_what_only_looks_like_stacks(node: Node) -> None:
    """And with it the run's records; so it does while a process holds its stacks."""
    node.run("prolog.sh")
    with node.training("dead-for-long", time.time() - 7200) as run, node.training("child", time.time() - 7200) as child:
        pass
    (run / "rank-0.stacks").write_text("notes of mine")
    held = stack_file.create(child, "child", "0", 1, child=True)
    node.run("epilog.sh")
    os.close(held)
    assert sorted(path.suffix for path in run.iterdir()) == [".rec", ".stacks"]
    assert sorted(path.suffix for path in child.iterdir()) == [".rec", ".stacks"]


@needs_root
@pytest.mark.parametrize("command", ["find", "grep"])
def test_epilog_does_not_wait_for_a_fifo(node: Node, command: str) -> None:
    """It may be in a record's place from the beginning, or put there after the record was looked at."""
    node.run("prolog.sh")
    with node.training("dead-for-long", time.time() - 7200) as run:
        pass
    (record,) = run.glob("*.rec")
    node.before(command, f'rm -f "{record}"; mkfifo "{record}"')
    node.run("epilog.sh")
    assert stat.S_ISFIFO(record.stat().st_mode)


@needs_root
def test_epilog_follows_no_link(node: Node, tmp_path: Path) -> None:
    """A link in a record's place, and a file that only has a record's name, are left as they are."""
    node.run("prolog.sh")
    with node.training("linked", time.time() - 7200) as run:
        pass
    (record,) = run.glob("*.rec")
    record.rename(tmp_path / "elsewhere.rec")
    record.symlink_to(tmp_path / "elsewhere.rec")
    (node.records / "text").mkdir()
    (node.records / "text/rank-0.rec").write_text("x" * 100)
    node.run("epilog.sh")
    assert record.is_symlink()
    assert (tmp_path / "elsewhere.rec").exists()
    assert (node.records / "text/rank-0.rec").exists()


@pytest.mark.parametrize("setting", ["YOLOSCOPE_TARGETS_DIR", "YOLOSCOPE_DIR", "YOLOSCOPE_STATE_DIR"])
def test_trouble_is_said_and_costs_no_node(tmp_path: Path, setting: str) -> None:
    """A directory that cannot be made is named on standard error; the exit status stays 0, so no node is drained."""
    (tmp_path / "file").touch()
    node = Node(tmp_path, **{setting: str(tmp_path / "file" / "below")})
    assert "file/below" in node.run("prolog.sh").stderr
    node.run("epilog.sh")


def test_a_broken_configuration_costs_no_node(node: Node) -> None:
    """A syntax error in the configuration is reported, and the scripts go on with the defaults they can use."""
    Path(node.environment["YOLOSCOPE_SLURM_CONF"]).write_text(
        f"YOLOSCOPE_STATE_DIR={node.state}\nif then\n", encoding="utf-8"
    )
    environment = {**node.environment, "YOLOSCOPE_DIR": str(node.records), "YOLOSCOPE_STATE_DIR": str(node.state)}
    node.environment = environment
    assert "yntax error" in node.run("prolog.sh").stderr
    assert node.records.is_dir()


def test_task_prolog_names_the_directory(node: Node) -> None:
    """Its output is the form that slurmd takes into the task's environment."""
    assert node.run("task-prolog.sh").stdout == f"export YOLOSCOPE_DIR={node.records}\n"


# --- a real Slurm ----------------------------------------------------------------------------------------------------
def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until(done: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.2)
    return False


_SLURM_CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
SlurmctldPort={controller}
StateSaveLocation={base}/ctld
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
Prolog={base}/prolog.sh
Epilog={base}/epilog.sh
TaskProlog={base}/task-prolog.sh
PrologFlags=Alloc
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
SchedulerParameters=sched_interval=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={daemon} CPUs=1 RealMemory=100 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


@contextmanager
def _slurm(base: Path, node: Node) -> Iterator[dict[str, str]]:
    """munged, slurmctld and slurmd in the foreground; yields the environment for srun and its kin."""
    (base / "munge.key").write_bytes(os.urandom(128))
    (base / "munge.key").chmod(0o600)
    for name in ("ctld", "spool"):
        (base / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    conf = base / "slurm.conf"
    ports = {"controller": _free_port(), "daemon": _free_port()}
    conf.write_text(_SLURM_CONF.format(host=host, base=base, **ports), encoding="utf-8")
    for script in ("prolog.sh", "epilog.sh", "task-prolog.sh"):  # slurmd passes no environment of its own on
        settings = f"export YOLOSCOPE_SLURM_CONF={node.environment['YOLOSCOPE_SLURM_CONF']}"
        (base / script).write_text(
            f"#!/bin/sh\n{settings}\nexec {shlex.quote(str(SLURM / script))}\n", encoding="utf-8"
        )
        (base / script).chmod(0o755)
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    files = ("socket", "key-file", "pid-file", "seed-file")
    commands = (
        ["munged", "--foreground", "--force", *(f"--{file}={base}/munge.{file.partition('-')[0]}" for file in files)],
        ["slurmctld", "-D", "-f", conf],
        ["slurmd", "-D", "-f", conf, "-N", "node1"],
    )
    log = base / "daemons.log"
    with ExitStack() as stack, log.open("wb") as output:
        for command in commands:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            if command[0] == "munged":
                assert _until((base / "munge.socket").exists), log.read_text(encoding="utf-8")
        yield environment


def place_of_slurm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all users may enter, where Slurm is installed."""
    for name in ("slurmctld", "slurmd", "munged", "srun", "sbatch"):
        require_binary(name)
    base = tmp_path_factory.mktemp("slurm")
    base.chmod(0o755)
    return base


@pytest.mark.slow
@needs_root
def test_under_a_real_slurm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A real slurmd runs the scripts around a job: directory and target are there before it, the job learns of them."""
    base = place_of_slurm(tmp_path_factory)
    node = Node(base, YOLOSCOPE_REMOVE_TARGET="yes")
    target = node.targets / "exporter-node1.yml"
    shown = f'echo "$YOLOSCOPE_DIR"; stat -c %a "{node.records}"; cat "{target}"'
    with _slurm(base, node) as environment:
        done = subprocess.run(
            ["srun", "--immediate=60", "sh", "-c", shown],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        log = (base / "slurmd.log").read_text(encoding="utf-8")
        assert done.returncode == 0, f"{done.stderr}\n{log}"
        directory, mode, group = done.stdout.splitlines()
        assert directory == str(node.records)
        assert mode == "1777"
        assert json.loads(group)[0]["targets"] == ["node1:9911"]
        assert _until(lambda: not target.exists()), log
    shutil.rmtree(base)


# --- how jobs end --------------------------------------------------------------------------------------------------
_TRAINER = """
import pathlib, time
from loop import Loop
import yoloscope_hooks
loop = Loop(pathlib.Path("."), epochs=2)
loop.save_dir = pathlib.Path("train").absolute()
loop.save_dir.mkdir(exist_ok=True)
yoloscope_hooks.attach(loop).callbacks.setdefault("on_train_epoch_end", []).append(lambda _: time.sleep(600))
loop.train()
"""
#: Slurm 23 and later say in a job's environment when its time is over; the job itself may ask an older one.
_JOB = """#!/bin/sh
export SLURM_JOB_END_TIME=$(date -d "$(squeue -h -j $SLURM_JOB_ID -o %e)" +%s)
export YOLOSCOPE_DIR={records} PYTHONPATH="{paths}"
mkdir -p {base}/$SLURM_JOB_NAME && cd {base}/$SLURM_JOB_NAME && exec '{python}' -c '{trainer}'
"""


class Jobs:
    """Trainings as jobs of a real Slurm."""

    def __init__(self, base: Path, node: Node, environment: dict[str, str]) -> None:
        """Nothing is submitted yet."""
        self.base, self.node, self.environment = base, node, environment

    def call(self, *command: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.base, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    def submit(self, name: str, *options: str) -> str:
        """The number of a new job."""
        script = self.base / f"{name}.sh"
        paths = ":".join(str(ROOT / part) for part in ("trainer_hooks", "tests/trainer_hooks"))
        values = {"records": self.node.records, "paths": paths, "base": self.base, "python": sys.executable}
        script.write_text(_JOB.format(**values, trainer=_TRAINER), encoding="utf-8")
        return self.call("sbatch", "-J", name, "-o", f"{script}.out", *options, str(script)).split()[-1]

    def state(self, number: str) -> str:
        """A job's state by Slurm's own word."""
        return self.call("squeue", "-h", "-j", number, "-o", "%T")

    def trains(self, number: int = 1) -> bool:
        """Whether so many trainings have begun, and the last one runs."""
        records = [Reader(path).read() for path in sorted(self.node.records.glob("**/rank-0.rec"))]
        return len(records) == number and sum(record.alive and record.state == "train" for record in records) == 1

    def ended(self) -> bool:
        """Whether none runs."""
        return not any(Reader(path).read().alive for path in self.node.records.glob("**/rank-0.rec"))

    def causes(self, folder: str) -> list[str]:
        """Of the runs that are kept in a job's folder, the oldest first, when their records are gone."""
        kept = self.base / folder / "train/yoloscope"
        runs = reversed(postmortem.runs(kept))
        told = [diagnose_range([postmortem.read(kept, run).store]).diagnoses[0] for run in runs]
        return [one.verdicts[0].cause.partition(":")[0] for one in told]


@pytest.mark.slow
@pytest.mark.long
@needs_root
def test_ends_of_jobs_are_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`scancel`, a preemption after which the job comes again, and the end of the job's time, by a real slurmctld."""
    base = place_of_slurm(tmp_path_factory)
    node = Node(base)
    with _slurm(base, node) as environment:
        jobs = Jobs(base, node, environment)
        assert _until(lambda: "idle" in jobs.call("sinfo", "-h", "-o", "%T"))
        log = (base / "slurmd.log").read_text
        number = jobs.submit("cancelled", "-t", "10")
        assert _until(jobs.trains), log()
        jobs.call("scancel", number)
        assert _until(jobs.ended), log()

        number = jobs.submit("preempted", "-t", "10")
        assert _until(lambda: jobs.trains(2)), log()
        urgent = jobs.call("sbatch", "-o", "/dev/null", "-p", "urgent", "-t", "10", "--wrap", "sleep 300").split()[-1]
        assert _until(jobs.ended), log()
        jobs.call("scancel", urgent)
        assert _until(lambda: jobs.state(number) == "PENDING"), log()
        jobs.call("scontrol", "update", f"jobid={number}", "StartTime=now")  # it would wait for two minutes
        assert _until(lambda: jobs.trains(3), 60), log()
        jobs.call("scancel", number)
        assert _until(jobs.ended), log()

        jobs.submit("limited", "-t", "1")
        assert _until(lambda: jobs.trains(4)), log()
        assert _until(jobs.ended, 150), log()
        told = {path.parent.name: _cause(node.records, path.parent) for path in node.records.glob("**/rank-0.rec")}
    causes = [told[name] for name in sorted(told)]
    assert causes == ["slurm_cancelled", "slurm_time_limit", "slurm_requeued", "slurm_cancelled"]
    assert jobs.causes("preempted")[0] == "slurm_requeued"
    shutil.rmtree(base)


def _cause(records: Path, directory: Path) -> str:
    """What the black box says of a run."""
    run = Reader(directory / "rank-0.rec").read().identity.run
    (diagnosis,) = diagnose_range([postmortem.read(records, run).store]).diagnoses
    return diagnosis.verdicts[0].cause.partition(":")[0]
