"""Which run somebody means who does not type the whole name."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import pytest
from yoloscope_exporter.language import CHINESE, translated
from yoloscope_exporter.reports.names import matches, nearest, unknown

KNOWN = ["train/yolo11m-20261127-101625", "train/yolo11s-20261127-101625", "val/night"]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("train/yolo11m", KNOWN[:1]),
        ("yolo11s", KNOWN[1:2]),
        ("train/yolo11", KNOWN[:2]),
        ("val/night", ["val/night"]),
        ("yolo12", []),
        ("", []),
    ],
)
def test_the_beginning_with_or_without_project(wanted: str, meant: list[str]) -> None:
    """And nothing from the middle of a name."""
    assert matches(wanted, KNOWN) == meant


def test_a_whole_name_is_that_run() -> None:
    """Whatever else begins so."""
    assert matches("a", ["ab", "a", "abc"]) == ["a"]


def test_the_nearest_names() -> None:
    """Of a slip of the finger; none where nothing looks like it."""
    assert set(nearest("yolo11x", KNOWN)) == set(KNOWN[:2])
    assert nearest("val/nihgt", KNOWN) == ["val/night"]
    assert nearest("completely-else", KNOWN) == []


def test_what_is_said() -> None:
    """Candidates of an ambiguous name, otherwise what is near and what there is."""
    assert unknown("yolo11", KNOWN) == f"'yolo11' may be {KNOWN[0]}, {KNOWN[1]}; write more of the name"
    assert unknown("nihgt", KNOWN) == f"did you mean val/night? known runs: {', '.join(KNOWN)}"
    many = [f"r{number}" for number in range(14)]
    assert unknown("zzzzzz", many).endswith("r8, r9 and 4 more")


def test_it_is_said_in_chinese() -> None:
    """With how many more there are."""
    told = translated(unknown("zzzzzz", [f"r{number}" for number in range(12)]), CHINESE)
    assert told == "已知的任务：r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 等（另有 2 个）"
