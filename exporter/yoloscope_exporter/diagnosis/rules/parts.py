"""The parts of a step that have a verdict each: what computes is only what none of them holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: By how each is called: its share of training time, and the field of its threshold.
PARTS = {
    text("waits for data"): (Signals.data_wait_share, "input_share"),
    text("callbacks"): (Signals.callbacks_share, "callbacks_share"),
    text("preprocessing"): (Signals.preprocess_share, "preprocess_share"),
    text("copies"): (Signals.h2d_share, "h2d_share"),
    text("waits for gradients"): (Signals.exposed_share, "exposed_share"),
}
#: The fields of their thresholds.
LIMITS = tuple(limit for _, limit in PARTS.values())


def one_is_large(s: Signals, t: Thresholds) -> bool:
    """Whether a part is at its threshold or above; one that is unknown is not."""
    return any(s.get(share) >= getattr(t, limit) for share, limit in PARTS.values())
