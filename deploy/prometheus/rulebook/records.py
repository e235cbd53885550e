"""Recorded series that several alerts read.

GPU series know no run. A rank's `train_device_info` names its GPU, so it is the many-side of every join: a GPU on which
one run ended and the next began, or which two runs share, gives a series for each.
"""

from __future__ import annotations

from yoloscope_exporter import catalog as c

from .model import RANK_GPU, Record, rate, series

TRAINING = "run:yoloscope_training:ratio1m"
GPU_BUSY = "rank:yoloscope_gpu_busy:ratio_rate1m"
GPU_LEVEL = "rank:yoloscope_gpu_busy:median1h"


def on_its_gpu(gpu_series: str) -> str:
    """A series of GPUs as a series of the ranks that train on them."""
    return (
        f"max by ({RANK_GPU}) (\n"
        f"  {series(c.TRAIN_DEVICE_INFO)}\n"
        f"  * on (instance, gpu) group_left () max by (instance, gpu) ({gpu_series})\n"
        f")"
    )


RECORDS = (
    Record(
        TRAINING,
        f"min by (run) (avg_over_time({series(c.TRAIN_STATE, '1m', state='train')}))",
        "Share of the last minute in which every rank of the run was training: not setting up, validating, saving, "
        "ended. The least of all ranks, because older Ultralytics validates on rank 0 while the others wait.",
    ),
    Record(
        GPU_BUSY,
        f"clamp_max(\n"
        f"  {on_its_gpu(rate(c.GPU_BUSY_SECONDS_TOTAL, '1m'))}\n"
        f"  / on (run) group_left () ({TRAINING} >= @training_share@),\n"
        f"  1\n"
        f")",
        "Utilisation while training: all busy time of the last minute over its training time. Work done in a "
        "validation counts as if it were training, so this errs upwards, and never takes a validation for a drop.",
    ),
)

LEVEL = Record(
    GPU_LEVEL,
    f"quantile_over_time(0.5, {GPU_BUSY}[1h])\nand count_over_time({GPU_BUSY}[1h]) >= @level_samples@",
    "The run's own usual level. The median, so that half an hour of a drop does not pull it down.",
)
