"""What a record and its node tell of a death beside the signal: a reboot, the end of a job's time, its return.

Nothing is asked of anybody here: the scheduler's times are those that the hooks found in the job's environment.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from yoloscope_record.keeping import FINAL, KILLED

from yoloscope_exporter.catalog import JOB_CANCELLED, JOB_OVER, JOB_REQUEUED, REBOOT
from yoloscope_exporter.collectors.files import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from yoloscope_record.reader import Record

#: Seconds around the end of a job's time in which a death is that end: slurmctld looks every half minute, and kills
#: what does not go by itself after KillWait, another half by default.
EARLY, LATE = 5.0, 120.0
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


def rebooted(record: Record, boot: tuple[str, float]) -> bool:
    """Whether the machine was restarted before the run had ended: another boot, of this machine, after its last word.

    A pod's name is no machine's.
    """
    known = record.facts.get("boot_id", "")
    open_end = not record.alive and record.state not in (*FINAL, KILLED)
    same = record.facts.get("host") == os.uname().nodename and not record.facts.get("pod")
    return bool(open_end and same and known and boot[0] and known != boot[0] and record.updated < boot[1])


def restarts(records: Iterable[Record], before: Mapping[str, int]) -> dict[str, int]:
    """How often each Slurm job has come again, by its number, as far as there are records of it, or were `before`."""
    found = dict(before)
    for record in records:
        if job := record.facts.get("slurm_job_id"):
            found[job] = max(found.get(job, 0), _whole(record.facts.get("slurm_restarts", "")))
    return found


def event(record: Record, died: float, boot: tuple[str, float], again: Mapping[str, int]) -> str:
    """What ended a rank that was killed at Unix time `died` (0: not known), in the catalogue's words; or empty."""
    if rebooted(record, boot):
        return REBOOT
    job = record.facts.get("slurm_job_id", "")
    if not job:
        return ""
    if again.get(job, 0) > _whole(record.facts.get("slurm_restarts", "")):
        return JOB_REQUEUED
    end = _whole(record.facts.get("slurm_job_end", ""))
    if not end:
        return ""
    if died:
        return JOB_OVER if end - EARLY <= died <= end + LATE else JOB_CANCELLED if died < end else ""
    return JOB_OVER if end - BEHIND <= record.updated <= end + LATE else ""


def _whole(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0
