"""What the page shows of a Prometheus: asked of a real one, and compared with what a node's own page says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.fetching import SourceError, prometheus
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.promql import render
from yoloscope_exporter.web import fleet as fleet_module
from yoloscope_exporter.web.fleet import MOST_LETTERS, POINTS, Fleet, Only, span, united

from tests.exporter.serving import fetch
from tests.exporter.web.fleets import END, HEALTHY, SECONDS, START, STARVED, Shown, filled, showing
from tests.live import query as asked

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the Prometheus."""
    with filled(tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@pytest.fixture(scope="module")
def page(source: str) -> Iterator[Shown]:
    """An exporter that shows it."""
    with showing(source) as made:
        yield made


def get(page: Shown, path: str, **parameters: object) -> Any:
    """A document of the time that is in there."""
    query = urlencode({"seconds": SECONDS, "end": END, **parameters})
    status, body, _ = fetch(f"{page.url}/api/v1/{path}?{query}")
    assert status == 200, body
    return json.loads(body)


STARVED_EAST = f"{STARVED} (east)"


def test_runs_of_all_nodes(page: Shown) -> None:
    """Those of two clusters with one name are told apart; the worst first, each with its state and its speed."""
    listed = get(page, "runs")
    runs = {run["run"]: run for run in listed["runs"]}
    assert set(runs) >= {STARVED_EAST, HEALTHY, f"{STARVED} (west)"}
    assert STARVED not in runs
    starved = listed["runs"][0]
    assert starved["run"] == STARVED_EAST
    assert starved["severity"] in {"warning", "critical"}
    assert (starved["alive"], starved["ranks"]) == (True, 2)
    assert starved["images_per_second"] < runs[HEALTHY]["images_per_second"]
    assert "verdict" not in runs[f"{STARVED} (west)"]  # nobody has diagnosed it there
    assert listed["source"]["prometheus"].startswith("http://127.0.0.1:")


def test_a_run_with_its_verdicts_and_ranks(page: Shown) -> None:
    """As on its node's page, with the fix that its exporter has published."""
    run = get(page, "run", run=STARVED_EAST)["run"]
    assert [rank["rank"] for rank in run["rank"]] == ["0", "1"]
    verdict = run["verdicts"][0]
    assert verdict["fix"]
    assert verdict["ranks"] == ["0", "1"]
    assert run["rank"][0]["data_wait"] > 0.3
    assert sum(part["share"] for part in run["anatomy"]["0"]) == pytest.approx(1.0, abs=0.01)
    assert run["facts"]["model"]
    chinese = get(page, "run", run=STARVED_EAST, lang="zh")["run"]["verdicts"][0]
    assert chinese["fix"] != verdict["fix"]


def test_gpus_are_those_of_the_runs_nodes(page: Shown) -> None:
    """And of no other cluster's nodes with that name."""
    gpus = get(page, "gpus", run=HEALTHY)["gpus"]
    assert [gpu["gpu"] for gpu in gpus] == ["0", "1"]
    assert [trains["run"] for gpu in gpus for trains in gpu["trains"]] == [HEALTHY, HEALTHY]
    assert all(0 < gpu["gpu_busy"] <= 1 and gpu["memory_total_bytes"] for gpu in gpus)


def test_curves_are_the_measures(page: Shown, source: str) -> None:
    """Each point is what PromQL of the measure says; what is not known is null."""
    history = get(page, "history", run=STARVED_EAST)
    times = history["times"]
    assert (times[0], times[-1]) == (START // 15 * 15, END // 15 * 15)
    series = {(one["name"], one["labels"].get("rank", "")): one["values"] for one in history["series"]}
    assert {"images", "data_wait", "preparation", "loss", "epoch", "resident"} <= {name for name, _ in series}
    waits = series["data_wait", "1"]
    assert len(waits) == len(times)
    assert waits[0] is None
    only = Only((), cluster="east", name=STARVED)
    said = asked(source, render(training.DATA_WAIT.formula, only, "rank", window="120s").text, times[-1])
    assert {labels["rank"]: pytest.approx(value, rel=1e-3) for labels, value in said} == {
        rank: series["data_wait", rank][-1] for rank in "01"
    }


def test_events_are_the_changes_between_points(page: Shown) -> None:
    """Verdicts that began, epochs; in order, numbered."""
    events = get(page, "events", run=STARVED_EAST)["events"]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert {"began", "epoch"} <= {event["kind"] for event in events}
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert START <= times[0] <= times[-1] <= END


def test_what_is_not_there(page: Shown) -> None:
    """An unknown run is 404; a time in which there was nothing has no runs; wrong parameters are said."""
    status, body, _ = fetch(f"{page.url}/api/v1/run?run=nobody&end={END}")
    assert (status, "nobody" in body.decode()) == (404, True)
    assert get(page, "runs", end=START - 86400)["runs"] == []
    for wrong in ("seconds=1", "seconds=1e9", "end=soon", "lang=fr", "limit=0"):
        status, body, _ = fetch(f"{page.url}/api/v1/runs?{wrong}")
        assert (status, json.loads(body)["error"].partition(":")[0]) == (400, wrong.partition("=")[0])


@pytest.mark.parametrize(
    ("seconds", "step"), [(300, 15), (3600, 15), (3601, 30), (86400, 360), (7 * 86400, 2520), (92 * 86400, 33120)]
)
def test_a_chart_has_a_few_hundred_points(seconds: float, step: int) -> None:
    """However long it is; they lie where those of a later look at the same lie too."""
    over = span(seconds, 1_790_000_123.4)
    assert over.step == step
    assert len(over.times()) <= POINTS + 1
    assert over.end % step == 0
    assert over.window >= step


def test_questions_are_few_and_asked_once(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For pages of both languages and of several time ranges: one set for the list, one for a run, one for a range."""
    questions: list[str] = []
    for name in ("instant", "course"):
        original = getattr(prometheus, name)

        def counted(url: str, query: str, *others: float, original: Any = original) -> Any:
            questions.append(query)
            return original(url, query, *others)

        monkeypatch.setattr(prometheus, name, counted)
    with showing(source) as page:
        get(page, "runs")
        get(page, "runs", lang="zh", seconds=86400, find="starved")
        assert len(questions) == 3  # ranks, runs, speeds
        for lang in ("en", "zh"):
            for document in ("run", "gpus", "history", "events"):
                get(page, document, run=HEALTHY, lang=lang)
        assert len(questions) < 20
        asked_for_a_run = len(questions)
        get(page, "history", run=HEALTHY, seconds=600)
        assert len(questions) <= asked_for_a_run + 4  # lines of the run and of its GPUs, events
        get(page, "run", run=HEALTHY, seconds=600)
        assert len(questions) <= asked_for_a_run + 4
    assert len(set(questions)) >= len(questions) - 4  # the same questions over another range


def test_runs_are_found(page: Shown) -> None:
    """By any part of what the list says; how many there are in all is still told."""
    listed = get(page, "runs")
    found = get(page, "runs", find="YOLO11M-0000 west")
    assert [run["run"] for run in found["runs"]] == [f"{STARVED} (west)"]
    assert (found["total"], found["matching"]) == (listed["total"], 1)
    verdict = listed["runs"][0]["verdict"]
    assert {run["run"] for run in get(page, "runs", find=verdict)["runs"]} == {STARVED_EAST}
    (title,) = {run["title"] for run in get(page, "runs", lang="zh", find=verdict)["runs"]}
    assert {run["run"] for run in get(page, "runs", lang="zh", find=title)["runs"]} == {STARVED_EAST}
    assert get(page, "runs", find="nobody has this")["runs"] == []


def test_what_is_left_out_is_counted(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of a chart and nodes whose GPUs are not shown."""
    monkeypatch.setattr(fleet_module, "MOST_LINES", 1)
    monkeypatch.setattr(fleet_module, "MOST_NODES", 0)
    with showing(source) as page:
        history = get(page, "history", run=HEALTHY)
        names = [series["name"] for series in history["series"]]
        assert len(names) == len(set(names))
        assert history["left_out"] > 3  # a second rank, and workers
        assert [one["labels"] for one in history["series"] if one["name"] == "data_wait"] == [{"rank": "0"}]
        gpus = get(page, "gpus", run=HEALTHY)
        assert (gpus["gpus"], gpus["nodes_left_out"]) == ([], 1)


def test_the_list_speaks_of_the_first_rank_that_lives() -> None:
    """As a node's own page does."""

    def series(rank: str, **labels: str) -> dict[str, Any]:
        return {"metric": {"cluster": "east", "run": "a", "rank": rank, **labels}}

    states = [series(rank, state="train") for rank in ("10", "0", "2")]
    assert fleet_module._first_ranks(states) == {("east", "a"): "0"}
    assert fleet_module._first_ranks([*states, series("2"), series("10")]) == {("east", "a"): "2"}


def test_several_questions_are_one(source: str) -> None:
    """Each series says which it answers; more than a server takes at once are several."""
    (query,) = united(["vector(1)", "max by (run) (vector(2))", "vector(3) > 5"])
    assert {labels["answers"]: value for labels, value in asked(source, query, END)} == {"0": 1, "1": 2}
    long = f"vector(1) > {'0' * 3000}"
    several = list(united([long] * 7))
    assert [query.count("label_replace") for query in several] == [2, 2, 2, 1]
    assert all(len(query) <= MOST_LETTERS for query in several)
    assert "".join(several).count('"6"') == 1


def test_names_cannot_break_a_query() -> None:
    """A run's name is a string of PromQL, whatever is in it."""
    only = Only((), cluster='a"b', name='x"} or vector(1) #', instances=("n.1:9911", "n\\2"))
    assert only.own(catalog.TRAIN_UP) == ['cluster="a\\"b"', 'run="x\\"} or vector(1) #"']
    assert only.own(catalog.GPU_UP)[1] == 'instance=~"n\\\\.1:9911|n\\\\\\\\2"'


def test_answers_are_bounded(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is parsed takes ten times as much memory as it is long, and the unit has 256 MB: a line in its place."""
    fleet = Fleet(source)
    only = fleet.listing(END).whose[HEALTHY]
    monkeypatch.setattr(fleet_module, "MOST_BYTES", 1_000)
    for ask in (
        lambda: fleet.listing(END),
        lambda: fleet.run(HEALTHY, only, END),
        lambda: fleet.past(HEALTHY, only, span(SECONDS, END)),
    ):
        with pytest.raises(SourceError, match="answers with more than"):
            ask()


def test_a_prometheus_that_does_not_answer() -> None:
    """Is a line of its own; a password in its address is told nowhere."""
    fleet = Fleet("http://me:secret@127.0.0.1:1")
    assert fleet.name == "http://127.0.0.1:1"
    with pytest.raises(SourceError, match="does not answer"):
        fleet.listing(0.0)
    with showing("http://me:secret@127.0.0.1:1") as page:
        status, body, _ = fetch(f"{page.url}/api/v1/runs")
        assert status == 502
        assert "127.0.0.1:1 does not answer" in json.loads(body)["error"]
        assert "secret" not in body.decode() + fetch(f"{page.url}/")[1].decode()
