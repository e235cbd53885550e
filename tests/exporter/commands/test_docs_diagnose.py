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
from yoloscope_exporter.language import CHINESE, ENGLISH, VARIABLE

from tests.zone import local_time

ROOT = Path(__file__).parents[3]
PAGES = {ROOT / "docs/diagnose.md": ENGLISH, ROOT / "docs/diagnose.zh-CN.md": CHINESE}
EXAMPLE = re.compile(r"```console\n\$ yoloscope (?P<command>.*)\n(?P<shown>(?:.*\n)*?)```\n")


def printed(command: str, language: str) -> str:
    """What a command prints in a language, in UTC; of a report the comparison, with which it begins."""
    arguments = [str(ROOT / part) if part.startswith("tests/") else part for part in shlex.split(command)]
    with local_time("UTC"):
        text = CliRunner(env={VARIABLE: language}).invoke(main, arguments).output
    return (text.partition("\n# ")[0] if arguments[0] == "report" else text).strip("\n") + "\n"


def renewed(page: str, language: str) -> str:
    """The page with the output of today's commands."""
    return EXAMPLE.sub(lambda found: f"```console\n$ yoloscope {found[1]}\n{printed(found[1], language)}```\n", page)


@pytest.mark.parametrize(("page", "language"), PAGES.items(), ids=PAGES.values())
def test_examples_show_what_the_commands_print(page: Path, language: str) -> None:
    """Letter by letter, for each example of the page."""
    text = page.read_text(encoding="utf-8")
    assert len(EXAMPLE.findall(text)) >= 4
    assert text == renewed(text, language), "python -m tests.exporter.commands.test_docs_diagnose"


if __name__ == "__main__":
    for document, spoken in PAGES.items():
        document.write_text(renewed(document.read_text(encoding="utf-8"), spoken), encoding="utf-8")
