"""What may be tried of a command, and how a cache is probed, from what its first probe said. Pure calculation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice.cache import cache_in_memory, cache_on_disk, dataset_bytes, is_cached_in_memory
from yoloscope_exporter.diagnosis.advice.settings import without_cuda, workers_cap
from yoloscope_exporter.diagnosis.advice.workers import workers_needed, workers_possible
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units
from yoloscope_exporter.tuning.search import Space, ladder

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that filling a RAM cache may take in a probe: it sees as much of the data set as can be cached in them.
FILLING = 4.0
#: Batches that an epoch of such a probe has at least, for each worker.
BATCHES_PER_WORKER = 3


class Facts(NamedTuple):
    """What the first probe says of the command, for all others."""

    signals: Signals
    epoch_batches: float


def fraction(facts: Facts, workers: int | None) -> float:
    """How much of the data set a probe with a RAM cache sees: what can be decoded in FILLING, and enough batches."""
    s = facts.signals
    images, batch = s.get(Signals.epoch_images), s.get(Signals.batch_size)
    if not images or not batch:
        return 1.0
    asked = float(ultralytics.parsed(s.facts.get("fraction", "1")) or 1.0)
    decoding = s.get(Signals.decode_share, 1.0) * s.get(Signals.prep_seconds) / batch
    fillable = FILLING / decoding if decoding else images
    number = s.get(Signals.workers) if workers is None else workers
    needed = batch * max(number, 1) * BATCHES_PER_WORKER
    return asked * min(max(fillable, needed) / images, 1.0)


def space_of(s: Signals, environ: Mapping[str, str]) -> Space:
    """What may be tried, from what the first probe said of the machine and the command."""
    notes = []
    cap, possible = workers_cap(s), workers_possible(s)
    if without_cuda(s) and s.get(Signals.workers) == 0:  # set by Ultralytics; a callback may set others
        possible = max(int(s.get(Signals.rank_cores, 1.0)), 1)
    most = min((one for one in (cap, possible) if one is not None), default=int(ultralytics.DEFAULTS["workers"]))
    cache = cache_in_memory(s)
    if cache is None and not is_cached_in_memory(s):
        needed = dataset_bytes(s)
        size = text(": decoded it takes {needed}", needed=units.size(needed)) if needed else ""
        notes.append(
            text(
                "cache=ram is not tried: the data set does not fit into memory{size}, or its size is not known",
                size=size,
            )
        )
    disk = cache_on_disk(s)
    if disk and disk.forecast and disk.forecast.worth_telling:
        notes.append(
            text(
                "cache=disk is not tried, because it writes beside the images; forecast {forecast}",
                forecast=disk.forecast,
            )
        )
    threads = environ.get("OMP_NUM_THREADS", "1") != "1"
    return Space(ladder(most, workers_needed(s)), cache is not None, threads, tuple(notes))
