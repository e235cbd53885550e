"""Do predictions come, and as fast as before?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c

from .model import OF_RANK, RANK, WARNING, Alert, series

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
    why_hold="a few large images are no trend",
    dashboard="yoloscope-inference",
    summary="99 of 100 images take up to {{ $value | humanizeDuration }}, twice as long as before",
    what="The 99th percentile of the time from an image's arrival to its result is {{ $value | humanizeDuration }}: at "
    "least @inference_slower@ times what it was in the same process.",
    fix="Look at what has grown, in 'Where the time goes' on the dashboard Inference: the model (another process on "
    "the GPU, a GPU that throttles, larger images), postprocessing (more boxes: conf=, max_det=), trackers and "
    "callbacks.",
    meaning="The last ten minutes against the hour that ended half an hour ago, both with at least @inference_images@ "
    "images. Batches that warm a predictor up are left out. It ends after half an hour: from then on the slower is the "
    "usual.",
    verify="`yoloscope top` shows where the time of a batch goes; `nvidia-smi` shows who else is on the GPU.",
    silence="The sources have changed on purpose: larger images, larger batches.",
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
    why_hold="the next batch may end right now",
    dashboard="yoloscope-inference",
    summary="no batch for {{ $value | humanizeDuration }} though a prediction is under way",
    what="The last batch was predicted {{ $value | humanizeDuration }} ago, or the first call began then and there was "
    "none yet. Its process lives, and its call has neither ended nor been dropped.",
    fix="Look at the source: a camera or stream that is gone, a file on a network file system that does not answer. Or "
    "your own code holds the generator (stream=True) without asking for the next result.",
    meaning="A call that began and neither ended nor raised, and no batch for @inference_stalled@ s. A process that "
    "waits for requests has no call under way and does not alert.",
    verify="`py-spy dump --pid PID` shows where it stands.",
    silence="Somebody works through a generator by hand.",
)

ALERTS = (INFERENCE_STALLED, INFERENCE_SLOW)
