"""What the rules advise where the corpus shows only one side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.rules.loader import oversubscribed
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.advice import Advice


def fix(rule: str, **numbers: float) -> Advice:
    found = rules.BY_NAME[rule].fix(Signals("run", "0", "train", numbers=numbers))
    assert found is not None
    return found


def test_slow_copies_ask_for_workers_only_where_there_are_none() -> None:
    """Pinned memory needs a worker; more of them than there are would not copy any faster."""
    assert fix("h2d_bound", workers=8.0).arguments == {}
    assert fix("h2d_bound", workers=0.0, rank_cores=4.0).arguments == {"workers": 4}


def test_a_narrow_link_is_not_mended_by_a_cache() -> None:
    """Batches cross the link, wherever their images were kept."""
    assert "cache" not in str(fix("pcie_degraded"))


def test_a_crowd_is_counted_against_the_cpus_of_its_rank() -> None:
    """Six workers on four CPUs are too many, on eight they are not."""
    wait = {"data_wait_share": 0.5, "step_seconds": 0.1, "batches": 50.0, "runqueue_share": 0.4, "workers": 6.0}
    for cores, crowd in ((4.0, True), (8.0, False)):
        s = Signals("run", "0", "train", numbers={**wait, "rank_cores": cores})
        assert oversubscribed(s, DEFAULTS) == crowd
