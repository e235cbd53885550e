"""`yoloscope top`: one frame for scripts, a live one, a silent exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter import catalog, config
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.cli import main
from yoloscope_exporter.client.exporter import Exporter
from yoloscope_exporter.client.prometheus import SourceError
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.commands.top import LiveView
from yoloscope_exporter.sampling.exposition import Form, Renderer
from yoloscope_exporter.service.exporter import running

from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.diagnosis.engine import Diagnosis


def test_one_frame_of_a_running_exporter() -> None:
    """`--once` prints and ends."""
    settings = config.resolve(serve, ["--web.listen-address=127.0.0.1:0", "--sample.interval=200ms"])
    with running(settings) as exporter:
        arguments = ["top", "--once", "--interval", "300ms", "--exporter", exporter.server.url]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert exporter.server.url in result.output
    assert "CPU" in result.output
    assert "no runs here" in result.output


def test_a_silent_exporter_is_said_and_waited_for() -> None:
    """What was known stays; the screen says what is wrong until it answers again."""

    def silent() -> str:
        raise SourceError("node7 does not answer")

    watch = LiveView(Exporter("node7", lambda: "yoloscope_snapshot_timestamp_seconds 5\n", lambda: ()))
    watch.poll()
    assert watch.store.last == 5
    watch.source = Exporter("node7", silent, lambda: ())
    watch.poll()
    assert "node7 does not answer; trying again" in str(watch.frame())
    assert watch.store.last == 5


def test_an_exporter_without_a_diagnosis_gets_one() -> None:
    """Switched off, or simulated: the metrics are enough to judge by."""

    def none() -> tuple[Diagnosis, ...]:
        raise SourceError("no such page", 404)

    texts = iter(_expositions(Plan(workers=1, epochs=1, batches=120)))
    watch = LiveView(Exporter("node7", lambda: next(texts), none))
    for _ in range(30):
        watch.poll()
    assert watch.problem == ""
    assert [verdict.name for verdict in watch.diagnoses[0].verdicts] == ["loader_workers"]


def _expositions(plan: Plan) -> Iterator[str]:
    for moment, samples in moments(plan, 1.0):
        stamp = Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), moment)
        yield Renderer().render([*samples, stamp]).get(Form(openmetrics=True)).decode()


def test_once_fails_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script sees it by the exit code."""

    def gone(view: LiveView) -> None:
        view.problem = "node7 does not answer"

    monkeypatch.setattr(LiveView, "poll", gone)
    settings = config.resolve(serve, ["--web.listen-address=127.0.0.1:0", "--sample.interval=200ms"])
    with running(settings) as exporter:
        result = CliRunner().invoke(main, ["top", "--once", "--interval", "200ms", "--exporter", exporter.server.url])
    assert result.exit_code == 2
    assert "Error: node7 does not answer" in result.output


def test_a_wrong_address_is_one_line() -> None:
    """Exit code 2."""
    result = CliRunner().invoke(main, ["top", "--exporter", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "does not answer" in result.output


@pytest.mark.parametrize("interval", ["0s", "fast"])
def test_bad_intervals_are_refused(interval: str) -> None:
    """With the allowed notation in the message."""
    result = CliRunner().invoke(main, ["top", "--interval", interval])
    assert result.exit_code == 2
    assert "Error:" in result.output
