"""Recorded series that alerts share.

GPU series know no run. A rank's `train_device_info` names its GPU, so it is the many-side of every join: a GPU on which
one run ended and the next began, or which two runs share, gives a series for each.
"""

from __future__ import annotations

from yoloscope_exporter import catalog as c

from .model import DAILY, GPU, NODE, RANK, RANK_GPU, RUN, SLOW, Record, rate, series

TRAINING = "run:yoloscope_training:ratio1m"
GPU_BUSY = "rank:yoloscope_gpu_busy:ratio_rate1m"
GPU_LEVEL = "rank:yoloscope_gpu_busy:median1h"
STANDSTILL = "rank:yoloscope_gpu_standstill:irate"
DATA_WAIT = "rank:yoloscope_data_wait:ratio_rate5m"
LOCAL_STEP = "rank:yoloscope_local_step:seconds_rate5m"
THROUGHPUT = "run:yoloscope_images_per_training_second:rate5m"
THROUGHPUT_LEVEL = "run:yoloscope_images_per_training_second:median1d"
ALLOCATED = "rank:yoloscope_cuda_allocated_bytes:min20m"
GPUS = "instance:yoloscope_gpu_info:count"

NOT_TRAINING = "!~setup|validate|checkpoint"


def on_its_gpu(gpu_series: str) -> str:
    """A series of GPUs as a series of the ranks that train on them."""
    return (
        f"max by ({RANK_GPU}) ({series(c.TRAIN_DEVICE_INFO)} * on ({GPU}) group_left () max by ({GPU}) ({gpu_series}))"
    )


def alive(labels: str = RANK) -> str:
    """Condition: the training process lives."""
    return f"and on ({labels}) {series(c.TRAIN_UP)} == 1"


_LAST_INTERVAL = f"irate({series(c.GPU_BUSY_SECONDS_TOTAL, '1m')})"
#: What a rank does before it waits for its peers.
_OWN_PHASES = "~data_wait|callbacks|h2d|preprocess|forward|backward_local"
_TRAINING_SECONDS = f"sum by ({RANK}) ({rate(c.TRAIN_PHASE_SECONDS_TOTAL, '5m', phase=NOT_TRAINING)})"

SHARED = (
    Record(
        TRAINING,
        f"min by ({RUN}) (avg_over_time({series(c.TRAIN_STATE, '1m', state='train')}))",
        "Share of the last minute in which every rank of the run was training: not setting up, validating, saving, "
        "ended. The least of all ranks, because older Ultralytics validates on rank 0 while the others wait.",
    ),
    Record(
        GPU_BUSY,
        f"clamp_max(\n"
        f"  {on_its_gpu(rate(c.GPU_BUSY_SECONDS_TOTAL, '1m'))}\n"
        f"  / on ({RUN}) group_left () ({TRAINING} >= @training_share@),\n"
        f"  1\n"
        f")",
        "Utilisation while training: all busy time of the last minute over its training time. Work done in a "
        "validation counts as if it were training, so this errs upwards, and never takes a validation for a drop.",
    ),
    Record(
        STANDSTILL,
        f"{on_its_gpu(_LAST_INTERVAL)} < @idle@\n"
        f"and on ({RUN}) {TRAINING} == 1\n"
        f"and on ({RANK}) {series(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS)}\n"
        f"unless on ({RANK}) changes({series(c.TRAIN_EPOCH, '1m')}) > 0",
        "Present only where the GPU did nothing between the last two scrapes though the run has been training for a "
        "minute; the first batch, which may be compiled, and the minute in which an epoch begins are left out.",
    ),
    Record(
        DATA_WAIT,
        f"clamp_min(\n"
        f"  sum by ({RANK}) ({rate(c.TRAIN_PHASE_SECONDS_TOTAL, '5m', phase='~data_wait|loader_start')})\n"
        f"  - sum by ({RANK}) ({rate(c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, '5m')}),\n"
        f"  0\n"
        f") / ({_TRAINING_SECONDS} >= @training_share@)",
        "Share of training time spent waiting for data. An epoch's first batch is left out: workers start, the "
        "prefetch fills.",
    ),
    Record(
        LOCAL_STEP,
        f"sum by ({RANK}) ({rate(c.TRAIN_PHASE_SECONDS_TOTAL, '5m', phase=_OWN_PHASES)})\n"
        f"/ (sum by ({RANK}) ({rate(c.TRAIN_BATCHES_TOTAL, '5m')}) > 0)\n"
        f"and on ({RANK}) {series(c.TRAIN_PHASE_SECONDS_TOTAL, phase='backward_exposed')}",
        "Seconds per batch that a rank needs for itself, without waiting for its peers. Only where the hooks could "
        "split the backward pass.",
    ),
)

#: They read an hour, or change slowly.
HOURLY = (
    Record(
        GPU_LEVEL,
        f"quantile_over_time(0.5, {GPU_BUSY}[1h])\nand count_over_time({GPU_BUSY}[1h]) >= @level_samples@",
        "The run's own usual level. The median, so that half an hour of a drop does not pull it down.",
    ),
    Record(
        ALLOCATED,
        f"max by ({RANK}) (min_over_time({series(c.TRAIN_CUDA_MEMORY_BYTES, '20m', kind='allocated')}))",
        "What is always allocated: the valleys between batches.",
    ),
    Record(GPUS, f"count by ({NODE}) ({series(c.GPU_INFO)})", "GPUs of a node."),
)

#: They read a day.
OF_A_DAY = (
    Record(
        THROUGHPUT,
        f"sum by ({RUN}) ({rate(c.TRAIN_IMAGES_TOTAL, '5m')})\n"
        f"/ avg by ({RUN}) ({_TRAINING_SECONDS} >= @training_share@)",
        "Images per second of training, over all ranks.",
    ),
    Record(
        THROUGHPUT_LEVEL,
        f"quantile_over_time(0.5, {THROUGHPUT}[1d])\nand count_over_time({THROUGHPUT}[1d]) >= @throughput_samples@",
        "The run's own usual throughput.",
    ),
)

#: By the interval at which they are evaluated, empty for the server's.
RECORDS = {"": SHARED, SLOW: HOURLY, DAILY: OF_A_DAY}
