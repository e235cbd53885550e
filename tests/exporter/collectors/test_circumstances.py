"""What ended a rank beside its signal: a reboot of this machine, the end of a job's time, a job that came again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from yoloscope_exporter.catalog import JOB_CANCELLED, JOB_OVER, JOB_REQUEUED, REBOOT
from yoloscope_exporter.collectors import circumstances
from yoloscope_record.file_format import Identity
from yoloscope_record.reader import Record

BOOTED = 1_790_000_000.0
NOW = ("boot-now", BOOTED)
HERE = {"boot_id": "boot-before", "host": os.uname().nodename}


def record(facts: dict[str, str], **changed: Any) -> Record:
    values = {
        "identity": Identity("run"),
        "facts": facts,
        "state": "train",
        "numbers": (),
        "histograms": (),
        "created": BOOTED - 1000,
        "updated": BOOTED - 500,
        "pid": 1,
        "uid": 0,
        "alive": False,
        "torn": False,
        "unknown": 0,
        "series": 0,
        "holder": 0,
    }
    return Record(**{**values, **changed})


def test_this_machine_is_known_by_its_boot() -> None:
    """From the kernel."""
    boot, since = circumstances.boot_of(Path("/proc"))
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    assert since > 1.5e9
    assert circumstances.boot_of(Path("/nowhere")) == ("", 0.0)


def test_a_reboot() -> None:
    """Another boot than the recorded one, which began after the run's last word."""
    assert circumstances.event(record(HERE), 0.0, NOW, {}) == REBOOT


@pytest.mark.parametrize(
    "other",
    [
        record({**HERE, "boot_id": "boot-now"}),
        record({**HERE, "host": "another"}),  # shared results: that one's boots say nothing here
        record({**HERE, "pod": "train-0"}),  # a pod's name may come again on another node
        record({"host": HERE["host"]}),  # older hooks
        record(HERE, updated=BOOTED + 1),
        record(HERE, state="failed"),
        record(HERE, state="finished"),
        record(HERE, state="killed"),  # it was seen to die
        record(HERE, alive=True),
    ],
    ids=["same", "host", "pod", "older", "after", "failed", "finished", "killed", "alive"],
)
def test_no_reboot(other: Record) -> None:
    """Where any of it is not so."""
    assert circumstances.event(other, 0.0, NOW, {}) == ""


def test_no_reboot_where_the_machine_does_not_tell() -> None:
    """A system without those files."""
    assert circumstances.event(record(HERE), 0.0, ("", 0.0), {}) == ""


END = 1_790_001_000.0
JOB = {"slurm_job_id": "77", "slurm_job_end": f"{END:.0f}"}


@pytest.mark.parametrize(
    ("died", "updated", "word"),
    [
        (END + 30, END + 29, JOB_OVER),  # slurmctld looks every half minute
        (END - 2, END - 3, JOB_OVER),  # its clock and ours
        (END - 60, END - 61, JOB_CANCELLED),
        (END + 900, END + 899, ""),  # somebody has given it more time, and it ended for another reason
        (0.0, END + 20, JOB_OVER),  # SIGKILL, after it had made nothing of SIGTERM
        (0.0, END - 300, ""),
    ],
)
def test_a_jobs_time(died: float, updated: float, word: str) -> None:
    """By when the signal came, or else by the last word."""
    assert circumstances.event(record(JOB, updated=updated), died, NOW, {}) == word


CANCELLED = END - 600


def process(procfs: Path, pid: int, cgroup: str = "0::/user.slice\n", environ: str = "") -> Path:
    """A process of a /proc."""
    folder = procfs / str(pid)
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup, "ascii")
    (folder / "environ").write_text(environ, "ascii")
    return folder


@pytest.mark.parametrize(
    "of_job",
    [
        {"cgroup": "0::/system.slice/slurmstepd.scope/job_77/step_batch/user/task_0\n"},
        {"environ": "HOME=/root\0SLURM_JOB_ID=77\0X=1\0"},
    ],
    ids=["cgroup", "environment"],
)
def test_a_job_that_goes_on_was_not_cancelled(tmp_path: Path, of_job: dict[str, str]) -> None:
    """A `kill` or `timeout` inside it: also when the job ends later."""
    process(tmp_path, 1)
    process(tmp_path, 2, "0::/system.slice/slurmstepd.scope/job_778/step_0\n", "SLURM_JOB_ID=77\0")
    shell = process(tmp_path, 30, **of_job)
    jobs, dead = circumstances.Jobs(tmp_path), record(JOB, updated=CANCELLED)

    def word(after: float) -> str:
        def outlives(job: str, died: float) -> bool:
            return jobs.outlives(job, died, CANCELLED + after)

        return circumstances.event(dead, CANCELLED, NOW, {}, outlives)

    assert [word(after) for after in (1.0, 30.0, 90.0)] == ["", "", ""]
    shell.rename(tmp_path / "gone")
    assert word(1200.0) == ""


def test_a_job_that_is_gone_was_cancelled(tmp_path: Path) -> None:
    """At once, or within the time that a cancelled one has; a later death is looked at anew."""
    jobs = circumstances.Jobs(tmp_path)
    shell = process(tmp_path, 30, environ="SLURM_JOB_ID=77")
    assert jobs.outlives("77", CANCELLED, CANCELLED + 1)
    shell.rename(tmp_path / "gone")
    assert not jobs.outlives("77", CANCELLED, CANCELLED + 31)
    (tmp_path / "gone").rename(tmp_path / "31")  # of a job that came again
    assert not jobs.outlives("77", CANCELLED, CANCELLED + 40)
    assert jobs.outlives("77", CANCELLED + 50, CANCELLED + 51)
    assert not circumstances.Jobs(tmp_path / "nowhere").outlives("77", CANCELLED, CANCELLED + 1)


def test_many_deaths_are_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records may name a hundred jobs, and deaths that are yet to come."""
    looks, look = [], circumstances.Jobs._look
    monkeypatch.setattr(circumstances.Jobs, "_look", lambda self, now: (looks.append(now), look(self, now)))
    jobs = circumstances.Jobs(tmp_path)
    for second in range(20):
        for job in range(100):
            assert jobs.outlives(str(job), CANCELLED + 1e6, CANCELLED + second)
    assert len(looks) == 20 / circumstances.LOOK_SECONDS


def test_a_job_that_came_again() -> None:
    """Its number, with more restarts: an earlier life of it was preempted or requeued, the present one was not."""
    first, second = record({"slurm_job_id": "77"}), record({"slurm_job_id": "77", "slurm_restarts": "1"})
    again = circumstances.restarts([second, record({"slurm_job_id": "78", "slurm_restarts": "x"}), record({})], {})
    owner = first.uid
    assert again == {(owner, "77"): 1, (owner, "78"): 0}
    assert circumstances.restarts([first], again) == again
    assert circumstances.event(first, END, NOW, again) == JOB_REQUEUED
    assert circumstances.event(second, END, NOW, again) == ""
    others = {(owner + 1, "77"): 9}  # somebody else's record may say that it is of this job
    assert circumstances.event(first, END, NOW, others) != JOB_REQUEUED


def test_jobs_of_months_are_not_all_remembered(tmp_path: Path) -> None:
    """Those that came last are, and those whose record is still there."""
    known, first = dict[tuple[int, str], int](), record({"slurm_job_id": "0", "slurm_restarts": "3"})
    jobs, most = circumstances.Jobs(tmp_path), circumstances.MOST_JOBS
    for number in range(most + 10):
        known = circumstances.restarts([first, record({"slurm_job_id": f"{number}"})], known)
        jobs.outlives(str(number), float(number), number + 1.0)
    assert len(known) == most
    assert known[0, "0"] == 3
    assert (0, "1") not in known
    assert list(jobs._gone) == [str(number) for number in range(10, most + 10)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("4:memory:/slurm/uid_1000/job_4711/step_0/task_0", {"slurm_job_id": "4711"}),
        ("0::/system.slice/slurmstepd.scope/job_42/step_batch/user/task_0", {"slurm_job_id": "42"}),
        ("0::/system.slice/gpu-node-7_slurmstepd.scope/job_42/step_0", {"slurm_job_id": "42"}),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{'ab' * 32}.scope", {"container": "ab" * 6}),
        (f"4:memory:/docker/{'cd' * 32}", {"container": "cd" * 6}),
        (f"0::/system.slice/kubepods-pod1.slice:cri-containerd:{'ef' * 32}", {"container": "ef" * 6}),
        (f"0::/machine.slice/libpod-{'ab' * 32}.scope/container", {"container": "ab" * 6}),
        ("0::/user.slice/user-1000.slice/session-2.scope", {}),
        ("0::/", {}),
    ],
)
def test_job_by_the_cgroups_name(tmp_path: Path, line: str, expected: dict[str, str]) -> None:
    """Slurm's and the container runtimes' groups name job and container."""
    path = tmp_path / "cgroup"
    path.write_text(f"1:name=systemd:/\n{line}\n")
    assert circumstances.job_of(path) == expected
