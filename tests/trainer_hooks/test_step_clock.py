"""The step's time is split into phases, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter.catalog import PHASES
from yoloscope_hooks.step_clock import BACKWARD, GRADIENT, MARKS, OPTIMIZED, OPTIMIZER, HostClock, split


def phases(marks: list[float], previous: float = 1.0) -> dict[str, float]:
    """Phases with any time in them."""
    seconds = [0.0] * len(PHASES)
    split(marks, previous, seconds)
    return {name: pytest.approx(value) for name, value in zip(PHASES, seconds, strict=True) if value}


def test_full_step() -> None:
    """Each mark closes its phase; what lies before preparation and after the optimizer is other."""
    assert phases([2, 4, 7, 11, 0, 16, 22, 29]) == {
        "data_wait": 1,
        "other": 2 + 7,
        "h2d": 3,
        "forward": 4,
        "backward": 5,
        "optimizer": 6,
    }


def test_step_without_optimizer() -> None:
    """While gradients accumulate, the step ends with the backward pass."""
    assert phases([2, 4, 7, 11, 0, 0, 0, 29]) == {"data_wait": 1, "other": 2, "h2d": 3, "forward": 4, "backward": 18}


def test_ddp_step() -> None:
    """Under DDP the gradient hook splits the backward pass, with and without an optimizer step."""
    local = {"data_wait": 1, "other": 2, "h2d": 3, "forward": 4, "backward_local": 2}
    assert phases([2, 4, 7, 11, 13, 16, 22, 22]) == local | {"backward_exposed": 3, "optimizer": 6}
    assert phases([2, 4, 7, 11, 13, 0, 0, 22]) == local | {"backward_exposed": 9}


def test_strange_trainer() -> None:
    """Without a scaler nothing is called backward that may be forward."""
    assert "backward" not in phases([2, 4, 7, 0, 0, 16, 22, 29])
    assert phases([2, 0, 0, 0, 0, 0, 0, 29]) == {"data_wait": 1, "other": 27}


@given(st.lists(st.floats(0.001, 10), min_size=MARKS, max_size=MARKS), st.sets(st.integers(1, MARKS - 2)))
def test_nothing_is_lost(steps: list[float], missing: set[int]) -> None:
    """Whatever marks are missing, the phases add up to the step."""
    moments = [1.0 + sum(steps[: index + 1]) for index in range(MARKS)]
    seconds = [0.0] * len(PHASES)
    split([0.0 if index in missing else moment for index, moment in enumerate(moments)], 1.0, seconds)
    assert sum(seconds) == pytest.approx(moments[-1] - 1.0)
    assert min(seconds) >= 0


def test_host_clock_forgets() -> None:
    """A mark of an earlier step is not one of this step."""
    clock, seconds = HostClock(), [0.0] * len(PHASES)
    clock.begin(1.0)
    for index in (BACKWARD, GRADIENT, OPTIMIZER, OPTIMIZED):
        clock.mark(index)
    clock.begin(2.0)
    clock.end(3.0, 1.5, seconds)
    assert {name: value for name, value in zip(PHASES, seconds, strict=True) if value} == {"data_wait": 0.5, "other": 1}
