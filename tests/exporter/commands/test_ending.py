"""What `yoloscope run` finds out at the end: from the records, from an exporter, from the results."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import DIAGNOSIS_PATH
from yoloscope_exporter.commands import ending, hanging
from yoloscope_exporter.commands.launched import Run
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.serialize import to_json
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.reports.ending import Ended

from tests.exporter.collectors.stack_process import RUN, process
from tests.exporter.commands.test_launched import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def verdict(name: str, severity: str = "warning") -> Verdict:
    """A verdict."""
    return Verdict(name, severity, "seen", "because", "check", "type this", None)


def diagnosis(state: str, *names: str, joules: float = 0.0, **names_of_signals: str) -> Diagnosis:
    """What an exporter says of the run `one`."""
    told = tuple(map(verdict, names))
    seen = Signals("one", "0", state, names=names_of_signals)
    return Diagnosis("one", "0", state, told, {}, seen, whole_run=told, joules={"gpu": joules} if joules else {})


@contextmanager
def exporter(*answers: Any) -> Iterator[tuple[str, list[str]]]:
    """Says one after the other, the last one again and again; the address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = json.dumps(answers[min(len(asked), len(answers)) - 1]).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def said(*told: Diagnosis) -> dict[str, Any]:
    """As JSON."""
    return to_json(told, with_signals=True)


def test_the_exporter_is_given_time_to_see_the_end() -> None:
    """Until it says that the run has ended, where that is waited for; what it found of the whole run comes along."""
    answers = said(diagnosis("train", "loader_cpu")), said(diagnosis("finished", "loader_cpu", joules=7.0))
    with exporter(*answers) as (url, asked):
        (seen,) = ending.seen_by(url, [Run("gone", ""), Run("one", "")], time.monotonic() + 60)
    assert (seen.state, [one.name for one in seen.whole_run], seen.joules) == ("finished", ["loader_cpu"], {"gpu": 7.0})
    assert asked == [DIAGNOSIS_PATH] * 2
    with exporter(*answers) as (url, asked):
        (seen,) = ending.seen_by(url, [Run("one", "")])
    assert (seen.state, len(asked)) == ("train", 1)


def test_an_exporter_that_does_not_know_the_run() -> None:
    """It is not waited for, nor one that nobody has started or that is something else."""
    late = time.monotonic() + 600
    with exporter(said()) as (url, asked):
        assert ending.seen_by(url, [Run("one", "")], late) == ()
        assert len(asked) == 1
    with exporter({"hello": 1}) as (url, _):
        assert ending.seen_by(url, [Run("one", "")], late) == ()
    assert ending.seen_by(url, [Run("one", "")], late) == ()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((), ["killed"]),
        ((diagnosis("finished", "loader_cpu"),), ["killed", "loader_cpu"]),
        ((diagnosis("finished", "insufficient_data"),), ["killed"]),
    ],
)
def test_who_saw_more(tmp_path: Path, seen: tuple[Diagnosis, ...], expected: list[str]) -> None:
    """What the exporter found stands in place of what the record's last batches say; the end is in the record."""
    record(tmp_path, "one", {})
    ((_, summary),) = ending.with_seen(ending.summaries(tmp_path, [Run("one", ""), Run("gone", "")]), seen)
    assert [one.name for _, one in summary.verdicts] == expected
    assert "energy" not in summary.figures


def test_energy_and_best_score(tmp_path: Path) -> None:
    """The record has neither: one is the exporter's, the other stands in the results."""
    record(tmp_path, "one", {})
    (tmp_path / "results.csv").write_text("epoch,metrics/mAP50-95(B)\n1,0.5\n2,0.4\n")
    told = ending.summaries(tmp_path, [Run("one", str(tmp_path))])
    told = ending.with_seen(told, [diagnosis("finished", joules=7200.0)])
    assert told[0][1].figures["energy"].value == 7200.0
    assert told[0][1].figures["score"].value == 0.5


def test_odd_results(tmp_path: Path) -> None:
    """A folder that is gone, a pipe in place of the file: no score, and nobody waits."""
    record(tmp_path, "one", {})
    os.mkfifo(tmp_path / "results.csv")
    for folder in (tmp_path, tmp_path / "gone"):
        ((_, summary),) = ending.summaries(tmp_path, [Run("one", str(folder))])
        assert "score" not in summary.figures
    ending.write(Ended("yolo", 0, 1.0, "node"), Run("one", str(tmp_path / "gone")), summary)
    assert not (tmp_path / "gone").exists()


# --- a run that hangs -----------------------------------------------------------------------------------------------

HANG = "def wait_forever(): time.sleep(99)\nwait_forever()"


def watched(records: Path, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> list[str]:
    """What is said beside an exporter with these answers, in some looks."""
    told: list[str] = []
    monkeypatch.setattr(hanging, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(hanging.launched, "of_launch", lambda *_: [Run(RUN, "")])
    with exporter(*answers) as (url, asked):
        end = threading.Event()
        thread = threading.Thread(target=hanging.watch, args=(url, records, "7-1", told.append, end))
        thread.start()
        deadline = time.monotonic() + 20
        while len(asked) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        end.set()
        thread.join()
    return told


def standing(**names: str) -> dict[str, Any]:
    """What an exporter says of a run that stands still."""
    seen = Signals(RUN, "0", "train", names=names, numbers={"last_batch_age": 60.0})
    return said(Diagnosis(RUN, "0", "train", (verdict("stalled", "critical"),), {}, seen))


def test_a_run_that_stands_still_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second look, however many follow."""
    with process(tmp_path, HANG) as child:
        (told,) = watched(tmp_path, monkeypatch, standing())
        assert told.startswith(f"{RUN} stands still: rank 0, main (pid {child.pid}), ")
        assert "wait_forever (" in told
        (stacks,) = tmp_path.glob("**/rank-0.stacks")
        assert stacks.read_text().count("Current thread") == 1
        (again,) = watched(tmp_path, monkeypatch, standing())
        assert again == told
        assert stacks.read_text().count("Current thread") == 1


@pytest.mark.parametrize(
    "answers",
    [
        [standing(hang_function="forward", hang="rank 0")],
        [standing(), said()],
        [{"runs": [{}]}],
        [said(diagnosis("train", "loader_cpu"))],
    ],
    ids=["the exporter knows where", "it was gone at the second look", "no exporter", "it moves"],
)
def test_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]) -> None:
    """Where there is no need."""
    with process(tmp_path, HANG):
        assert watched(tmp_path, monkeypatch, *answers) == []
        (stacks,) = tmp_path.glob("**/rank-0.stacks")
        assert "most recent call first" not in stacks.read_text()
