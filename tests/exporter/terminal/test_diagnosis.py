"""A diagnosis as text."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis.engine import Diagnosis, diagnose
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.terminal.diagnosis import MANY_RUNS, to_text


def of_run(number: int, *verdicts: str) -> Diagnosis:
    numbers = {"cuda_peak_share": 0.9, "validate_share": 0.5}
    s = Signals(f"tune{number}", "0", "finished", numbers=numbers)
    return diagnose(s, dict.fromkeys(verdicts, s), DEFAULTS)


def tuned(count: int) -> list[Diagnosis]:
    """Runs of a tuner: one ran out of memory, all but the last one validate for long."""
    runs = [of_run(number, "validation_bound") for number in range(count - 1)]
    return [*runs[:3], of_run(99, "gpu_memory_pressure", "validation_bound"), *runs[3:-1], of_run(100)]


def test_many_runs_have_one_summary() -> None:
    """In how many each verdict holds, then each verdict once, and the run of which nothing is said."""
    text = to_text(tuned(MANY_RUNS + 4))
    assert text.startswith("12 runs: validation_bound in 11, gpu_memory_pressure in 1, no verdict in 1\n")
    assert [line.split(",")[0] for line in text.splitlines() if "rank 0" in line] == ["tune0", "tune99", "tune100"]


@pytest.mark.parametrize(("count", "verbose"), [(MANY_RUNS, False), (MANY_RUNS + 4, True)])
def test_few_runs_are_told_each(count: int, verbose: bool) -> None:  # noqa: FBT001 - a parameter
    """And many where all is asked for."""
    text = to_text(tuned(count), verbose=verbose)
    assert text.count(", rank 0 (finished)") == count
    assert " runs: " not in text
