"""Photographs an HTML report on two of the tests' modelled recordings: `python -m docs.pictures.report`.

Wants Chromium. The recordings are those of docs/diagnose.md: one loader worker, and eight.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from click.testing import CliRunner
from yoloscope_exporter.cli import main as yoloscope

from docs.pictures.live_page import shrink
from tests.chromium import chromium

HERE = Path(__file__).parent
RECORDINGS = HERE.parents[1] / "tests/recordings"
RUNS = ("loader_workers.om.gz", "healthy_single.om.gz")
WIDTH, HEIGHT = 1100, 1750


def written(page: Path) -> None:
    """The report as an HTML file, in English.

    Raises:
        RuntimeError: there is none.
    """
    runs = [str(RECORDINGS / name) for name in RUNS]
    done = CliRunner(env={"YOLOSCOPE_LANGUAGE": "en"}).invoke(yoloscope, ["report", *runs, "--html", str(page)])
    if done.exit_code:
        raise RuntimeError(done.output)


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile") as tab:
        page = Path(folder) / "report.html"
        written(page)
        tab.size(WIDTH, HEIGHT)
        tab.scheme("light")
        tab.go(page.as_uri())
        tab.wait("document.querySelector('canvas')")
        tab.pause(1)
        tab.picture(HERE / "report.png", whole=False)
    shrink(HERE / "report.png")


if __name__ == "__main__":
    main()
