"""docs/metrics.md and the catalogue."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import document


@pytest.mark.parametrize(("language", "name"), document.NAMES.items())
def test_document_is_current(language: str, name: str) -> None:
    """The committed files are what the catalogue generates."""
    committed = (document.FOLDER / name).read_text(encoding="utf-8")
    assert committed == document.document(language), "make generate"


def test_every_metric_is_documented_once() -> None:
    """Each metric of the catalogue has one row."""
    text = document.document()
    assert [metric.name for metric in catalog.METRICS if text.count(f"| `{metric.name}` |") != 1] == []
