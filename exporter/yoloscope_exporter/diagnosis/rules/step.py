"""What else a step's and a run's time goes into: copies, validation, checkpoints, small kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import larger_batch
from yoloscope_exporter.diagnosis.advice.gains import shorter_run, without_share
from yoloscope_exporter.diagnosis.advice.settings import in_use
from yoloscope_exporter.diagnosis.advice.workers import more_workers
from yoloscope_exporter.diagnosis.rules import loader, parts
from yoloscope_exporter.diagnosis.rules.rule import INFO, STEP, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


#: What shortens a validation, by the part that takes most of it.
_SHORTER_VALIDATION = {
    "loader": text("its images are waited for: the same disk or cache as for training, more workers"),
    "postprocess": text(
        "non-maximum suppression of very many boxes: a lower max_det or a higher conf, which change mAP"
    ),
}


def _validation_advice(s: Signals) -> Advice:
    """Without it nothing is known of an epoch but its loss; only the last one, or that of early stopping, is left."""
    note = text(
        "it ends early stopping (patience), and best.pt becomes the last epoch; validate with "
        "`yolo val` afterwards, or keep it and take a smaller validation set"
    )
    part = s.names.get("validation_part", "")
    if part in _SHORTER_VALIDATION:
        note = text("{note}; what takes most of it: {shorter}", note=note, shorter=text(_SHORTER_VALIDATION[part]))
    least = s.validate_share * (1 - 1 / s.epochs) if s.get(Signals.epochs) else 0.0
    return Advice({"val": False}, note=note, forecast=shorter_run(s.validate_share, least))


def _validation_evidence(s: Signals, _: Thresholds) -> str:
    parts = s.text(", mostly {validation_parts}") if "validation_parts" in s.names else ""
    return s.text("{validate_share:.0%} of the run so far went into validation{parts}", parts=parts)


def _checkpoint_advice(s: Signals) -> Advice:
    """`save_period` only where one is set: -1 is the default, and last.pt is written every epoch whatever it is."""
    period = in_use("save_period", s)
    more = isinstance(period, int) and period > 0
    note = text("checkpoints every epoch are Ultralytics' own; write them to a local disk (project=)")
    arguments: dict[str, Value] = {"save_period": -1} if more else {}
    return Advice(arguments, note=note, forecast=shorter_run(s.checkpoint_share))


def _copy_advice(s: Signals) -> Advice:
    note = text("look at the PCIe link (pcie_degraded) and at transforms that return floats instead of bytes")
    if s.get(Signals.workers, -1) != 0:
        return Advice(note=note)
    workers = more_workers(s)
    return Advice(
        workers.arguments if workers else {}, note=text("pinned memory needs loader workers; {note}", note=note)
    )


def _copies_slowly(s: Signals, t: Thresholds) -> bool:
    """Only where there is a device to copy to."""
    return s.h2d_share >= t.h2d_share and s.facts.get("device", "").lower() not in {"cpu", ""}


def _copy_evidence(s: Signals, _: Thresholds) -> str:
    divided = s.has(Signals.preprocess_share)
    told = s.text("{h2d_share:.0%} of training time moves batches to the device")
    if not divided:
        told = text("up to {text}, preprocess_batch included (the hooks are older than the exporter)", text=told)
    if s.get(Signals.pcie_width, 1) < s.get(Signals.pcie_width_max):
        told += s.text("; the PCIe link has {pcie_width:.0f} of {pcie_width_max:.0f} lanes")
    return told


def _preprocess_evidence(s: Signals, _: Thresholds) -> str:
    seconds = units.milliseconds(s.preprocess_share * (s.step_seconds + s.wait_seconds))
    return s.text(
        "{preprocess_share:.0%} of training time goes into preprocess_batch besides copies: {seconds} per batch",
        seconds=seconds,
    )


#: Calls for a batch from which on a callback is told as one of batches. Ours: between each one, and one for an epoch.
OF_BATCHES = 0.5


def _by_batch(s: Signals, t: Thresholds) -> bool:
    return s.callbacks_share >= t.callbacks_share


def _calls_back(s: Signals, t: Thresholds) -> bool:
    """With every batch, now and then, or once per epoch."""
    again = s.get(Signals.process_epoch) > t.epochs_for_shares or s.get(Signals.callback_pauses) >= t.callback_pauses
    return _by_batch(s, t) or (s.get(Signals.callbacks_of_run) >= t.callbacks_share and again)


def _callback_evidence(s: Signals, t: Thresholds) -> str:
    slowest = s.text("; most of it in {callback}") if "callback" in s.names else ""
    if _by_batch(s, t) and s.get(Signals.callback_calls, 1.0) >= OF_BATCHES:
        share = s.text("{callbacks_share:.0%} of training time")
        return text(
            "{callback_seconds} per batch go into other callbacks: {share}{slowest}",
            callback_seconds=units.milliseconds(s.callback_seconds),
            share=share,
            slowest=slowest,
        )
    share = s.text("{callbacks_of_run:.0%} of the run so far")
    if s.get(Signals.process_epoch) <= t.epochs_for_shares:
        return text(
            "pauses of up to {longest} between batches go into other callbacks: {share}{slowest}",
            longest=units.duration(s.get(Signals.longest_silence)),
            share=share,
            slowest=slowest,
        )
    seconds = units.milliseconds(s.epoch_callback_seconds)
    return text(
        "{seconds} per epoch go into other callbacks: {share}{slowest}", seconds=seconds, share=share, slowest=slowest
    )


#: Settings of `yolo settings` by the module of Ultralytics' own logger.
_LOGGERS = {"wb": "wandb"} | {
    name: name for name in ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard")
}


def _callback_advice(s: Signals) -> Advice:
    callback = s.names.get("callback", "")
    logger = _LOGGERS.get(callback.removeprefix("ultralytics.utils.callbacks.").partition(".")[0], "")
    off = (
        text("yolo settings {logger}=False switches it off; ", logger=logger)
        if logger and callback.startswith("ultralytics.")
        else ""
    )
    note = text("{off}call it every N batches only, or let it hand its work to a thread", off=off)
    share = max(s.callbacks_share, s.get(Signals.callbacks_of_run))
    by_batch = s.callbacks_share >= s.get(Signals.callbacks_of_run)
    return Advice(note=note, forecast=without_share(s, share) if by_batch else shorter_run(share))


def underfilled(s: Signals, t: Thresholds) -> bool:
    """Whether a larger batch fits, and steps that do not wait leave the GPU idle or empty."""
    if s.cuda_peak_share >= t.memory_spare or _trained(s) < t.train_share or not s.get(Signals.batches):
        return False
    idle = _busy_at_most(s) < t.gpu_low and not _held_by_another_part(s, t)
    small = s.data_wait_share < t.input_share and s.get(Signals.sm_fill, 1.0) < t.sm_fill
    return (idle or small) and larger_batch(s) is not None


def _held_by_another_part(s: Signals, t: Thresholds) -> bool:
    """Whether what the GPU waits for has a verdict of its own: a part of training time, a slow batch, silence."""
    return (
        s.get(Signals.last_batch_age) > s.get(Signals.longest_batch, math.inf)
        or max(s.get(Signals.slow_batch_seconds), s.get(Signals.peer_slow_batch_seconds)) >= t.stall_seconds
        or s.get(Signals.loader_start_share) >= t.loader_start_share
        or bool(loader.step_cause(s, t))
        or _waits_for_unseen(s, t)
        or parts.one_is_large(s, t)
    )


def _waits_for_unseen(s: Signals, t: Thresholds) -> bool:
    """Whether steps hold more than computing, and ranks on other nodes may be what is waited for."""
    return bool(s.get(Signals.unseen_ranks)) and s.get(Signals.compute_share, 1.0) < t.compute_share


def _trained(s: Signals) -> float:
    """Share of the window spent in training steps, the wait for a rank that validates left out."""
    return s.train_share - s.get(Signals.waited_share)


def _busy_at_most(s: Signals) -> float:
    """Share of training time in which a kernel ran, if none ran outside of training.

    Low although steps wait for nothing: the host takes longer to launch the kernels than the GPU to run them.
    """
    return min(s.gpu_busy / _trained(s), 1.0)


def _small_batch_evidence(s: Signals, t: Thresholds) -> str:
    what = text("GPU busy in {busy_at_most:.0%} of training time at most", busy_at_most=_busy_at_most(s))
    if s.has(Signals.sm_fill) and _busy_at_most(s) >= t.gpu_low:
        what = s.text("kernels fill {sm_fill:.0%} of the multiprocessors")
    size = s.text(" at batch {batch_size:.0f}") if s.has(Signals.batch_size) else ""
    return s.text(
        "{what}{size} without waiting for data; peak memory {cuda_peak_share:.0%} of the device", what=what, size=size
    )


#: What `underfilled` compares with.
UNDERFILLED = (
    *parts.LIMITS,
    *loader.STEP_THRESHOLDS,
    "loader_start_share",
    "stall_seconds",
    "compute_share",
    "train_share",
    "sm_fill",
    "gpu_low",
    "memory_spare",
)

RULES = (
    Rule(
        name="callback_bound",
        title="Callbacks take a large part of the run",
        severity=WARNING,
        requires="phase `callbacks`: each callback is timed",
        confused_with={
            "loader_workers": "the loader's own fetch is timed apart from callbacks",
            "stalled": "after an epoch's last batch callbacks are given time",
        },
        needs=(Signals.callbacks_share, Signals.callback_seconds),
        when=_calls_back,
        thresholds=("callbacks_share", "callback_pauses", "epochs_for_shares"),
        evidence=_callback_evidence,
        cause="a logger's or your own callback does its work while training waits for it",
        verify="py-spy record --pid <pid> --duration 30 --output callbacks.svg: what the main thread does",
        fix=_callback_advice,
        waste=("callbacks",),
        remedy="`yolo settings <logger>=False`, a callback that does less, more rarely, or in a thread",
    ),
    Rule(
        name="preprocess_bound",
        title="Preprocessing on the training process takes too long",
        severity=WARNING,
        requires="phase `preprocess`, apart from copies",
        confused_with={
            "h2d_bound": "copies to the device have a phase of their own",
        },
        needs=(*STEP, Signals.preprocess_share, Signals.wait_seconds),
        when=lambda s, t: s.preprocess_share >= t.preprocess_share,
        thresholds=("preprocess_share",),
        evidence=_preprocess_evidence,
        cause="preprocess_batch resizes (multi_scale), encodes texts or transforms images, one batch after the other",
        verify="py-spy record --pid <pid> --duration 30 --output step.svg: what preprocess_batch calls",
        fix=lambda s: Advice(
            note=text("move what it does into the data set, where workers do it beside training; multi_scale=False"),
            forecast=without_share(s, s.preprocess_share),
        ),
        waste=("preprocess",),
        remedy="`multi_scale=False`; transforms in the data set instead of in `preprocess_batch`",
    ),
    Rule(
        name="h2d_bound",
        title="Copying batches to the device takes too long",
        severity=WARNING,
        requires="phase `h2d`, on a device that is not the CPU",
        confused_with={
            "preprocess_bound": "the rest of preprocess_batch has its own phase; older hooks count both: that is said",
            "pcie_degraded": "a narrow link alone is a note",
        },
        needs=(Signals.h2d_share, Signals.batches),
        when=_copies_slowly,
        thresholds=("h2d_share",),
        evidence=_copy_evidence,
        cause="batches are copied from pageable memory, over a narrow PCIe link, or as large floats",
        verify="nvidia-smi dmon -s t: rxpci; nsys profile shows the copies",
        fix=_copy_advice,
        waste=("h2d",),
        remedy="pinned memory (needs `workers` > 0), a full PCIe link",
    ),
    Rule(
        name="validation_bound",
        title="Validation takes a large part of the run",
        severity=WARNING,
        requires="phase `validate` over the whole run, after two epochs",
        confused_with={
            "healthy": "one validation fills a short window and means nothing",
        },
        needs=(Signals.validate_share, Signals.process_epoch),
        when=lambda s, t: s.validate_share >= t.validate_share and s.process_epoch > t.epochs_for_shares,
        thresholds=("validate_share", "epochs_for_shares"),
        evidence=_validation_evidence,
        cause="every epoch ends with a pass over the whole validation set",
        verify="the progress bars of training and validation, side by side",
        fix=_validation_advice,
        remedy="a smaller validation set; or `val=False`, which ends early stopping and best.pt, and then `yolo val`",
    ),
    Rule(
        name="checkpoint_bound",
        title="Writing checkpoints takes a large part of the run",
        severity=WARNING,
        requires="phase `checkpoint` over the whole run, after two epochs",
        confused_with={
            "validation_bound": "a phase of its own",
            "callback_bound": "callbacks at a model's save are counted there",
        },
        needs=(Signals.checkpoint_share, Signals.process_epoch),
        when=lambda s, t: s.checkpoint_share >= t.checkpoint_share and s.process_epoch > t.epochs_for_shares,
        thresholds=("checkpoint_share", "epochs_for_shares"),
        evidence=lambda s, _: s.text("{checkpoint_share:.0%} of the run so far went into writing checkpoints"),
        cause="the checkpoint goes to slow storage, or epochs are very short",
        verify="time cp <save_dir>/weights/last.pt /tmp and back",
        fix=_checkpoint_advice,
        waste=("checkpoint",),
        remedy="`project=` on a local disk; no `save_period`",
    ),
    Rule(
        name="small_batch",
        title="The batch is too small for the GPU",
        severity=INFO,
        requires="low GPU use in steps that do not wait, and memory for a larger batch",
        confused_with={
            "loader_workers": "the GPU waits there",
            "power_capped": "the GPU is busy there",
        },
        needs=(Signals.data_wait_share, Signals.train_share, Signals.gpu_busy, Signals.cuda_peak_share),
        when=underfilled,
        thresholds=UNDERFILLED,
        evidence=_small_batch_evidence,
        cause="the kernels are too small to fill the GPU, or the host launches them more slowly than they run; "
        "memory is to spare",
        verify="yoloscope_gpu_sm_active_ratio beside yoloscope_gpu_utilization_ratio; nsys profile: many short kernels",
        fix=larger_batch,
        slows=True,
        remedy="`batch` up, as far as the measured peak memory allows",
    ),
)
