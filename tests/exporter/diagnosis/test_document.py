"""docs/diagnosis.md and the table of rules."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis import document, rules


@pytest.mark.parametrize(("language", "name"), document.NAMES.items())
def test_document_is_current(language: str, name: str) -> None:
    """The committed files are what the table generates."""
    committed = (document.FOLDER / name).read_text(encoding="utf-8")
    assert committed == document.document(language), "make generate"


def test_every_verdict_is_told_apart_from_others() -> None:
    """The table has a row for each, and names only verdicts that there are, or what is none."""
    table = document.document().split("## Told apart")[1].split("\n## ")[0]
    for rule in rules.RULES:
        assert f"| [`{rule.name}`](#{rule.name}) | {rule.requires} |" in table
        assert rule.confused_with
        others = set(rule.confused_with) - set(rules.BY_NAME)
        assert others <= {"healthy", "validation", "desktop", "another container"}, rule.name


def test_every_verdict_has_its_section() -> None:
    """With a cause, a way to verify it and a remedy."""
    sections = document.document().split("\n## ")
    for rule in rules.RULES:
        (section,) = (text for text in sections if text.startswith(f"{rule.name}\n"))
        for part in ("**Cause**: ", "**Verify**: `", "**Remedy**: ", "**Evidence it needs**: "):
            assert len(section.split(part)[1].split("\n")[0]) > 10, (rule.name, part)


def test_every_computed_cause_says_what_it_can_be() -> None:
    """Its docstring is the text of the page."""
    assert [rule.name for rule in rules.RULES if not document.cause(rule)] == []
