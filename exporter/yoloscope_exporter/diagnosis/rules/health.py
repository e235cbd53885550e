"""What is said where nothing holds training back, or where that cannot be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import larger_batch
from yoloscope_exporter.diagnosis.advice.settings import image_size, in_use
from yoloscope_exporter.diagnosis.rules import lifecycle, loader, parts
from yoloscope_exporter.diagnosis.rules.rule import INFO, OK, STEP, Rule
from yoloscope_exporter.diagnosis.rules.step import UNDERFILLED, underfilled
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Sides of a network's input are multiples of 32; with 64 the maps at a stride of 32 have an even number of places, as
#: tiles of tensor cores want them.
_EVEN_SIDE = 64


def _unknown(s: Signals, t: Thresholds) -> bool:
    if s.state == "train" and s.has(Signals.last_batch_age) and lifecycle.stalled(s, t):
        return False
    return bool(_unknown_reason(s, t))


def _unknown_reason(s: Signals, t: Thresholds) -> str:
    if not s.has(Signals.batches):
        return text("the trainer publishes no batches")
    if not s.has(Signals.data_wait_share):
        return s.text("{batches:.0f} batches in the window, too few to judge a step")
    if loader.starved(s, t) and not loader.input_cause(s, t):
        return text("{waits}, but {why_open}, so the cause stays open", waits=loader.waits(s), why_open=_why_open(s))
    return _residual(s, t)


def _why_open(s: Signals) -> str:
    if s.get(Signals.queue_ready) >= 1 and not s.has(Signals.callbacks_share):
        return text("batches are ready meanwhile: callbacks are likely, and these hooks do not time them")
    if s.get(Signals.workers, -1) == 0:
        return text(
            "the training process prepares its batches itself, and whether it computes or waits is not known yet"
        )
    if not s.has(Signals.prep_seconds, Signals.prep_cpu_ratio):
        return text("the loader's workers leave no record")
    if loader.handed_over(s):
        return text(
            "workers prepare a batch in {prepared}, in less than it is waited for: handing it over takes the time "
            "(large or many objects in a batch, pinned memory)",
            prepared=units.milliseconds(s.prep_seconds),
        )
    return text("whether its workers wait for a CPU is not known, or not yet")


def _residual(s: Signals, t: Thresholds) -> str:
    """No part is above its own limit, and yet too little computes: what is left is called nothing but that."""
    if parts.one_is_large(s, t) or not s.has(Signals.compute_share):
        return ""
    shares = {name: s.get(share) for name, (share, _) in parts.PARTS.items()}
    once = max(s.get(Signals.parts_share) - sum(shares.values()), 0.0)  # measured, but not typical: it is over
    if computing(s) + once >= t.compute_share:
        return ""
    large = {name: share for name, share in shares.items() if share >= 0.01}  # noqa: PLR2004 - less is noise
    named = joined((text("{name} {share:.0%}", name=name, share=share) for name, share in large.items()), ", ")
    rest = max(1 - s.compute_share - sum(shares.values()) - once, 0.0)
    known = s.text("{compute_share:.0%} of training time computes")
    return joined((known, named, text("the other {rest:.0%} is not measured", rest=rest)))


def computing(s: Signals) -> float:
    """Share of training time that computes or exchanges gradients; the wait for a rank that validates left out."""
    waited = s.waited_share / s.train_share if s.get(Signals.waited_share) and s.get(Signals.train_share) else 0.0
    return (s.compute_share + s.get(Signals.exposed_share)) / max(1 - waited, 0.01)


def _healthy(s: Signals, t: Thresholds) -> bool:
    return not parts.one_is_large(s, t) and computing(s) >= t.compute_share


def _healthy_evidence(s: Signals, _: Thresholds) -> str:
    busy = s.text("; GPU busy {gpu_busy:.0%}") if s.has(Signals.gpu_busy) else ""
    rate = s.text("; {images_per_second:.3g} images/s") if s.has(Signals.images_per_second) else ""
    return s.text(
        "{compute_share:.0%} of training time computes, {data_wait_share:.0%} waits for data{busy}{rate}",
        busy=busy,
        rate=rate,
    )


def _far_from_peak(s: Signals, t: Thresholds) -> bool:
    """Whether a step that only computes does little of what the card can, at its clocks, with something left to do."""
    held_down = s.get(Signals.clock_ratio, 1.0) < t.clock_ratio
    return s.mfu < t.mfu_low and not held_down and _healthy(s, t) and any(_levers(s, t))


def _levers(s: Signals, t: Thresholds) -> Iterator[str]:
    """What the run does not use yet of what brings a network onto the tensor cores."""
    single = ultralytics.parsed(s.facts.get("amp", "")) is False
    if single:
        yield text("AMP is off")
    if s.has(Signals.cuda_peak_share, Signals.train_share, Signals.gpu_busy) and underfilled(s, t):
        yield s.text("batch {batch_size:.0f} leaves memory and multiprocessors to spare")
    if image_size(s) % _EVEN_SIDE:
        yield text("imgsz={size:.0f} is no multiple of 64", size=image_size(s))
    if in_use("channels_last", s) is False and not single:
        yield text("the weights are not channels_last, as tensor cores want them")
    if in_use("compile", s) is False and ultralytics.knows(s.facts.get("ultralytics", ""), "compile"):
        yield text("the model is not compiled")


def _distance_evidence(s: Signals, t: Thresholds) -> str:
    seen = (
        s.text("{mfu:.1%} of the operations per second that the card can do at most"),
        s.text("tensor cores work {tensor_active:.0%} of the time") if s.has(Signals.tensor_active) else "",
        s.text("kernels fill {sm_fill:.0%} of the multiprocessors") if s.has(Signals.sm_fill) else "",
        s.text("SM clock {clock_ratio:.0%} of the highest") if s.has(Signals.clock_ratio) else "",
        *_levers(s, t),
    )
    return joined(seen)


def _distance_advice(s: Signals) -> Advice:
    """What is advised for a small batch, and what changes nothing but the speed; a size is the user's to choose."""
    larger = larger_batch(s) or Advice()
    arguments: dict[str, Value] = {**larger.arguments, "compile": True}
    if in_use("amp", s) is False:
        arguments["amp"] = True
    size = image_size(s)
    even = max(round(size / _EVEN_SIDE), 1) * _EVEN_SIDE
    notes = (
        larger.note,
        text("imgsz={even} is the nearest multiple of 64", even=even) if size % _EVEN_SIDE else "",
        text("a callback at on_pretrain_routine_end may call trainer.model.to(memory_format=torch.channels_last)")
        if in_use("channels_last", s) is False
        else "",
    )
    return Advice(arguments, note=joined(notes), forecast=larger.forecast, checks=larger.checks)


RULES = (
    Rule(
        name="insufficient_data",
        title="Not enough is known to judge",
        severity=INFO,
        requires="nothing: it says what is missing",
        confused_with={
            "healthy": "nothing is told of what is not known",
        },
        when=_unknown,
        thresholds=(
            *loader.CAUSE_THRESHOLDS,
            *(limit for limit in parts.LIMITS if limit != "input_share"),
            "compute_share",
            "stall_factor",
            "stall_seconds",
            "stall_most_seconds",
            "held_idle",
            "computing_cores",
        ),
        evidence=_unknown_reason,
        cause="the window holds too few batches, or series that a verdict needs are missing",
        verify="yoloscope check; curl the exporter's /metrics and look for yoloscope_train_phase_seconds_total",
        fix=lambda _: None,
        states=("train",),
        remedy="wait for more batches, or see what is missing with `yoloscope diagnose --verbose`",
    ),
    Rule(
        name="compute_bound",
        title="Healthy: the time goes into training",
        severity=OK,
        requires="step phases: computing above its limit, every other part below its own",
        confused_with={
            "small_batch": "a GPU that is not filled computes as well",
            "power_capped": "so does one that is held down",
        },
        needs=(*STEP, Signals.compute_share),
        when=_healthy,
        thresholds=(*parts.LIMITS, "compute_share"),
        evidence=_healthy_evidence,
        cause="nothing holds training back but the arithmetic itself",
        verify="nvidia-smi dmon -s u",
        fix=lambda _: None,
        remedy="nothing: a faster GPU, a smaller model or `imgsz`",
    ),
    Rule(
        name="low_mfu",
        title="The card could do more operations per second",
        severity=INFO,
        requires="operations of the model's layers, a card of the table of peaks, and steps that only compute",
        confused_with={
            "small_batch": "there the GPU idles or its multiprocessors are empty; here they may be full",
            "power_capped": "below 85 % of its clock the card is held down, and nothing is told here",
        },
        needs=(*STEP, Signals.compute_share, Signals.mfu),
        when=_far_from_peak,
        thresholds=(*UNDERFILLED, "mfu_low", "clock_ratio"),
        evidence=_distance_evidence,
        cause="small convolutions, normalisation and activations between them are bound by memory and by launches, "
        "not by arithmetic",
        verify="yoloscope_gpu_tensor_active_ratio beside yoloscope_gpu_sm_active_ratio; torch.profiler: which kernels",
        fix=_distance_advice,
        remedy="AMP, a larger `batch`, `imgsz` in multiples of 64, channels_last, `compile=True`",
    ),
)
