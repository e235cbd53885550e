"""Every query of every panel, asked of a real Prometheus in which one training is well and five are not."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING

import promql_parser
import pytest

from tests.dashboards.grafana import interpolate
from tests.dashboards.queries import DASHBOARDS, Place, annotations, selectors, targets, variables
from tests.dashboards.world import AWKWARD, FINISHED, NODES, PREDICTIONS, RUNS, Answer, World, runs_of, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: (dashboard, panel) that a healthy training leaves empty, and why.
EMPTY_IF_HEALTHY: dict[tuple[str, str], str] = {
    ("run", "Firing alerts of this run"): "nothing fires",
    ("ranks", "Own time for a batch"): "no rank is slow",
    ("data", "Preparing a batch, by worker"): "no worker is slow",
    ("data", "Slow workers over time"): "no worker is slow",
    ("inference", "Exports"): "what predicts exports nothing",
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("en/")])
def test_every_query_returns_data(name: str, prometheus: World, table: Callable[[str], None]) -> None:
    """For the healthy run, whatever it is called, and for at least one of the others; what that leaves empty is listed.

    And nothing but numbers for any of them: two have ended, and what they no longer have is n/a or absent.
    """
    empty, empty_if_healthy, strange, report = set(), set(), set(), []
    for place in targets(name):
        answers = [_ask(prometheus, place, run) for run in runs_of(name)]
        report.append(_line(place, answers))
        if not any(answer.series for answer in (answers if runs_of(name) is PREDICTIONS else answers[1:])):
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
    expr = prometheus.filled(place.dashboard, place.expr, run, other, [runs_of(place.dashboard)[run], NODES[other]])
    return _answer(prometheus, expr, instant=place.instant)


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
        assert any(_ask(prometheus, place, run).series for run in runs_of(name)), place


@pytest.mark.parametrize("name", DASHBOARDS)
def test_matchers_mean_what_is_chosen(name: str) -> None:
    """Of one value or of several, whatever is in them, each matcher of every query takes these and no other."""
    several = [r"gpu (0)|a+b\c/d.e", "节点.一:9911"]
    chosen = {label: several if variable.get("multi") else AWKWARD for label, variable in variables(name).items()}
    chosen |= {"run": chosen["prediction"]} if "prediction" in chosen else {}
    for place in [*targets(name), *annotations(name)]:
        for vector, _ in selectors(quoted(interpolate(place.expr, variables(name), chosen))):
            patterns = {m.name: m.value for m in vector.matchers.matchers if m.op == promql_parser.MatchOp.Re}
            for label in patterns.keys() & chosen.keys():
                wanted = [AWKWARD] if label == "run" else several
                assert taken(patterns[label], wanted) == wanted, place
                assert not taken(patterns[label], [value.replace(".", "x") for value in wanted]), place


def quoted(expr: str) -> str:
    """Without raw strings, in which promql_parser looks for escape sequences; Prometheus does not."""
    return re.sub("`([^`]*)`", lambda raw: json.dumps(raw[1], ensure_ascii=False), expr)


def taken(pattern: str, values: list[str]) -> list[str]:
    return [value for value in values if re.fullmatch(pattern, value)]


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("en/")])
def test_variables_offer_something(name: str, prometheus: World) -> None:
    """Each of them, for a run with the most awkward of names; the world has no clusters."""
    run = next(iter(runs_of(name)))
    for label, variable in variables(name).items():
        if variable["type"] == "query" and label != "cluster":
            asked = variable["query"]["query"]
            selector, value = asked.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            text = asked if "regex" in variable else selector
            filled = prometheus.filled(name, text, run, RUNS["starved"], [NODES[AWKWARD]])
            found = prometheus.offered(variable, filled) if "regex" in variable else prometheus.values(filled, value)
            assert found, label


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("en/") and "run" in variables(name)])
def test_a_living_run_is_shown_first(name: str, prometheus: World) -> None:
    """What has ended comes behind it; on the dashboard Compare the newest does, whether it lives or not."""
    variable = variables(name)["run"]
    found = prometheus.offered(variable, prometheus.filled(name, variable["query"]["query"], "", "", []))
    ended = {RUNS["dying"], RUNS["leak"], FINISHED}
    assert set(found) == {*RUNS.values(), FINISHED}
    assert found[-1] == FINISHED, "it began first"
    if name != "en/compare":
        assert set(found[-3:]) == ended


def test_what_predicts_is_shown_before_what_has_exported(prometheus: World) -> None:
    """And no training is offered there, nor a prediction where trainings are."""
    variable = variables("en/inference")["prediction"]
    asked = prometheus.filled("en/inference", variable["query"]["query"], "", "", [])
    assert prometheus.offered(variable, asked) == list(PREDICTIONS)


def test_no_run_is_compared_with_itself(prometheus: World) -> None:
    """Run A is the newest that has finished; the one that is run B is not offered, whatever it is called."""
    variable = variables("en/compare")["run_a"]
    for run in (AWKWARD, RUNS["starved"], FINISHED):
        found = prometheus.offered(
            variable, prometheus.filled("en/compare", variable["query"]["query"], run, "nobody asks", [])
        )
        assert set(found) == {*RUNS.values(), FINISHED} - {run}
        assert run == FINISHED or found[0] == FINISHED
