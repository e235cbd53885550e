"""The summary of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.reports.summary import UnknownRunError, summarize

from tests.recordings.model import GIB, Plan, play, totals

if TYPE_CHECKING:
    from yoloscope_exporter.reports.summary import Summary


def test_figures_agree_with_the_counters(before: Summary, before_plan: Plan) -> None:
    """Throughput is images over training time, whatever the sampling; the wait for first batches is no data wait."""
    store = play(before_plan)
    phases = totals(store, catalog.TRAIN_PHASE_SECONDS_TOTAL)
    spent = sum(value for key, value in phases.items() if key[2] in STEP_PHASES)
    first = phases["before", "0", "loader_start"]
    assert first == totals(store, catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL)["before", "0"] > 0
    assert before.figures["throughput"].value == pytest.approx(3 * 60 * 16 / (spent + first))
    assert before.figures["data_wait"].value == pytest.approx(phases["before", "0", "data_wait"] / spent)
    assert before.figures["peak_cuda"].value == 38 * GIB
    assert before.budget["validate"] == pytest.approx(phases["before", "0", "validate"])


def test_the_budget_is_the_whole_time(before: Summary) -> None:
    """The phases of the report add up to the duration."""
    assert sum(before.budget.values()) == pytest.approx(before.figures["duration"].value, rel=0.02)


def test_epochs_and_workers(before: Summary) -> None:
    """Every epoch with its rate, wait and memory; every worker with its time."""
    assert [epoch.number for epoch in before.epochs] == [1, 2, 3]
    assert all(epoch.cuda == 22 * GIB and epoch.wait is not None and epoch.wait > 0.5 for epoch in before.epochs)
    (worker,) = before.workers
    assert worker.batches == 180
    assert worker.seconds == pytest.approx(0.5, rel=0.1)
    assert worker.computing == pytest.approx(0.85, rel=0.01)
    assert before.latency[0.5] <= before.latency[0.95]


def test_what_an_epoch_held_is_not_what_the_next_one_takes() -> None:
    """Memory that grows with each epoch's first batch counts to that epoch alone."""
    plan = Plan(epochs=3, batches=60, resident=lambda at: at.epoch * GIB, allocated=lambda at: at.epoch * GIB)
    epochs = summarize([play(plan, every=2.0)], plan.run).epochs
    first = epochs[0].resident
    assert first is not None
    assert [(epoch.resident or 0.0) - first for epoch in epochs] == pytest.approx([0.0, GIB, 2 * GIB])
    assert [epoch.cuda for epoch in epochs] == [GIB, 2 * GIB, 3 * GIB]


def test_states_make_a_timeline(before: Summary) -> None:
    """Set-up, then training and validation in turns."""
    states = [state for _, _, state in before.states]
    assert states[0] == "setup"
    assert states[-1] == "finished"
    assert states.count("validate") == 3


def test_missing_figures_are_absent() -> None:
    """Without a GPU and without memory figures there is no row for them, and no zero."""
    plan = Plan(gpu=False, epochs=1, batches=60, without=(catalog.TRAIN_PROCESS_RESIDENT_BYTES,))
    figures = summarize([play(plan)], plan.run).figures
    assert not {"gpu_busy", "peak_cuda", "peak_resident", "wasted"} & set(figures)
    assert "throughput" in figures


def test_ranks_are_summed(before: Summary) -> None:
    """Images of two ranks count together, the wait is their mean."""
    alone = summarize([play(Plan(epochs=1, batches=60))], "train/yolo11m").figures
    two = summarize([play(Plan(epochs=1, batches=60, ranks=2))], "train/yolo11m").figures
    assert two["throughput"].value == pytest.approx(2 * alone["throughput"].value, rel=0.1)


def test_latencies_are_those_of_all_ranks() -> None:
    """Rank 1's batches take three times as long as rank 0's: half of all are slow, and the slowest are in the tail."""

    def latency(slow: int) -> dict[float, float]:
        plan = Plan(epochs=1, batches=60, ranks=2, prep=lambda at: 0.9 if at.rank >= slow else 0.3)
        return dict(summarize([play(plan)], plan.run).latency)

    all_fast, second_slow, all_slow = latency(2), latency(1), latency(0)
    assert all_fast[0.95] < 0.5 < second_slow[0.95]
    assert all_fast[0.5] < second_slow[0.5] < all_slow[0.5]


def test_memory_of_an_epoch_is_that_of_all_ranks() -> None:
    """Two ranks have twice the processes of one."""
    one, two = (summarize([play(Plan(epochs=1, batches=30, ranks=n))], "train/yolo11m").epochs[0] for n in (1, 2))
    assert one.resident is not None
    assert two.resident == pytest.approx(2 * one.resident, rel=0.05)
    assert two.cuda == one.cuda


def test_unknown_runs_are_named() -> None:
    """The error lists what there is."""
    with pytest.raises(UnknownRunError, match="no run 'x' here; known runs: train/yolo11m"):
        summarize([play(Plan(epochs=1, batches=10))], "x")
