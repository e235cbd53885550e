"""What the rules advise where the corpus shows only one side."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.rules import loader
from yoloscope_exporter.diagnosis.rules.loader import oversubscribed
from yoloscope_exporter.diagnosis.rules.rule import STEP
from yoloscope_exporter.diagnosis.signals import SIGNALS, Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.advice import Advice


#: Signals that causes of waiting ask for beside those they need.
_MORE = ("callbacks_share", "io_pressure", "disk_busy_share", "worker_threads", "decode_share", "queue_ready")


def fix(rule: str, **numbers: float) -> Advice:
    found = rules.BY_NAME[rule].fix(Signals("run", "0", "train", numbers=numbers))
    assert found is not None
    return found


def test_slow_copies_ask_for_workers_only_where_there_are_none() -> None:
    """Pinned memory needs a worker; more of them than there are would not copy any faster."""
    assert fix("h2d_bound", workers=8.0).arguments == {}
    assert fix("h2d_bound", workers=0.0, rank_cores=4.0).arguments == {"workers": 4}


class Recording:
    """Thresholds that remember which of them are read."""

    def __init__(self) -> None:
        """None of them yet."""
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> float:
        self.read.add(name)
        value: float = getattr(DEFAULTS, name)
        return value


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_documents_every_threshold_it_reads(rule: rules.Rule) -> None:
    """Whatever the signals say, as far as a thousand samples of them go."""
    chosen, reading = random.Random(0), Recording()
    facts = {"device": "0", "torch": "2", "cuda": "12"}
    needed = {signal.name for signal in rule.needs}
    for _ in range(1000):
        known = [name for name in SIGNALS if name in needed or chosen.random() < 0.9]
        numbers = {name: chosen.choice([0, 0.01, 0.05, 0.2, 0.5, 0.9, 1, 2, 8, 16, 1e9, 1e11]) for name in known}
        s = Signals("run", "0", "train", facts=facts, numbers=numbers, names=defaultdict(str))
        for said in (rule.when, rule.evidence, rule.cause):
            with suppress(KeyError, ZeroDivisionError):  # of what cannot be so together
                _ = said if isinstance(said, str) else said(s, reading)  # type: ignore[arg-type]
    assert reading.read <= set(rule.thresholds)


def test_waiting_for_data_has_the_first_cause_that_holds_and_no_other() -> None:
    """Whatever the signals say: each verdict asks for its own conditions first, and agrees with the order of all."""
    chosen, told = random.Random(1), set()
    asked = sorted({signal.name for rule in loader.RULES for signal in rule.needs} | set(_MORE))
    for _ in range(3000):
        known = [name for name in asked if chosen.random() < 0.95]
        numbers = {name: chosen.choice([0.0, 0.02, 0.1, 0.3, 0.6, 1.0, 2.0, 8.0]) for name in known}
        s = Signals("run", "0", "train", facts={"device": "0"}, numbers=numbers)
        starved = s.has(*STEP) and loader.starved(s, DEFAULTS)
        for rule in loader.RULES:
            if rule.waste == ("data_wait",) and rule.applies(s):
                assert rule.when(s, DEFAULTS) == (starved and loader.input_cause(s, DEFAULTS) == rule.name), rule.name
                told |= {rule.name} if rule.when(s, DEFAULTS) else set()
    assert told == {rule.name for rule in loader.RULES if rule.waste == ("data_wait",)}


@pytest.mark.parametrize(("device", "wrong"), [("cpu", True), ("cuda:0", False)])
def test_a_driver_is_too_old_only_where_the_gpu_is_not_used(device: str, wrong: bool) -> None:  # noqa: FBT001 - a parameter
    """NVIDIA's containers bring a package with which an older driver runs newer CUDA, at 97 % as here."""
    numbers = {"gpus": 8.0, "torch_cuda": 13.0, "driver_cuda": 12.8, "gpu_busy": 0.97}
    s = Signals("run", "0", "train", facts={"device": device, "torch": "2.9.0", "cuda": "13.0"}, numbers=numbers)
    assert rules.BY_NAME["environment"].when(s, DEFAULTS) == wrong


def test_a_narrow_link_is_not_mended_by_a_cache() -> None:
    """Batches cross the link, wherever their images were kept."""
    assert "cache" not in str(fix("pcie_degraded"))


def test_a_crowd_is_counted_against_the_cpus_of_its_rank() -> None:
    """Six workers on four CPUs are too many, on eight they are not."""
    wait = {"data_wait_share": 0.5, "step_seconds": 0.1, "batches": 50.0, "runqueue_share": 0.4, "workers": 6.0}
    for cores, crowd in ((4.0, True), (8.0, False)):
        s = Signals("run", "0", "train", numbers={**wait, "rank_cores": cores})
        assert oversubscribed(s, DEFAULTS) == crowd
