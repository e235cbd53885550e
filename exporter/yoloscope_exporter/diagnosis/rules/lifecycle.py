"""Runs that no longer move, or ended before their time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import causes, units
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import smaller_batch
from yoloscope_exporter.diagnosis.advice.workers import fewer_workers
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, INFO, SHM, Rule
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def stall_limit(s: Signals, t: Thresholds) -> float:
    """Seconds without a batch that are too many: five times the longest batch so far, within bounds.

    The most there is where the silence may have a reason: after an epoch's last batch callbacks run; and a process that
    computes on several CPUs beside an idle GPU does something (labels are assigned on the CPU after an OOM).
    """
    computes = s.get(Signals.silent_cpus) >= t.computing_cores and s.get(Signals.silent_gpu_busy) < t.held_idle
    if not s.get(Signals.longest_batch) or s.get(Signals.epoch_done) or computes:
        return t.stall_most_seconds
    return min(max(t.stall_factor * s.longest_batch, t.stall_seconds), t.stall_most_seconds)


def _still_limit(s: Signals, t: Thresholds) -> float:
    """Seconds without a move that are too many where no batch tells.

    The most there is while somebody may be waited for who moves, a checkpoint is written to a slow disk, or the last
    epoch is over: plots and uploads.
    """
    ending = bool(s.get(Signals.epoch_done)) and s.get(Signals.epoch) >= s.get(Signals.epochs)
    patient = s.state == "checkpoint" or ending or s.get(Signals.peers_moving)
    return t.stall_most_seconds if patient else t.still_seconds


def stalled(s: Signals, t: Thresholds) -> bool:
    """Whether a living rank has not finished a batch for too long, and waits for no rank that does something else.

    A rank that validates or writes has none to finish: there nothing of it may have moved for too long.
    """
    if s.state != "train":
        return s.up and s.get(Signals.still_seconds) >= _still_limit(s, t)
    return s.up and not s.get(Signals.peers_paused) and s.last_batch_age >= stall_limit(s, t)


def _stall_evidence(s: Signals, t: Thresholds) -> str:
    text = f"no batch for {s.last_batch_age:.0f} s (limit {stall_limit(s, t):.0f} s) while the state is 'train'"
    if s.state != "train":
        text = (
            f"nothing has moved for {s.still_seconds:.0f} s (limit {_still_limit(s, t):.0f} s) while the state is "
            f"'{s.state}': no CPU time, nothing read, an idle GPU"
        )
    return text + _missing_workers(s) + hanging(s)


def hanging(s: Signals) -> str:
    """Where it hangs, for the evidence; empty where that is not known."""
    return f"; {s.names['hang']}" if "hang" in s.names else ""


def _hang_cause(s: Signals) -> str:
    """What the stacks say of the cause; empty where nothing is known."""
    culprit, process = s.names.get("hang_culprit", ""), s.names.get("hang_process", "")
    if not culprit:
        return ""
    if s.names.get("hang_doing", "").startswith("stopped"):
        return f"rank {culprit}'s {process} was stopped by a signal or a debugger, and the others wait for it"
    if s.names.get("hang_doing", "").startswith("gone"):
        return f"rank {culprit} has ended, and the others wait for it"
    whom = "the rank waits for its batch" if "worker" in process else "whatever else there is waits for it"
    return f"rank {culprit}'s {process} does not get on in the call that the evidence names; {whom}"


def _missing_workers(s: Signals) -> str:
    if not s.has(Signals.workers, Signals.workers_alive) or s.workers_alive >= s.workers:
        return ""
    return f"; {s.workers_alive:.0f} of {s.workers:.0f} loader workers are alive"


def _stall_cause(s: Signals, _: Thresholds) -> str:
    """What the stacks name; else a dead loader worker, another rank, the loader, the storage or a callback."""
    if known := _hang_cause(s):
        return known
    if _missing_workers(s):
        return "a loader worker died; the log ends with 'DataLoader worker exited unexpectedly'"
    if s.get(Signals.world_size) > 1:
        return "a rank waits for another one, or for data; see which rank's last batch is oldest"
    return "the loader, the storage or a callback hangs"


def _stall_advice(s: Signals) -> Advice:
    doing, pid = s.names.get("hang_doing", ""), s.names.get("hang_pid", "")
    if doing.startswith("stopped"):
        return Advice(note=f"kill -CONT {pid} lets it go on" if pid else "kill -CONT lets it go on")
    if found := re.search(r"\b(?:open|read|pread64|write)\(\) of (/.+)", doing):
        return Advice(note=f"look at {found[1]} and where it lies: the mount, the server, or a pipe nobody serves")
    return Advice(
        fewer_workers(s) if _missing_workers(s) else {},
        note="check shared memory (/dev/shm) and the storage's mount, then restart with resume=True",
    )


def _failed_cause(s: Signals, _: Thresholds) -> str:
    """One of the causes that are known (docs/diagnose.md); a loader worker that died; else what the exception says."""
    if cause := causes.cause_of(s):
        return f"{cause.name}: {cause.title}"
    if s.get(Signals.worker_deaths):
        return "loader workers died (worker_died), and PyTorch raises for it"
    stage = f" in the set-up's stage {s.names['setup_stage']}" if "setup_stage" in s.names else ""
    return f"an exception left the trainer{stage}"


def _failed_evidence(s: Signals, _: Thresholds) -> str:
    where = f" in epoch {s.epoch:.0f}" if s.has(Signals.epoch) else ""
    how = f": {told}" if (told := causes.how(s)) else ""
    return f"the trainer ended with an exception{where}{how}"


def _killed_cause(s: Signals, _: Thresholds) -> str:
    """Lack of memory if the cgroup's count of OOM kills rose, a crash or SIGTERM by the stack left; else unknown."""
    if cause := causes.cause_of(s):
        return f"{cause.name}: {cause.title}"
    return "unknown: it was killed from outside, mostly by SIGKILL, which leaves nothing behind"


def _killed_evidence(s: Signals, _: Thresholds) -> str:
    where = f" in epoch {s.epoch:.0f} of {s.epochs:.0f}" if s.has(Signals.epoch, Signals.epochs) else ""
    memory = f"; its processes held {units.size(s.resident_bytes)}" if s.has(Signals.resident_bytes) else ""
    how = f"; {told}" if (told := causes.how(s)) else ""
    return f"the process exited without a final state{where}{memory}{_oom_kills(s)}{how}"


def _oom_kills(s: Signals) -> str:
    if s.get(Signals.oom_kills) > 0:
        return f"; OOM kills in the run's cgroup: {s.oom_kills:.0f}"
    return f"; OOM kills on the node: {s.node_oom_kills:.0f}" if s.get(Signals.node_oom_kills) > 0 else ""


def _killed_advice(s: Signals) -> Advice:
    """With `resume`, unless the remedy itself says when."""
    advised = causes.fix(s, Advice(note="continue from the last checkpoint"))
    if "resume=True" in advised.note:
        return advised
    return replace(advised, arguments={**advised.arguments, "resume": True})


def _death_evidence(s: Signals, _: Thresholds) -> str:
    how = f": {s.names['death_signals']}" if "death_signals" in s.names else ""
    return f"{units.counted(s.worker_deaths, 'loader worker')} died{how}{_oom_kills(s)}{_shared_memory(s)}"


def _shared_memory(s: Signals) -> str:
    if not s.has(Signals.shm_size_bytes, Signals.shm_least_bytes):
        return ""
    return f"; {SHM} had {units.size(s.shm_least_bytes)} of {units.size(s.shm_size_bytes)} left at least"


def _without_shared_memory(s: Signals) -> bool:
    """A bus error is what a full /dev/shm gives."""
    return "SIGBUS" in s.names.get("death_signals", "")


def _out_of_memory(s: Signals) -> bool:
    return s.get(Signals.oom_kills) > 0 or s.get(Signals.node_oom_kills) > 0


def _death_cause(s: Signals, _: Thresholds) -> str:
    """Main memory if the cgroup counts OOM kills, /dev/shm if it was a bus error; else it is not known."""
    if _out_of_memory(s):
        return "main memory is used up: the kernel's OOM killer ended them"
    if _without_shared_memory(s):
        return f"a bus error: {SHM}, through which workers hand batches over, is too small"
    if "SIGKILL" in s.names.get("death_signals", ""):
        return "somebody killed them; without a count of OOM kills it is not known who (journalctl -k names the kernel)"
    return "not known: the log's traceback of the worker says more"


def _death_advice(s: Signals) -> Advice:
    fewer = fewer_workers(s)
    if _out_of_memory(s):
        return Advice({**fewer, "cache": False}, note="each worker holds its own batches; a RAM cache comes on top")
    if _without_shared_memory(s):
        return Advice(fewer, note="docker run --shm-size=8g or --ipc=host; in Kubernetes an emptyDir, medium: Memory")
    return Advice(fewer, note="look at the end of the log first")


def _is_slow_batch(s: Signals, t: Thresholds) -> bool:
    return s.slow_batch_seconds >= max(t.slow_batch_factor * s.usual_batch_seconds, t.stall_seconds)


def _assigned_on_cpu(s: Signals) -> bool:
    """Ultralytics repeats the assignment of labels on the CPU when the device has no room for it."""
    return s.get(Signals.slow_batch_ooms) > 0 and s.names.get("slow_phase") in {"forward", "other"}


def _slow_batch_evidence(s: Signals, _: Thresholds) -> str:
    text = (
        f"one batch took {units.duration(s.slow_batch_seconds)} longer than the usual "
        f"{units.milliseconds(s.usual_batch_seconds)}; {units.duration(s.slow_phase_seconds)} of it in "
        f"{s.names['slow_phase']}"
    )
    ooms = s.get(Signals.slow_batch_ooms)
    return text + (f"; out-of-memory errors meanwhile: {ooms:.0f}" if ooms else "") + _slow_file(s)


def _slow_file(s: Signals) -> str:
    """The run's slowest file, where it explains half of a wait for data."""
    if s.names.get("slow_phase") != "data_wait" or s.get(Signals.slow_file_seconds) < s.slow_batch_seconds / 2:
        return ""
    return f"; {s.names['slow_file']} took {units.duration(s.slow_file_seconds)} to read"


def _slow_batch_cause(s: Signals, _: Thresholds) -> str:
    """The assigner on the CPU after an OOM, or one file that is slow to read; else it is not known."""
    if _assigned_on_cpu(s):
        return "the label assigner ran on the CPU after it had run out of GPU memory: a batch with very many boxes"
    if _slow_file(s):
        return "one image file is very slow to read or to decode"
    return f"not known: {s.names['slow_phase']} took it, once"


def _slow_batch_advice(s: Signals) -> Advice:
    if _assigned_on_cpu(s):
        return smaller_batch(s)
    if _slow_file(s):
        return Advice(note=f"look at the file {s.names['slow_file']}: its size, and where it lies")
    return Advice(note="nothing, if it happens once; yoloscope report --black-box RUN lists the batches around it")


RULES = (
    Rule(
        name="worker_died",
        title="Loader workers died",
        severity=CRITICAL,
        requires="exit status of loader workers, as the training process sees it",
        confused_with={
            "killed": "there the training process itself died",
            "failed": "stands beside it: PyTorch raises when a worker dies",
        },
        needs=(Signals.worker_deaths,),
        when=lambda s, _: s.worker_deaths > 0,
        evidence=_death_evidence,
        cause=_death_cause,
        verify="the log: 'DataLoader worker (pid N) exited unexpectedly'; journalctl -k | grep -i oom; df /dev/shm",
        fix=_death_advice,
        states=("train", "validate", "checkpoint", "failed", "killed"),
        event=True,
        remedy="fewer `workers`, no RAM cache, a larger `/dev/shm` (`--shm-size`)",
    ),
    Rule(
        name="slow_batch",
        title="One batch took many times the usual",
        severity=INFO,
        requires="phases between two counts of batches, and what is usual from twenty others",
        confused_with={
            "stalled": "the batch ended",
            "validation_bound": "only step phases count",
            "callback_bound": "callbacks do not count",
        },
        needs=(Signals.slow_batch_seconds, Signals.usual_batch_seconds, Signals.slow_phase_seconds),
        when=_is_slow_batch,
        thresholds=("slow_batch_factor", "stall_seconds"),
        evidence=_slow_batch_evidence,
        cause=_slow_batch_cause,
        verify="yoloscope report --black-box RUN: that batch beside the others",
        fix=_slow_batch_advice,
        event=True,
        remedy="after an OOM a smaller `batch`; else what the named phase or file says",
    ),
    Rule(
        name="stalled",
        title="Training stands still",
        severity=CRITICAL,
        requires="no batch for five times the longest so far; in a validation no CPU time, reading or GPU work",
        confused_with={
            "validation": "a rank that waits for one that validates is not stalled, nor one that validates and moves",
            "callback_bound": "after an epoch's last batch only the upper limit counts",
            "slow_batch": "a process that computes on several CPUs beside an idle GPU is given the upper limit",
            "setup_slow": "before the first batch",
        },
        needs=(Signals.last_batch_age,),
        when=stalled,
        thresholds=(
            "stall_factor",
            "stall_seconds",
            "stall_most_seconds",
            "still_seconds",
            "computing_cores",
            "held_idle",
        ),
        evidence=_stall_evidence,
        cause=_stall_cause,
        verify="yoloscope stacks RUN; py-spy dump --native --pid <pid> for frames outside Python; the end of the log",
        fix=_stall_advice,
        states=("train", "validate", "checkpoint"),
        event=True,
        remedy="shared memory, storage, workers; then `resume=True`",
    ),
    Rule(
        name="killed",
        title="The training process was killed",
        severity=CRITICAL,
        requires="no process, and no final state in the record",
        confused_with={
            "failed": "an exception leaves a final state",
        },
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
        requires="the final state in the record",
        confused_with={
            "killed": "nothing is left to write it",
            "worker_died": "told beside it",
        },
        when=lambda s, _: s.state == "failed",
        evidence=_failed_evidence,
        cause=_failed_cause,
        verify="the end of the log",
        fix=lambda s: causes.fix(
            s, Advice(note="the exception's last line says what to fix; resume=True continues from the checkpoint")
        ),
        states=("failed",),
        event=True,
        remedy="what the exception says; `resume=True`",
    ),
)
