"""The card: at most fifteen lines of the terminal's width, whatever is told."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.reports.ending import Line
from yoloscope_exporter.terminal.card import LINES, MOST, NARROWEST, rendered

ENGLISH = "word " * 200
CHINESE = "数据加载进程等待磁盘" * 60


@pytest.mark.parametrize("width", [1, 40, 80, 200])
@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "x" * 1000], ids=["english", "chinese", "one word"])
def test_fits(width: int, text: str) -> None:
    """Every kind with far too much text."""
    lines = [Line(kind, "" if kind == "figures" else "诊断结论", text, rules.WARNING) for kind in MOST]
    shown = rendered(text, lines, good=True, width=width, terminal=False).splitlines()
    assert len(shown) == LINES == 15
    assert max(map(cell_len, shown)) <= max(width, NARROWEST)
    assert shown[-1].endswith("…")


def test_looks_like_this() -> None:
    """Names on the left, texts below each other, nothing cut that fits."""
    lines = [
        Line("figures", "", "epochs 3/3 · images/s 120.0"),
        Line("verdict", "Verdict", "loader_workers: workers are busy all the time", rules.WARNING),
        Line("fix", "Fix", "workers=8"),
    ]
    assert rendered("train/x finished", lines, good=True, width=40, terminal=False).splitlines() == [
        "train/x finished ───────────────────────",
        "epochs 3/3 · images/s 120.0",
        "Verdict  loader_workers: workers are",
        "         busy all the time",
        "Fix      workers=8",
    ]


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is the same without."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = Line("verdict", "Verdict", "loader_workers", rules.WARNING)
    assert "\x1b[" in rendered("train", [line], good=False, width=80, terminal=True)
    assert "\x1b[" not in rendered("train", [line], good=False, width=80, terminal=False)


def test_nothing_in_it_commands_a_terminal() -> None:
    """Names of runs and paths are anybody's, and no markup."""
    shown = rendered(
        "a\x1b[2Jb", [Line("fix", "Fix", "c\x07\r\nd [bold]e[/bold]")], good=True, width=80, terminal=False
    )
    assert not set(shown) & {"\x1b", "\x07", "\r"}
    assert "[bold]e[/bold]" in shown
