"""Recordings of real trainings, each with its right answer: the rules' authors did not model them.

They are made with `python -m tests.field_cases.stage NAME ...`, on two cores, by the exporter itself; what each is and
which verdicts are right stands in `tests/field_cases/cases.py`, under its name. Those that begin with `gpu_` are the
GPU kit's (`tests/gpu/kit/cases.py`), with what no verdict reads left out. The first line of a recording
says how many CPUs others used meanwhile: where that was much, `cpu_contended` is true as well, or instead.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import NamedTuple

from tests.field_cases import cases as field_cases
from tests.gpu.kit import cases as gpu_cases

FOLDER = Path(__file__).parent
EVERY = {**field_cases.EVERY, **gpu_cases.CASES}
#: CPUs of the two that others used, from which on nobody is wrong to say so.
CONTENDED = 0.5
#: Each training has a beginning, and batches of seconds are few in a short recording.
TOO_EARLY = "insufficient_data"
#: What neighbours hide: whether a worker is slow because it computes, is too few, or may not run elsewhere.
HIDDEN = frozenset({"loader_cpu", "loader_workers", "cpu_affinity", "cpu_oversubscribed"})
#: What the diagnosis still says wrongly of a recording, and why; empty is the aim.
WRONG: dict[str, str] = {}


class Truth(NamedTuple):
    """Verdicts that must be told of a recording, and those that may be."""

    right: frozenset[str]
    allowed: frozenset[str]


def path(name: str) -> Path:
    """Where a recording lies."""
    return FOLDER / f"{name}.om.gz"


def truth(name: str, others: float) -> Truth:
    """What is right of a training beside which others used so many CPUs."""
    case, allowed = EVERY[name], EVERY[name].allowed | {TOO_EARLY}
    if others < CONTENDED:
        return Truth(case.right, allowed)
    if case.right & HIDDEN and isinstance(case, field_cases.Case) and "image_work" in case.options:
        return Truth(frozenset({"cpu_contended"}), case.right | allowed)
    return Truth(case.right, allowed | {"cpu_contended"})


def others(recording: Path) -> float:
    """CPUs that others used, as its first line says."""
    with gzip.open(recording, "rt") as lines:
        found = re.search(r"others used ([\d.]+) CPUs", next(lines))
    assert found, recording
    return float(found[1])


TRUTH: dict[str, Truth] = {
    name: truth(name, others(one)) for one in sorted(FOLDER.glob("*.om.gz")) for name in [one.name.split(".om")[0]]
}
