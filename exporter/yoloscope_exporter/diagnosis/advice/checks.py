"""Advice is checked against what Ultralytics does with it in this run: caps, refusals, settings in use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice.settings import in_use, may_cache_in_memory, without_cuda, workers_cap
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.advice import Advice
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


def settled(advice: Advice, s: Signals) -> Advice:
    """The same without arguments that change nothing: those in use already, those that Ultralytics caps or ignores.

    Of what the rank does: a prediction has other arguments than a training, and other defaults.
    """
    capped = replace(advice, predicts=True) if s.predicts else _within_cap(advice, s)
    kept = {name: value for name, value in capped.arguments.items() if not _is_idle(name, value, s)}
    checks = dict.fromkeys((*capped.checks, "no argument in use already", "none that is ignored"))
    if advice.arguments and not kept:
        return replace(capped, arguments={}, forecast=None, checks=())
    return replace(capped, arguments=kept, checks=tuple(checks) if kept else ())


def _within_cap(advice: Advice, s: Signals) -> Advice:
    asked, most = advice.arguments.get("workers"), workers_cap(s)
    if most is None or not isinstance(asked, int) or asked <= most:
        return advice
    note = text("Ultralytics starts at most {most}: {cap_reason}", most=most, cap_reason=_cap_reason(s))
    checked = replace(advice, note=joined((advice.note, note)), checks=(*advice.checks, "workers cap"))
    return replace(checked, arguments={**advice.arguments, "workers": most})


def _cap_reason(s: Signals) -> str:
    gpus = s.get(Signals.visible_gpus)
    cpus = units.counted(s.node_cores, "CPU")
    seen = text(" over {counted}", counted=units.counted(gpus, "visible GPU")) if gpus > 1 else ""
    few = s.has(Signals.epoch_batches) and s.epoch_batches < s.node_cores // max(gpus, 1)
    return (
        text("an epoch has {counted}", counted=units.counted(s.epoch_batches, "batch"))
        if few
        else text("{cpus}{seen}", cpus=cpus, seen=seen)
    )


def _is_idle(name: str, value: Value, s: Signals) -> bool:
    """Whether typing it changes nothing: it is in use, or Ultralytics ignores it."""
    if name == "workers":
        return value in {s.get(Signals.workers, -1), s.get(Signals.workers_asked, -1)} or _is_ignored(name, value, s)
    now = in_use(name, s)
    return (now is not None and ultralytics.same(value, now)) or _is_ignored(name, value, s)


def _is_ignored(name: str, value: Value, s: Signals) -> bool:
    """Ultralytics refuses it, or sets it back, in this run; of a prediction no argument that is advised."""
    if s.predicts:
        return False
    if not ultralytics.knows(s.facts.get("ultralytics", ""), name):
        return True
    several = s.get(Signals.world_size, 1) > 1
    return {
        "amp": bool(value) and without_cuda(s),
        "batch": several and isinstance(value, (int, float)) and value < 1,  # AutoBatch: refused with several GPUs
        "cache": str(value) == "ram" and not may_cache_in_memory(s),
        "mosaic": bool(value) and ultralytics.parsed(s.facts.get("rect", "")) is True,
        "rect": bool(value) and several,
        "workers": without_cuda(s) and s.get(Signals.workers, -1) == 0,
    }.get(name, False)
