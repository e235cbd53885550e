"""Verdicts neither appear nor vanish by a single window."""

from __future__ import annotations

from yoloscope_exporter.diagnosis.hysteresis import Hysteresis


def test_hysteresis_neither_enters_nor_leaves_at_once() -> None:
    """A condition must last to change a verdict; an event changes it at once."""
    memory, key = Hysteresis(enter=10, leave=20), ("run", "0")
    held = {
        now: memory.update(key, {"loader_io": met, "diverged": met}, now)
        for now, met in (
            (0, True),
            (5, True),
            (10, True),
            (15, False),
            (20, True),
            (25, False),
            (44, False),
            (45, False),
        )
    }
    assert [now for now, verdicts in held.items() if verdicts["loader_io"]] == [10, 15, 20, 25, 44]
    assert [now for now, verdicts in held.items() if verdicts["diverged"]] == [0, 5, 10, 20]


def test_what_can_no_longer_be_judged_is_forgotten() -> None:
    """A verdict whose signals went away does not stay."""
    memory, key = Hysteresis(enter=0, leave=100), ("run", "0")
    assert memory.update(key, {"loader_io": True}, 0) == {"loader_io": True}
    assert memory.update(key, {}, 1) == {}
    assert memory.update(key, {"loader_io": False}, 2) == {"loader_io": False}
