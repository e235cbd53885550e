"""Every query of every panel, asked of a real Prometheus in which one training is well and five are not."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.dashboards.queries import DASHBOARDS, Place, annotations, targets
from tests.dashboards.world import NODES, RUNS, Answer, World, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: (dashboard, panel) that a healthy training leaves empty, and why.
EMPTY_IF_HEALTHY: dict[tuple[str, str], str] = {
    ("run", "Alerts of this run"): "nothing fires",
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("en/")])
def test_every_query_returns_data(name: str, prometheus: World, table: Callable[[str], None]) -> None:
    """For the healthy run and for at least one of the others; what a healthy one leaves empty is listed.

    And nothing but numbers for any of them: two have ended, and what they no longer have is n/a or absent.
    """
    empty, empty_if_healthy, strange, report = set(), set(), set(), []
    for place in targets(name):
        answers = [_ask(prometheus, place, run) for run in RUNS.values()]
        report.append(_line(place, answers))
        if not any(answer.series for answer in answers[1:]):
            empty.add(place.panel)
        if not answers[0].series:
            empty_if_healthy.add(place.panel)
        if not all(answer.numbers for answer in answers):
            strange.add(place.panel)
    table("\n".join(report))
    assert not empty
    assert not strange, "NaN or infinity: divide by what is above zero"
    assert empty_if_healthy == {panel for board, panel in EMPTY_IF_HEALTHY if f"en/{board}" == name}


def _ask(prometheus: World, place: Place, run: str) -> Answer:
    other = RUNS["starved"]
    nodes = f"{NODES[run]}|{NODES[other]}"
    return _answer(prometheus, prometheus.filled(place.expr, run, other, nodes), instant=place.instant)


@cache
def _answer(prometheus: World, expr: str, *, instant: bool) -> Answer:
    """Each question is put once: a dashboard without a run asks the same whichever it is."""
    return prometheus.ask(expr, instant=instant)


def _line(place: Place, answers: list[Answer]) -> str:
    rows = " ".join(f"{answer.series:>4}" for answer in answers)
    samples, slowest = max(a.samples for a in answers), max(a.milliseconds for a in answers)
    return f"{place.panel:<34} {place.ref} series {rows}   samples {samples:>8}   {slowest:7.1f} ms"


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("en/")])
def test_annotations_mark_something(name: str, prometheus: World) -> None:
    """Each annotation is found for at least one run."""
    for place in annotations(name):
        assert any(_ask(prometheus, place, run).series for run in RUNS.values()), place
