"""Photographs an HTML report on two real trainings of the tests' recordings: `python -m docs.pictures.report`.

Wants Chromium. Both were trained on an H200: one with too few loader workers, one with enough (tests/recordings/real).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from click.testing import CliRunner
from yoloscope_exporter.cli import main as yoloscope

from docs.pictures.live_page import shrink
from tests.chromium import chromium

HERE = Path(__file__).parent
RECORDINGS = HERE.parents[1] / "tests/recordings/real"
RUNS = ("gpu_few_workers.om.gz", "gpu_fed.om.gz")
WIDTH, HEIGHT = 1366, 1500


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
        tab.picture(HERE / "report.png")
    shrink(HERE / "report.png")


if __name__ == "__main__":
    main()
