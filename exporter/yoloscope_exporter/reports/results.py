"""Ultralytics' `results.csv`: one row per epoch, of all of them, where a record holds the last."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.signals.learning import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "results.csv"


def best(text: str) -> float | None:
    """The best score of an epoch: mAP50-95, or the task's own; None where there is none."""
    rows = csv.reader(text.splitlines())
    try:
        names = [name.strip() for name in next(rows, [])]
        columns = [index for wanted in SCORES for index, name in enumerate(names) if wanted in name]
        return max(_numbers(rows, columns[0]), default=None) if columns else None
    except csv.Error:  # no table: a NUL before Python 3.11, a field of more than 128 kB
        return None


def _numbers(rows: Iterator[list[str]], column: int) -> Iterator[float]:
    """The finite ones of a column."""
    for row in rows:
        try:
            number = float(row[column])
        except (ValueError, IndexError):
            continue
        if math.isfinite(number):
            yield number
