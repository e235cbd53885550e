"""The numbers that grow with the batches: kept in a list, stored into the record in one go.

Adding to a list costs a third of adding to the record's memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_record import catalog
from yoloscope_record.catalog import PHASES

if TYPE_CHECKING:
    from yoloscope_record.writer import Writer

_COUNTERS = (
    catalog.TRAIN_BATCHES_TOTAL,
    catalog.TRAIN_IMAGES_TOTAL,
    catalog.TRAIN_OPTIMIZER_STEPS_TOTAL,
    catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS,
    catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL,
    catalog.TRAIN_HOOK_SECONDS_TOTAL,
    catalog.TRAIN_FLOPS_TOTAL,
)
#: Indexes into `numbers`, after the phases.
BATCHES, IMAGES, OPTIMIZER_STEPS, LAST_BATCH, FIRST_WAIT, HOOK_SECONDS, FLOPS = range(len(PHASES), len(PHASES) + 7)
_LOADER_START = PHASES.index("loader_start")


class Counters:
    """`numbers` begins with the seconds of catalog.PHASES.

    Attributes:
        image_flops: floating-point operations of an image; NaN while they are not known, which is absent.
    """

    image_flops = math.nan

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """Declare the series in the record, side by side; `who` are run and rank."""
        slots = [writer.slot(catalog.TRAIN_PHASE_SECONDS_TOTAL, *who, phase) for phase in PHASES]
        slots += [writer.slot(metric, *who) for metric in _COUNTERS]
        self.numbers = [writer.values[slot] for slot in slots]
        self._values, self._first = writer.values, slots[0]

    def store(self) -> None:
        """Put the numbers into the record."""
        self.numbers[FIRST_WAIT] = self.numbers[_LOADER_START]
        self.numbers[FLOPS] = self.numbers[IMAGES] * self.image_flops
        values = self._values
        for slot, number in enumerate(self.numbers, self._first):  # `struct` is in no cache, see Writer.row
            values[slot] = number
