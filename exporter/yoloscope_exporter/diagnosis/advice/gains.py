"""What advice brings, from what was measured of the run: the arguments of `forecast`."""

from __future__ import annotations

import math
from dataclasses import replace

from yoloscope_exporter.diagnosis import forecast
from yoloscope_exporter.diagnosis.advice.settings import ranks_here, workers_cap
from yoloscope_exporter.diagnosis.forecast import Costs, Forecast
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.measures.reading import PARTS


def predicted(s: Signals, workers: int | None = None, cache: str = "") -> Forecast | None:
    """Images per second with other workers and a cache; at most without any wait, where too little was measured."""
    now, most = costs_of(s), workers_cap(s)
    if now is None:
        return without_wait(s)
    then = now if workers is None else replace(now, workers=workers if most is None else min(workers, most))
    return forecast.throughput(now, *(forecast.cached(then, cache) if cache else (then,)))


def costs_of(s: Signals) -> Costs | None:
    """What a batch costs this rank; None where the loader or the step was not measured."""
    needed = (Signals.images_per_second, Signals.step_seconds, Signals.wait_seconds, Signals.prep_seconds)
    if not s.has(*needed, Signals.workers) or not s.prep_seconds:
        return None
    batch, workers = s.step_seconds + s.wait_seconds, int(s.workers)
    computing = min(s.get(Signals.prep_cpu_ratio, 1.0), 1.0)
    trainer_cpu = s.get(Signals.trainer_cores) * batch - (0 if workers else s.prep_seconds * computing)
    return Costs(
        images=s.images_per_second * batch,
        batch=batch,
        trainer=s.step_seconds,
        prepare=s.prep_seconds,
        computing=computing,
        workers=workers,
        decoding=s.numbers.get(Signals.decode_share.name),
        cpus=s.numbers.get(Signals.rank_cores.name),
        cpus_left=_cpus_left(s),
        trainer_cpu=max(trainer_cpu, 0.0),
        disk=s.get(Signals.disk_busy_share) * batch if s.get(Signals.worker_read_rate) else None,
        spread=_spread(s),
    )


def _cpus_left(s: Signals) -> float | None:
    """Of the rank's CPUs those that nobody but its run uses; all of them where that is not known."""
    cores = s.numbers.get(Signals.rank_cores.name)
    if cores is None or not s.has(Signals.others_cores, Signals.node_cores):
        return cores
    return min(cores, max((s.node_cores - s.others_cores) / ranks_here(s), s.get(Signals.trainer_cores)) or cores)


def without_wait(s: Signals) -> Forecast | None:
    """At most what training would do if it never waited for data."""
    if not s.has(Signals.data_wait_share):
        return None
    return without_share(s, s.data_wait_share)


def without_share(s: Signals, share: float) -> Forecast | None:
    """At most what training would do without a share of its step time."""
    return forecast.saved(s.numbers.get(Signals.images_per_second.name), share, spread=_spread(s))


def _spread(s: Signals) -> float:
    """Between two runs with equal settings: that of a difference of two means over the window's parts."""
    return s.get(Signals.throughput_spread) * math.sqrt(2 / PARTS)


def shorter_run(share: float, least: float = 0.0) -> Forecast | None:
    """A run without between `least` and `share` of its time; images per second of training stay what they are."""
    return forecast.saved(1.0, share, least)
