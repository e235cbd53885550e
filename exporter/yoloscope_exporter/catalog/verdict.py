"""Metrics that the diagnosis derives."""

from yoloscope_record.metrics import counter, gauge, info

_RANK = ("run", "rank")

TRAIN_VERDICT = gauge("train_verdict", "1 while the verdict holds, else 0.", *_RANK, "verdict")
TRAIN_VERDICT_FIX_INFO = info(
    "train_verdict_fix_info",
    "Verdicts that hold, each with what to do about it, in English and Chinese: at most 200 characters each, renewed "
    "after ten minutes.",
    *_RANK,
    "verdict",
    "fix",
    "fix_zh",
)
TRAIN_VERDICT_CAUSE_INFO = info(
    "train_verdict_cause_info",
    "Why a rank failed or was killed: the verdict, the cause in words with its name first, what tells it, and the "
    "cause in Chinese, at most 200 characters each.",
    *_RANK,
    "verdict",
    "cause",
    "evidence",
    "cause_zh",
)
PREDICT_VERDICT = gauge("predict_verdict", "1 while the verdict on a prediction holds, else 0.", *_RANK, "verdict")
PREDICT_VERDICT_FIX_INFO = info(
    "predict_verdict_fix_info",
    "Verdicts on predictions that hold, each with what to do about it, as in yoloscope_train_verdict_fix_info.",
    *_RANK,
    "verdict",
    "fix",
    "fix_zh",
)
TRAIN_GOODPUT_RATIO = gauge(
    "train_goodput_ratio", "Share of the window's wall time spent computing training steps.", *_RANK
)
TRAIN_WASTED_GPU_SECONDS_TOTAL = counter(
    "train_wasted_gpu_seconds_total",
    "Time a GPU was held but not computing, by cause; of a MIG instance its part.",
    *_RANK,
    "cause",
)
TRAIN_WASTED_ENERGY_JOULES_TOTAL = counter(
    "train_wasted_energy_joules_total",
    "GPU energy of the time in yoloscope_train_wasted_gpu_seconds_total, in proportion to time: the most it can have "
    "been, since a GPU that waits draws less than one that computes.",
    *_RANK,
    "cause",
)
