"""What else a step's and a run's time goes into: copies, validation, checkpoints, small kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import advice
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.rules.rule import INFO, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _validation_advice(s: Signals) -> Advice:
    speedup = 1 / (1 - s.validate_share) if s.validate_share < 1 else None
    note = "validate with `yolo val` afterwards; or a smaller validation set"
    return Advice({"val": False}, note=note, speedup=speedup, whole=True)


def _checkpoint_advice(s: Signals) -> Advice:
    note = "checkpoints every epoch are Ultralytics' own; write them to a local disk (project=)"
    speedup = 1 / (1 - s.checkpoint_share) if s.checkpoint_share < 1 else None
    return Advice({"save_period": -1}, note=note, speedup=speedup, whole=True)


def _copy_advice(s: Signals) -> Advice:
    note = "look at the PCIe link (pcie_degraded) and at transforms that return floats instead of bytes"
    if s.get(Signals.workers, -1) != 0:
        return Advice(note=note)
    workers = advice.more_workers(s)
    return Advice(workers.arguments if workers else {}, note=f"pinned memory needs loader workers; {note}")


def _underfilled(s: Signals, t: Thresholds) -> bool:
    if s.data_wait_share >= t.input_share or s.cuda_peak_share >= t.memory_spare:
        return False
    if s.train_share < t.train_share:
        return False
    low = s.sm_fill < t.sm_fill if s.has(Signals.sm_fill) else s.gpu_busy < t.gpu_low
    return low and advice.larger_batch(s) is not None


def _small_batch_evidence(s: Signals, _: Thresholds) -> str:
    what = (
        f"kernels fill {s.sm_fill:.0%} of the multiprocessors"
        if s.has(Signals.sm_fill)
        else f"GPU busy {s.gpu_busy:.0%}"
    )
    size = f" at batch {s.batch_size:.0f}" if s.has(Signals.batch_size) else ""
    return f"{what}{size} without waiting for data; peak memory {s.cuda_peak_share:.0%} of the device"


RULES = (
    Rule(
        name="h2d_bound",
        title="Copying batches to the device takes too long",
        severity=WARNING,
        needs=(Signals.h2d_share, Signals.batches),
        when=lambda s, t: s.h2d_share >= t.h2d_share,
        thresholds=("h2d_share",),
        evidence=lambda s, _: f"{s.h2d_share:.0%} of training time moves batches to the device",
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
        needs=(Signals.validate_share, Signals.epoch),
        when=lambda s, t: s.validate_share >= t.validate_share and s.epoch > t.epochs_for_shares,
        thresholds=("validate_share", "epochs_for_shares"),
        evidence=lambda s, _: f"{s.validate_share:.0%} of the run so far went into validation",
        cause="every epoch ends with a pass over the whole validation set",
        verify="the progress bars of training and validation, side by side",
        fix=_validation_advice,
        remedy="`val=False` and `yolo val` afterwards, or a smaller validation set",
    ),
    Rule(
        name="checkpoint_bound",
        title="Writing checkpoints takes a large part of the run",
        severity=WARNING,
        needs=(Signals.checkpoint_share, Signals.epoch),
        when=lambda s, t: s.checkpoint_share >= t.checkpoint_share and s.epoch > t.epochs_for_shares,
        thresholds=("checkpoint_share", "epochs_for_shares"),
        evidence=lambda s, _: f"{s.checkpoint_share:.0%} of the run so far went into writing checkpoints",
        cause="the checkpoint goes to slow storage, or epochs are very short",
        verify="time cp <save_dir>/weights/last.pt /tmp and back",
        fix=_checkpoint_advice,
        waste=("checkpoint",),
        remedy="`project=` on a local disk, `save_period=-1`",
    ),
    Rule(
        name="small_batch",
        title="The batch is too small for the GPU",
        severity=INFO,
        needs=(Signals.data_wait_share, Signals.train_share, Signals.gpu_busy, Signals.cuda_peak_share),
        when=_underfilled,
        thresholds=("input_share", "train_share", "sm_fill", "gpu_low", "memory_spare"),
        evidence=_small_batch_evidence,
        cause="the kernels are too small to fill the GPU, and memory is to spare",
        verify="yoloscope_gpu_sm_active_ratio beside yoloscope_gpu_utilization_ratio; nsys profile: many short kernels",
        fix=advice.larger_batch,
        remedy="`batch` up, as far as the measured peak memory allows",
    ),
)
