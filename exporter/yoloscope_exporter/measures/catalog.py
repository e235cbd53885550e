"""All measures, by area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yoloscope_exporter.measures import gpu, host, loader, memory, prediction, ranks, training

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure

MEASURES: Final[tuple[Measure, ...]] = (
    *training.MEASURES,
    *loader.MEASURES,
    *gpu.MEASURES,
    *memory.MEASURES,
    *host.MEASURES,
    *ranks.MEASURES,
    *prediction.MEASURES,
)
BY_NAME: Final = {measure.name: measure for measure in MEASURES}
