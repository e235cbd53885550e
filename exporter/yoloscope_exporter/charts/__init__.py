"""Charts in pages: uPlot, vendored with its licence, and what the live page and reports share of drawing with it."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

#: In the order in which a page needs them.
SCRIPTS: Final = ("vendored/uPlot.iife.min.js", "charts.js")
STYLES: Final = ("vendored/uPlot.min.css",)


def read(name: str) -> bytes:
    """One of the files."""
    return files("yoloscope_exporter.charts").joinpath(*name.split("/")).read_bytes()
