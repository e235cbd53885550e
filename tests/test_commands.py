"""How all commands behave: their documented help, completion, colours, and names that are misspelt."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import COMMANDS, main

from docs import commands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROGRAM = [sys.executable, "-c", "from yoloscope_exporter.cli import main; main(prog_name='yoloscope')"]


@pytest.mark.parametrize("language", commands.PAGES)
def test_the_page_is_what_commands_print(language: str) -> None:
    """Written by `make generate`."""
    path = commands.HERE / commands.PAGES[language]
    assert path.read_text(encoding="utf-8") == commands.page(language)


@pytest.mark.parametrize("language", commands.PAGES)
def test_the_page_has_every_command(language: str) -> None:
    """With its options; and the codes that a help names stand in the table above."""
    page = commands.page(language)
    assert [line.removeprefix("## ") for line in page.splitlines() if line[3:] in COMMANDS] == list(COMMANDS)
    table = page.partition("```")[0]
    for name in ("diagnose", "report --gate", "check", "stacks", "notify --check", "bundle --check", "tune", "run"):
        assert f"| `{name}` |" in table


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["reprot"], "no such command 'reprot'; did you mean report?"),
        (["xyzzy", "--help"], "no such command 'xyzzy' (see yoloscope --help)"),
    ],
)
def test_a_misspelt_command(words: list[str], told: str) -> None:
    """One line with the nearest, and exit code 2."""
    result = CliRunner().invoke(main, words, prog_name="yoloscope")
    assert result.exit_code == 2
    assert told in result.output
    assert len(result.output.splitlines()) == 1


def test_completion() -> None:
    """As the shell asks for it: commands by their beginning, and options of a command."""
    for words, place, expected in (("yoloscope re", "1", "report"), ("yoloscope bundle --gr", "2", "--grafana-url")):
        environ = {**os.environ, "_YOLOSCOPE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
        done = subprocess.run(PROGRAM, env=environ, capture_output=True, text=True, check=True)
        assert f"plain,{expected}" in done.stdout.splitlines()


def _on_a_terminal(words: list[str], environ: Mapping[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen([*PROGRAM, *words], stdout=its, stderr=its, stdin=its, env=environ) as process:
        os.close(its)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # the other end is closed
            pass
        process.wait(60)
    os.close(ours)
    return said.decode(errors="replace")


@pytest.mark.parametrize("variable", [{}, {"NO_COLOR": "1"}])
def test_colours_are_left_out_where_nobody_wants_them(tmp_path: Path, variable: dict[str, str]) -> None:
    """On a terminal `check` is coloured, but not under NO_COLOR."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLORTERM"}}
    environ = {**kept, "TERM": "xterm-256color", "YOLOSCOPE_DIR": str(tmp_path), **variable}
    said = _on_a_terminal(["check", "--python", "true"], environ)  # PyTorch would take seconds to say what it has
    assert "records" in said
    assert ("\x1b[3" in said) == (not variable)
