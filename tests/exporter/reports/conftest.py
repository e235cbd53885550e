"""Two runs: a starved one, and the same with more workers."""

from __future__ import annotations

import pytest
from yoloscope_exporter.reports.summary import Summary, summarize

from tests.recordings.model import Plan, play


@pytest.fixture(scope="session")
def before_plan() -> Plan:
    """A starved run."""
    return Plan(run="before", workers=1, epochs=3, batches=60)


@pytest.fixture(scope="session")
def before(before_plan: Plan) -> Summary:
    """Its summary."""
    return summarize([play(before_plan)], "before")


@pytest.fixture(scope="session")
def after() -> Summary:
    """The same with more workers, and the images kept in memory."""
    return summarize([play(Plan(run="after", workers=4, epochs=3, batches=60, facts={"cache": "ram"}))], "after")
