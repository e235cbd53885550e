"""What a record and its node tell of a death beside the signal: a reboot, the end of a job's time, its return.

Nothing is asked of anybody here: the scheduler's times are those that the hooks found in the job's environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from yoloscope_record.system import os

from yoloscope_exporter.catalog import FINAL, JOB_CANCELLED, JOB_OVER, JOB_REQUEUED, KILLED, REBOOT
from yoloscope_exporter.collectors.files import read, read_or_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from yoloscope_record.reader import Record

Key = TypeVar("Key")
Value = TypeVar("Value")

#: Seconds around the end of a job's time in which a death is that end: slurmctld looks every half minute, and kills
#: what does not go by itself after KillWait, another half by default.
EARLY, LATE = 5.0, 120.0
#: Seconds that a job which is cancelled may take to be gone: KillWait, and as long again for what hangs.
GOING = 60.0
#: Jobs that are remembered; those that were seen first are forgotten first.
MOST_JOBS = 4096
#: A job's number in the names that slurmstepd gives its cgroups.
_CGROUP = re.compile(r"/(?:slurm|slurmstepd\.scope|[\w.-]+_slurmstepd\.scope)/(?:\S*/)?job_(\d+)")
_OF_JOB = re.compile(r"(?:^|\0)SLURM_JOB_ID=([0-9]{1,12})(?:\0|$)")
#: Seconds from one look at all processes to the next.
LOOK_SECONDS = 5.0
#: Seconds that a record may be behind: it is written with each batch.
BEHIND = 15.0


def boot_of(procfs: Path) -> tuple[str, float]:
    """Which life of the machine this is, and when it began in Unix seconds."""
    try:
        boot = read(procfs / "sys/kernel/random/boot_id").strip()
        found = re.search(r"(?m)^btime (\d+)$", read(procfs / "stat"))
    except OSError:
        return "", 0.0
    return boot, float(found[1]) if found else 0.0


def job_of(path: Path) -> dict[str, str]:
    """Slurm job and container by the names that slurmstepd and the container runtimes give their cgroups."""
    try:
        text = read(path)
    except OSError:
        return {}
    found = {}
    if match := _CGROUP.search(text):
        found["slurm_job_id"] = match[1]
    if match := re.search(r"[/:](?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?(?=/|$)", text, re.MULTILINE):
        found["container"] = match[1][:12]  # as docker ps and crictl ps show it
    return found


def rebooted(record: Record, boot: tuple[str, float]) -> bool:
    """Whether the machine was restarted before the run had ended: another boot, of this machine, after its last word.

    A pod's name is no machine's.
    """
    known = record.facts.get("boot_id", "")
    open_end = not record.alive and record.state not in (*FINAL, KILLED)
    same = record.facts.get("host") == os.uname().nodename and not record.facts.get("pod")
    return bool(open_end and same and known and boot[0] and known != boot[0] and record.updated < boot[1])


def restarts(records: Iterable[Record], before: Mapping[tuple[int, str], int]) -> dict[tuple[int, str], int]:
    """How often each Slurm job has come again, by owner and number, as far as there are records, or were `before`.

    Of MOST_JOBS; those without a record go first.
    """
    found = dict(before)
    for record in records:
        if job := record.facts.get("slurm_job_id"):
            key = (record.uid, job)
            found[key] = max(found.pop(key, 0), _whole(record.facts.get("slurm_restarts", "")))
    return _newest(found)


@dataclass
class Jobs:
    """Whether there are processes of Slurm jobs here.

    One look at all processes tells it of all jobs, and there are few: whoever dies of whatever, as root a look takes
    ten microseconds of each process.
    """

    procfs: Path
    _seen: dict[str, float] = field(default_factory=dict)  # when a process was there last, and when none was
    _gone: dict[str, float] = field(default_factory=dict)
    _there: frozenset[str] = frozenset()  # jobs with processes at the last look
    _looked: float = 0.0

    def outlives(self, job: str, died: float, now: float) -> bool:
        """Whether the job has processes, or had some longer after the moment `died` than a cancelled one may.

        It is taken to as long as nobody has looked since.
        """
        if self._seen.get(job, 0.0) <= died + GOING and self._gone.get(job, 0.0) <= died:
            if not 0.0 <= now - self._looked < LOOK_SECONDS:
                self._look(now)
            (self._seen if job in self._there else self._gone)[job] = self._looked
            self._seen, self._gone = _newest(self._seen), _newest(self._gone)
        return self._seen.get(job, 0.0) > died + GOING or self._gone.get(job, 0.0) <= died

    def _look(self, now: float) -> None:
        self._there, self._looked = frozenset(map(self._job_of, self.procfs.glob("[0-9]*"))), now

    def _job_of(self, process: Path) -> str:
        """By its cgroup, or by its environment, where that may be read; empty for none."""
        found = _CGROUP.search(read_or_empty(process / "cgroup"))
        found = found or _OF_JOB.search(read_or_empty(process / "environ"))
        return found[1] if found else ""


def event(
    record: Record,
    died: float,
    boot: tuple[str, float],
    again: Mapping[tuple[int, str], int],
    outlives: Callable[[str, float], bool] = lambda *_: False,
) -> str:
    """What ended a rank that was killed at Unix time `died` (0: not known), in the catalogue's words; or empty.

    `outlives` says whether the job with a number went on here after such a moment: then it was not cancelled.
    """
    if rebooted(record, boot):
        return REBOOT
    job = record.facts.get("slurm_job_id", "")
    if not job:
        return ""
    if again.get((record.uid, job), 0) > _whole(record.facts.get("slurm_restarts", "")):
        return JOB_REQUEUED
    end = _whole(record.facts.get("slurm_job_end", ""))
    early, when = (EARLY, died) if died else (BEHIND, record.updated)
    if end - early <= when <= end + LATE:
        return JOB_OVER
    return JOB_CANCELLED if 0 < died < end and not outlives(job, died) else ""


def _newest(jobs: dict[Key, Value]) -> dict[Key, Value]:
    """The MOST_JOBS that were noted last."""
    return dict(list(jobs.items())[-MOST_JOBS:]) if len(jobs) > MOST_JOBS else jobs


def _whole(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0
