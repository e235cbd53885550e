"""docs/diagnosis.md and the table of rules."""

from __future__ import annotations

from yoloscope_exporter.diagnosis import document, rules


def test_document_is_current() -> None:
    """The committed file is what the table generates."""
    assert document.DEFAULT.read_text(encoding="utf-8") == document.document(), "make generate"


def test_every_verdict_has_its_section() -> None:
    """With a cause, a way to verify it and a remedy."""
    sections = document.document().split("\n## ")
    for rule in rules.RULES:
        (section,) = (text for text in sections if text.startswith(f"{rule.name}\n"))
        for part in ("**Cause**: ", "**Verify**: `", "**Remedy**: "):
            assert len(section.split(part)[1].split("\n")[0]) > 10, (rule.name, part)
