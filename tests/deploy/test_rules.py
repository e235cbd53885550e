"""The alerts at work: each fires on its fault at the stated time, ends, and is silent on every healthy day."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.language import LANGUAGES
from yoloscope_exporter.measures.thresholds import THRESHOLDS
from yoloscope_record.catalog import IMAGE_BUCKETS

from deploy.prometheus import generate
from deploy.prometheus.rulebook import ALERTS
from deploy.prometheus.rulebook.records import RUN_OWNER
from deploy.prometheus.texts import LABELS

from .alert_texts import texts_of
from .scenarios import healthy, promtool
from .scenarios.faults import FAULTS, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .scenarios.world import World

#: The first test waits for promtool, which takes a minute and a half of CPU for all of them.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: Two evaluations; promtool's clock is exact, so nothing here depends on the machine.
TOLERANCE_MINUTES = 0.5
HEALTHY = {healthy.world(scenario).name: scenario for scenario in healthy.SCENARIOS}


def _rules() -> dict[str, Any]:
    """The shipped ones, and the record of whose a run is."""
    owner = [
        rule for group in generate.recording()["groups"] for rule in group["rules"] if rule["record"] == RUN_OWNER.name
    ]
    return {"groups": [*generate.rules()["groups"], {"name": "owner", "rules": owner}]}


def _healthy_days() -> list[World]:
    return [healthy.world(scenario) for scenario in healthy.SCENARIOS]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> promtool.Outcome:
    """Everything that fires on all these days; promtool runs once per length of day.

    Healthy days have an evaluation each minute: how soon an alert fires is not asked of them.
    """
    ill, well = (tmp_path_factory.mktemp(name) for name in ("ill", "well"))
    faults = promtool.outcome(ill, [fault.world() for fault in FAULTS], _rules())
    days = promtool.outcome(well, _healthy_days(), _rules(), seconds=60)
    return promtool.Outcome({**faults.alerts, **days.alerts}, faults.texts + days.texts)


def _of(alerts: Mapping[promtool.Alert, promtool.Fired], scenario: str) -> dict[str, promtool.Fired]:
    """Alerts of a scenario as `name/severity`."""
    return {f"{alert.name}/{alert.severity}": when for alert, when in alerts.items() if alert.scenario == scenario}


def _named(expected: str, fired: Mapping[str, promtool.Fired]) -> str:
    """`Alert/severity`, the severity left open in `expected` where there is but one."""
    return next((name for name in fired if name == expected or name.split("/")[0] == expected), expected)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fires_and_ends_at_the_stated_time(outcome: promtool.Outcome, fault: Fault) -> None:
    """Each alert of a fault fires when `for` and its windows say, not before, and ends when `keep_firing_for` says."""
    fired = _of(outcome.alerts, fault.name)
    for expected, (after, until) in fault.raises.items():
        name = _named(expected, fired)
        assert name in fired, f"{expected} never fired; fired: {fired}"
        measured = (fired[name].first - fault.at, fired[name].last - fault.mended)
        assert measured == pytest.approx((after, until), abs=TOLERANCE_MINUTES), name


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_raises_nothing_else(outcome: promtool.Outcome, fault: Fault) -> None:
    """One fault, its own alerts, and the consequences that the fault declares."""
    fired = _of(outcome.alerts, fault.name)
    wanted = {_named(expected, fired) for expected in fault.raises}
    assert {name for name in fired if name.split("/")[0] not in fault.also} <= wanted


@pytest.mark.parametrize("scenario", HEALTHY)
def test_silent_on_a_healthy_day(outcome: promtool.Outcome, scenario: str) -> None:
    """Validation, checkpoints, ends of epochs and runs, full caches: none of them wakes anybody."""
    assert _of(outcome.alerts, scenario) == {}


@pytest.mark.long
def test_silent_on_healthy_days_at_every_evaluation(tmp_path: Path) -> None:
    """Nor is anybody woken in between, at the pace at which a Prometheus evaluates."""
    assert promtool.outcome(tmp_path, _healthy_days(), _rules()).alerts == {}


def test_the_next_bucket_is_no_fault() -> None:
    """A little more time, from one bucket into the next, never looks as if images took too many times as long."""
    edges = itertools.pairwise(IMAGE_BUCKETS)
    assert max(above / below for below, above in edges) < THRESHOLDS["inference_slower"].value


def test_every_alert_has_a_fault() -> None:
    """No alert without a scenario in which it must fire, at either severity; and no fault of an unknown alert."""
    raised = {name for fault in FAULTS for name in fault.raises}
    several = {alert.name for alert in ALERTS if sum(other.name == alert.name for other in ALERTS) > 1}
    assert raised == {f"{a.name}/{a.severity}" if a.name in several else a.name for a in ALERTS}
    assert len(HEALTHY) == len(healthy.SCENARIOS) >= 20


def test_texts_are_complete(outcome: promtool.Outcome) -> None:
    """Every alert's texts come out of Prometheus's templates filled: names, numbers, addresses, in both languages."""
    shown = dict(re.findall(r'alertname="(\w+)".*?\n\s*Annotations:\{(.*)\}', outcome.texts))
    assert set(shown) == {alert.name for alert in ALERTS}
    for alert in ALERTS:
        text = shown[alert.name]
        assert not re.search(r"<no value>|<error|error (executing|calling)|%!|\{\{|@\w+@", text), alert.name
        annotations = dict(re.findall(r'(\w+)="(.*?)"(?:, |$)', text))
        texts = {f"{name}{language}" for name in ("summary", "description", "fix") for language in ("", "_zh")}
        assert texts | {"runbook_url", "dashboard_url"} <= set(annotations)
        for label in alert.labels:
            assert re.search(rf"{LABELS[label]} [\w.:-]+", annotations["summary"]), alert.name
            predicts = label == "run" and alert.dashboard == "yoloscope-inference"
            variable = "prediction" if predicts else label
            assert re.search(rf"var-{variable}=[\w.%-]+", annotations["dashboard_url"]), alert.name


def _told(outcome: promtool.Outcome, run: str) -> list[dict[str, str]]:
    """The annotations of all alerts about the run."""
    found = re.findall(rf'run="{run}"[^\n]*\n\s*Annotations:\{{(.*)\}}', outcome.texts)
    return [dict(re.findall(r'(\w+)="(.*?)"(?:, |$)', text)) for text in found]


def test_the_fix_is_the_one_that_the_diagnosis_computed(outcome: promtool.Outcome) -> None:
    """In both languages, with the verdict that it is for, and named as a verdict as well."""
    alerts = _told(outcome, "starved")
    assert alerts
    for told in alerts:
        assert (told["verdict"], told["fix"]) == ("loader_workers", "loader_workers: workers=11 for each.")
        assert told["fix_zh"] == "loader_workers：workers=11；每个。"  # noqa: RUF001


def test_the_fix_is_the_alerts_own_where_none_was_computed(outcome: promtool.Outcome) -> None:
    """By an exporter of version 0.1, which tells verdicts without a fix."""
    alerts = _told(outcome, "callback-at-the-end-of-epochs")
    assert alerts
    own = {texts_of(alert, language)["fix"] for alert in ALERTS for language in LANGUAGES}
    for told in alerts:
        assert told["verdict"] == "callback_bound"
        assert {told["fix"], told["fix_zh"]} <= own


def test_an_alert_says_whose_run_it_is(outcome: promtool.Outcome) -> None:
    """The user, and the Slurm job or pod: facts that the scenarios call x. What is no run has no owner."""
    alerts = _told(outcome, "starved")
    assert alerts
    assert {told["owner"] for told in alerts} == {"x, x"}
    owned = {alert.name for alert in ALERTS if "run" in alert.labels}
    rules = [rule for group in generate.rules()["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["alert"] for rule in rules if "owner" in rule["annotations"]} == owned


def test_who_has_to_find_the_board_is_told_which_it_is(outcome: promtool.Outcome) -> None:
    """Alerts that end with somebody at the machine name uuid and bus, of a GPU that does not answer as well."""
    named = {alert.name for alert in ALERTS if alert.named}
    found = re.findall(rf'alertname="({"|".join(named)})".*?\n\s*Annotations:\{{(.*)\}}', outcome.texts)
    assert {name for name, _ in found} == named
    for _, text in found:
        told = dict(re.findall(r'(\w+)="(.*?)"(?:, |$)', text))
        assert re.search(r" GPU-[\w.:-]+, PCI \w+\.$", told["description"])
        assert re.search(r"GPU-[\w.:-]+，PCI \w+。$", told["description_zh"])  # noqa: RUF001


def test_a_death_is_told_with_its_cause(outcome: promtool.Outcome) -> None:
    """In both languages, where the diagnosis knows one; alerts of other kinds are not lengthened by one."""
    (told,) = _told(outcome, "ends-with-an-exception")
    cause = "cuda_out_of_memory: the GPU's memory is used up"
    assert told["description"].endswith(f" Cause: {cause}.")
    assert told["description_zh"].endswith("原因：cuda_out_of_memory：显存用完。")  # noqa: RUF001
    assert not any("Cause:" in other["description"] for other in _told(outcome, "gpu-memory-leaks-until-there-is-none"))


def test_a_summary_names_the_cluster(outcome: promtool.Outcome) -> None:
    """Where names repeat from one cluster to the next."""
    found = re.findall(r'summary="[^"]*\(run starved-in-one-of-two-clusters[^"]*"', outcome.texts)
    assert found
    assert all(", cluster one)" in summary for summary in found)


def test_a_leak_says_when_memory_is_full(outcome: promtool.Outcome) -> None:
    """Asked 28 minutes into a leak that ends out of memory after 70."""
    where = r"\(run gpu-memory-leaks-until-there-is-none"
    texts = re.findall(rf'summary="GPU memory grows and is full in ([^"]*?) {where}', outcome.texts)
    assert texts
    assert set(texts) == {"42m 0s"}


def test_recall_and_precision(outcome: promtool.Outcome, table: Callable[[str], None]) -> None:
    """The table faults x alerts: every alert catches all of its faults and nothing that is none."""
    rows = [_row(alert.name, outcome) for alert in {alert.name: alert for alert in ALERTS}.values()]
    table(_matrix(outcome))
    table(f"{'alert':28} faults caught  wrong in faults  on {len(HEALTHY)} healthy days  recall  precision")
    for name, faults, caught, wrong, false in rows:
        recall, precision = caught / faults, caught / max(1, caught + wrong + false)
        table(f"{name:28} {faults:6} {caught:6}  {wrong:15}  {false:18}  {recall:6.2f}  {precision:9.2f}")
    assert all(caught == faults and not wrong and not false for _, faults, caught, wrong, false in rows)


def _row(name: str, outcome: promtool.Outcome) -> tuple[str, int, int, int, int]:
    raising = {fault.name for fault in FAULTS if name in {raised.split("/")[0] for raised in fault.raises}}
    allowed = {fault.name for fault in FAULTS if name in fault.also}
    on = {alert.scenario for alert in outcome.alerts if alert.name == name}
    return name, len(raising), len(raising & on), len(on - raising - allowed - set(HEALTHY)), len(on & set(HEALTHY))


def _matrix(outcome: promtool.Outcome) -> str:
    """Rows are faults, columns alerts: X as it must, c a declared consequence, ! wrong, - missed."""
    names = list({alert.name: None for alert in ALERTS})
    head = [" ".join(str(index)[place : place + 1] or " " for index in range(10, len(names) + 10)) for place in (0, 1)]
    lines = [f"{'fault x alert':34} {line}" for line in head]
    for fault in FAULTS:
        raised = {name.split("/")[0] for name in fault.raises}
        on = {alert.name for alert in outcome.alerts if alert.scenario == fault.name}
        lines.append(f"{fault.name:34} " + " ".join(_mark(name, raised, fault.also, on) for name in names))
    legend = "; ".join(f"{index} {name}" for index, name in enumerate(names, 10))
    return "\n".join([*lines, legend])


def _mark(name: str, raised: set[str], also: frozenset[str], on: set[str]) -> str:
    if name in raised:
        return "X" if name in on else "-"
    if name in on:
        return "c" if name in also else "!"
    return "."
