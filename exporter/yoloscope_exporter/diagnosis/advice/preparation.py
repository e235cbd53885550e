"""Batches that are prepared too slowly: because storage is slow, or because the CPU is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.cache import (
    cache_in_memory,
    cache_on_disk,
    dataset_bytes,
    too_large_for_memory,
)
from yoloscope_exporter.diagnosis.advice.gains import predicted, without_wait
from yoloscope_exporter.diagnosis.advice.settings import in_use
from yoloscope_exporter.diagnosis.advice.workers import more_workers
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.forecast import Forecast

#: Share of the preparation from which on sparing the decoding is worth a cache. Ours.
DECODE_SHARE = 0.2


def for_slow_storage(s: Signals) -> Advice:
    """Storage is slow: keep the images in memory, and let more workers wait at the same time.

    `cache=disk` is no remedy: it writes the decoded images, several times as large, beside the others.
    """
    kept = cache_in_memory(s)
    workers = more_workers(_with_ram_cache(s) if kept else s)
    chosen = int(workers.arguments["workers"]) if workers else None
    if kept:
        parts = [kept, workers] if workers else [kept]
        return _combined(parts, predicted(s, chosen, cache="ram"))
    note = joined((too_large_for_memory(s), text("put the data set on a local SSD or NVMe disk")))
    if workers is None:
        return Advice(note=note, forecast=without_wait(s))
    return replace(workers, note=joined((workers.note, note)))


def _with_ram_cache(s: Signals) -> Signals:
    """The same, with the memory that a RAM cache would leave."""
    left = max(s.memory_available_bytes - (dataset_bytes(s) or 0.0), 0.0)
    return s.with_numbers({Signals.memory_available_bytes: left})


def for_slow_preprocessing(s: Signals) -> Advice:
    """Preparation is bound by the CPU: spare it the decoding where that is much of it, lighten the transforms.

    A cache saves decoding only, and is promised no more than that. More workers are no remedy: where CPUs idle for them
    the verdict is another one.
    """
    kept = cache_in_memory(s) or cache_on_disk(s)
    if not kept or s.get(Signals.decode_share, 1.0) < DECODE_SHARE:
        return Advice(note=_lighter(s))
    promised = kept.forecast if s.has(Signals.decode_share) else None
    return replace(kept, note=text("{note}; or {lighter}", note=kept.note, lighter=_lighter(s)), forecast=promised)


def _lighter(s: Signals) -> str:
    """What lightens the preparation here: without mosaic in use there is none to leave out."""
    mosaic = in_use("mosaic", s) and not in_use("rect", s) and s.facts.get("task") != "classify"
    less = (
        text("lighten the augmentation (mosaic=0 reads a quarter of the images)")
        if mosaic
        else text("lighten the augmentation")
    )
    return text("{less} and your own transforms, or use more CPUs", less=less)


def _combined(parts: list[Advice], promised: Forecast | None) -> Advice:
    arguments = {key: value for part in parts for key, value in part.arguments.items()}
    checks = tuple(dict.fromkeys(check for part in parts for check in part.checks))
    return Advice(arguments, {}, joined(part.note for part in parts), promised, checks)
