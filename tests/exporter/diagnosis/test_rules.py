"""What the rules advise where the corpus shows only one side."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.advice.checks import settled
from yoloscope_exporter.diagnosis.rules import loader
from yoloscope_exporter.diagnosis.rules.loader import oversubscribed
from yoloscope_exporter.diagnosis.rules.rule import STEP
from yoloscope_exporter.diagnosis.signals import SIGNALS, Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.advice import Advice


#: Signals that causes of waiting ask for beside those they need.
_MORE = ("callbacks_share", "io_pressure", "disk_busy_share", "worker_threads", "decode_share", "queue_ready")


def test_no_rule_is_left_out() -> None:
    """Each that is written is in its family's table, and each family in one of the two."""
    families = [import_module(f"{rules.__name__}.{found.name}") for found in iter_modules(rules.__path__)]
    written = [value for family in families for value in vars(family).values() if isinstance(value, rules.Rule)]
    assert [rule.name for rule in written if rule not in (*rules.RULES, *rules.PREDICTION_RULES)] == []


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


@pytest.mark.parametrize(("nbs", "advised"), [("256", True), ("64", False), ("", False)])
def test_many_accumulated_batches_are_fewer_after_nan(nbs: str, advised: bool) -> None:  # noqa: FBT001 - a parameter
    """Their gradients are added up; the default is advised where more than that is in use."""
    s = Signals("run", "0", "train", facts={"nbs": nbs} if nbs else {}, numbers={"nonfinite": 3.0})
    assert ("nbs=64" in str(settled(rules.BY_NAME["diverged"].fix(s), s))) == advised


def test_a_crowd_is_counted_against_the_cpus_of_its_rank() -> None:
    """Six workers on four CPUs are too many, on eight they are not."""
    wait = {"data_wait_share": 0.5, "step_seconds": 0.1, "batches": 50.0, "runqueue_share": 0.4, "workers": 6.0}
    for cores, crowd in ((4.0, True), (8.0, False)):
        s = Signals("run", "0", "train", numbers={**wait, "rank_cores": cores})
        assert oversubscribed(s, DEFAULTS) == crowd


#: Steps that only compute, at a fiftieth of the card's peak.
FAR = {
    "data_wait_share": 0.01,
    "step_seconds": 0.2,
    "batches": 300.0,
    "compute_share": 0.95,
    "train_share": 0.97,
    "mfu": 0.02,
    "tensor_active": 0.11,
    "sm_fill": 0.83,
    "clock_ratio": 1.0,
    "gpu_busy": 0.97,
    "batch_size": 16.0,
}
DONE = {"amp": "True", "imgsz": "640", "channels_last": "True", "compile": "True", "ultralytics": "8.4.190"}


def far(facts: dict[str, str] | None = None, **numbers: float) -> Signals:
    return Signals("run", "0", "train", facts={**DONE, "device": "0", **(facts or {})}, numbers={**FAR, **numbers})


@pytest.mark.parametrize(
    ("facts", "told", "advised"),
    [
        ({"amp": "False", "amp_asked": "False"}, "AMP is off", "amp=True"),
        ({"imgsz": "608"}, "imgsz=608 is no multiple of 64", "imgsz=640"),
        ({"channels_last": "False"}, "not channels_last", "torch.channels_last"),
        ({"compile": "False"}, "the model is not compiled", "compile=True"),
    ],
)
def test_the_distance_to_the_peak_names_what_is_not_used_yet(facts: dict[str, str], told: str, advised: str) -> None:
    """One thing is left to do; nothing else is said, and figures of the card are beside it."""
    rule, s = rules.BY_NAME["low_mfu"], far(facts)
    assert rule.applies(s)
    assert rule.when(s, DEFAULTS)
    evidence = rule.evidence(s, DEFAULTS)
    assert told in evidence
    assert "2.0% of the operations" in evidence
    assert "tensor cores work 11% of the time" in evidence
    others = {"AMP is off", "no multiple of 64", "not channels_last", "not compiled"} - {told}
    assert sum(other in evidence for other in others) == (told not in {"AMP is off", "not channels_last"})
    assert advised in str(settled(rule.fix(s), s))


def test_a_small_batch_is_one_of_them() -> None:
    """Where a larger one fits: empty multiprocessors, memory to spare."""
    numbers = {
        "sm_fill": 0.2,
        "batch_size": 4.0,
        "cuda_peak_share": 0.1,
        "cuda_peak_bytes": 8 * 2.0**30,
        "cuda_batch_peak_bytes": 8 * 2.0**30,
        "cuda_floor_bytes": 2.0**30,
        "cuda_reserved_bytes": 8 * 2.0**30,
        "gpu_memory_total_bytes": 80 * 2.0**30,
        "gpu_memory_used_share": 0.11,
    }
    s = far(**numbers)
    assert rules.BY_NAME["low_mfu"].when(s, DEFAULTS)
    assert "batch 4 leaves memory and multiprocessors to spare" in rules.BY_NAME["low_mfu"].evidence(s, DEFAULTS)


@pytest.mark.parametrize(
    ("facts", "numbers"),
    [
        ({}, {}),
        ({"compile": "False"}, {"mfu": 0.08}),
        ({"compile": "False"}, {"clock_ratio": 0.7}),
        ({"compile": "False"}, {"compute_share": 0.5, "data_wait_share": 0.4}),
        ({"compile": "False", "ultralytics": "8.3.0"}, {}),
    ],
)
def test_a_distance_that_nothing_shortens_is_not_told(facts: dict[str, str], numbers: dict[str, float]) -> None:
    """All is in use; near enough; a card that is held down; steps that wait; an Ultralytics that does not compile."""
    assert not rules.BY_NAME["low_mfu"].when(far(facts, **numbers), DEFAULTS)
