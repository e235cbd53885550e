"""CPUs: too many threads for them, or a quota that stops the training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.gains import without_wait
from yoloscope_exporter.diagnosis.advice.workers import workers_possible
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


def fewer_threads(s: Signals) -> Advice:
    """Too many runnable threads: one per worker, and no more workers than CPUs."""
    possible = workers_possible(s)
    arguments: dict[str, Value] = {}
    if possible is not None and s.get(Signals.workers) > possible:
        arguments["workers"] = possible
    return Advice(arguments, {"OMP_NUM_THREADS": "1"}, text("and cv2.setNumThreads(0) in your own transforms"))


def within_quota(s: Signals) -> Advice:
    """The cgroup stops the training: workers that fit the quota, or a larger quota."""
    quota = s.get(Signals.quota_cores)
    arguments: dict[str, Value] = {"workers": max(int(quota), 1)} if 0 < quota < s.get(Signals.workers) else {}
    wanted = _cpus_wanted(s)
    note = (
        text("raise the CPU limit from {quota:g} to about {wanted:g} CPUs", quota=quota, wanted=wanted)
        if wanted
        else text("raise the CPU limit")
    )
    if arguments:
        note = text("or keep the workers and {note}", note=note)
    return Advice(arguments, {"OMP_NUM_THREADS": "1"}, note, without_wait(s), ("quota",) if arguments else ())


def _cpus_wanted(s: Signals) -> int | None:
    """CPUs that would prepare batches as fast as the trainer takes them, and one for the trainer itself."""
    if (
        not s.has(Signals.prep_seconds, Signals.prep_cpu_ratio, Signals.step_seconds, Signals.quota_cores)
        or not s.step_seconds
    ):
        return None
    wanted = math.ceil(s.prep_seconds * s.prep_cpu_ratio / s.step_seconds) + 1
    return wanted if wanted > s.quota_cores else None
