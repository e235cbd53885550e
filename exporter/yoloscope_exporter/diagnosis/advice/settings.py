"""What a run uses of Ultralytics' arguments, and what Ultralytics lets it use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.arithmetic import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


def in_use(name: str, s: Signals) -> Value | None:
    """The argument's value in this run, the default where the run does not say; None where neither is known."""
    if name == "batch" and not s.predicts:
        reduced = s.get(Signals.batch_reductions) > 0  # what was asked for is another one than what is used
        return global_batch(s, int(s.batch_size)) if s.has(Signals.batch_size) and not reduced else None
    fact = s.facts.get("amp_asked" if name == "amp" and "amp_asked" in s.facts else name)
    return _defaults(s).get(name) if fact is None else ultralytics.parsed(fact)


def number(name: str, s: Signals) -> float:
    """The same where only a number will do."""
    value = in_use(name, s)
    return float(value) if isinstance(value, (int, float)) else float(_defaults(s)[name])


def _defaults(s: Signals) -> Mapping[str, Value]:
    return ultralytics.PREDICT_DEFAULTS if s.predicts else ultralytics.DEFAULTS


def image_size(s: Signals) -> float:
    """Pixels of a side of the network's input."""
    return whole(s.facts.get("imgsz", "")) or float(ultralytics.DEFAULTS["imgsz"])


def global_batch(s: Signals, per_rank: int) -> int:
    """`batch=` counts the images of all ranks together."""
    return per_rank * ranks(s)


def ranks(s: Signals) -> int:
    """Ranks of the run, on all nodes."""
    return max(int(s.get(Signals.world_size, 1)), 1)


def ranks_here(s: Signals) -> float:
    """Ranks of the run that share the node with this one, itself included."""
    return max(s.get(Signals.run_ranks, s.get(Signals.world_size, 1)), 1)


def without_cuda(s: Signals) -> bool:
    """Whether Ultralytics sets workers=0 and amp=False for the rank's device, whatever is asked for."""
    return ultralytics.without_cuda(s.facts.get("device", ""))


def workers_cap(s: Signals) -> int | None:
    """Loader workers that Ultralytics starts at most, whatever is asked for; None where that is not known."""
    gpus = 0 if without_cuda(s) else s.numbers.get(Signals.visible_gpus.name)
    if not s.has(Signals.node_cores) or gpus is None:
        return None
    return ultralytics.most_workers(s.node_cores, gpus, s.numbers.get(Signals.epoch_batches.name))


def may_cache_in_memory(s: Signals) -> bool:
    """Whether `cache=ram` does anything for this task in this version."""
    return ultralytics.caches_in_memory(s.facts.get("task", ""), s.facts.get("ultralytics", ""))
