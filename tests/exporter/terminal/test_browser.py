"""The screen of `top` in a terminal."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from yoloscope_exporter.commands.top import Replay
from yoloscope_exporter.language import CHINESE, ENGLISH, speaking
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal import browser, navigation, overview
from yoloscope_exporter.terminal.keys import Click
from yoloscope_exporter.terminal.navigation import View

from tests.recordings.cases import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture(scope="module")
def straggler() -> Replay:
    """A recording of two ranks."""
    return Replay("straggler.om.gz", reader.read(FOLDER / "straggler.om.gz"))


def seen(
    replay: Replay, keys: Iterable[str | Click], language: str = ENGLISH, height: int = 40, **more: Any
) -> list[str]:
    """The lines of the screen after some keys."""
    console = Console(file=io.StringIO(), width=80, height=height, color_system=None, force_terminal=True)
    view = navigation.begun(replay.scene(View()))
    with speaking(language):
        for key in [*keys, None]:
            moment = replay.at(view)
            rows = overview.ordered(overview.rows(moment), view.order)
            scene = replay.scene(view)._replace(ranks=[row.key for row in rows])
            if isinstance(key, Click):
                shown = browser.browsed(moment, rows, view, scene, spans=replay.spans(view), **more)
                view = shown.clicked(console, view, key, scene)
            elif key:
                view = navigation.pressed(view, key, scene)
        console.print(browser.browsed(moment, rows, view, scene, spans=replay.spans(view), **more), end="")
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().split("\n")]


def test_the_chosen_rank_in_full(straggler: Replay) -> None:
    """All ranks in the table, details of one, the foot at the bottom of the terminal."""
    lines = seen(straggler, ["G", "<", "down"])
    assert len(lines) == 40
    assert [line[:2] for line in lines[1:4]] == ["  ", "  ", "▸ "]
    assert [line for line in lines if "· rank" in line and "─" in line] == [lines[4]]
    assert lines[4].startswith("train/yolo11m · rank 1")
    assert "┃" in lines[-2]
    assert lines[-1].startswith("▶ ")
    assert "x1" in lines[-1]


def test_a_low_terminal_is_scrolled(straggler: Replay) -> None:
    """Head and foot stay; the end of the details is the end."""
    keys = ["G", "<"]
    low, lower = (seen(straggler, [*keys, *more], height=15) for more in ([], ["page down"]))
    assert (low[0], low[-1]) == (lower[0], lower[-1])
    assert low[11] == lower[1]
    last = seen(straggler, [*keys, *["page down"] * 50], height=15)
    assert len(last) == 15
    assert last[-3]  # no blank line below the last event


def test_a_row_is_chosen_by_a_click(straggler: Replay) -> None:
    """Below the table's heads, also where a problem stands above them; elsewhere nothing happens."""
    begin = ["G", "<"]
    assert [line[:2] for line in seen(straggler, [*begin, Click(30, 3)])[1:4]] == ["  ", "  ", "▸ "]
    assert [line[:2] for line in seen(straggler, [*begin, Click(30, 3), Click(0, 2)])[1:4]] == ["  ", "▸ ", "  "]
    for elsewhere in (Click(30, 0), Click(30, 1), Click(30, 4), Click(30, 25), Click(30, 39), Click(0, 99)):
        assert seen(straggler, [*begin, elsewhere]) == seen(straggler, begin)
    told = seen(straggler, [*begin, Click(30, 4)], problem="node7 does not answer")
    assert [line[:2] for line in told[2:5]] == ["  ", "  ", "▸ "]
    low = seen(straggler, [*begin, "down", "wheel down", Click(30, 0), Click(5, 1)], height=15)  # heads are above
    assert low[1:3] == seen(straggler, [*begin, "down", "wheel down", "wheel down", "wheel up"], height=15)[1:3]


def test_a_time_is_chosen_by_a_click(straggler: Replay) -> None:
    """On the bar of a recording; its ends are the recording's."""
    foot = seen(straggler, ["G"])[-2]
    bar = foot.index(" ", foot.index(" ") + 1) + 1  # behind date and time
    long = len(foot.rstrip()) - bar - len(foot.split()[-1]) - 1
    times = [seen(straggler, ["G", Click(bar + at, 38)])[-1].split()[1] for at in (0, long // 2, long - 1)]
    assert times == sorted(times)
    assert len(set(times)) == 3
    assert seen(straggler, ["G", Click(bar - 1, 38)]) == seen(straggler, ["G"])


def test_help_names_the_keys(straggler: Replay) -> None:
    """In both languages."""
    assert any("freeze, and go on" in line for line in seen(straggler, "?"))
    chinese = seen(straggler, "?", CHINESE)
    assert any("冻结" in line for line in chinese)
    words = set(re.findall(r"[A-Za-z]{3,}", " ".join(chinese[1:-2])))
    assert words == {"rank", "PgUp", "PgDn", "Home", "End", "Ctrl", "Shift"}


@pytest.mark.parametrize("keys", [[], ["G", "<", "s"], ["G", "<", "s", "s", "s", " ", "+"]])
def test_it_speaks_chinese(straggler: Replay, keys: list[str]) -> None:
    """The table's heads, the foot, whatever is sorted by."""
    foot = seen(straggler, keys, CHINESE)[-1]
    assert "按键" in foot
    assert re.findall(r"[a-z]{3,}", foot.replace("rank", "")) == []


def test_a_problem_is_told_above_what_was_known(straggler: Replay) -> None:
    """An exporter that does not answer."""
    lines = seen(straggler, ["G", "<"], problem="node7 does not answer")
    assert lines[1] == "node7 does not answer; trying again"
    assert any("· rank 0" in line for line in lines)


def test_it_fits_any_width(straggler: Replay) -> None:
    """Nothing is wider than the terminal."""
    assert max(map(len, seen(straggler, ["G", "<"], width=80))) <= 80
