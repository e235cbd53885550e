"""`/api/v1`: documents and streams, as a client gets them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.history.courses import IMAGES, OF_GPUS
from yoloscope_exporter.history.store import History
from yoloscope_exporter.measures.gpu import BUSY
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import answers, documents, protocol
from yoloscope_exporter.web import api as api_module
from yoloscope_exporter.web.api import Api, Place, Topic
from yoloscope_exporter.web.config_file import WebConfigFile

from tests.exporter.language.leftovers import english
from tests.exporter.serving import RUN, answer, connected, fetch, head_of
from tests.exporter.simulated import Simulated, node, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NASTY = ('<b>"run"</b>', "训练/一号", "x" * 255, "a'b&c=d;e", "../../etc")


@pytest.fixture(scope="module")
def starved() -> Iterator[Simulated]:
    """A run that waits for data, two ranks on two GPUs."""
    with simulated(node("starved", gpus=2, workers=3)) as made:
        yield made


def get(url: str, **headers: str) -> Any:
    """A document."""
    status, body, _ = fetch(url, **headers)
    assert status == 200, body
    return json.loads(body)


@contextmanager
def stream(url: str, query: str = "") -> Iterator[socket.socket]:
    """A connection that has asked for events."""
    with connected(url) as connection:
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        yield connection
        with suppress(OSError):  # whatever still reads it
            connection.shutdown(socket.SHUT_RDWR)


def messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """What comes on a stream, chunk by chunk."""
    with connection.makefile("rb") as file:
        head = b"".join(iter(file.readline, b"\r\n"))
        status, fields = head_of(head)
        assert (status, fields["content-type"]) == (200, "text/event-stream; charset=utf-8")
        while size := int(file.readline(), 16):
            chunk = file.read(size + 2)
            assert chunk.startswith(b"data: ")
            assert chunk.endswith(b"\n\n\r\n")
            yield json.loads(chunk[6:])


# --- documents --------------------------------------------------------------------------------------------------------


def test_runs(starved: Simulated) -> None:
    """Each run with what one asks first."""
    told = get(f"{starved.url}/api/v1/runs")
    assert (told["fresh"], told["total"], told["diagnosis"], told["left_out"]) == (True, 3, True, 0)
    run, *others = told["runs"]
    assert {other["state"] for other in others} == {"predict", "finished"}  # the node predicts, and has exported
    assert any(other.get("images_per_second", 0) > 0 for other in others)
    assert (run["alive"], run["state"], run["state_text"], run["ranks"]) == (True, "train", "training", 2)
    assert run["epochs"] == 300
    assert run["remaining_seconds"] > 0
    assert run["severity"] == "warning"
    assert run["verdict"].startswith("loader")
    (speed,) = starved.history.now((IMAGES,))["images"].values()  # of trainings
    assert run["images_per_second"] == pytest.approx(speed, rel=0.05)  # of both ranks together


def test_a_run(starved: Simulated) -> None:
    """Verdicts with evidence and fix, ranks side by side, and the anatomy of a batch."""
    name = get(f"{starved.url}/api/v1/runs")["runs"][0]["run"]
    run = get(f"{starved.url}/api/v1/run?run={quote(name)}")["run"]
    verdict = run["verdicts"][0]
    assert verdict["ranks"] == ["0", "1"]
    assert verdict["evidence"]
    assert verdict["fix"]
    assert verdict["copy"]
    assert [rank["rank"] for rank in run["rank"]] == ["0", "1"]
    assert [rank["gpus"] for rank in run["rank"]] == [["0"], ["1"]]
    for rank in run["rank"]:
        assert rank["data_wait"] == pytest.approx(0.78, abs=0.05)
        assert rank["lag"] < 0.05
    for phases in run["anatomy"].values():
        assert sum(phase["share"] for phase in phases) == pytest.approx(1, abs=0.01)
        assert max(phases, key=lambda phase: phase["seconds"])["phase"] == "data_wait"


def test_languages(starved: Simulated) -> None:
    """As asked for in the query, else by the header."""
    url = f"{starved.url}/api/v1/runs"
    assert get(url, Accept_Language="zh-CN")["runs"][0]["state_text"] == "训练中"
    assert get(f"{url}?lang=en", Accept_Language="zh-CN")["runs"][0]["state_text"] == "training"
    assert get(f"{url}?lang=zh")["runs"][0]["state_text"] == "训练中"


def test_gpus_say_what_the_measures_say(starved: Simulated) -> None:
    """A tile's utilization is the measure's of the last seconds."""
    told = get(f"{starved.url}/api/v1/gpus")
    assert [gpu["gpu"] for gpu in told["gpus"]] == ["0", "1"]
    for gpu in told["gpus"]:
        (busy,) = (
            value
            for labels, value in starved.history.now(OF_GPUS, seconds=documents.GPU_SECONDS)[BUSY.name].items()
            if ("gpu", gpu["gpu"]) in labels
        )
        assert gpu["gpu_busy"] == pytest.approx(busy, abs=0.03)
        assert gpu["up"]
        assert 0 < gpu["memory_used_bytes"] < gpu["memory_total_bytes"]
        assert gpu["trains"][0]["rank"] == gpu["gpu"]


def test_history(starved: Simulated) -> None:
    """Columns over common times: of a run, or of the GPUs; and what has come since."""
    name = get(f"{starved.url}/api/v1/runs")["runs"][0]["run"]
    for query, lines in ((f"?run={quote(name)}", {"images", "preparation", "loss"}), ("", {"gpu_busy", "power"})):
        told = get(f"{starved.url}/api/v1/history{query}")
        assert lines <= {line["name"] for line in told["series"]}
        assert len(told["times"]) > 20
        assert {len(line["values"]) for line in told["series"]} == {len(told["times"])}
        since = get(f"{starved.url}/api/v1/history{query}{'&' if query else '?'}since={told['times'][-3]}")
        assert since["times"][:2] == told["times"][-2:]


def test_events_as_a_document(starved: Simulated) -> None:
    """For those who do not want a stream."""
    told = get(f"{starved.url}/api/v1/events")["events"]
    assert {"number", "time", "kind", "run", "rank", "severity", "text"} <= set(told[0])
    assert get(f"{starved.url}/api/v1/events?since={told[-1]['number']}")["events"] == []
    chinese = get(f"{starved.url}/api/v1/events?lang=zh")["events"]
    assert [event["kind"] for event in chinese] == [event["kind"] for event in told]


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("run", 400, "run: name one of /api/v1/runs"),
        ("run?run=nobody", 404, "run: no run 'nobody'; /api/v1/runs lists them"),
        ("history?run=nobody", 404, "run: no run 'nobody'; /api/v1/runs lists them"),
        ("history?since=yesterday", 400, "since: 'yesterday' is not a number"),
        ("history?since=nan", 400, "since: 'nan' is not a number"),
        ("runs?limit=0", 400, "limit: '0' is not a number from 1 to 10000"),
        (f"runs?find={'x' * 301}", 400, "find: 301 characters are more than 300"),
        ("runs?lang=fr", 400, "lang: 'fr' is not one of en, zh-CN, zh"),
        ("events?since=1e999", 400, "since: '1e999' is not a number"),
    ],
)
def test_what_is_wrong_is_said(starved: Simulated, query: str, status: int, line: str) -> None:
    """The parameter, and what is allowed."""
    answered, body, _ = fetch(f"{starved.url}/api/v1/{query}")
    assert (answered, json.loads(body)["error"]) == (status, line)


def test_names_of_others_on_the_loopback_are_refused(starved: Simulated) -> None:
    """As for /metrics: no page that has its name resolved to this machine reads what is here."""
    for path in ("/api/v1/runs", "/api/v1/events", "/"):
        assert fetch(f"{starved.url}{path}", Host="evil.example")[0] == 421


def test_passwords(tmp_path: Path) -> None:
    """As for /metrics: nothing is told without one."""
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users:\n  me: $2b$04$JlEuRMoUYIrgYqLPNEDhpeq9eJL0qQEIIQyzXVcGVJmWcwvqzVvLG\n")
    with simulated(node(), past=0, file=WebConfigFile(file)) as made:
        for path in ("/", "/api/v1/runs", "/api/v1/events", "/static/page.js"):
            assert fetch(f"{made.url}{path}")[0] == 401


def test_nothing_old_is_told() -> None:
    """Once sampling has stopped, documents say so and are empty."""
    shift = [0.0]
    with simulated(node(), past=10, clock=lambda: time.monotonic() + shift[0]) as made:
        assert get(f"{made.url}/api/v1/runs")["total"] == 3
        made.sampler.stop()
        shift[0] = 60.0
        told = get(f"{made.url}/api/v1/runs")
        assert (told["fresh"], told["total"], told["collectors"]) == (False, 0, [])
        assert get(f"{made.url}/api/v1/gpus")["gpus"] == []


@pytest.mark.parametrize("document", ["run", "history"])
def test_a_run_that_lives_is_not_unknown_while_nothing_is_sampled(document: str) -> None:
    """What is not known now is not gone."""
    shift = [0.0]
    with simulated(node(), past=10, clock=lambda: time.monotonic() + shift[0]) as made:
        name = get(f"{made.url}/api/v1/runs")["runs"][0]["run"]
        made.sampler.stop()
        shift[0] = 60.0
        told = get(f"{made.url}/api/v1/{document}?run={quote(name)}")
        assert not told["fresh"]
        assert not told.get("run")
        assert not told.get("times")


def test_lists_are_made_once(starved: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them are asked for: a client cannot fill the memory with limits."""
    made = []
    original = documents.runs
    monkeypatch.setattr(documents, "runs", lambda *arguments: made.append(1) or original(*arguments))
    cycles = starved.sampler.cycles
    for limit in range(1, 31):
        told = get(f"{starved.url}/api/v1/runs?limit={limit}")
        assert (told["total"], len(told["runs"])) == (3, min(limit, 3))
    assert len(made) <= starved.sampler.cycles - cycles + 1


def test_many_runs_with_any_names() -> None:
    """The list is cut, and says how many there are; every name can be asked for."""
    names = [*NASTY, *(f"run {number}" for number in range(995))]
    found = [Sample(catalog.TRAIN_STATE, (name, "0", "train"), 1.0) for name in names]
    found += [Sample(catalog.TRAIN_UP, (name, "0"), float(name in NASTY)) for name in names]
    with simulated(lambda _now: found, past=4, diagnosed=False) as made:
        told = get(f"{made.url}/api/v1/runs")
        assert (told["total"], len(told["runs"])) == (1000, 100)
        assert {run["run"] for run in told["runs"][: len(NASTY)]} == set(NASTY)  # those that live come first
        assert len(get(f"{made.url}/api/v1/runs?limit=1000")["runs"]) == 1000
        for name in NASTY:
            assert get(f"{made.url}/api/v1/run?run={quote(name)}")["run"]["run"] == name
            few = get(f"{made.url}/api/v1/runs?find={quote(name.upper())}")
            assert (few["total"], few["matching"], few["runs"][0]["run"]) == (1000, 1, name)
        few = get(f"{made.url}/api/v1/runs?find=99+run&lang=en")  # every word, anywhere
        assert {run["run"] for run in few["runs"]} == {name for name in names if "99" in name}
        with stream(made.url, "?find=run+994") as connection:
            told = next(messages(connection))
        assert ([run["run"] for run in told["runs"]], told["total"], told["matching"]) == (["run 994"], 1000, 1)


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(starved: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates come sooner, of what runs and of what is started."""
    monkeypatch.setattr(starved.api.clock, "seconds", 0.2)
    monkeypatch.setattr(api_module, "EVERY_SECONDS", 0.2)


def test_a_stream_tells_everything_and_then_what_is_new(starved: Simulated, quick: None) -> None:
    """The first message stands for itself; the points of later ones follow."""
    with stream(starved.url) as connection:
        told = messages(connection)
        first, later = next(told), []
        while not later or not later[-1]["history"]["gpus"]["times"]:
            later.append(next(told))
    assert first["full"]
    assert first["asked"] == first["run"]["run"] == first["runs"][0]["run"]
    assert len(first["history"]["run"]["times"]) > 20
    assert not any(message["full"] for message in later)
    times = [time for message in (first, *later) for time in message["history"]["gpus"]["times"]]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert times[-1] > first["history"]["gpus"]["times"][-1]
    assert later[-1]["time"] > first["time"]


def test_streams_of_a_run_share_their_messages(
    starved: Simulated, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten pages cost what one does."""
    made = []
    original = documents.run
    monkeypatch.setattr(documents, "run", lambda *arguments: made.append(1) or original(*arguments))
    with ExitStack() as stack:
        told = [messages(stack.enter_context(stream(starved.url))) for _ in range(10)]
        for each in told:
            next(each)
        made.clear()
        taken = [[next(each) for _ in range(3)] for each in told]
    assert len(made) < 3 * len(taken)


def test_a_run_in_chinese(starved: Simulated) -> None:
    """No English sentence is in it, but what is typed; state and events neither."""
    listed = get(f"{starved.url}/api/v1/runs?lang=zh")["runs"][0]
    told = get(f"{starved.url}/api/v1/run?run={quote(listed['run'])}&lang=zh")["run"]
    events = get(f"{starved.url}/api/v1/events?lang=zh")["events"]
    sentences = [listed["state_text"], listed["title"], *(event["text"] for event in events)]
    for verdict in told["verdicts"]:
        names = ("title", "severity_text", "evidence", "cause", "fix", "gain", "verify")
        sentences += [verdict[name] for name in names]
    assert len(sentences) > 10
    assert [english(one) for one in sentences if english(one)] == []


def test_nothing_is_made_while_nobody_looks(starved: Simulated, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was closed costs nothing any more."""
    made = []
    original = documents.View
    monkeypatch.setattr(documents, "View", lambda *arguments: made.append(1) or original(*arguments))
    with stream(starved.url) as connection:
        next(messages(connection))
    wait_until(lambda: starved.api.streams == 0)
    made.clear()
    cycles = starved.sampler.cycles
    wait_until(lambda: starved.sampler.cycles > cycles + 2)
    assert made == []


def test_no_more_streams_than_there_is_room_for(
    starved: Simulated, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty open pages get theirs; one too many is told so, and scrapes go on."""
    monkeypatch.setattr(answers, "MOST_STREAMS", 50)
    with ExitStack() as stack:
        told = [messages(stack.enter_context(stream(starved.url))) for _ in range(50)]
        assert all(next(each)["full"] for each in told)
        status, body, headers = fetch(f"{starved.url}/api/v1/events", Accept="text/event-stream")
        assert (status, json.loads(body), headers["Retry-After"]) == (
            503,
            {"error": "50 pages are open; close one of them"},
            "5",
        )
        assert fetch(f"{starved.url}/metrics")[0] == 200
        assert all(not next(each)["full"] for each in told)
    wait_until(lambda: starved.api.streams == 0)


def test_who_never_reads_is_dropped(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it: neither a scrape nor another page."""
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.5)
    with simulated(node(), past=10) as made:
        original = made.api._make

        async def heavy(*arguments: Any) -> Any:
            message, place = await original(*arguments)
            return message.replace(b'"full"', b'"weight":"%s","full"' % (b"x" * 8_000_000)), place

        monkeypatch.setattr(made.api, "_make", heavy)
        with stream(made.url), stream(made.url) as other:
            told = messages(other)
            next(told)
            assert fetch(f"{made.url}/metrics")[0] == 200
            deadline = time.monotonic() + 20
            while made.api.streams > 1 and time.monotonic() < deadline:
                next(told)
            assert made.api.streams == 1


def test_streams_end_with_the_exporter(quick: None) -> None:
    """At once, and in order: a page knows that it is over."""
    with ExitStack() as stack:
        with simulated(node(), past=10) as made:
            told = messages(stack.enter_context(stream(made.url)))
            next(told)
        with suppress(ConnectionResetError):
            assert len(list(told)) < 3


def test_a_head_tells_whether_there_is_room(starved: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser's EventSource does not say why it failed; this does."""

    def asked() -> int:
        with connected(starved.url) as connection:
            lines = ["HEAD /api/v1/events HTTP/1.1", "Host: localhost", "Accept: text/event-stream", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            return head_of(connection.recv(65536))[0]

    assert asked() == 200
    monkeypatch.setattr(answers, "MOST_STREAMS", 0)
    assert asked() == 503


def trainings(count: int) -> list[Sample]:
    """Runs that train, by their numbers."""
    states = [Sample(catalog.TRAIN_STATE, (f"run {number}", "0", "train"), 1.0) for number in range(count)]
    return [*states, *(Sample(catalog.TRAIN_UP, state.labels[:2], 1.0) for state in states)]


def test_points_that_pages_follow_are_not_forgotten(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or pages of as many runs as are remembered would have each other's calculated anew; one more run is refused."""
    monkeypatch.setattr(api_module, "MOST_CURVES", 2)
    with ExitStack() as stack:
        made = stack.enter_context(simulated(lambda _now: trainings(3), past=4, diagnosed=False))
        told = [messages(stack.enter_context(stream(made.url, f"?run=run%20{number}"))) for number in range(2)]
        for each in told:
            next(each)
        asked = []
        original = made.history.at
        monkeypatch.setattr(made.history, "at", lambda *arguments: asked.append(1) or original(*arguments))
        line = {"error": "pages of 2 runs are open; close one of them"}
        for path in ("history", "events"):
            query = "?run=run%202"
            status, body, _ = fetch(f"{made.url}/api/v1/{path}{query}", Accept="text/event-stream")
            assert (status, json.loads(body)) == (503, line)
        for each in told:
            assert [next(each)["history"]["run"] is None for _ in range(5)] == [False] * 5
        assert len(asked) < 60  # an hour has more than 100 points
    wait_until(lambda: not made.api._followed)


def test_a_scrape_waits_for_one_page_alone(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are open: asked for while the first of them is made, it has its turn before most others are."""
    pages, original = api_module.MOST_CURVES, documents.run
    asking, waiting = threading.Event(), threading.Event()
    since: list[int] = []  # pages made between question and answer, of each scrape

    def run(*arguments: Any) -> Any:
        if waiting.is_set():
            since[-1] += 1
        elif asking.is_set():
            asking.clear()
            waiting.set()
            since.append(0)
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return original(*arguments)

    with ExitStack() as stack:
        made = stack.enter_context(simulated(lambda _now: trainings(pages), past=4, diagnosed=False))
        scraper = stack.enter_context(connected(made.url))
        for number in range(pages):
            next(messages(stack.enter_context(stream(made.url, f"?run=run%20{number}"))))
        exposition = made.sampler.exposition
        monkeypatch.setattr(made.sampler, "exposition", lambda *asked: waiting.clear() or exposition(*asked))
        monkeypatch.setattr(documents, "run", run)
        for _ in range(10):
            asking.set()
            assert answer(scraper)[0] == 200
    assert max(since) < pages / 2


def test_what_nobody_follows_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that were looked at longest ago first; the GPUs' points stay."""
    monkeypatch.setattr(api_module, "MOST_CURVES", 2)
    with simulated(lambda _now: trainings(4), past=0, diagnosed=False) as made:
        get(f"{made.url}/api/v1/history")
        for number in range(4):
            get(f"{made.url}/api/v1/history?run=run%20{number}")
        assert list(made.api._looked) == ["", "run 2", "run 3"]


@dataclass
class Standing:
    """A sampler that stands still."""

    snapshot: Snapshot
    fresh: bool = True


def standing(count: int = 1) -> tuple[Api, Standing]:
    """An exporter with a minute of some runs and of a GPU."""
    history = History()
    samples = (*trainings(count), Sample(catalog.GPU_POWER_WATTS, ("0",), 100.0))
    for now in range(0, 60, 2):
        history.feed(1e9 + now, samples)
    sampler = Standing(Snapshot(1e9 + 58, {"runs": samples}))
    return Api(sampler, history), sampler  # type: ignore[arg-type] # all of it that is used


def test_messages_that_are_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither names that a client thinks of nor many runs fill the memory, however soon they are asked for."""
    monkeypatch.setattr(api_module, "EVERY_SECONDS", 3600.0)

    async def ask() -> tuple[int, int]:
        api, _ = standing(20)
        for number in range(20):
            await api._message(Topic(f"invented {number}", "en"), Place())
        invented = len(api._made)
        for number in range(20):
            await api._message(Topic(f"run {number}", "en"), Place())
        return invented, len(api._made)

    assert asyncio.run(ask()) == (0, api_module.MOST_MADE)


def test_a_page_that_was_opened_too_early_gets_its_past() -> None:
    """While nothing is fresh, or its run is not there, it has been told nothing."""

    async def ask() -> list[dict[str, Any]]:
        api, sampler = standing()
        whole, told, place = sampler.snapshot, [], Place()
        for fresh, snapshot in ((False, whole), (True, Snapshot(whole.time, {})), (True, whole), (True, whole)):
            sampler.fresh, sampler.snapshot = fresh, snapshot
            api._seen = None
            message, place = await api._message(Topic("run 0", "en"), place)
            told.append(json.loads(message[6:]))
        return told

    stale, without, whole, later = asyncio.run(ask())
    assert stale == {"time": 1e9 + 58, "fresh": False}
    assert without["run"] is None
    assert without["history"]["gpus"]["times"]
    assert whole["full"]
    assert len(whole["history"]["gpus"]["times"]) > 5
    assert not later["full"]


def test_no_stream_outlives_a_password(quick: None, tmp_path: Path) -> None:
    """Who was let in without one asks again."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config:\n  headers:\n    X-Robots-Tag: none\n")
    with simulated(node(), past=4, file=WebConfigFile(file)) as made, stream(made.url) as connection:
        told = messages(connection)
        next(told)
        next(told)
        file.write_text("basic_auth_users:\n  me: $2b$04$JlEuRMoUYIrgYqLPNEDhpeq9eJL0qQEIIQyzXVcGVJmWcwvqzVvLG\n")
        assert len(list(islice(told, 10))) <= 2


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    """Until it is true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_name_that_wants_escaping_is_one_like_others() -> None:
    """JSON carries it, and nobody makes markup of it."""
    with simulated(lambda _now: [Sample(catalog.TRAIN_STATE, (RUN, "0", "train"), 1.0)], past=0) as made:
        status, body, headers = fetch(f"{made.url}/api/v1/runs")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body)["runs"][0]["run"] == RUN
