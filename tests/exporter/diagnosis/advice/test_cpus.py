"""A quota and too many threads have remedies."""

from __future__ import annotations

from yoloscope_exporter.diagnosis.advice.cpus import within_quota

from tests.exporter.diagnosis.advice.cases import LOADER, signals


def test_a_quota_asks_for_fewer_workers_or_more_cpus() -> None:
    """Not for both at once: with the CPUs it wants, it wants its workers too."""
    numbers = {**LOADER, "workers": 8.0, "prep_cpu_ratio": 0.9, "quota_cores": 3.0}
    text = str(within_quota(signals(**numbers)))
    assert text.endswith("workers=3; or keep the workers and raise the CPU limit from 3 to about 6 CPUs")
    assert str(within_quota(signals(**numbers | {"workers": 2.0}))).endswith(
        "; raise the CPU limit from 3 to about 6 CPUs"
    )
