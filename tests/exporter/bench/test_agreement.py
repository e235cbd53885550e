"""Whether formats find the same: counterparts, and how far they lie apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
from yoloscope_exporter.bench.agreement import Agreement, iou
from yoloscope_exporter.bench.agreement import agreement as compared

CONF = 0.25


def agreement(before: list[dict[str, Any]], after: list[dict[str, Any]], conf: float) -> Agreement:
    return compared(before, after, [conf] * len(before))


def box(x: float, y: float, size: float = 40, *, label: int = 0, score: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"class": label, "score": score, "corners": [x, y, x + size, y + size], **more}


def turned(x: float, y: float, degrees: float, half: float = 20) -> list[float]:
    """Four corners of a square around a point, in their order."""
    first = math.radians(degrees + 45)
    angles = [first + quarter * math.pi / 2 for quarter in range(4)]
    return [
        one for a in angles for one in (x + half * math.sqrt(2) * math.cos(a), y + half * math.sqrt(2) * math.sin(a))
    ]


def found(*images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"boxes": boxes} for boxes in images]


def test_the_same_boxes_in_another_order() -> None:
    """All have their counterparts, however they are sorted."""
    boxes = [box(0, 0), box(100, 0), box(200, 50, label=1)]
    told = agreement(found(boxes, [box(7, 7)]), found(boxes[::-1], [box(7, 7)]), CONF)
    assert (told.counted, told.matched, told.share, told.agrees()) == (8, 8, 1.0, True)
    assert (told.shift, told.score) == (0.0, 0.0)


def test_how_far_they_lie_apart() -> None:
    """The largest of all distances and differences."""
    told = agreement(found([box(0, 0), box(100, 0)]), found([box(3, 4, score=0.8), box(101, 0)]), CONF)
    assert told.shift == pytest.approx(5.0)
    assert told.score == pytest.approx(0.1)
    assert told.agrees()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([], id="missing"),
        pytest.param([box(0, 0, label=1)], id="another class"),
        pytest.param([box(25, 0)], id="too far away"),
        pytest.param([box(0, 0), box(1, 1), box(100, 100)], id="one too many"),
    ],
)
def test_boxes_without_counterparts(other: list[dict[str, Any]]) -> None:
    """On either side they count against the share."""
    told = agreement(found([box(0, 0)]), found(other), CONF)
    assert told.share is not None
    assert told.share < 1
    assert not told.agrees()


def test_a_score_just_below_the_limit_has_its_counterpart() -> None:
    """Where 0.2500001 became 0.2499999 nothing is missing; what lies below in both counts for nothing."""
    told = agreement(found([box(0, 0, score=0.2500001)]), found([box(0, 0, score=0.2499999)]), CONF)
    assert (told.counted, told.matched) == (1, 1)
    low = [box(0, 0, score=0.21)]
    assert agreement(found(low), found(low), CONF).share is None


def test_a_box_is_the_counterpart_of_one_alone() -> None:
    """Two on top of each other, where there was one, are one too many."""
    told = agreement(found([box(0, 0)]), found([box(0, 0), box(0, 1)]), CONF)
    assert (told.counted, told.matched) == (3, 2)


def test_nothing_found_is_no_agreement() -> None:
    """Nor a disagreement."""
    told = agreement(found([]), found([]), CONF)
    assert told.share is None
    assert not told.agrees()
    assert told.shift is None


def test_overlap_of_turned_boxes() -> None:
    """Known areas: the octagon of a square and itself turned by 45 degrees, half of a square, none."""
    square = turned(50, 50, 0)
    octagon = 8 * (math.sqrt(2) - 1) * 20**2
    assert iou(square, square) == pytest.approx(1.0)
    assert iou(square, turned(50, 50, 45)) == pytest.approx(octagon / (2 * 1600 - octagon))
    assert iou(square, turned(70, 50, 0)) == pytest.approx(1 / 3)
    assert iou(square, turned(200, 50, 10)) == 0.0


def test_overlap_does_not_depend_on_the_direction() -> None:
    """Corners may go either way round."""
    square, other = turned(50, 50, 0), turned(55, 48, 20)
    points = list(zip(other[::2], other[1::2], strict=True))[::-1]
    backwards = [value for point in points for value in point]
    assert iou(square, backwards) == pytest.approx(iou(square, other))
    assert iou(backwards, square) == pytest.approx(iou(square, other))


def test_turned_boxes_may_begin_at_another_corner() -> None:
    """Half a turn further on is the same box."""
    before = {"class": 0, "score": 0.9, "corners": turned(50, 50, 10)}
    after = {**before, "corners": turned(50, 50, 10 + 90)}
    told = agreement(found([before]), found([after]), CONF)
    assert told.share == 1.0
    assert told.shift == pytest.approx(0.0, abs=1e-9)


def test_key_points_and_masks() -> None:
    """The farthest point, four of them included, and the mask that overlaps least."""
    before = box(0, 0, points=[0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0], mask="ff00")
    after = box(0, 0, points=[10.0, 0.0, 10.0, 10.0, 0.0, 10.0, 0.0, 0.0], mask="fe00")
    told = agreement(found([before]), found([after]), CONF)
    assert told.points == pytest.approx(10.0)
    assert told.mask == pytest.approx(7 / 8)
    assert agreement(found([box(0, 0, mask="00")]), found([box(0, 0, mask="00")]), CONF).mask == 1.0


def test_classes() -> None:
    """Images with the same first class, and the largest difference of any probability."""
    before = [{"probabilities": [0.7, 0.2, 0.1]}, {"probabilities": [0.4, 0.35, 0.25]}]
    after = [{"probabilities": [0.6, 0.3, 0.1]}, {"probabilities": [0.36, 0.39, 0.25]}]
    told = agreement(before, after, CONF)
    assert (told.counted, told.matched) == (2, 1)
    assert told.score == pytest.approx(0.1)
    assert told.shift is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_probabilities_that_are_no_numbers(wrong: float, place: int) -> None:
    """Are no agreement, wherever they stand and on whichever side; the other images tell how far formats differ."""
    good, bad = {"probabilities": [0.9, 0.1]}, {"probabilities": [0.9, 0.1]}
    bad["probabilities"][place] = wrong
    near = {"probabilities": [0.8, 0.2]}
    for before, after in (([good, good], [bad, near]), ([bad, good], [good, near]), ([bad, good], [bad, near])):
        told = agreement(before, after, CONF)
        assert (told.counted, told.matched, told.agrees()) == (2, 1, False)
        assert told.score == pytest.approx(0.1)
    assert agreement([good], [bad], CONF) == Agreement(1, 0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["corners", "points"])
def test_boxes_that_are_no_numbers(wrong: float, field: str) -> None:
    """Have no counterpart, not even themselves; what is beside them has."""
    first, second = (box(x, 0, points=[1.0, 2.0, 3.0, 4.0]) for x in (0, 100))
    bad = {**first, field: [*first[field][:-1], wrong]}
    for before, after in (([first, second], [bad, second]), ([bad, second], [bad, second])):
        told = agreement(found(before), found(after), CONF)
        assert told == Agreement(4, 2, shift=0.0, score=0.0, points=0.0)


def test_random_weights_may_differ_by_more() -> None:
    """Their boxes lie close to each other: NMS keeps one or the other."""
    some = Agreement(100, 95)
    assert some.agrees(random=True)
    assert not some.agrees()
    assert not Agreement(100, 89).agrees(random=True)
