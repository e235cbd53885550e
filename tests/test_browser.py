"""The reports people open, in a browser: nothing is fetched, nothing is wider than the screen, plots have a size."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main

from tests.conftest import require_binary
from tests.recordings import cases

if TYPE_CHECKING:
    from pathlib import Path

#: Asks the page itself, and leaves the answer in its title.
QUESTION = """
<script>addEventListener("load", () => {
  const root = document.documentElement
  const plots = [...document.querySelectorAll("svg")].map(plot => plot.getBoundingClientRect())
  const rows = [...document.querySelectorAll("tr")].filter(row => row.children.length)
  document.title = JSON.stringify({
    language: root.lang,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
    overflow: root.scrollWidth - root.clientWidth,
    plots: plots.length,
    flat: plots.filter(box => box.width < 20 || box.height < 8).length,
    outside: plots.filter(box => box.right > root.clientWidth + 1).length,
    ragged: rows.filter(row => !row.textContent.trim()).length,
    quirks: document.compatMode != "CSS1Compat",
  })
})</script></body>"""


def _report(folder: Path, *recordings: str) -> str:
    page = folder / "report.html"
    done = CliRunner().invoke(main, ["report", *(str(cases.path(name)) for name in recordings), "--html", str(page)])
    assert done.exit_code == 0, done.output
    return page.read_text(encoding="utf-8")


def _answer(folder: Path, page: str, width: int) -> dict[str, Any]:
    """What the page says of itself in a window of this width, in pixels."""
    assert page.count("</body>") == 1
    file = folder / "page.html"
    file.write_text(page.replace("</body>", QUESTION), encoding="utf-8")
    command = [require_binary("chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    command += [
        f"--user-data-dir={folder / 'me'}",
        f"--window-size={width},800",
        "--virtual-time-budget=2000",
        "--dump-dom",
        file.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"<title>(\{.*?\})</title>", dom)
    assert found, dom[:2000]
    answer: dict[str, Any] = json.loads(found[1])
    return answer


@pytest.mark.parametrize("recordings", [("straggler",), ("loader_workers", "healthy_single")], ids=["one", "two"])
@pytest.mark.parametrize("width", [500, 1280])
def test_report(tmp_path: Path, recordings: tuple[str, ...], width: int) -> None:
    """One file with plots, of one run and of two."""
    answer = _answer(tmp_path, _report(tmp_path, *recordings), width)
    assert (answer["fetched"], answer["overflow"], answer["quirks"]) == ([], 0, False)
    assert answer["plots"] > 2
    assert (answer["flat"], answer["outside"], answer["ragged"]) == (0, 0, 0)
