"""Runs that no longer move, or ended before their time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import causes
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import smaller_batch
from yoloscope_exporter.diagnosis.advice.workers import fewer_workers
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, INFO, SHM, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def stall_limit(s: Signals, t: Thresholds) -> float:
    """Seconds without a batch that are too many: five times the longest batch, or pause, so far, within bounds.

    The most there is where the silence may have a reason: after an epoch's last batch callbacks run; and a process that
    computes on several CPUs beside an idle GPU does something (labels are assigned on the CPU after an OOM).
    """
    computes = s.get(Signals.silent_cpus) >= t.computing_cores and s.get(Signals.silent_gpu_busy) < t.held_idle
    if not s.get(Signals.longest_batch) or s.get(Signals.epoch_done) or computes:
        return t.stall_most_seconds
    longest = max(s.longest_batch, s.get(Signals.longest_silence))
    return min(max(t.stall_factor * longest, t.stall_seconds), t.stall_most_seconds)


def excused(s: Signals, t: Thresholds) -> bool:
    """Whether the last silence, now that it is over, was none of a standstill: most of it went elsewhere."""
    return s.get(Signals.excused_seconds) >= t.stall_seconds


def _still_limit(s: Signals, t: Thresholds) -> float:
    """Seconds without a move that are too many where no batch tells.

    The most there is while somebody may be waited for who moves, a checkpoint is written to a slow disk, or the last
    epoch is over: plots and uploads.
    """
    ending = bool(s.get(Signals.epoch_done)) and s.get(Signals.epoch) >= s.get(Signals.epochs)
    patient = s.state == "checkpoint" or ending or s.get(Signals.peers_moving)
    seen = t.stall_factor * s.get(Signals.longest_silence)  # an upload after each validation, say
    return t.stall_most_seconds if patient else min(max(t.still_seconds, seen), t.stall_most_seconds)


def stalled(s: Signals, t: Thresholds) -> bool:
    """Whether a living rank has not finished a batch for too long, and waits for no rank that does something else.

    A rank that validates or writes has none to finish: there nothing of it may have moved for too long.
    """
    if s.state != "train":
        return s.up and s.get(Signals.still_seconds) >= _still_limit(s, t)
    return s.up and not s.get(Signals.peers_paused) and s.last_batch_age >= stall_limit(s, t)


def _stall_evidence(s: Signals, t: Thresholds) -> str:
    told = s.text(
        "no batch for {last_batch_age:.0f} s (limit {stall_limit:.0f} s) while the state is 'train'",
        stall_limit=stall_limit(s, t),
    )
    if s.state != "train":
        told = s.text(
            "nothing has moved for {still_seconds:.0f} s (limit {still_limit:.0f} s) while the state "
            "is '{state}': no CPU time, nothing read, an idle GPU",
            still_limit=_still_limit(s, t),
        )
    return told + _missing_workers(s) + hanging(s)


def hanging(s: Signals) -> str:
    """Where it hangs, for the evidence; empty where that is not known."""
    return s.text("; {hang}") if "hang" in s.names else ""


def _hang_cause(s: Signals) -> str:
    """What the stacks say of the cause; empty where nothing is known."""
    culprit, process = s.names.get("hang_culprit", ""), s.names.get("hang_process", "")
    if not culprit:
        return ""
    if s.names.get("hang_doing", "").startswith("stopped"):
        return text(
            "rank {culprit}'s {process} was stopped by a signal or a debugger, and the others wait for it",
            culprit=culprit,
            process=process,
        )
    if s.names.get("hang_doing", "").startswith("gone"):
        return text("rank {culprit} has ended, and the others wait for it", culprit=culprit)
    whom = text("the rank waits for its batch") if "worker" in process else text("whatever else there is waits for it")
    return text(
        "rank {culprit}'s {process} does not get on in the call that the evidence names; {whom}",
        culprit=culprit,
        process=process,
        whom=whom,
    )


def _missing_workers(s: Signals) -> str:
    if not s.has(Signals.workers, Signals.workers_alive) or s.workers_alive >= s.workers:
        return ""
    return s.text("; {workers_alive:.0f} of {workers:.0f} loader workers are alive")


def _stall_cause(s: Signals, _: Thresholds) -> str:
    """What the stacks name; else a dead loader worker, another rank, the loader, the storage or a callback."""
    if known := _hang_cause(s):
        return known
    if _missing_workers(s):
        return text("a loader worker died; the log ends with 'DataLoader worker exited unexpectedly'")
    if s.get(Signals.world_size) > 1:
        return text("a rank waits for another one, or for data; see which rank's last batch is oldest")
    return text("the loader, the storage or a callback hangs")


def _stall_advice(s: Signals) -> Advice:
    doing, pid = s.names.get("hang_doing", ""), s.names.get("hang_pid", "")
    if doing.startswith("stopped"):
        return Advice(note=text("kill -CONT {pid} lets it go on", pid=pid) if pid else text("kill -CONT lets it go on"))
    if found := re.search(r"\b(?:open|read|pread64|write)\(\) of (/.+)", doing):
        return Advice(
            note=text(
                "look at {found} and where it lies: the mount, the server, or a pipe nobody serves", found=found[1]
            )
        )
    note = text("check shared memory (/dev/shm) and the storage's mount, then restart with resume=True")
    if not causes.resumable(s):
        note = text("check shared memory (/dev/shm) and the storage's mount, then start it again")
    return Advice(fewer_workers(s) if _missing_workers(s) else {}, note=note)


def _failed_cause(s: Signals, _: Thresholds) -> str:
    """One of the causes that are known (docs/diagnose.md); a loader worker that died; else what the exception says."""
    if cause := causes.cause_of(s):
        return text("{name}: {title}", name=cause.name, title=text(cause.title))
    if s.get(Signals.worker_deaths):
        return text("loader workers died (worker_died), and PyTorch raises for it")
    stage = s.text(" in the set-up's stage {setup_stage}") if "setup_stage" in s.names else ""
    return text("an exception left the trainer{stage}", stage=stage)


def _failed_evidence(s: Signals, _: Thresholds) -> str:
    where = s.text(" in epoch {epoch:.0f}") if s.has(Signals.epoch) else ""
    how = text(": {told}", told=told) if (told := causes.how(s)) else ""
    return text("the trainer ended with an exception{where}{how}", where=where, how=how)


def _killed_cause(s: Signals, _: Thresholds) -> str:
    """Lack of memory if the cgroup's count of OOM kills rose, a crash or SIGTERM by the stack left; else unknown."""
    if cause := causes.cause_of(s):
        return text("{name}: {title}", name=cause.name, title=text(cause.title))
    return text("unknown: it was killed from outside, mostly by SIGKILL, which leaves nothing behind")


def _killed_evidence(s: Signals, _: Thresholds) -> str:
    where = s.text(" in epoch {epoch:.0f} of {epochs:.0f}") if s.has(Signals.epoch, Signals.epochs) else ""
    memory = (
        text("; its processes held {resident_bytes}", resident_bytes=units.size(s.resident_bytes))
        if s.has(Signals.resident_bytes)
        else ""
    )
    how = text("; {told}", told=told) if (told := causes.how(s)) else ""
    return text(
        "the process exited without a final state{where}{memory}{oom_kills}{how}",
        where=where,
        memory=memory,
        oom_kills=_oom_kills(s),
        how=how,
    )


def _oom_kills(s: Signals) -> str:
    if s.get(Signals.oom_kills) > 0:
        return s.text("; OOM kills in the run's cgroup: {oom_kills:.0f}")
    return s.text("; OOM kills on the node: {node_oom_kills:.0f}") if s.get(Signals.node_oom_kills) > 0 else ""


def _killed_advice(s: Signals) -> Advice:
    """With `resume`, unless the remedy itself says when, or there is no checkpoint yet."""
    if not causes.resumable(s):
        return causes.fix(s, Advice(note=text("start it again: no epoch has ended, there is no checkpoint yet")))
    advised = causes.fix(s, Advice(note=text("continue from the last checkpoint")))
    if "resume=True" in advised.note:
        return advised
    return replace(advised, arguments={**advised.arguments, "resume": True})


def _failed_advice(s: Signals) -> Advice:
    note = text("the exception's last line says what to fix; resume=True continues from the checkpoint")
    if not causes.resumable(s):
        note = text("the exception's last line says what to fix")
    return causes.fix(s, Advice(note=note))


def _death_evidence(s: Signals, _: Thresholds) -> str:
    how = s.text(": {death_signals}") if "death_signals" in s.names else ""
    return text(
        "{counted} died{how}{oom_kills}{shared_memory}",
        counted=units.counted(s.worker_deaths, "loader worker"),
        how=how,
        oom_kills=_oom_kills(s),
        shared_memory=_shared_memory(s),
    )


def _shared_memory(s: Signals) -> str:
    if not s.has(Signals.shm_size_bytes, Signals.shm_least_bytes):
        return ""
    return text(
        "; {shm} had {shm_least_bytes} of {shm_size_bytes} left at least",
        shm=SHM,
        shm_least_bytes=units.size(s.shm_least_bytes),
        shm_size_bytes=units.size(s.shm_size_bytes),
    )


def _without_shared_memory(s: Signals) -> bool:
    """A bus error is what a full /dev/shm gives."""
    return "SIGBUS" in s.names.get("death_signals", "")


def _out_of_memory(s: Signals) -> bool:
    return s.get(Signals.oom_kills) > 0 or s.get(Signals.node_oom_kills) > 0


def _death_cause(s: Signals, _: Thresholds) -> str:
    """Main memory if the cgroup counts OOM kills, /dev/shm if it was a bus error; else it is not known."""
    if _out_of_memory(s):
        return text("main memory is used up: the kernel's OOM killer ended them")
    if _without_shared_memory(s):
        return text("a bus error: {shm}, through which workers hand batches over, is too small", shm=SHM)
    if "SIGKILL" in s.names.get("death_signals", ""):
        return text(
            "somebody killed them; without a count of OOM kills it is not known who (journalctl -k names the kernel)"
        )
    return text("not known: the log's traceback of the worker says more")


def _death_advice(s: Signals) -> Advice:
    fewer = fewer_workers(s)
    if _out_of_memory(s):
        return Advice(
            {**fewer, "cache": False}, note=text("each worker holds its own batches; a RAM cache comes on top")
        )
    if _without_shared_memory(s):
        return Advice(
            fewer, note=text("docker run --shm-size=8g or --ipc=host; in Kubernetes an emptyDir, medium: Memory")
        )
    return Advice(fewer, note=text("look at the end of the log first"))


def _is_slow_batch(s: Signals, t: Thresholds) -> bool:
    return s.slow_batch_seconds >= max(t.slow_batch_factor * s.usual_batch_seconds, t.stall_seconds)


def _assigned_on_cpu(s: Signals) -> bool:
    """Ultralytics repeats the assignment of labels on the CPU when the device has no room for it."""
    return s.get(Signals.slow_batch_ooms) > 0 and s.names.get("slow_phase") in {"forward", "other"}


def _slow_batch_evidence(s: Signals, _: Thresholds) -> str:
    told = s.text(
        "one batch took {slow_batch_seconds} longer than the usual {usual_batch_seconds}; "
        "{slow_phase_seconds} of it in {slow_phase}",
        slow_batch_seconds=units.duration(s.slow_batch_seconds),
        usual_batch_seconds=units.milliseconds(s.usual_batch_seconds),
        slow_phase_seconds=units.duration(s.slow_phase_seconds),
    )
    ooms = s.get(Signals.slow_batch_ooms)
    return told + (text("; out-of-memory errors meanwhile: {ooms:.0f}", ooms=ooms) if ooms else "") + _slow_file(s)


def _slow_file(s: Signals) -> str:
    """The run's slowest file, where it explains half of a wait for data."""
    if s.names.get("slow_phase") != "data_wait" or s.get(Signals.slow_file_seconds) < s.slow_batch_seconds / 2:
        return ""
    return s.text(
        "; {slow_file} took {slow_file_seconds} to read", slow_file_seconds=units.duration(s.slow_file_seconds)
    )


def _slow_batch_cause(s: Signals, _: Thresholds) -> str:
    """The assigner on the CPU after an OOM, or one file that is slow to read; else it is not known."""
    if _assigned_on_cpu(s):
        return text(
            "the label assigner ran on the CPU after it had run out of GPU memory: a batch with very many boxes"
        )
    if _slow_file(s):
        return text("one image file is very slow to read or to decode")
    return s.text("not known: {slow_phase} took it, once")


def _slow_batch_advice(s: Signals) -> Advice:
    if _assigned_on_cpu(s):
        return smaller_batch(s)
    if _slow_file(s):
        return Advice(note=s.text("look at the file {slow_file}: its size, and where it lies"))
    return Advice(
        note=text("nothing, if it happens once; yoloscope report --black-box RUN lists the batches around it")
    )


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
        requires="no batch for five times the longest so far, pauses in training included; in a validation no CPU "
        "time, reading or GPU work",
        confused_with={
            "validation": "a rank that waits for one that validates is not stalled, nor one that validates and moves",
            "callback_bound": "after an epoch's last batch only the upper limit counts; a pause that callbacks or the "
            "start of workers explain, once it is over, was none",
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
        fix=_failed_advice,
        states=("failed",),
        event=True,
        remedy="what the exception says; `resume=True`",
    ),
)
