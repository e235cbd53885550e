"""The rigs that `yoloscope tune` is held against the full grid on, and the table of what came of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests import training
from tests.forecast import tune_grid
from tests.forecast.tune_grid import DOCUMENT, RIGS, Outcome

GRID = {"workers=0": 1.0, "workers=1": 2.0, "workers=2": 4.0, "workers=2 cache=ram": 4.1}


def test_there_are_six() -> None:
    """One for each thing that holds a training back, one for each that does not."""
    assert set(RIGS) == {"cpu_bound", "sleeping_storage", "quota", "few_cores", "small_data", "healthy"}


@pytest.mark.parametrize("name", RIGS)
def test_each_is_a_training_that_can_be_started(name: str) -> None:
    """Timed in the grid, with the grid's settings; as it is for tune."""
    rig = RIGS[name]
    timed = rig.command(Path("data"), Path("runs"), Path("log"), workers=2, cache="ram")
    plain = rig.command(Path("data"), Path("runs"), None)
    options = [training.Options(**json.loads(command[-1])) for command in (timed, plain)]
    assert [one.workers for one in options] == [2, rig.options["workers"]]
    assert options[0].arguments["cache"] == "ram"
    assert "cache" not in options[1].arguments
    assert "monotonic" in options[0].script
    assert "monotonic" not in options[1].script
    assert tuple(timed[: len(rig.prefix)]) == rig.prefix


def test_what_a_choice_is_worth() -> None:
    """Against the grid's best, and over the command as it is."""
    again = {"workers=2 cache=ram": [4.0, 4.1], "workers=2": [3.9, 4.0]}
    outcome = Outcome(GRID, "workers=1", "workers=2", 4, 60.0, 0.1, again)
    assert outcome.reached == pytest.approx(7.9 / 8.1)
    assert outcome.gain == 2.0
    text = tune_grid.table({"healthy": outcome})
    assert "1 of 6 rigs; 1 within 5% of the best of 6 settings." in text
    assert "| workers=1 | workers=2 | 98% (workers=2 cache=ram) | 2.00x | 4 in 60 s | 0.1 |" in text


def test_the_best_of_the_grid_is_measured_again() -> None:
    """In turn with the choice, the other one first in the second round; not where it is the choice."""
    asked: list[str] = []

    class Place(tune_grid.Bench):
        def __init__(self) -> None:
            self.others = [0.2]

        def measured(self, setting: str) -> float:
            asked.append(setting)
            return GRID[setting]

    first = Outcome(GRID, "workers=1", "workers=2", 4, 60.0, 0.1)
    outcome = tune_grid.checked(first, Place())
    assert asked == ["workers=2 cache=ram", "workers=2", "workers=2", "workers=2 cache=ram"]
    assert (outcome.again["workers=2"], outcome.others) == ([4.0, 4.0], 0.2)
    assert tune_grid.checked(replace(first, chosen="workers=2 cache=ram"), Place()).reached == 1.0


def test_the_table_is_of_the_rigs_that_were_run() -> None:
    """As `python -m tests.forecast.tune_grid --table` writes it; none before the first was run."""
    text = DOCUMENT.read_text(encoding="utf-8")
    if known := tune_grid.known():
        assert tune_grid.table(known) in text
    assert tune_grid.written(text, known) == text
