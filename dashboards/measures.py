"""What several dashboards and the recording rules show, each calculation once.

Each function takes the `Scope` whose variables narrow it, the labels to keep, and the window of its rates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import WINDOW, Expr, Scope, joined, total

from dashboards import verdicts

#: What identifies a rank, a run on a node, and a GPU, wherever they were scraped.
RANK: Final = (*TARGET, "run", "rank")
RUN: Final = (*TARGET, "run")
GPU: Final = (*TARGET, "gpu")
#: Ultralytics' name for the figure by which models are compared.
MAP: Final = "metrics/mAP50-95(B)"
#: Phases that a rank spends on its own work; what it waits for (data, peers) and validation are left out.
OWN_WORK: Final = "=~callbacks|h2d|preprocess|forward|backward|backward_local|optimizer|other"
IDLE_MODES: Final = "!~idle|iowait|steal"
#: Below this a GPU counts as idle, as in gpud and others.
IDLE_RATIO: Final = 0.05


def alive(on: Scope, expr: Expr) -> Expr:
    """Only ranks whose process lives: what their GPU does afterwards is somebody else's."""
    return expr.where(on(m.TRAIN_UP).equals(1), RANK)


def of_ranks(on: Scope, measured: Expr) -> Expr:
    """A GPU's measurement for each rank that trains on it, with the labels of `train_device_info`."""
    return joined(alive(on, on(m.TRAIN_DEVICE_INFO)), measured, GPU)


def gpu_busy(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Mean utilisation of the GPUs that ranks train on."""
    return total("avg", of_ranks(on, on.rate(m.GPU_BUSY_SECONDS_TOTAL, window=window)), *by)


def data_wait(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Share of the training loop's time spent waiting for the next batch."""
    wait = total("sum", on.rate(m.TRAIN_DATA_WAIT_SECONDS, "_sum", window), *by)
    return wait / (wait + total("sum", on.rate(m.TRAIN_STEP_SECONDS, "_sum", window), *by))


def images(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Training images per second, all ranks together."""
    rate = total("sum", on.rate(m.TRAIN_IMAGES_TOTAL, window=window), *by)
    return replace(rate, unit="images/s", help="Training images per second.")


def severity(on: Scope, *by: str) -> Expr:
    """The verdicts that hold, with their severity (1 healthy to 4 broken) as value; `by` includes `verdict`."""
    return _levels(on, m.TRAIN_VERDICT, "verdict", verdicts.SEVERITIES, by)


def states(on: Scope, *by: str) -> Expr:
    """The states that ranks are in, with their severity as value; `by` includes `state`."""
    return _levels(on, m.TRAIN_STATE, "state", verdicts.STATES, by)


def _levels(on: Scope, metric: m.Metric, label: str, levels: dict[int, tuple[str, ...]], by: tuple[str, ...]) -> Expr:
    """The level of each value of `label` that is true now, instead of the 1 that the metric gives it."""
    parts = [
        total("max", on(metric, **{label: f"=~{'|'.join(names)}"}), *by).equals(1) * level
        for level, names in levels.items()
    ]
    return Expr(" or ".join(f"({part})" for part in parts), "", metric.help)


def cpu_busy(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Share of the nodes' CPU time in use."""
    used = total("sum", on.rate(m.CPU_SECONDS_TOTAL, window=window, mode=IDLE_MODES), *by)
    return (used / total("sum", on(m.CPU_CORES), *by)).of("ratio")


def own_work(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Seconds of its own work a rank needs for a batch."""
    seconds = total("sum", on.rate(m.TRAIN_PHASE_SECONDS_TOTAL, window=window, phase=OWN_WORK), *by)
    return (seconds / total("sum", on.rate(m.TRAIN_BATCHES_TOTAL, window=window), *by)).of("seconds")
