"""What a run typically does."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from yoloscope_exporter.reports.significance import Part, chance_of_difference, within
from yoloscope_exporter.reports.typical import typical


def run(seed: int, *, stalls: int, factor: float = 1.0, count: int = 200) -> list[Part]:
    """Parts of about 100 images/s, `stalls` of which took twenty times as long."""
    chance = random.Random(seed)
    long = set(chance.sample(range(count), stalls))
    parts = []
    for index in range(count):
        seconds = factor * (20.0 if index in long else 1.0)
        parts.append(Part((100 + chance.gauss(0, 5)) / seconds, seconds))
    return parts


def mean(parts: list[Part]) -> float:
    return fmean(part.value for part in parts)


def test_without_exceptions_it_is_the_mean() -> None:
    """Within a per cent."""
    parts = run(1, stalls=0)
    assert mean(typical(parts)) == pytest.approx(mean(parts), rel=0.01)


def test_stalls_hardly_count() -> None:
    """Six of two hundred parts take as long as half of the run: the mean falls by a third, the typical value hardly."""
    parts = run(1, stalls=6)
    whole = sum(part.value * part.weight for part in parts) / sum(part.weight for part in parts)
    assert whole < 70
    assert mean(typical(parts)) == pytest.approx(100, rel=0.05)


def test_a_slower_run_is_told_in_spite_of_stalls() -> None:
    """A tenth slower, with six stalls in each run: surely found by the typical value, never by the mean."""
    found = {"typical": 0, "mean": 0}
    for seed in range(20):
        one, other = run(seed, stalls=6), run(seed + 100, stalls=6, factor=1.1)
        for name, pair in {"typical": (typical(one), typical(other)), "mean": (one, other)}.items():
            known = [within(mean(parts), parts) for parts in pair]
            assert known[0] is not None
            assert known[1] is not None
            found[name] += chance_of_difference(known[0], known[1]) < 0.01
    assert found["typical"] >= 18
    assert found["mean"] <= 2


def test_equal_runs_are_seldom_different() -> None:
    """Of 100 pairs at 2 %, stalls included."""
    different = 0
    for seed in range(100):
        one, other = (typical(run(seed + apart, stalls=6)) for apart in (1000, 2000))
        before, after = within(mean(one), one), within(mean(other), other)
        assert before is not None
        assert after is not None
        different += chance_of_difference(before, after) < 0.02
    assert different <= 5


@pytest.mark.parametrize("parts", [run(1, stalls=0, count=15), [Part(1.0, 1.0)] * 20, [Part(0.0, 0.0)] * 20, []])
def test_too_few_or_all_alike_have_none(parts: list[Part]) -> None:
    """What is exceptional cannot be told among fifteen, nor where the rest does not vary."""
    assert typical(parts) == []
