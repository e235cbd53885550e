"""`yoloscope top`: one frame for scripts, a live one, a silent exporter."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from yoloscope_exporter import config, nearby
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import serve
from yoloscope_exporter.commands.top import Watch
from yoloscope_exporter.diagnosis.sources import SourceError


def test_one_frame_of_a_running_exporter() -> None:
    """`--once` prints and ends."""
    settings = config.resolve(serve.serve, ["--web.listen-address=127.0.0.1:0", "--sample.interval=200ms"])
    with serve.running(settings) as exporter:
        arguments = ["top", "--once", "--interval", "300ms", "--exporter", exporter.server.url]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert exporter.server.url in result.output
    assert "CPU" in result.output
    assert "no training here" in result.output


def test_a_silent_exporter_is_said_and_waited_for() -> None:
    """What was known stays; the screen says what is wrong until it answers again."""

    def silent() -> str:
        raise SourceError("node7 does not answer")

    watch = Watch(nearby.Exporter("node7", lambda: "yoloscope_snapshot_timestamp_seconds 5\n", lambda: ()))
    watch.look()
    assert watch.store.last == 5
    watch.source = nearby.Exporter("node7", silent, lambda: ())
    watch.look()
    assert "node7 does not answer; trying again" in str(watch.frame())
    assert watch.store.last == 5


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
