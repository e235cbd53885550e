"""Thresholds of the diagnosis: each with its default and where that comes from; others from a YAML file.

To add a threshold: one field of `Thresholds`, and its name in the `thresholds` of the rules that use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import settings_file
from yoloscope_exporter.settings_file import SettingsFileError

if TYPE_CHECKING:
    from pathlib import Path

_OURS = "ours: "


def threshold(value: float, source: str) -> Any:  # noqa: ANN401 - a dataclass's field, for the type checker a float
    """A field with its default, and where that comes from."""
    return field(default=value, metadata={"source": source})


@dataclass(frozen=True)
class Thresholds:
    """The numbers that rules compare with."""

    input_share: float = threshold(0.10, "TraceML policy: input share 10 % warn, 20 % critical")
    h2d_share: float = threshold(0.10, "TraceML policy: H2D share 10 % warn, 20 % critical")
    compute_share: float = threshold(
        0.75, "TraceML policy says >= 0.90; less, because the wait and the copy may each be just below their own limit"
    )
    validate_share: float = threshold(
        0.35, _OURS + "a validation per epoch that takes a third of the run is worth thinning"
    )
    checkpoint_share: float = threshold(0.10, _OURS + "as for the other parts of a step")
    epochs_for_shares: float = threshold(2, _OURS + "shares of the whole run mean something after two epochs")
    throttled_share: float = threshold(0.10, _OURS + "a tenth of the time stopped by the quota; below, CFS rounds")
    slow_worker_ratio: float = threshold(
        2.0, _OURS + "twice the others' time; measured spread of healthy workers is < 1.5"
    )
    runqueue_share: float = threshold(0.20, _OURS + "a fifth of a worker's time ready but without a CPU")
    worker_threads: float = threshold(
        1.5, _OURS + "CPUs per worker above its own thread's, as from OpenMP or OpenCV pools"
    )
    waiting_ratio: float = threshold(
        0.50, "measured: CPU over wall time of a worker is 0.03 to 0.04 with slow storage, 0.69 to 0.89 when computing"
    )
    free_cores: float = threshold(0.5, _OURS + "half an idle CPU is room for another worker")
    gpu_low: float = threshold(0.50, "pytorch/kineto tb_plugin: GPU utilisation < 50 % is low")
    sm_fill: float = threshold(0.50, _OURS + "kernels that leave half the multiprocessors without a warp")
    train_share: float = threshold(0.80, _OURS + "below, validation and pauses blur what the GPU does in a step")
    memory_spare: float = threshold(0.50, _OURS + "a batch can grow by half and more")
    cuda_peak_share: float = threshold(0.92, "TraceML policy: step memory 92 % warn, 97 % critical")
    growth_bytes: float = threshold(100 * 2**20, "TraceML policy: memory creep from 100 MiB, three rising bands")
    available_fall_share: float = threshold(0.05, _OURS + "a twentieth of the memory, gone and not in the training")
    exposed_share: float = threshold(
        0.20, "pytorch/kineto tb_plugin: communication > 10 %; twice that, PCIe boxes live with 10 %"
    )
    lag: float = threshold(0.10, "TraceML policy: straggler 0.10 warn, 0.20 critical")
    peer_exposed_share: float = threshold(0.05, _OURS + "half the lag: somebody must be seen waiting")
    thermal_share: float = threshold(0.05, _OURS + "3 s in a minute; gpud counts 0.6 slowdown events per minute")
    power_share: float = threshold(0.50, _OURS + "a capped GPU under load is normal; most of the time is not")
    clock_ratio: float = threshold(0.85, _OURS + "a power cap that costs less than 15 % of the clock costs little")
    gpu_under_load: float = threshold(0.30, "TraceML policy: GPU utilisation 30 to 70 % is moderate")
    stall_factor: float = threshold(5.0, "nvidia-resiliency-ext: timeout = longest seen x 5")
    stall_seconds: float = threshold(15.0, _OURS + "people look after 5 s at 0 %; three times that, to be sure")
    stall_most_seconds: float = threshold(600.0, "PrimeIntellect-ai/prime-rl#1547: no step for 600 s")
    loss_drop: float = threshold(0.01, _OURS + "less than 1 % between the halves of the epochs seen")
    metric_gain: float = threshold(0.002, _OURS + "less than the spread of mAP50-95 between two seeds")
    plateau_epochs: float = threshold(10, _OURS + "two halves of five epochs")
    gpu_busy: float = threshold(0.80, "the table practitioners work by: GPU above 80 % yet the loss falls slowly")
    held_idle: float = threshold(0.05, "gpud and others call a GPU idle below 5 %")


DEFAULTS = Thresholds()
#: Where each default comes from.
SOURCES: dict[str, str] = {one.name: one.metadata["source"] for one in fields(Thresholds)}


def load(path: Path) -> Thresholds:
    """All thresholds, those of a YAML file (`input_share: 0.15`, one name and number a line) in place of the defaults.

    Raises:
        ValueError: the file cannot be read, names an unknown threshold, or gives no number of 0 or more.
    """
    content = settings_file.load(path) or {}
    if not isinstance(content, dict):
        raise SettingsFileError(path, "must be a mapping such as 'input_share: 0.15'")
    for name in content:
        if name not in SOURCES:
            raise SettingsFileError(path, f"unknown threshold {name!r}; allowed are {', '.join(sorted(SOURCES))}")
    return replace(DEFAULTS, **{name: _number(path, name, value) for name, value in content.items()})


def _number(path: Path, name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise SettingsFileError(path, f"{name} must be a number of 0 or more, not {value!r}")
    return number
