"""docs/metrics.md and the catalogue."""

from __future__ import annotations

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import document


def test_document_is_current() -> None:
    """The committed file is what the catalogue generates."""
    assert document.DEFAULT.read_text(encoding="utf-8") == document.document(), "make generate"


def test_every_metric_is_documented_once() -> None:
    """Each metric of the catalogue has one row."""
    text = document.document()
    assert [metric.name for metric in catalog.METRICS if text.count(f"| `{metric.name}` |") != 1] == []
