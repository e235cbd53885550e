"""One run summed up, whatever it is: a training, or predictions, a validation on its own, exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.reports import prediction, summary
from yoloscope_exporter.reports.summary import UnknownRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.measures.series import Store
    from yoloscope_exporter.reports.summary import Summary


def known(stores: Sequence[Store]) -> tuple[list[str], list[str]]:
    """Names of the trainings, and of everything else, each in the order in which they were first seen."""
    trainings, others = (summary.known_runs(stores, up) for up in (catalog.TRAIN_UP, catalog.PREDICT_UP))
    return trainings, [run for run in others if run not in trainings]


def summarize(stores: Sequence[Store], run: str, limits: Thresholds | None = None) -> Summary:
    """Sum up one run from the stores of the nodes it ran on.

    Raises:
        UnknownRunError: it is not in them.
    """
    trainings, others = known(stores)
    if run in others:
        return prediction.summarize(stores, run, limits)
    if run in trainings:
        return summary.summarize(stores, run, limits)
    raise UnknownRunError(run, [*trainings, *others])
