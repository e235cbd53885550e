"""What a measure is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoloscope_exporter.measures.formula import Formula


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity.

    Attributes:
        name: in lower case, as the constant that holds it.
        title: a few words, for a panel or a column.
        help: what it says, one sentence.
        formula: how it is calculated.
        of: the labels of one value: a rank's, a GPU's, a node's.
        thresholds: names of those in `thresholds` from which on it says something.
    """

    name: str
    title: str
    help: str
    formula: Formula
    of: tuple[str, ...]
    thresholds: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Of its values."""
        return self.formula.unit
