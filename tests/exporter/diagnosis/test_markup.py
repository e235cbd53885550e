"""Somebody else's text in Markdown stays text, as a renderer sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from yoloscope_exporter.diagnosis import markup
from yoloscope_exporter.diagnosis.slow_files import SlowFile
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.markdown import comparison_markdown, summary_markdown
from yoloscope_exporter.reports.summary import summarize
from yoloscope_exporter.terminal.diagnosis import to_markdown

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from markdown_it.token import Token

HOSTILE = (
    "![x](http://evil/p.png)",
    "[click](http://evil)",
    "<img src=x onerror=alert(1)>",
    "<http://evil>",
    "a|b\\|c",
    "`rm -rf`",
    "**bold** ``x` [",
    "\\[x](http://evil)",
    "[x]: http://evil",
)


def tokens(found: Iterable[Token]) -> Iterator[Token]:
    """And those within."""
    for one in found:
        yield one
        yield from tokens(one.children or ())


def rendered(text: str) -> list[Token]:
    """As a ticket or a wiki does."""
    return list(tokens(MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)))


def assert_harmless(text: str) -> None:
    """No tag, link or picture, and a row of a table for each line of one."""
    kinds = [one.type for one in rendered(text)]
    assert not set(kinds) & {"link_open", "image", "html_inline", "html_block"}, text
    assert kinds.count("tr_open") == sum(line.startswith("| ") and "| ---" not in line for line in text.splitlines())


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_name_is_shown_as_it_is(hostile: str) -> None:
    """Whatever it looks like."""
    found = rendered(f"# {markup.name(hostile)}")
    assert "".join(one.content for one in found if one.type in {"text", "text_special"}) == hostile
    assert {one.type for one in found} <= {"heading_open", "heading_close", "inline", "text", "text_special"}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_reports_and_diagnoses(hostile: str) -> None:
    """Names of runs, facts, files, causes."""
    store = play(Plan(workers=1, epochs=1, batches=60))
    (found,) = diagnose_range([store]).diagnoses
    verdicts = tuple(replace(one, evidence=hostile, cause=hostile, fix=hostile) for one in found.verdicts)
    assert verdicts
    told = replace(found, run=hostile, verdicts=verdicts, slow_files=(SlowFile(hostile, "0", 1.0),))
    assert_harmless(to_markdown([told], (hostile,), verbose=True))
    summary = replace(
        summarize([store], found.run),
        run=hostile,
        notes=(hostile,),
        verdicts=tuple((hostile, verdict) for verdict in verdicts),
        facts={"model": hostile, "data": "x"},
        slow_files=(SlowFile(hostile, "0", 1.0),),
    )
    assert_harmless(summary_markdown(summary))
    assert_harmless(comparison_markdown(compare([summary], [replace(summary, facts={"model": "y", "data": hostile})])))
