"""How long the rest takes."""

from __future__ import annotations

import pytest
from yoloscope_exporter.bench.plan import Estimate, Plan

PLAN = Plan("m.pt", "python", ("pt", "onnx"), (1, 8), seconds=10, rounds=5)


def test_what_has_been_seen_tells_what_is_left() -> None:
    """Exports and loads like those before; a turn takes the seconds that were asked for, and a little more."""
    estimate = Estimate(PLAN, ["pt", "onnx"])
    before = estimate.seconds
    estimate.done("export", 100.0)
    assert estimate.seconds > before
    estimate.done("export", 50.0)
    for _ in range(4):
        estimate.done("load", 3.0)
    assert estimate.seconds == pytest.approx(4 * 5 * 2.2)


def test_what_has_failed_takes_no_time() -> None:
    """Nothing is left when all is done or dropped."""
    estimate = Estimate(PLAN, ["onnx"])
    estimate.dropped("export", 2)
    estimate.dropped("load", 2)
    estimate.dropped("turn", 10)
    assert estimate.seconds == 0
