"""Whether two formats of a model find the same: boxes with their counterparts, how far these lie apart. Pure.

Boxes count from a score on (`conf`); their counterparts may have a little less (`lower`), so that a box whose score
differs in the seventh digit does not count as missing. Each box has one counterpart at most: of the same class, with an
intersection over union of LEAST_IOU at least, the largest first. What has a NaN or an infinity (FP16 ends at 65504) has
no counterpart.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Box = Mapping[str, Any]
    Result = Mapping[str, Any]

#: Less is another object.
LEAST_IOU = 0.5
#: Numbers of the corners of a turned box; of another there are four.
TURNED = 8
#: Share of boxes with counterparts from which on two formats agree. Ours: one in a hundred may sit on a threshold.
AGREES = 0.99
#: The same of random weights, whose boxes lie close to each other and to any threshold.
RANDOM_AGREES = 0.9


class Agreement(NamedTuple):
    """How far two formats find the same.

    Attributes:
        counted: boxes of both that count; of a classifier its images.
        matched: those with a counterpart; images with the same first class, of probabilities that are numbers.
        shift: largest distance of two corners, pixels.
        score: largest difference of scores; of a classifier of any class's probability.
        points: largest distance of two key points, pixels.
        mask: lowest intersection over union of two masks.

    Distances and differences are of what can be compared; None where nothing can.
    """

    counted: int
    matched: int
    shift: float | None = None
    score: float | None = None
    points: float | None = None
    mask: float | None = None

    @property
    def share(self) -> float | None:
        """Of those that count; None where nothing was found."""
        return self.matched / self.counted if self.counted else None

    def agrees(self, *, random: bool = False) -> bool:
        """Whether enough was matched, of a model with trained or random weights; not where nothing was found."""
        return self.share is not None and self.share >= (RANDOM_AGREES if random else AGREES)


def agreement(reference: Sequence[Result], found: Sequence[Result], confs: Sequence[float]) -> Agreement:
    """Of two formats' results for the same images; `confs` are the scores from which on boxes count in each."""
    if reference and "probabilities" in reference[0]:
        return _of_classes(reference, found)
    pairs: list[tuple[Box, Box]] = []
    counted = matched = 0
    for before, after, conf in zip(reference, found, confs, strict=True):
        partners = _matched(before["boxes"], after["boxes"])
        pairs += [(one, other) for one, other in partners if max(one["score"], other["score"]) >= conf]
        counted += sum(box["score"] >= conf for box in (*before["boxes"], *after["boxes"]))
        matched += sum(box["score"] >= conf for pair in partners for box in pair)
    return Agreement(
        counted,
        matched,
        _most(_shift(one["corners"], other["corners"]) for one, other in pairs),
        _most(abs(one["score"] - other["score"]) for one, other in pairs),
        _most(_apart(one["points"], other["points"]) for one, other in pairs if "points" in one and "points" in other),
        min(
            (_of_masks(one["mask"], other["mask"]) for one, other in pairs if "mask" in one and "mask" in other),
            default=None,
        ),
    )


def _of_classes(reference: Sequence[Result], found: Sequence[Result]) -> Agreement:
    pairs = [(a["probabilities"], b["probabilities"]) for a, b in zip(reference, found, strict=True)]
    known = [(a, b) for a, b in pairs if _are_numbers(a) and _are_numbers(b)]
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in known)
    return Agreement(len(pairs), same, score=_most(abs(x - y) for a, b in known for x, y in zip(a, b, strict=True)))


def _are_numbers(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _whole(boxes: Sequence[Box]) -> list[tuple[int, Box]]:
    """Those of numbers alone, with their places."""
    return [
        (place, box)
        for place, box in enumerate(boxes)
        if _are_numbers([box["score"], *box["corners"], *box.get("points", ())])
    ]


def _most(values: Any) -> float | None:  # noqa: ANN401 - any iterable of numbers
    return max(values, default=None)


def _matched(before: Sequence[Box], after: Sequence[Box]) -> list[tuple[Box, Box]]:
    others = _whole(after)
    overlaps = sorted(
        (
            (-iou(one["corners"], other["corners"]), i, j)
            for i, one in _whole(before)
            for j, other in others
            if one["class"] == other["class"] and _touch(one["corners"], other["corners"])
        ),
    )
    mine, theirs, pairs = set[int](), set[int](), []
    for overlap, i, j in overlaps:
        if -overlap >= LEAST_IOU and i not in mine and j not in theirs:
            mine.add(i)
            theirs.add(j)
            pairs.append((before[i], after[j]))
    return pairs


def _shift(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes' corners; those of a turned box may begin at any of the four."""
    turns = range(0, TURNED, 2) if len(one) == TURNED else (0,)
    return min(_apart([*one[turn:], *one[:turn]], other) for turn in turns)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest distance of points x, y, x, y ..."""
    places = range(0, min(len(one), len(other)), 2)
    return max((math.hypot(one[k] - other[k], one[k + 1] - other[k + 1]) for k in places), default=0.0)


def _of_masks(one: str, other: str) -> float:
    a, b = int(one, 16), int(other, 16)
    union = (a | b).bit_count()
    return (a & b).bit_count() / union if union else 1.0


# --- overlap ----------------------------------------------------------------------------------------------------------


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: x0, y0, x1, y1, or the four corners of a turned one in their order."""
    if len(one) == TURNED:
        both = _area(_clipped(_points(one), _points(other)))
        either = abs(_area(_points(one))) + abs(_area(_points(other))) - abs(both)
        return abs(both) / either if either else 0.0
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0.0) * max(tall, 0.0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / total if total > 0 else 0.0


def _touch(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(min(one[axis::2]) <= max(other[axis::2]) and min(other[axis::2]) <= max(one[axis::2]) for axis in (0, 1))


Point = tuple[float, float]


def _points(corners: Sequence[float]) -> list[Point]:
    """Counter-clockwise."""
    points = list(zip(corners[::2], corners[1::2], strict=True))
    return points if _area(points) > 0 else points[::-1]


def _area(points: Sequence[Point]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise([*points, *points[:1]])) / 2


def _clipped(subject: list[Point], window: list[Point]) -> list[Point]:
    """The part of a convex polygon inside another (Sutherland, Hodgman 1974, CACM 17(1)), both counter-clockwise."""
    for a, b in pairwise([*window, window[0]]):
        sides = [(b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) for p in subject]
        kept: list[Point] = []
        for (p, side), (q, beyond) in pairwise(
            [*zip(subject, sides, strict=True), *zip(subject[:1], sides[:1], strict=True)]
        ):
            if side >= 0:
                kept.append(p)
            if side * beyond < 0:
                part = side / (side - beyond)
                kept.append((p[0] + part * (q[0] - p[0]), p[1] + part * (q[1] - p[1])))
        subject = kept
    return subject
