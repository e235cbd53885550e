"""Runs that no longer move, or ended before their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, Rule
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def stall_limit(s: Signals, t: Thresholds) -> float:
    """Seconds without a batch that are too many: five times the longest batch so far, within bounds."""
    if not s.get(Signals.longest_batch):
        return t.stall_most_seconds
    return min(max(t.stall_factor * s.longest_batch, t.stall_seconds), t.stall_most_seconds)


def stalled(s: Signals, t: Thresholds) -> bool:
    """Whether a living rank has not finished a batch for too long."""
    return s.up and s.last_batch_age >= stall_limit(s, t)


def _stall_evidence(s: Signals, t: Thresholds) -> str:
    text = f"no batch for {s.last_batch_age:.0f} s (limit {stall_limit(s, t):.0f} s) while the state is 'train'"
    return text + _missing_workers(s)


def _missing_workers(s: Signals) -> str:
    if not s.has(Signals.workers, Signals.workers_alive) or s.workers_alive >= s.workers:
        return ""
    return f"; {s.workers_alive:.0f} of {s.workers:.0f} loader workers are alive"


def _stall_cause(s: Signals, _: Thresholds) -> str:
    """A loader worker died, a rank waits for another, or the loader, the storage or a callback hangs."""
    if _missing_workers(s):
        return "a loader worker died; the log ends with 'DataLoader worker exited unexpectedly'"
    if s.get(Signals.world_size) > 1:
        return "a rank waits for another one, or for data; see which rank's last batch is oldest"
    return "the loader, the storage or a callback hangs"


def _killed_cause(s: Signals, _: Thresholds) -> str:
    """Lack of memory if the cgroup's count of OOM kills rose; else the signal cannot be known afterwards."""
    if s.get(Signals.oom_kills) > 0:
        return "the kernel's OOM killer: the cgroup's count of OOM kills rose"
    return "it was killed from outside; the signal cannot be known afterwards"


def _killed_evidence(s: Signals, _: Thresholds) -> str:
    where = f" in epoch {s.epoch:.0f} of {s.epochs:.0f}" if s.has(Signals.epoch, Signals.epochs) else ""
    memory = f"; its processes held {units.size(s.resident_bytes)}" if s.has(Signals.resident_bytes) else ""
    kills = f"; OOM kills in its cgroup: {s.oom_kills:.0f}" if s.get(Signals.oom_kills) > 0 else ""
    return f"the process exited without a final state{where}{memory}{kills}"


def _killed_advice(s: Signals) -> Advice:
    if s.get(Signals.oom_kills) > 0:
        return Advice({"workers": max(int(s.get(Signals.workers, 8)) // 2, 1), "cache": False, "resume": True})
    return Advice({"resume": True}, note="continue from the last checkpoint")


RULES = (
    Rule(
        name="stalled",
        title="Training stands still",
        severity=CRITICAL,
        needs=(Signals.last_batch_age,),
        when=stalled,
        thresholds=("stall_factor", "stall_seconds", "stall_most_seconds"),
        evidence=_stall_evidence,
        cause=_stall_cause,
        verify="py-spy dump --pid <pid>; the end of the log",
        fix=lambda s: Advice(
            {"workers": max(int(s.get(Signals.workers)) // 2, 1)} if _missing_workers(s) else {},
            note="check shared memory (/dev/shm) and the storage's mount, then restart with resume=True",
        ),
        states=("train",),
        event=True,
        remedy="shared memory, storage, workers; then `resume=True`",
    ),
    Rule(
        name="killed",
        title="The training process was killed",
        severity=CRITICAL,
        when=lambda s, _: s.state == "killed",
        evidence=_killed_evidence,
        cause=_killed_cause,
        verify="journalctl -k | grep -i -e 'killed process' -e 'out of memory'; the job scheduler's log",
        fix=_killed_advice,
        states=("killed",),
        event=True,
        remedy="`resume=True`; after an OOM kill fewer `workers` and no RAM cache",
    ),
    Rule(
        name="failed",
        title="The training ended with an error",
        severity=CRITICAL,
        when=lambda s, _: s.state == "failed",
        evidence=lambda s, _: (
            "the trainer ended with an exception" + (f" in epoch {s.epoch:.0f}" if s.has(Signals.epoch) else "")
        ),
        cause="an exception left the trainer",
        verify="the end of the log",
        fix=lambda _: Advice(
            note="the exception's last line says what to fix; resume=True continues from the checkpoint"
        ),
        states=("failed",),
        event=True,
        remedy="what the exception says; `resume=True`",
    ),
)
