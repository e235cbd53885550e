"""`yoloscope stacks`: what each process of a run does now."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from click.testing import CliRunner
from yoloscope_exporter.cli import main

from tests.exporter.collectors.stack_process import RUN, process
from tests.exporter.language.leftovers import english

if TYPE_CHECKING:
    from pathlib import Path

HANG = "def wait_forever(): time.sleep(99)\nwait_forever()"


def test_shows_stacks_and_who_is_waited_for(tmp_path: Path) -> None:
    """Of the newest run, or of the one that is named; the second time the first answer is shown again."""
    with process(tmp_path, HANG) as child:
        for arguments in ([], [RUN]):
            shown = CliRunner().invoke(main, ["stacks", *arguments, "--records", str(tmp_path)])
            assert shown.exit_code == 0, shown.output
            assert f"rank 0 main (pid {child.pid}, S)\n  main thread\n    wait_forever (<string>:" in shown.output
            assert re.search(
                rf"(?m)^rank 0, main \(pid {child.pid}\), .*: wait_forever \(<string>:\d+\)$", shown.output
            )
        box = CliRunner().invoke(main, ["report", "--black-box", RUN, "--records", str(tmp_path)])
        assert "the last stacks, from when somebody asked:\nrank 0 main" in box.output
        assert "wait_forever (<string>:" in box.output


def test_in_chinese(tmp_path: Path) -> None:
    """But for names of functions, files and states."""
    with process(tmp_path, HANG) as child:
        shown = CliRunner().invoke(main, ["stacks", "--language", "zh-CN", "--records", str(tmp_path)])
        assert f"rank 0 main（pid {child.pid}，S）" in shown.output
        assert english(shown.output) == []
    with process(tmp_path, HANG, environ={"YOLOSCOPE_STACKS": "off"}):
        shown = CliRunner().invoke(main, ["stacks", RUN, "--language", "zh-CN", "--records", str(tmp_path)])
    assert english(shown.output) == []


def test_says_why_there_is_no_answer(tmp_path: Path) -> None:
    """A run whose hooks do not answer."""
    with process(tmp_path, HANG, environ={"YOLOSCOPE_STACKS": "off"}):
        shown = CliRunner().invoke(main, ["stacks", RUN, "--records", str(tmp_path)])
    assert shown.exit_code == 1
    assert "  no answer\n" in shown.output
    assert "or runs without these hooks" in shown.output


def test_an_unknown_run_is_an_error(tmp_path: Path) -> None:
    """In one line."""
    for arguments in (["stacks"], ["stacks", "nobody"]):
        shown = CliRunner().invoke(main, [*arguments, "--records", str(tmp_path)])
        assert shown.exit_code == 2
        assert len(shown.output.splitlines()) == 1
