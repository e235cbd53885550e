"""Loader workers: more where the loader holds training back, fewer where they do harm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.cache import image_bytes
from yoloscope_exporter.diagnosis.advice.gains import predicted
from yoloscope_exporter.diagnosis.advice.settings import ranks, ranks_here, without_cuda, workers_cap
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Share of the available memory that more loader workers may take. Ours: a third is left to the page cache.
WORKERS_SHARE = 0.66

#: PR ultralytics#26090 models a loader worker as this many bytes plus its share of the prefetched batches.
WORKER_BYTES = 124 * 2**20


def workers_needed(s: Signals) -> int | None:
    """Loader workers that keep the trainer busy, by Little's law: preparation time over step time, and one to spare."""
    if not s.has(Signals.prep_seconds, Signals.step_seconds) or s.step_seconds <= 0:
        return None
    return math.ceil(s.prep_seconds / s.step_seconds) + 1


def workers_possible(s: Signals) -> int | None:
    """The most workers this rank can have: its share of the CPUs, of the quota, and of the memory for each.

    None where the number of CPUs is not known.
    """
    if s.get(Signals.workers, -1) == 0 and without_cuda(s):
        return 0
    if not s.has(Signals.rank_cores):
        return None
    limit = max(int(s.rank_cores), 1)
    if s.has(Signals.memory_available_bytes, Signals.workers):
        share = s.memory_available_bytes * WORKERS_SHARE / ranks_here(s)
        limit = min(limit, int(s.workers + share / worker_bytes(s)))
    return limit


def worker_bytes(s: Signals) -> float:
    """Memory of one more loader worker: as measured, else by the model of PR ultralytics#26090."""
    if s.get(Signals.worker_resident_bytes):
        return s.worker_resident_bytes
    prefetched = 4 * s.get(Signals.batch_size, 16) * image_bytes(s)
    return WORKER_BYTES + 0.93 * prefetched


def workers_to_advise(s: Signals) -> int | None:
    """More `workers`: as many as are needed, within what is possible; None where there are enough, or it is unknown."""
    if not s.has(Signals.workers):
        return None
    needed, possible, now = workers_needed(s), workers_possible(s), s.workers
    if needed is None and now == 0:
        needed = possible if possible is not None else int(ultralytics.DEFAULTS["workers"])
    if needed is None:
        return None
    chosen = needed if possible is None else min(needed, possible)
    return chosen if chosen > now else None


def more_workers(s: Signals) -> Advice | None:
    """Raise `workers` to what is needed, within what is possible."""
    chosen = workers_to_advise(s)
    if chosen is None:
        return None
    return Advice({"workers": chosen}, note=_cap(s, chosen), forecast=predicted(s, chosen), checks=_checked(s))


def _checked(s: Signals) -> tuple[str, ...]:
    """What bounds a number of workers here."""
    bounds = {
        "CPUs": s.has(Signals.rank_cores),
        "memory": s.has(Signals.memory_available_bytes),
        "workers cap": workers_cap(s) is not None,
    }
    return tuple(name for name, known in bounds.items() if known)


def fewer_workers(s: Signals) -> dict[str, Value]:
    """Half of the workers, where there is more than one."""
    return {"workers": int(s.workers) // 2} if s.get(Signals.workers) > 1 else {}


def _cap(s: Signals, chosen: int) -> str:
    """That they are for each rank; a warning that Ultralytics may start fewer, where visible GPUs are not known."""
    each = text("for each of the ranks, as workers= always is") if ranks(s) > 1 else ""
    unknown = workers_cap(s) is None and s.has(Signals.node_cores, Signals.gpus)
    if not unknown or chosen <= s.node_cores // max(s.gpus, 1):
        return each
    most = s.text(
        "Ultralytics starts at most {node_cores:.0f} if the run sees all {gpus:.0f} GPUs",
        node_cores=s.node_cores // s.gpus,
    )
    return joined((each, most))
