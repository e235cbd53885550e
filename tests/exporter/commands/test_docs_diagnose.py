"""docs/diagnose.md, in both languages: what its examples show is what the commands print.

python -m tests.exporter.commands.test_docs_diagnose    # writes the examples anew
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / name for name in ("diagnose.md", "diagnose.zh-CN.md")]
EXAMPLE = re.compile(r"```console\n\$ yoloscope (?P<command>.*)\n(?P<shown>(?:.*\n)*?)```\n")


def printed(command: str) -> str:
    """What a command prints; of a report the comparison, with which it begins."""
    arguments = [str(ROOT / part) if part.startswith("tests/") else part for part in shlex.split(command)]
    text = CliRunner().invoke(main, arguments).output
    return (text.partition("\n# ")[0] if arguments[0] == "report" else text).strip("\n") + "\n"


def renewed(page: str) -> str:
    """The page with the output of today's commands."""
    return EXAMPLE.sub(lambda found: f"```console\n$ yoloscope {found[1]}\n{printed(found[1])}```\n", page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_show_what_the_commands_print(page: Path) -> None:
    """Letter by letter, for each example of the page."""
    text = page.read_text(encoding="utf-8")
    assert len(EXAMPLE.findall(text)) >= 4
    assert text == renewed(text), "python -m tests.exporter.commands.test_docs_diagnose"


if __name__ == "__main__":
    for document in PAGES:
        document.write_text(renewed(document.read_text(encoding="utf-8")), encoding="utf-8")
