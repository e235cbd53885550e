"""Do predictions come, and as fast as before?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c

from .model import OF_RANK, RANK, WARNING, Alert, Text, series

_BUCKETS = f"{c.PREDICT_IMAGE_SECONDS.name}_bucket"
_COUNT = f"{c.PREDICT_IMAGE_SECONDS.name}_count"
#: When the last batch was done; before there is one, when the first call began.
_LAST = f"{series(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS)} or {series(c.PREDICT_START_TIMESTAMP_SECONDS)}"
_LIVES = f"and on ({RANK}) {series(c.PREDICT_UP)} == 1"


def _latency(span: str) -> str:
    """The 99th percentile over a span such as `[10m]`."""
    return f"histogram_quantile(0.99, sum by ({RANK}, le) (rate({_BUCKETS}{span})))"


def _images(span: str) -> str:
    return f"sum by ({RANK}) (increase({_COUNT}{span}))"


INFERENCE_SLOW = Alert(
    name="InferenceSlow",
    expr=(
        f"{_latency('[10m]')}\n"
        f"  > @inference_slower@ * {_latency('[1h] offset 30m')}\n"
        f"and on ({RANK}) {_images('[10m]')} >= @inference_images@\n"
        f"and on ({RANK}) {_images('[1h] offset 30m')} >= @inference_images@\n"
        f"{_LIVES}"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="5m",
    why_hold=("a few large images are no trend", "几张大图不代表趋势"),
    dashboard="yoloscope-inference",
    en=Text(
        summary="99 of 100 images take up to {{ $value | humanizeDuration }}, twice as long as before",
        what="The 99th percentile of the time from an image's arrival to its result is "
        "{{ $value | humanizeDuration }}: at least @inference_slower@ times what it was in the same process.",
        fix="Look at what has grown, in 'Where the time goes' on the dashboard Inference: the model (another process "
        "on the GPU, a GPU that throttles, larger images), postprocessing (more boxes: conf=, max_det=), trackers and "
        "callbacks.",
        meaning="The last ten minutes against the hour that ended half an hour ago, both with at least "
        "@inference_images@ images. Batches that warm a predictor up are left out. It ends after half an hour: "
        "from then on the slower is the usual.",
        verify="`yoloscope top` shows where the time of a batch goes; `nvidia-smi` shows who else is on the GPU.",
        silence="The sources have changed on purpose: larger images, larger batches.",
    ),
    zh=Text(
        summary="99% 的图像耗时最长 {{ $value | humanizeDuration }}，是之前的两倍",
        what="从图像到达到得到结果的时间，第 99 百分位为 {{ $value | humanizeDuration }}：至少是同一进程之前的 "
        "@inference_slower@ 倍。",
        fix="在仪表盘“推理”的“时间分布”上看哪一部分变长了：模型（GPU 上有其他进程、GPU 降频、图像更大）、"
        "后处理（检测框更多：conf=、max_det=）、跟踪器和回调函数。",
        meaning="最近十分钟与半小时前结束的那一小时相比，两者都至少有 @inference_images@ 张图像。预热的 batch 不计入。"
        "半小时后告警结束：此后较慢的速度就成为平常。",
        verify="`yoloscope top` 显示一个 batch 的时间用在哪里；`nvidia-smi` 显示 GPU 上还有谁。",
        silence="有意更换了数据源：更大的图像、更大的 batch。",
    ),
)

INFERENCE_STALLED = Alert(
    name="InferenceStalled",
    expr=(
        f"time() - max by ({RANK}) ({_LAST}) > @inference_stalled@\n"
        f"and on ({RANK}) {series(c.PREDICT_UNDER_WAY)} > 0\n"
        f"and on ({RANK}) {series(c.PREDICT_STATE, state='predict')} == 1\n"
        f"{_LIVES}"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="1m",
    why_hold=("the next batch may end right now", "下一个 batch 可能马上结束"),
    dashboard="yoloscope-inference",
    en=Text(
        summary="no batch for {{ $value | humanizeDuration }} though a prediction is under way",
        what="The last batch was predicted {{ $value | humanizeDuration }} ago, or the first call began then and there "
        "was none yet. Its process lives, and its call has neither ended nor been dropped.",
        fix="Look at the source: a camera or stream that is gone, a file on a network file system that does not "
        "answer. Or your own code holds the generator (stream=True) without asking for the next result.",
        meaning="A call that began and neither ended nor raised, and no batch for @inference_stalled@ s. A process "
        "that waits for requests has no call under way and does not alert.",
        verify="`py-spy dump --pid PID` shows where it stands.",
        silence="Somebody works through a generator by hand.",
    ),
    zh=Text(
        summary="预测正在进行，却已 {{ $value | humanizeDuration }} 没有新的 batch",
        what="上一个 batch 在 {{ $value | humanizeDuration }} 前预测完成，或首次调用当时开始而至今没有 batch。"
        "进程仍存活，调用既没有结束也没有被放弃。",
        fix="检查数据源：摄像头或视频流断开，网络文件系统上的文件没有响应。或者自己的代码拿着生成器（stream=True）"
        "却没有取下一个结果。",
        meaning="调用已开始，既没有结束也没有报错，且 @inference_stalled@ 秒没有 batch。等待请求的进程没有正在进行的"
        "调用，不会告警。",
        verify="`py-spy dump --pid PID` 显示它停在哪里。",
        silence="有人在手动逐个取生成器的结果。",
    ),
)

ALERTS = (INFERENCE_STALLED, INFERENCE_SLOW)
