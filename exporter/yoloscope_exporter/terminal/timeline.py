"""A recording over time for `yoloscope top`: what happened when, what held at a moment, and a bar of it all. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.text import Text

from yoloscope_exporter import catalog, colours
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.language import say, text
from yoloscope_exporter.measures.series import SHORTEST_STALENESS, STALE_PERIODS
from yoloscope_exporter.terminal.screen import Event, began, ended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.measures.series import Series, Store

_STATES: Final = (catalog.TRAIN_STATE, catalog.PREDICT_STATE)


def of_node(diagnoses: Sequence[Diagnosis], store: Store) -> list[Diagnosis]:
    """Those of the ranks that a node's store holds, and of the node itself."""
    held = {labels[:2] for metric in _STATES for labels in store.series.get(metric.name, {})}
    return [
        one
        for one in diagnoses
        if one.cluster == store.cluster and ((one.run, one.rank) in held or (not one.run and one.rank == store.name))
    ]


def holding(diagnoses: Sequence[Diagnosis], moment: float) -> tuple[Diagnosis, ...]:
    """The diagnosis of a time range as it was at a moment: the verdicts that held, as they are told of their span."""
    found = (
        replace(one, verdicts=tuple(verdict for verdict in one.verdicts if _held(verdict, moment))) for one in diagnoses
    )
    return tuple(one for one in found if one.verdicts)


def _held(verdict: Verdict, moment: float) -> bool:
    return any(start <= moment <= end for start, end in verdict.spans)


# --- events ---------------------------------------------------------------------------------------------------------


def events(store: Store, usual: float, diagnoses: Sequence[Diagnosis]) -> list[Event]:
    """What happened, the first first: states entered, verdicts that began or ended.

    Args:
        store: of a node.
        usual: distance of its samples in seconds; a state that was missing for longer than a few is entered anew.
        diagnoses: of the same time range.
    """
    found = [*_states(store, max(SHORTEST_STALENESS, STALE_PERIODS * usual))]
    for one in diagnoses:
        for verdict in one.verdicts:
            for start, end in verdict.spans:
                found.append(began(start, one, verdict))
                if end < store.last - usual:
                    found.append(ended(end, one, verdict.name))
    return sorted(found, key=lambda event: event.time)


def _states(store: Store, stale: float) -> Iterator[Event]:
    for metric in _STATES:
        for (run, rank, state), series in store.series.get(metric.name, {}).items():
            for time in _entered(series, stale):
                yield Event(time, say("{who}: {state}", who=f"{run} rank {rank}", state=text(state)))


def _entered(series: Series, stale: float) -> Iterator[float]:
    """When a gauge of a state became 1."""
    before, inside = float("-inf"), False
    for time, value in zip(series.times, series.values, strict=True):
        if value and not (inside and time - before <= stale):
            yield time
        before, inside = time, bool(value)


# --- the bar --------------------------------------------------------------------------------------------------------


def bar(diagnoses: Sequence[Diagnosis], start: float, end: float, moment: float, width: int) -> Text:
    """The time from `start` to `end`: the worst that held in each part by its colour, and where `moment` is."""
    scale = (width - 1) / ((end - start) or 1.0)
    worst = [""] * width
    for severity, first, last in _spans(diagnoses):
        for place in range(_place((first - start) * scale, width), _place((last - start) * scale, width) + 1):
            worst[place] = max(worst[place], severity, key=_rank)
    here = _place((moment - start) * scale, width)
    return Text.assemble(
        *(
            ("┃", "bold") if place == here else ("━", colours.SEVERITIES[severity] if severity else "dim")
            for place, severity in enumerate(worst)
        )
    )


def _spans(diagnoses: Sequence[Diagnosis]) -> Iterator[tuple[str, float, float]]:
    verdicts = (verdict for one in diagnoses for verdict in one.verdicts)
    return ((verdict.severity, start, end) for verdict in verdicts for start, end in verdict.spans)


def _place(position: float, width: int) -> int:
    return min(max(round(position), 0), width - 1)


def _rank(severity: str) -> int:
    return rules.SEVERITIES.index(severity) if severity else -1
