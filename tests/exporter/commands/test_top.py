"""`yoloscope top`: one frame for scripts, a live one, a silent exporter."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter import catalog, config
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.cli import main
from yoloscope_exporter.client.exporter import Exporter
from yoloscope_exporter.client.prometheus import SourceError
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.commands.top import DIAGNOSES_SECONDS, KEPT_SECONDS, LiveView
from yoloscope_exporter.sampling.exposition import Form, Renderer
from yoloscope_exporter.service.exporter import running
from yoloscope_exporter.terminal.navigation import View

from tests.exporter.simulated import node, simulated
from tests.recordings.cases import FOLDER
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


def test_before_anything_was_told_there_is_nothing_to_see() -> None:
    """An exporter that went away between being found and being asked."""
    watch = LiveView(Exporter("node7", lambda: "", lambda: ()))
    assert watch.at(View()).ranks() == []
    assert (watch.scene(View()).start, watch.scene(View()).end) == (0.0, 0.0)


def test_live_is_looked_back_at() -> None:
    """What a minute ago was known: its figures, its verdicts, its events, and nothing of what came after."""
    texts = iter(_expositions(Plan(workers=1, epochs=1, batches=200)))
    watch = LiveView(Exporter("node7", lambda: next(texts), _none))
    for _ in range(30):
        watch.poll()
    now, early = watch.at(View()), watch.at(View(moment=watch.store.first + 3))
    assert [verdict.name for one in now.diagnoses for verdict in one.verdicts] == ["loader_workers"]
    assert [verdict.name for one in early.diagnoses for verdict in one.verdicts] == []
    assert early.window.end == watch.store.first + 3
    assert any("loader_workers began" in event.text for event in now.events)
    assert not any("loader_workers" in event.text for event in early.events)
    scene = watch.scene(View())
    assert (scene.start, scene.end, scene.recorded) == (watch.store.first, watch.store.last, False)


def test_live_keeps_a_quarter_of_an_hour() -> None:
    """And no more, however long it runs: of samples and of diagnoses."""
    times = iter(range(0, 4000, 4))
    watch = LiveView(Exporter("node7", lambda: f"yoloscope_snapshot_timestamp_seconds {next(times)}\n", lambda: ()))
    for _ in range(1000):
        watch.poll()
    assert watch.scene(View()).start == 3996 - KEPT_SECONDS
    assert watch.past[0][0] >= 3996 - KEPT_SECONDS
    assert len(watch.past) <= KEPT_SECONDS / DIAGNOSES_SECONDS + 1


def test_an_exporter_without_a_diagnosis_gets_one() -> None:
    """Switched off, or simulated: the metrics are enough to judge by."""
    texts = iter(_expositions(Plan(workers=1, epochs=1, batches=120)))
    watch = LiveView(Exporter("node7", lambda: next(texts), _none))
    for _ in range(30):
        watch.poll()
    assert watch.problem == ""
    assert [verdict.name for verdict in watch.diagnoses[0].verdicts] == ["loader_workers"]


def _none() -> tuple[Diagnosis, ...]:
    raise SourceError("no such page", 404)


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


# --- recordings, with keys ------------------------------------------------------------------------------------------


def test_a_recordings_end_for_scripts() -> None:
    """Where nobody presses keys the last moment is printed."""
    result = CliRunner().invoke(main, ["top", "--recording", str(FOLDER / "killed_oom.om.gz")])
    assert result.exit_code == 0, result.output
    assert "killed_oom.om.gz" in result.output
    assert "out_of_memory_kill" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recording", __file__], "no samples of yoloscope with a timestamp in it"),
        (["--recording", "no-such-file"], "does not exist"),
        (["--recording", __file__, "--exporter", "node7"], "choose one of --exporter and --recording"),
    ],
)
def test_bad_recordings_are_refused(arguments: list[str], said: str) -> None:
    """In one line."""
    result = CliRunner().invoke(main, ["top", *arguments])
    assert result.exit_code == 2
    assert said in result.output


class Terminal:
    """`yoloscope top` in a terminal of 80 columns: what it shows, and keys for it."""

    def __init__(self, *arguments: str) -> None:
        """Start it."""
        self.ours, self.its = os.openpty()
        self.before = termios.tcgetattr(self.its)
        self.mouse = False
        command = [sys.executable, "-m", "yoloscope_exporter.cli", "top", *arguments]
        environment = os.environ | {
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            "TZ": "UTC-05:30",
            "COLUMNS": "80",
            "LINES": "40",
        }
        self.process = subprocess.Popen(command, stdin=self.its, stdout=self.its, stderr=self.its, env=environment)

    def shows(self, said: str, seconds: float = 20.0) -> str:
        """Wait until the newest screen has a text, and return it, without its styles."""
        seen, end = b"", time.monotonic() + seconds
        while said not in (
            newest := re.sub(r"\x1b\[[0-9;]*m", "", seen.rpartition(b"\x1b[H")[2].decode(errors="replace"))
        ):
            assert select.select([self.ours], [], [], end - time.monotonic())[0], f"{said} never came: {newest}"
            seen += self._read()
        return newest

    def _read(self) -> bytes:
        some = os.read(self.ours, 1 << 16)
        for mode in re.findall(rb"\x1b\[\?1006([hl])", some):
            self.mouse = mode == b"h"
        return some

    def press(self, keys: str) -> None:
        """As somebody at the keyboard."""
        os.write(self.ours, keys.encode())

    def ends(self) -> int:
        """Its exit code; what it still prints is read meanwhile."""
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.ours], [], [], 0.05)[0]:
                self._read()
        while select.select([self.ours], [], [], 0.05)[0]:
            self._read()
        return self.process.wait(1)

    def close(self) -> None:
        """End it if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.its)


@pytest.fixture
def replay() -> Iterator[Terminal]:
    """A recording of two ranks in a terminal."""
    with closing(Terminal("--recording", str(FOLDER / "straggler.om.gz"))) as terminal:
        yield terminal


def test_keys_move_through_a_recording(replay: Terminal) -> None:
    """Stop it, jump, choose the other rank, ask for help, leave: the terminal is as it was before."""
    replay.shows("19:43:15+05:30")  # local time
    replay.press(" ")
    replay.shows("⏸ 19:43:1")
    replay.press("G<<")
    assert "▸ train/yolo11m    0" in replay.shows("⏸ 19:46:20")
    replay.press("\x1b[B")
    assert "▸ train/yolo11m    1" in replay.shows("train/yolo11m · rank 1")
    replay.press("?")
    assert "another run or rank" in replay.shows("any key goes back")
    replay.press("x\x1b[D")
    replay.shows("⏸ 19:46:10")
    replay.press("\x1b[<0;10;3M\x1b[<0;10;3m")  # the mouse
    assert "▸ train/yolo11m    0" in replay.shows("train/yolo11m · rank 0")
    assert replay.mouse
    replay.press("q")
    assert replay.ends() == 0
    assert not replay.mouse
    assert termios.tcgetattr(replay.its) == replay.before


def test_a_live_view_is_frozen_and_followed_again() -> None:
    """In Chinese; two ranks that wait for data, with the users of their GPUs."""
    with (
        simulated(node("starved", gpus=2, workers=2)) as made,
        closing(Terminal("--language", "zh-CN", "--interval", "200ms", "--exporter", made.url)) as terminal,
    ):
        terminal.shows("实时")
        assert "GPU 1" in terminal.shows("PID")
        terminal.press(" ")
        frozen = re.findall(r"冻结在 ([\d:]+)", terminal.shows("空格 继续"))
        terminal.press("s")
        terminal.shows("结论 ▾")
        assert re.findall(r"冻结在 ([\d:]+)", terminal.shows("空格 继续")) == frozen
        terminal.press("\x1b[F")  # End
        terminal.shows("实时")
        terminal.press("q")
        assert terminal.ends() == 0


def test_ctrl_c_gives_the_terminal_back(replay: Terminal) -> None:
    """As a request to end does."""
    replay.shows("? keys")
    assert termios.tcgetattr(replay.its) != replay.before  # keys are read without Enter
    replay.process.send_signal(signal.SIGTERM)
    assert replay.ends() == 0
    assert termios.tcgetattr(replay.its) == replay.before
