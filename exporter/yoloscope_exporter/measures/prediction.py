"""Where the time of predictions goes, and how long an image waits for its result.

The time of predictions is all that a process spends in calls or, between two of them, computes: not its set-up, and not
the time in which nothing was asked for (`idle`).
"""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import RANK, Formula, age, last, quantile, rate
from yoloscope_exporter.measures.measure import Measure


def _phase(phases: str) -> Formula:
    """Seconds in some phases, a regular expression of them, per second."""
    return rate(catalog.PREDICT_PHASE_SECONDS_TOTAL, phase=phases).total("sum")


#: Phases in which nothing is predicted.
NOT_ASKED: Final = ("setup", "idle")
TIME: Final = _phase(f"!~{'|'.join(NOT_ASKED)}")
#: What is done with the results: trackers and other callbacks, saving, and what the user makes of them; and models that
#: are made again and again.
OWN: Final = "callbacks|load|save|user"


def _share(phases: str) -> Formula:
    return _phase(phases) / TIME


PREDICT_SOURCE: Final = Measure(
    name="predict_source",
    title="Waiting for the source",
    title_zh="等待数据源",
    help="Share of the time of predictions that waits for the source: decoding video, reading files.",
    help_zh="预测时间中等待数据源（视频解码、读取文件）的占比。",
    formula=_share("source"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_INFERENCE: Final = Measure(
    name="predict_inference",
    title="Inference",
    title_zh="推理",
    help="Share of the time of predictions spent in the model.",
    help_zh="预测时间中模型推理的占比。",
    formula=_share("inference"),
    of=RANK,
    thresholds=("inference_share",),
)
PREDICT_POSTPROCESS: Final = Measure(
    name="predict_postprocess",
    title="Postprocessing",
    title_zh="后处理",
    help="Share of the time of predictions spent in postprocessing: non-maximum suppression and making results.",
    help_zh="预测时间中后处理（NMS 和生成结果）的占比。",
    formula=_share("postprocess"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_PREPROCESS: Final = Measure(
    name="predict_preprocess",
    title="Preprocessing (predict)",
    title_zh="预处理（预测）",
    help="Share of the time of predictions spent in preprocessing: resizing, padding and copying to the device.",
    help_zh="预测时间中预处理（缩放、填充、复制到设备）的占比。",
    formula=_share("preprocess"),
    of=RANK,
)
PREDICT_IDLE: Final = Measure(
    name="predict_idle",
    title="Nothing asked for (predict)",
    title_zh="没有请求（预测）",
    help="Share of the time since the set-up in which nothing was asked for: between calls the thread that predicts "
    "waited, for requests or for what its own code reads.",
    help_zh="准备阶段之后没有请求的时间占比：两次调用之间，预测线程在等待请求，或等待自己的代码读取数据。",
    formula=_phase("idle") / _phase("!=setup"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_OWN: Final = Measure(
    name="predict_own",
    title="Your own code, trackers, saving",
    title_zh="自己的代码、跟踪与保存",
    help="Share of the time of predictions spent between batches: your own code, callbacks and trackers, saving.",
    help_zh="预测时间中两个 batch 之间的占比：自己的代码、回调函数和跟踪器、保存结果。",
    formula=_share(f"=~{OWN}"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_IMAGES: Final = Measure(
    name="predict_images",
    title="Images per second (predict)",
    title_zh="每秒图像数（预测）",
    help="Images per second of the time of predictions: pauses in which nothing is asked for do not count.",
    help_zh="每秒预测时间处理的图像数；没有请求的时间不计入。",
    formula=rate(catalog.PREDICT_IMAGES_TOTAL).total("sum") / TIME,
    of=RANK,
)
PREDICT_BATCH_SECONDS: Final = Measure(
    name="predict_batch_seconds",
    title="Time of a batch (predict)",
    title_zh="每个 batch 的时间（预测）",
    help="Mean time of a predicted batch, all of what lies between two batches included.",
    help_zh="每个预测 batch 的平均时间，包括两个 batch 之间的时间。",
    formula=TIME / rate(catalog.PREDICT_BATCHES_TOTAL).total("sum"),
    of=RANK,
)
PREDICT_DETECTIONS: Final = Measure(
    name="predict_detections",
    title="Boxes per image",
    title_zh="每张图像的检测框数",
    help="Mean number of boxes found in an image.",
    help_zh="每张图像检测到的平均框数。",
    formula=rate(catalog.PREDICT_DETECTIONS_TOTAL).total("sum") / rate(catalog.PREDICT_IMAGES_TOTAL).total("sum"),
    of=RANK,
)
PREDICT_TYPICAL_LATENCY: Final = Measure(
    name="predict_typical_latency",
    title="Latency, median",
    title_zh="延迟（中位数）",
    help="Time from an image's arrival to its result that half of the images stay below.",
    help_zh="从图像到达到得到结果的时间，一半的图像低于该值。",
    formula=quantile(0.5, catalog.PREDICT_IMAGE_SECONDS),
    of=RANK,
)
PREDICT_LATENCY: Final = Measure(
    name="predict_latency",
    title="Latency, 99th percentile",
    title_zh="延迟（第 99 百分位）",
    help="Time from an image's arrival to its result that 99 of 100 images stay below.",
    help_zh="从图像到达到得到结果的时间，100 张图像中有 99 张低于该值。",
    formula=quantile(0.99, catalog.PREDICT_IMAGE_SECONDS),
    of=RANK,
)
PREDICT_SINCE_BATCH: Final = Measure(
    name="predict_since_batch",
    title="Since the last batch (predict)",
    title_zh="距上一个 batch（预测）",
    help="Seconds since the last batch of a prediction, or before there is one since the first call, while a call is "
    "under way.",
    help_zh="有预测调用正在进行时，距上一个 batch 的秒数；还没有 batch 时，距首次调用的秒数。",
    formula=age(catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS)
    .or_(age(catalog.PREDICT_START_TIMESTAMP_SECONDS))
    .total("min")
    .where(last(catalog.PREDICT_UNDER_WAY).compared(">", 0).total("max"), RANK),
    of=RANK,
    thresholds=("inference_stalled",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
