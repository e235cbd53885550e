"""GPU performance metrics (Hopper and newer): means over the time between two samples, taken without waiting.

NVML's own example takes a sample, sleeps, and takes another. Here the sample of the last cycle is kept instead, so a
cycle costs two calls and no wait, and the windows follow each other without a gap.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pynvml as nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yoloscope_exporter.collectors.gpu.probe import Probe

#: NVML wants at least 0.1 s between two samples; below about a second the figures are coarse.
SHORTEST = 0.9
#: After a longer pause (a hung driver, a suspended machine) a mean says nothing about now.
LONGEST = 60.0

METRICS = (
    nvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
    nvml.NVML_GPM_METRIC_SM_UTIL,
    nvml.NVML_GPM_METRIC_SM_OCCUPANCY,
    nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    nvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
    nvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC,
    nvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC,
    nvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
    nvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
)


class Gpm:
    """Two samples of one device, used in turn.

    Attributes:
        window: seconds that the values of the last `read` speak for, if it took them; 0 if it repeated older ones.
    """

    def __init__(self, ask: Probe, instance: int | None) -> None:
        """Sample the device that `ask` asks, or one of its GPU instances."""
        self._ask = ask
        self._take = _taker(instance)
        self._samples = [nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()]
        self._request = nvml.c_nvmlGpmMetricsGet_t()
        self._request.version = nvml.NVML_GPM_METRICS_GET_VERSION
        self._request.numMetrics = len(METRICS)
        self._slots = [self._request.metrics[index] for index in range(len(METRICS))]
        for slot, metric in zip(self._slots, METRICS, strict=True):
            slot.metricId = metric
        self._taken_at = -math.inf
        self._values: Mapping[int, float] = {}
        self.window = 0.0

    def read(self, now: float) -> Mapping[int, float]:
        """Means since the last sample by metric, in NVML's units (per cent, MiB/s); empty until there are two.

        Raises:
            DeviceLost: see `Probe`.
            DriverGone: see `Probe`.
        """
        self.window = 0.0
        elapsed = now - self._taken_at
        if elapsed < SHORTEST:
            return self._values
        newer = self._samples[1]
        if self._ask(self._take, varying=(newer,)) is None:
            self._taken_at, self._values = -math.inf, {}
            return self._values
        self._samples.reverse()
        self._taken_at = now
        self._values = self._means(older=self._samples[1], newer=newer) if elapsed <= LONGEST else {}
        self.window = elapsed if self._values else 0.0
        return self._values

    def _means(self, *, older: Any, newer: Any) -> Mapping[int, float]:  # noqa: ANN401 - a pointer of NVML's
        self._request.sample1, self._request.sample2 = older, newer
        if self._ask(_metrics, varying=(self._request,)) is None:
            return {}
        return {slot.metricId: slot.value for slot in self._slots if slot.nvmlReturn == nvml.NVML_SUCCESS}

    def close(self) -> None:
        """Free the samples."""
        for sample in self._samples:
            nvml.nvmlGpmSampleFree(sample)
        self._samples = []


def gpm_of(ask: Probe, instance: int | None = None) -> Gpm | None:
    """The performance metrics of the device that `ask` asks, or of one GPU instance of it; None if it has none."""
    answer = ask(nvml.nvmlGpmQueryDeviceSupport)
    if not answer or not answer.isSupportedDevice:
        return None
    try:
        return Gpm(ask, instance)
    except nvml.NVMLError:
        return None


def _taker(instance: int | None) -> Callable[..., Any]:
    if instance is None:
        return nvml.nvmlGpmSampleGet  # type: ignore[no-any-return]

    def nvml_gpm_mig_sample_get(handle: Any, sample: Any) -> Any:  # noqa: ANN401
        return nvml.nvmlGpmMigSampleGet(handle, instance, sample)

    return nvml_gpm_mig_sample_get


def _metrics(_handle: object, request: Any) -> Any:  # noqa: ANN401
    return nvml.nvmlGpmMetricsGet(request)
