"""Promised and delivered, in a comparison of two runs."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.reports.promises import changed, heeded, kept, promises
from yoloscope_exporter.reports.summary import Summary, summarize

from tests.recordings.model import START, Plan, play

MENDED = Plan(run="mended", workers=4, epochs=3, batches=60)


@pytest.fixture(scope="module")
def mended() -> Summary:
    """The starved run as it was advised, an hour later, from a batch that is written for all ranks."""
    return summarize([play(MENDED, start=START + 3600)], "mended")


def test_what_was_followed_is_told_with_what_came(before: Summary, mended: Summary) -> None:
    """Four workers were advised to the starved run, and make the training wait no more."""
    (_, _, line, _) = promises([before, mended])
    assert line.startswith("- mended: workers=4, advised to before for loader_workers: promised 2.")
    assert "delivered 2.19x (33.1 -> 72.7 images/s): it helped" in line
    assert promises([mended, before])[2] == line, "whichever is named first"


def test_diagnose_tells_the_same(before: Summary, before_plan: Plan, mended: Summary) -> None:
    """One gain has one figure: `diagnose` once told the median of its windows, and the report the mean of the run."""
    course = diagnose_range([play(before_plan), play(MENDED, start=START + 3600)])
    (diagnosed,) = [follow for one in course.diagnoses for follow in one.followed]
    ((_, reported),) = kept([before, mended])
    assert (diagnosed.before, diagnosed.after) == pytest.approx((reported.before, reported.after), rel=1e-6)


def test_what_nobody_advised_promises_nothing(before: Summary, mended: Summary) -> None:
    """It is measured all the same, and it is neither help nor harm."""
    found = changed(before, mended, {"workers": 4})
    assert (found.typed, found.promise, found.helped) == ("workers=4", "", None)
    assert found.delivery == "2.19x (33.1 -> 72.7 images/s)"


def test_what_did_not_help_is_not_advised_again(before: Summary) -> None:
    """Four workers are four times as slow: more of them are not advised to that run, nor to the next one like it."""

    def starved(run: str, later: float, workers: int) -> Summary:
        plan = Plan(run=run, workers=workers, epochs=3, batches=60, prep=lambda _: 0.5 * workers)
        return summarize([play(plan, start=START + later)], run)

    def arguments(summary: Summary) -> dict[str, object]:
        return {name: value for _, verdict in summary.verdicts for name, value in verdict.advice.arguments.items()}

    tried, again = starved("tried", 3600, 4), starved("again", 7200, 1)
    assert "did not help" in promises([before, tried])[2]
    assert "workers" in arguments(again)
    first, _, last = heeded([before, tried, again])
    assert arguments(first) == arguments(before), "it was told before it was tried"
    assert "workers" not in arguments(last)
    ((_, verdict),) = [one for one in last.verdicts if "advised again" in one[1].fix]
    assert "workers is not advised again: workers=4 after before brought 1.0" in verdict.fix
    assert "workers" in arguments(heeded([before, again])[1])


def test_nothing_is_told_of_what_was_not_followed(before: Summary, after: Summary) -> None:
    """The other run began at the same time."""
    assert promises([before, after]) == []
    assert promises([before]) == []


def test_arguments_are_those_that_are_typed(before: Summary) -> None:
    """The batch counts all ranks; what a run does not say is at its default."""
    found = before.past
    assert found is not None
    assert found.settings["workers"] == 1
    assert found.settings["batch"] == 16
    assert found.settings["val"] is True
    assert found.told["loader_workers"].arguments == {"workers": 4}
