"""Runs that do not learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.settings import number
from yoloscope_exporter.diagnosis.rules.rule import CRITICAL, INFO, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


#: In chances: 60 images with a learning rate of 1e-9 had an epoch with 3.3 times the lowest loss before, by 6 of them.
LUCKIEST = 10.0
#: The thresholds of what an unstable loss is.
OF_SWINGS = ("loss_epochs", "loss_turns", "loss_swing", "loss_rise", "image_swing")


def _diverged_advice(s: Signals) -> Advice:
    """A tenth of the usual learning rate; `optimizer=auto`, Ultralytics' default, would not look at `lr0`.

    Gradients of batches that are accumulated (`nbs`) are added up, not averaged: more of them are a longer step.
    """
    given = s.facts.get("optimizer", "auto")
    optimizer = "AdamW" if given in {"", "auto"} else given
    arguments: dict[str, Value] = {"optimizer": optimizer, "lr0": 0.001 if "SGD" in optimizer else 0.0001}
    if number("nbs", s) > float(ultralytics.DEFAULTS["nbs"]):
        arguments["nbs"] = ultralytics.DEFAULTS["nbs"]
    return Advice(arguments | ({"amp": False} if s.facts.get("amp", "").lower() in {"true", "1"} else {}))


def _is_plateau(s: Signals, t: Thresholds) -> bool:
    if _is_unstable(s, t):
        return False
    if s.epochs_seen < t.plateau_epochs or s.loss_drop >= t.loss_drop:
        return False
    if s.get(Signals.loss_drop_most) >= t.loss_drop_most:
        return False  # it varies by so much that it may be falling
    busy = s.gpu_busy >= t.gpu_busy if s.has(Signals.gpu_busy) else s.data_wait_share < t.input_share
    return busy and s.get(Signals.metric_gain) < t.metric_gain


def _plateau_evidence(s: Signals, _: Thresholds) -> str:
    metric = s.text(", mAP by {metric_gain:+.4f}") if s.has(Signals.metric_gain) else ""
    if s.loss_drop < 0:
        return s.text(
            "over {epochs_seen:.0f} epochs the loss rose by {risen:.1%}{metric}, with the hardware busy",
            risen=-s.loss_drop,
            metric=metric,
        )
    return s.text(
        "over {epochs_seen:.0f} epochs the loss fell by {loss_drop:.1%}{metric}, with the hardware busy", metric=metric
    )


def _is_unstable(s: Signals, t: Thresholds) -> bool:
    """After warm-up only: until then the learning rate rises. By more than the chance of which images an epoch has."""
    if s.get(Signals.settled_epochs) < t.loss_epochs:
        return False
    return _swings(s, t) or _leaps(s, t)


def _swings(s: Signals, t: Thresholds) -> bool:
    return s.get(Signals.loss_turns) >= t.loss_turns and s.get(Signals.loss_swing) >= max(t.loss_swing, _chance(s, t))


def _leaps(s: Signals, t: Thresholds) -> bool:
    """Up from what it had reached, by far more than chance: of many epochs the luckiest is compared with the others."""
    return s.get(Signals.loss_rise) >= max(t.loss_rise, LUCKIEST * _chance(s, t))


def _chance(s: Signals, t: Thresholds) -> float:
    """By how much the mean loss of an epoch's images, of this rank, varies, over the loss."""
    images = s.get(Signals.epoch_batches, math.inf) * s.get(Signals.batch_size, 1.0)
    return t.image_swing / math.sqrt(max(images, 1.0))


def _unstable_evidence(s: Signals, t: Thresholds) -> str:
    if _swings(s, t):
        return s.text(
            "over {settled_epochs:.0f} epochs after warm-up the loss turned {loss_turns:.0%} of the "
            "time, typically by {loss_swing:.0%} of its value"
        )
    return s.text(
        "over {settled_epochs:.0f} epochs after warm-up the loss rose to {leap:.1f} times what it had fallen to",
        leap=1 + s.loss_rise,
    )


def _unstable_advice(s: Signals) -> Advice:
    """Without the learning rate in use no number can be computed: half of what it is."""
    batch = s.text(" (now {batch_size:.0f})") if s.has(Signals.batch_size) else ""
    return Advice(
        note=text(
            "halve lr0 and name an optimizer (auto ignores lr0); a larger batch{batch}; warmup_epochs up", batch=batch
        )
    )


RULES = (
    Rule(
        name="loss_unstable",
        title="The loss swings from epoch to epoch",
        severity=WARNING,
        requires="losses at the ends of eight epochs after warm-up, which swing, or leap, by more than few batches do "
        "by chance",
        confused_with={
            "healthy": "in warm-up it is never judged; a falling loss does not turn; the mean of few batches swings",
            "plateau": "small turns",
            "diverged": "no finite loss",
        },
        needs=(Signals.settled_epochs, Signals.loss_turns, Signals.loss_swing),
        when=_is_unstable,
        thresholds=OF_SWINGS,
        evidence=_unstable_evidence,
        cause="the learning rate is too high for this batch, the batch too small, or the data set too small to tell",
        verify="results.png: the loss curves zigzag after warm-up",
        fix=_unstable_advice,
        remedy="`lr0` down with an explicit `optimizer`, `warmup_epochs` up, a larger `batch`",
    ),
    Rule(
        name="diverged",
        title="The loss is not finite",
        severity=CRITICAL,
        requires="NaN or infinite losses that were seen",
        confused_with={
            "loss_unstable": "the loss is finite there",
        },
        needs=(Signals.nonfinite,),
        when=lambda s, _: s.nonfinite > 0 or s.get(Signals.nan_recoveries) > 0,
        evidence=lambda s, _: s.text("{nonfinite:.0f} batches with a NaN or infinite loss"),
        cause="the learning rate is too high, half precision overflows, or labels are broken",
        verify="results.csv: nan in the loss columns; yolo train amp=False for a few epochs",
        fix=_diverged_advice,
        states=("train", "validate", "checkpoint", "failed"),  # it may have failed by it
        event=True,
        remedy="`lr0` down with an explicit `optimizer`, `nbs=64` if it is larger, `amp=False`, check the labels",
    ),
    Rule(
        name="plateau",
        title="The loss no longer falls, and it is not the hardware",
        severity=INFO,
        requires="losses of ten epochs, and a busy GPU or no wait for data",
        confused_with={
            "healthy": "the loss falls more slowly in a run that waits: another verdict's; it may fall where it varies "
            "by more than it could fall",
        },
        needs=(Signals.epochs_seen, Signals.loss_drop, Signals.data_wait_share),
        when=_is_plateau,
        thresholds=(
            *OF_SWINGS,
            "plateau_epochs",
            "loss_drop",
            "loss_drop_most",
            "metric_gain",
            "gpu_busy",
            "input_share",
        ),
        evidence=_plateau_evidence,
        cause="model, data or learning rate; the hardware is not the limit",
        verify="results.png: the loss curves; a confusion matrix of the last checkpoint",
        fix=lambda _: Advice(
            {"patience": 20}, note=text("leave the hardware alone: look at labels, model size, learning rate")
        ),
        remedy="labels, model, learning rate; `patience` ends it earlier",
    ),
)
