"""What is said where nothing holds training back, or where that cannot be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.rules import lifecycle, loader
from yoloscope_exporter.diagnosis.rules.rule import INFO, OK, STEP, Rule
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _unknown(s: Signals, t: Thresholds) -> bool:
    if s.state == "train" and s.has(Signals.last_batch_age) and lifecycle.stalled(s, t):
        return False
    return bool(_unknown_reason(s, t))


def _unknown_reason(s: Signals, t: Thresholds) -> str:
    if not s.has(Signals.batches):
        return "the trainer publishes no batches"
    if not s.has(Signals.data_wait_share):
        return f"{s.batches:.0f} batches in the window, too few to judge a step"
    if loader.starved(s, t) and not loader.input_cause(s, t):
        return f"{loader.waits(s)}, but the loader's workers leave no record, so the cause stays open"
    return ""


def _healthy(s: Signals, t: Thresholds) -> bool:
    return (
        s.data_wait_share < t.input_share
        and s.get(Signals.h2d_share) < t.h2d_share
        and s.get(Signals.exposed_share) < t.exposed_share
        and s.compute_share + s.get(Signals.exposed_share) >= t.compute_share
    )


def _healthy_evidence(s: Signals, _: Thresholds) -> str:
    busy = f"; GPU busy {s.gpu_busy:.0%}" if s.has(Signals.gpu_busy) else ""
    rate = f"; {s.images_per_second:.3g} images/s" if s.has(Signals.images_per_second) else ""
    return f"{s.compute_share:.0%} of training time computes, {s.data_wait_share:.0%} waits for data{busy}{rate}"


RULES = (
    Rule(
        name="insufficient_data",
        title="Not enough is known to judge",
        severity=INFO,
        when=_unknown,
        thresholds=(*loader.CAUSE_THRESHOLDS, "stall_factor", "stall_seconds", "stall_most_seconds"),
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
        needs=(*STEP, Signals.compute_share),
        when=_healthy,
        thresholds=("input_share", "h2d_share", "exposed_share", "compute_share"),
        evidence=_healthy_evidence,
        cause="nothing holds training back but the arithmetic itself",
        verify="nvidia-smi dmon -s u",
        fix=lambda _: None,
        remedy="nothing: a faster GPU, a smaller model or `imgsz`",
    ),
)
