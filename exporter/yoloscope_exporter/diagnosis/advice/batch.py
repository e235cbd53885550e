"""The batch size, with what keeps the optimisation as it is; precision and image size where it cannot shrink."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.device_memory import batch_that_fits, device_memory, even
from yoloscope_exporter.diagnosis.advice.settings import global_batch, image_size, number, ranks
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Largest batch that is advised, in times of `nbs`. Ours: beyond, an optimizer step is no longer what it was tuned for.
MOST_NOMINAL = 2
#: Batches that are tried: whoever writes a record may say that there are a quintillion images in one.
MOST_TRIED = 1024
#: Steps that a larger batch must leave to an epoch. Ours: with fewer, the schedule of an epoch is too coarse.
FEWEST_STEPS = 10


def smaller_batch(s: Signals) -> Advice:
    """Less memory per step, the same images per optimizer step.

    Where Ultralytics has halved the batch already, today's is the one to start with, if it fits.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if not now:
        return Advice(_precision(s), note=text("a smaller batch=, or a smaller imgsz="))
    most = now if s.get(Signals.batch_reductions) else even(now - 1)
    chosen = min(fitting, most) if fitting else now // 2
    if chosen < 1:
        return Advice(_precision(s) or _smaller_images(s), note=text("the batch is as small as it can be"))
    found = _optimised_alike(s, chosen, (chosen + 1) // 2)
    return replace(found, arguments={**found.arguments, **_precision(s)})


def _smaller_images(s: Signals) -> dict[str, Value]:
    """Four fifths of today's size, in multiples of 32 as Ultralytics wants them."""
    smaller = int(0.8 * image_size(s)) // 32 * 32
    return {"imgsz": max(smaller, 32)}


def _precision(s: Signals) -> dict[str, Value]:
    """AMP, where it was not asked for: after a failed check asking once more changes nothing."""
    off = s.facts.get("amp_asked", s.facts.get("amp", "")).lower() in {"false", "0", "fp32"}
    return {"amp": True} if off else {}


def larger_batch(s: Signals) -> Advice | None:
    """Memory to spare and a device that is not full: as large a batch as fits, at most the nominal one times two.

    Nor larger than a tenth of the data set, so that an epoch keeps ten steps.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None:
        return None
    most = max(MOST_NOMINAL * number("nbs", s) / ranks(s), 2 * now)
    images = s.get(Signals.epoch_images, math.inf) / ranks(s)
    chosen = even(int(min(fitting, most, images / FEWEST_STEPS)))
    least = math.ceil(1.5 * now)
    if chosen < least:
        return None
    return _optimised_alike(s, chosen, max(least, chosen // 2))


def fewer_exchanges(s: Signals) -> Advice:
    """Ranks wait for the exchange of gradients: twice the batch halves it, where that fits."""
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None or fitting < 2 * now:
        return Advice(note=text("fewer GPUs, or a faster link between them: a larger batch does not fit"))
    found = _optimised_alike(s, 2 * now, 2 * now)
    return replace(found, note=text("fewer, larger steps; {note}", note=found.note))


def _optimised_alike(s: Signals, chosen: int, least: int) -> Advice:
    """`batch` with what keeps images per optimizer step and weight decay; else what differs is said.

    Batches of a rank from `chosen` down to `least` are tried, MOST_TRIED of them at most.
    """
    now, nbs, weight_decay = global_batch(s, int(s.batch_size)), number("nbs", s), number("weight_decay", s)
    step = ultralytics.images_per_step(now, nbs)
    for per_rank in range(chosen, max(least, 1, chosen - MOST_TRIED) - 1, -1):
        batch = global_batch(s, per_rank)
        beside = ultralytics.equal_optimisation(batch, now, nbs, weight_decay)
        if beside is not None:
            note = text(
                "an optimizer step stays at {step} images by nbs (accumulate= is refused), the weight decay as it is",
                step=step,
            )
            return _batch(s, per_rank, {"batch": batch, **beside}, note + _normalised(s, per_rank))
    batch = global_batch(s, chosen)
    other = ultralytics.images_per_step(batch, nbs)
    note = text("an optimizer step takes {other} images instead of {step}", other=other, step=step)
    factor = ultralytics.decay(1.0, batch, nbs) / ultralytics.decay(1.0, now, nbs)
    note += text(", the weight decay is {factor:.3g} of now's", factor=factor) if other != step else ""
    return _batch(s, chosen, {"batch": batch}, note + _normalised(s, chosen))


def _normalised(s: Signals, per_rank: int) -> str:
    now = int(s.batch_size)
    return (
        text("; batch normalisation sees {per_rank} images instead of {now}", per_rank=per_rank, now=now)
        if per_rank != now
        else ""
    )


def _batch(s: Signals, per_rank: int, arguments: dict[str, Value], note: str) -> Advice:
    memory = device_memory(s)
    expected = memory.expected(per_rank, int(s.batch_size)) if memory else None
    checks = (
        "images per optimizer step",
        "weight decay",
        *(("GPU memory of run and others",) if memory else ()),
    )
    return Advice(arguments, {}, note, expected, checks)
