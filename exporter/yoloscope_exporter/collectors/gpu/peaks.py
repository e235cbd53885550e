"""What cards can compute at most, by NVIDIA's own data sheets: dense, on tensor cores, at boost clock.

`half` is FP16 or BF16 with FP32 accumulation, which AMP uses; `single` is what convolutions in FP32 use by PyTorch's
default: TF32 from Ampere on, FP32 before. Figures that a data sheet tells with sparsity only are halved. A card that is
not here has no peak, and so no share of it. A MIG instance has its part: that of its multiprocessors. A card under a
power limit reaches less: that is what the share is to show.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import pynvml as nvml

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle


class Source(NamedTuple):
    """A data sheet or white paper of NVIDIA's; `halved` if it tells tensor cores' figures with sparsity only."""

    title: str
    link: str
    halved: bool = False


class Peak(NamedTuple):
    """Operations per second of a card, times 1e12; `pattern` matches the whole of what NVML calls it.

    Attributes:
        card: what people call it.
        multiprocessors: how many of them compute in the whole card.
    """

    card: str
    pattern: str
    multiprocessors: int
    half: float
    single: float
    source: Source


_B200: Final = Source(
    "NVIDIA Blackwell data sheet, HGX B200", "https://nvdam.widen.net/s/wwnsxrhm2w/blackwell-datasheet-3384703", True
)
_H200: Final = Source(
    "NVIDIA H200 data sheet", "https://nvdam.widen.net/s/nb5zzzsjdf/hpc-datasheet-sc23-h200-datasheet-3002446", True
)
_H100: Final = Source(
    "NVIDIA H100 data sheet", "https://resources.nvidia.com/en-us-tensor-core/nvidia-tensor-core-gpu-datasheet", True
)
_A100: Final = Source(
    "NVIDIA A100 data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/"
    "nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
)
_A30: Final = Source(
    "NVIDIA A30 data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/data-center/products/a30-gpu/pdf/a30-datasheet.pdf",
)
_A40: Final = Source(
    "NVIDIA A40 data sheet", "https://images.nvidia.com/content/Solutions/data-center/a40/nvidia-a40-datasheet.pdf"
)
_A10: Final = Source(
    "NVIDIA A10 data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a10/pdf/a10-datasheet.pdf",
)
_L40S: Final = Source("NVIDIA L40S data sheet", "https://resources.nvidia.com/en-us-l40s/l40s-datasheet-28413")
_L40: Final = Source(
    "NVIDIA L40 data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/design-visualization/support-guide/"
    "NVIDIA-L40-Datasheet-January-2023.pdf",
)
_L4: Final = Source(
    "NVIDIA L4 data sheet", "https://resources.nvidia.com/en-us-data-center-overview/l4-gpu-datasheet", True
)
_T4: Final = Source(
    "NVIDIA T4 data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf",
)
_V100: Final = Source(
    "NVIDIA V100 data sheet",
    "https://images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf",
)
_GA102: Final = Source(
    "NVIDIA Ampere GA102 white paper, appendix A",
    "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf",
)
_ADA: Final = Source(
    "NVIDIA Ada white paper, appendix A",
    "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
)
_BLACKWELL: Final = Source(
    "NVIDIA RTX Blackwell white paper, appendix A",
    "https://images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf",
)

#: No name matches two of them.
PEAKS: Final = (
    Peak("B200", "NVIDIA B200", 148, 2250, 1100, _B200),
    Peak("H200 SXM", "NVIDIA H200", 132, 989.5, 494.5, _H200),
    Peak("H200 NVL", "NVIDIA H200 NVL", 132, 835.5, 417.5, _H200),
    Peak("H100 SXM", "NVIDIA H100 80GB HBM3", 132, 989.5, 494.5, _H100),
    Peak("H100 NVL", "NVIDIA H100 NVL", 132, 835.5, 417.5, _H100),
    Peak("H100 PCIe", "NVIDIA H100 PCIe", 114, 756.5, 378, _H100),
    Peak("A100", "NVIDIA A100(-SXM4|-PCIE)?[- ][0-9]+GB( PCIe)?", 108, 312, 156, _A100),
    Peak("A30", "NVIDIA A30", 56, 165, 82, _A30),
    Peak("A40", "NVIDIA A40", 84, 149.7, 74.8, _A40),
    Peak("A10", "NVIDIA A10", 72, 125, 62.5, _A10),
    Peak("L40S", "NVIDIA L40S", 142, 362.05, 183, _L40S),
    Peak("L40", "NVIDIA L40", 142, 181.05, 90.5, _L40),
    Peak("L4", "NVIDIA L4", 58, 121, 60, _L4),
    Peak("T4", "(NVIDIA|Tesla) T4", 40, 65, 8.1, _T4),
    Peak("V100 SXM2", "(NVIDIA )?Tesla V100-SXM2-[0-9]+GB", 80, 125, 15.7, _V100),
    Peak("V100 PCIe", "(NVIDIA )?Tesla V100-PCIE-[0-9]+GB", 80, 112, 14, _V100),
    Peak("GeForce RTX 3080", "NVIDIA GeForce RTX 3080", 68, 59.5, 29.8, _GA102),
    Peak("GeForce RTX 3090", "NVIDIA GeForce RTX 3090", 82, 71, 35.6, _GA102),
    Peak("GeForce RTX 4080", "NVIDIA GeForce RTX 4080", 76, 97.5, 48.7, _ADA),
    Peak("GeForce RTX 4090", "NVIDIA GeForce RTX 4090", 128, 165.2, 82.6, _ADA),
    Peak("GeForce RTX 5080", "NVIDIA GeForce RTX 5080", 84, 112.6, 56.3, _BLACKWELL),
    Peak("GeForce RTX 5090", "NVIDIA GeForce RTX 5090", 170, 209.5, 104.8, _BLACKWELL),
)


def peak_of(name: str) -> Peak | None:
    """The card's, by what NVML calls it."""
    return next((peak for peak in PEAKS if re.fullmatch(peak.pattern, name)), None)


def publish(cycle: DeviceCycle) -> None:
    """What the device can do, if that is known: the whole card, or a MIG instance by its multiprocessors."""
    peak = peak_of(cycle.device.whole.facts[1])
    part = None if peak is None else _part(cycle, peak.multiprocessors)
    if peak is None or part is None:
        return
    for precision in catalog.PRECISIONS:
        cycle.publish(catalog.GPU_PEAK_FLOPS_PER_SECOND, getattr(peak, precision) * part * 1e12, precision)


def _part(cycle: DeviceCycle, multiprocessors: int) -> float | None:
    """Of a card with so many multiprocessors, the part that the device has of them."""
    if cycle.device.parent is None:
        return 1.0
    attributes = cycle.ask(nvml.nvmlDeviceGetAttributes_v2)
    return cycle.gauge(attributes and attributes.multiprocessorCount, 1, multiprocessors, 1 / multiprocessors)
