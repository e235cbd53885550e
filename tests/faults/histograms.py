"""Checks histograms and counters of one exposition after the other.

A histogram is right if its buckets grow with their bounds, the last one is the count, its sum lies between what the
buckets allow, and nothing of it goes backwards from one exposition to the next.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPE = re.compile(r"(?m)^# TYPE (\S+) (histogram|counter)$")
_SAMPLE = re.compile(r"(?m)^([A-Za-z_:][\w:]*)(\{.*\})? (\S+)$")
_BOUND = re.compile(r',?le="([^"]+)"')
_ROUNDED = 1e-9


class Histogram(NamedTuple):
    """Bounds with how many values are at most as large, the number of values and their sum."""

    buckets: tuple[tuple[float, float], ...]
    count: float
    sum: float


class Exposition(NamedTuple):
    """Histograms and counters, by name and labels."""

    histograms: Mapping[str, Histogram]
    counters: Mapping[str, float]


def read(text: str) -> Exposition:
    """What an exposition in Prometheus' text format holds."""
    kinds = dict(_TYPE.findall(text))
    buckets: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ends: dict[str, dict[str, float]] = defaultdict(dict)
    counters = {}
    for name, labels, number in _SAMPLE.findall(text):
        family, _, part = name.rpartition("_")
        if kinds.get(name) == "counter":
            counters[name + labels] = float(number)
        elif kinds.get(family) == "histogram" and part == "bucket":
            found = _BOUND.search(labels)
            assert found, labels
            rest = labels.replace(found[0], "").replace("{,", "{")
            buckets[family + (rest if rest != "{}" else "")].append((float(found[1]), float(number)))
        elif kinds.get(family) == "histogram":
            ends[family + labels][part] = float(number)
    histograms = {
        key: Histogram(tuple(sorted(found)), ends[key].get("count", math.nan), ends[key].get("sum", math.nan))
        for key, found in buckets.items()
    }
    return Exposition(histograms, counters)


def wrong(now: Exposition, before: Exposition | None = None) -> list[str]:
    """What is wrong with an exposition, and with it after the one before; empty if nothing is."""
    found = [f"{key}: {why}" for key, one in now.histograms.items() for why in _wrong(one)]
    if before:
        for key, value in before.counters.items():
            if now.counters.get(key, value) < value:
                found.append(f"{key}: {value:g}, then {now.counters[key]:g}")
        for key, one in before.histograms.items():
            if key in now.histograms:
                found += [f"{key}: {why}" for why in _backwards(one, now.histograms[key])]
    return found


def _wrong(one: Histogram) -> Iterator[str]:
    counts = [count for _, count in one.buckets]
    if counts != sorted(counts):
        yield f"buckets {counts} are not monotone"
    if one.buckets[-1] != (math.inf, one.count):
        yield f"the last bucket is {one.buckets[-1]}, the count {one.count}"
    low, high = _bounds(one)
    if not low * (1 - _ROUNDED) <= one.sum <= high * (1 + _ROUNDED):
        yield f"the sum {one.sum:g} is not in {low:g} to {high:g}"


def _bounds(one: Histogram) -> tuple[float, float]:
    """The least and the largest sum that values in these buckets, none of them below 0, can have."""
    low = high = lower = before = 0.0
    for bound, count in one.buckets:
        number, before = count - before, count
        low += number * lower
        high += number * bound if number else 0.0
        lower = bound
    return low, high


def _backwards(before: Histogram, now: Histogram) -> Iterator[str]:
    counts = dict(before.buckets)
    back = [bound for bound, count in now.buckets if count < counts.get(bound, 0.0)]
    if back:
        yield f"the buckets {back} went backwards"
    if now.sum < before.sum or now.count < before.count:
        yield f"{before.count:g} and {before.sum:g}, then {now.count:g} and {now.sum:g}"
