"""The step's time is split into phases, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter.catalog import PHASES
from yoloscope_hooks.step_clock import BACKWARD, GRADIENT, MARKS, OPTIMIZED, OPTIMIZER, Gap, HostClock, split, waited

ALL_WAIT = Gap(1.0, 0.0, 1.0, first=False)


def phases(marks: list[float], previous: float = 1.0, gap: Gap = ALL_WAIT) -> dict[str, float]:
    """Phases with any time in them."""
    seconds = [0.0] * len(PHASES)
    split(marks, previous, gap, seconds)
    return {name: pytest.approx(value) for name, value in zip(PHASES, seconds, strict=True) if value}


def test_full_step() -> None:
    """Each mark closes its phase; what lies before preparation and after the optimizer is other."""
    assert phases([2, 4, 0, 0, 7, 0, 11, 0, 16, 22, 29]) == {
        "data_wait": 1,
        "other": 2 + 7,
        "preprocess": 3,
        "forward": 4,
        "backward": 5,
        "optimizer": 6,
    }


def test_copies_are_apart() -> None:
    """Only what lies between the last look at the images on the host and their arrival is the copy."""
    seen = phases([2, 4, 5, 8, 10, 0, 11, 0, 16, 22, 29])
    assert (seen["preprocess"], seen["h2d"]) == (1 + 2, 3)
    seen = phases([2, 4, 5, 0, 10, 0, 11, 0, 16, 22, 29])  # they never came
    assert seen["preprocess"] == 6
    assert "h2d" not in seen


def test_gap_is_divided() -> None:
    """By what the host did in it; the first batch of an epoch waits for the loader's start."""
    step = [3, 3, 0, 0, 3, 0, 3, 0, 3, 3, 3]
    assert phases(step, gap=Gap(2.0, 0.5, 1.0, first=False)) == {"callbacks": 0.5, "data_wait": 1, "other": 0.5}
    assert phases(step, gap=Gap(2.0, 0.5, 1.5, first=True)) == {"callbacks": 0.5, "loader_start": 1.5}
    assert phases(step, gap=Gap(4.0, 1.0, 2.0, first=False)) == {"callbacks": 0.5, "data_wait": 1, "other": 0.5}
    assert phases(step, gap=Gap(0.0, 0.0, 0.0, first=False)) == {"other": 2}


def test_wait_is_the_loaders_fetch() -> None:
    """Or, where that cannot be measured, what is not known to be something else; never more than there is."""
    assert waited(2.0, 0.5, 0.1) == 0.5
    assert waited(2.0, 3.0, 0.1) == 2.0
    assert waited(2.0, None, 0.5) == 1.5
    assert waited(0.1, None, 0.5) == waited(-1e-9, 0.5, 0.0) == 0.0


def test_step_without_optimizer() -> None:
    """While gradients accumulate, the step ends with the backward pass."""
    assert phases([2, 4, 0, 0, 7, 0, 11, 0, 0, 0, 29]) == {
        "data_wait": 1,
        "other": 2,
        "preprocess": 3,
        "forward": 4,
        "backward": 18,
    }


def test_ddp_step() -> None:
    """Under DDP the gradient hook splits the backward pass, with and without an optimizer step."""
    local = {"data_wait": 1, "other": 2, "preprocess": 3, "forward": 4, "backward_local": 2}
    assert phases([2, 4, 0, 0, 7, 0, 11, 13, 16, 22, 22]) == local | {"backward_exposed": 3, "optimizer": 6}
    assert phases([2, 4, 0, 0, 7, 0, 11, 13, 0, 0, 22]) == local | {"backward_exposed": 9}


def test_wait_for_buffers_is_the_peers() -> None:
    """Until DDP has the buffers of rank 0, its forward pass waits for whoever is late for the step."""
    seen = phases([2, 4, 0, 0, 7, 10, 11, 13, 16, 22, 22])
    assert (seen["forward"], seen["backward_local"], seen["backward_exposed"]) == (1, 2, 3 + 3)


def test_strange_trainer() -> None:
    """Without a scaler nothing is called backward that may be forward."""
    assert "backward" not in phases([2, 4, 0, 0, 7, 0, 0, 0, 16, 22, 29])
    assert phases([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 29]) == {"data_wait": 1, "other": 27}


@given(
    st.lists(st.floats(0.001, 10), min_size=MARKS, max_size=MARKS),
    st.sets(st.integers(1, MARKS - 2)),
    st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.booleans()),
)
def test_nothing_is_lost(steps: list[float], missing: set[int], host: tuple[float, float, float, float, bool]) -> None:
    """Whatever marks are missing and whatever the host did in the gap, the phases add up to gap and step."""
    length, callbacks, fetch, own, first = host
    callbacks = min(callbacks, length)
    gap = Gap(length, callbacks, waited(length - callbacks, None if first else fetch, own), first)
    moments = [1.0 + sum(steps[: index + 1]) for index in range(MARKS)]
    seconds = [0.0] * len(PHASES)
    split([0.0 if index in missing else moment for index, moment in enumerate(moments)], 1.0, gap, seconds)
    assert sum(seconds) == pytest.approx(moments[-1] - 1.0)
    assert min(seconds) >= 0


def test_host_clock_forgets() -> None:
    """A mark of an earlier step is not one of this step, and each step keeps its own."""
    clock, seconds = HostClock(), [0.0] * len(PHASES)
    clock.begin()
    for index in (BACKWARD, GRADIENT, OPTIMIZER, OPTIMIZED):
        clock.marks[index] = 1.0
    earlier = clock.taken()
    clock.begin()
    clock.end([(clock.taken(), 2.0, 3.0, Gap(0.5, 0.0, 0.5, first=False))], seconds)
    assert {name: value for name, value in zip(PHASES, seconds, strict=True) if value} == {"data_wait": 0.5, "other": 1}
    assert earlier[GRADIENT]
