"""Would a wrong rule be noticed? Every change of a direction, a gate, a threshold or of patience fails a scenario.

By default each comparison of each alert is turned round and each `for` and `keep_firing_for` left out, on the faults of
its category. With YOLOSCOPE_MATRIX=1 also every gate is left out and every threshold doubled and halved, in alerts
and recorded series, on all faults and healthy days; that takes six minutes.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from deploy.prometheus import generate
from deploy.prometheus.rulebook import ALERTS, CATEGORIES

from .scenarios import healthy, mutants, promtool
from .scenarios.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from deploy.prometheus.rulebook.model import Category

    from .scenarios.faults import Fault
    from .scenarios.mutants import Mutant
    from .scenarios.world import World

pytestmark = pytest.mark.timeout(1800)

TOLERANCE_MINUTES = 0.5
MATRIX = bool(os.environ.get("YOLOSCOPE_MATRIX"))

#: Changes that change nothing anybody could see, by target and change, with the reason.
EQUAL: dict[tuple[str, str], str] = {
    (
        "GpuStandsStill",
        "training_share times 0.5",
    ): "what it counts exists only in minutes that are all training; after "
    "the last of them an eighth instead of a quarter of a minute is one evaluation more",
}


def _noticed(
    found: Mapping[promtool.Alert, promtool.Fired], chosen: Sequence[Mutant], worlds: Iterable[World]
) -> set[int]:
    """Numbers of the mutants that do something else than the scenarios state, silence included."""
    on = {(alert.name, alert.severity, alert.scenario): when for alert, when in found.items()}
    stated = {fault.name: fault for fault in FAULTS}
    played = {world.name for world in worlds}
    return {
        mutant.number
        for mutant in chosen
        for name, severity in mutants.alerts(generate.rules(), mutant)
        for world in played
        if not _as_stated(stated.get(world), name, severity, on.get((f"{name}__{mutant.number}", severity, world)))
    }


def _as_stated(fault: Fault | None, name: str, severity: str, when: promtool.Fired | None) -> bool:
    if fault is None:
        return when is None
    times = fault.raises.get(name) or fault.raises.get(f"{name}/{severity}")
    if times is None:
        return when is None or name in fault.also
    if when is None:
        return False
    measured = when.first - fault.at, when.last - fault.mended
    return measured == pytest.approx(times, abs=TOLERANCE_MINUTES)


def _survivors(directory: Path, chosen: Sequence[Mutant], worlds: Sequence[World]) -> list[Mutant]:
    if not chosen:
        return []
    found = promtool.outcome(directory, worlds, mutants.content(generate.rules(), chosen)).alerts
    noticed = _noticed(found, chosen, worlds)
    return [mutant for mutant in chosen if mutant.number not in noticed]


def _worlds(category: str) -> list[World]:
    """The faults that alerts of the category catch."""
    names = {alert.name for kind in CATEGORIES if kind.name == category for alert in kind.alerts}
    return [fault.world() for fault in FAULTS if names & {raised.split("/")[0] for raised in fault.raises}]


@pytest.mark.long
@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.name)
def test_a_turned_comparison_is_noticed(tmp_path: Path, category: Category) -> None:
    """No alert of the category can have its directions or its patience wrong without a fault scenario that fails."""
    names = {alert.name for alert in category.alerts}
    chosen = [mutant for mutant in mutants.mutants() if mutant.target in names and mutant.kind in _DEFAULT]
    survivors = [m for m in _survivors(tmp_path, chosen, _worlds(category.name)) if (m.target, m.change) not in EQUAL]
    assert [f"{mutant.target}: {mutant.change}" for mutant in survivors] == []


_DEFAULT = ("direction", "patience")


@pytest.mark.skipif(not MATRIX, reason="minutes of promtool: YOLOSCOPE_MATRIX=1")
def test_every_mutant_is_noticed(tmp_path: Path, table: Callable[[str], None]) -> None:
    """Gates and thresholds too, in alerts and in recorded series, on all faults and all healthy days."""
    left = mutants.mutants()
    total = Counter(mutant.kind for mutant in left)
    for category in CATEGORIES:
        names = {alert.name for alert in category.alerts}
        mine = [mutant for mutant in left if mutant.target in names]
        dead = {mutant.number for mutant in mine} - {
            m.number for m in _survivors(tmp_path, mine, _worlds(category.name))
        }
        left = [mutant for mutant in left if mutant.number not in dead]
    left = _survivors(tmp_path, left, [fault.world() for fault in FAULTS])
    left = _survivors(tmp_path, left, [healthy.world(scenario) for scenario in healthy.SCENARIOS])
    remaining = Counter(mutant.kind for mutant in left)
    for kind in total:
        table(f"{kind:10} {total[kind] - remaining[kind]:4} of {total[kind]:4}")
    for mutant in left:
        table(f"survives: {mutant.kind:10} {mutant.target}: {mutant.change}")
    assert {(mutant.target, mutant.change) for mutant in left} <= set(EQUAL)


def test_exceptions_are_still_there() -> None:
    """An exception that no mutant needs any more is removed."""
    assert set(EQUAL) <= {(mutant.target, mutant.change) for mutant in mutants.mutants()}
    assert {mutant.target for mutant in mutants.mutants() if mutant.severity} == {alert.name for alert in ALERTS}
