"""The table of runs and ranks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, Group
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures import training
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal import navigation, overview, screen
from yoloscope_exporter.terminal.overview import Row

from tests.recordings.cases import FOLDER

STRAGGLER = FOLDER / "straggler.om.gz"


@pytest.fixture(scope="module")
def moment() -> screen.Moment:
    """Two ranks, the second of which is late."""
    (store,) = reader.read(STRAGGLER)
    now = (store.first + store.last) / 2
    return screen.Moment(*screen.windows(store, now), diagnose_range([store]).diagnoses)


def told(rows: list[Row], place: int, moment: screen.Moment) -> list[str]:
    """The lines of the table."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(Group(*overview.table(rows, place, navigation.NAME, moment.courses)))
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_a_row_for_each_rank(moment: screen.Moment) -> None:
    """State, images per second, waiting, the worst verdict; the chosen one is marked."""
    head, first, second = told(overview.rows(moment), 1, moment)
    assert head.split() == ["run", "▾", "rank", "state", "images/s", "waiting", "verdict"]
    assert first.split()[:5] == ["train/yolo11m", "0", "train", "51.0", "0%"]
    assert second.split()[:3] == ["▸", "train/yolo11m", "1"]
    assert second.endswith("straggler")


def row(name: str, images: float | None = None, wait: float | None = None) -> Row:
    """A rank without a verdict."""
    return Row((name, "0"), "train", training.IMAGES, images, wait, None)


def test_what_needs_looking_at_comes_first(moment: screen.Moment) -> None:
    """The worst verdict, the longest wait, the slowest; what is not known comes last."""
    some = [row("a", 5.0, 0.1), row("b"), row("c", 2.0, 0.5)]
    assert [one.key[0] for one in overview.ordered(some, navigation.WAIT)] == ["c", "a", "b"]
    assert [one.key[0] for one in overview.ordered(some, navigation.SPEED)] == ["c", "a", "b"]
    assert [one.key[0] for one in overview.ordered(some, navigation.NAME)] == ["a", "b", "c"]
    assert [one.key[1] for one in overview.ordered(overview.rows(moment), navigation.SEVERITY)] == ["1", "0"]


def test_of_a_thousand_the_rows_around_the_chosen_one(moment: screen.Moment) -> None:
    """And which they are."""
    many = [row(f"run-{number:03}") for number in range(1000)]
    lines = told(many, 500, moment)
    assert len(lines) == overview.MOST_ROWS + 2
    assert any(line.startswith("▸ run-500") for line in lines)
    assert lines[-1] == "  495 to 506 of 1000"
    assert any(line.startswith("▸ run-999") for line in told(many, 999, moment))


def test_long_names_leave_room_for_the_rest(moment: screen.Moment) -> None:
    """Cut, in 80 columns, whatever is in them."""
    lines = told([row("x" * 200, 5.0), row("[red]" + "训练" * 100, 5.0)], 0, moment)
    assert max(map(len, lines)) <= 80
    assert all("5.0" in line for line in lines[1:])
