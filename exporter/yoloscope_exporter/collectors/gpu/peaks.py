"""What cards can compute at most, by NVIDIA's own data sheets: dense, on tensor cores, at boost clock.

`half` is FP16 or BF16 with FP32 accumulation, which AMP uses; `single` is what convolutions in FP32 use by PyTorch's
default: TF32 from Ampere on, FP32 before. Figures that a data sheet tells with sparsity only are halved. A card that is
not here has no peak, and so no share of it; nor has a MIG instance, which is a part of one. A card under a power limit
reaches less: that is what the share is to show.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle


class Peak(NamedTuple):
    """Operations per second of a card, times 1e12; `name` matches the whole of what NVML calls it."""

    name: str
    half: float
    single: float
    source: str


_GA102: Final = "NVIDIA Ampere GA102 GPU architecture white paper, appendix A"
_ADA: Final = "NVIDIA Ada GPU architecture white paper, appendix A"
_BLACKWELL: Final = "NVIDIA RTX Blackwell GPU architecture white paper, appendix A"

#: No name matches two of them.
PEAKS: Final = (
    Peak("NVIDIA B200", 2250, 1125, "NVIDIA HGX B200 data sheet; with sparsity there, halved"),
    Peak("NVIDIA H200", 989.5, 494.7, "NVIDIA H200 data sheet (SXM); with sparsity there, halved"),
    Peak("NVIDIA H200 NVL", 835.5, 417.5, "NVIDIA H200 data sheet (NVL); with sparsity there, halved"),
    Peak("NVIDIA H100 80GB HBM3", 989.5, 494.7, "NVIDIA H100 data sheet (SXM); with sparsity there, halved"),
    Peak("NVIDIA H100 NVL", 835.5, 417.5, "NVIDIA H100 data sheet (NVL); with sparsity there, halved"),
    Peak("NVIDIA H100 PCIe", 756.5, 378, "NVIDIA H100 PCIe data sheet; with sparsity there, halved"),
    Peak("NVIDIA A100(-SXM4|-PCIE)?[- ][0-9]+GB( PCIe)?", 312, 156, "NVIDIA A100 data sheet"),
    Peak("NVIDIA A30", 165, 82, "NVIDIA A30 data sheet"),
    Peak("NVIDIA A40", 149.7, 74.8, "NVIDIA A40 data sheet"),
    Peak("NVIDIA A10", 125, 62.5, "NVIDIA A10 data sheet"),
    Peak("NVIDIA L40S", 362.05, 183, "NVIDIA L40S data sheet"),
    Peak("NVIDIA L40", 181.05, 90.5, "NVIDIA L40 data sheet"),
    Peak("NVIDIA L4", 121, 60, "NVIDIA L4 data sheet; with sparsity there, halved"),
    Peak("(NVIDIA|Tesla) T4", 65, 8.1, "NVIDIA T4 data sheet; FP32 without tensor cores"),
    Peak("(NVIDIA )?Tesla V100-SXM2-[0-9]+GB", 125, 15.7, "NVIDIA V100 data sheet; FP32 without tensor cores"),
    Peak("(NVIDIA )?Tesla V100-PCIE-[0-9]+GB", 112, 14, "NVIDIA V100 data sheet; FP32 without tensor cores"),
    Peak("NVIDIA GeForce RTX 3080", 59.5, 29.8, _GA102),
    Peak("NVIDIA GeForce RTX 3090", 71, 35.6, _GA102),
    Peak("NVIDIA GeForce RTX 4080", 97.5, 48.7, _ADA),
    Peak("NVIDIA GeForce RTX 4090", 165.2, 82.6, _ADA),
    Peak("NVIDIA GeForce RTX 5080", 112.6, 56.3, _BLACKWELL),
    Peak("NVIDIA GeForce RTX 5090", 209.5, 104.8, _BLACKWELL),
)


def peak_of(name: str) -> Peak | None:
    """The card's, by what NVML calls it."""
    return next((peak for peak in PEAKS if re.fullmatch(peak.name, name)), None)


def publish(cycle: DeviceCycle) -> None:
    """What the whole card can do, if that is known."""
    peak = peak_of(cycle.device.facts[1])
    if peak is None:
        return
    for precision in catalog.PRECISIONS:
        cycle.publish(catalog.GPU_PEAK_FLOPS_PER_SECOND, getattr(peak, precision) * 1e12, precision)
