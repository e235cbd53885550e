"""The rules of grafana/dashboard-linter v0.2.0 (docs/rules), but the two for LogQL, on our dashboards.

Implemented here because the linter is a Go program that no package registry carries. Exclusions need a reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import BOTH_RUNS, OTHER_RUN, THIS_PREDICTION, THIS_RUN

from deploy.prometheus.rulebook import records as recording
from tests.dashboards.queries import (
    DASHBOARDS,
    KNOWN,
    annotations,
    grouping,
    panels,
    parsed,
    selectors,
    series_names,
    targets,
    variables,
)

if TYPE_CHECKING:
    import promql_parser

ROOT = Path(__file__).parents[2]
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)

#: Series that lack a label the linter wants to see matched, and why.
EXCLUDED_LABELS = {
    "ALERTS": {"job": "alerts aggregate it away", "instance": "alerts aggregate it away"},
} | {price.name: dict.fromkeys(("job", "instance"), "one price for everybody") for price in recording.PRICES}
#: Counts that the GPU keeps for life, and Xid errors, whose series begin with the first one: a rate would miss it.
LIFETIME = {"yoloscope_gpu_remapped_rows_total", "yoloscope_gpu_retired_pages_total", "yoloscope_gpu_xid_errors_total"}
#: Counters of which a measure asks whether they have left zero, whenever that was.
EVER = {"yoloscope_train_oom_batch_reductions_total"}
#: How the label `run` is matched with what is chosen.
CHOSEN = (THIS_RUN, OTHER_RUN, BOTH_RUNS, THIS_PREDICTION)
#: Recorded series that a dashboard of one run reads for all runs, to compare them.
RECORDED_OVER_RUNS = {
    recorded.name for recorded in (recording.RUN_PEAK_MEMORY, recording.RUN_PEAK_SHARE, recording.RUN_BATCH_SIZE)
}


@each_dashboard
def test_template_datasource_rule(name: str) -> None:
    """There is exactly one datasource variable, named `datasource` and labelled 'Data source'."""
    sources = [variable for variable in variables(name).values() if variable["type"] == "datasource"]
    assert [(each["name"], each["query"]) for each in sources] == [("datasource", "prometheus")]
    assert sources[0]["label"] in ("Data source", "数据源")


@each_dashboard
@pytest.mark.parametrize("label", ["job", "instance"])
def test_template_job_and_instance_rules(name: str, label: str) -> None:
    """Variables `job` and `instance` take several values, and everything by `.+`."""
    variable = variables(name)[label]
    assert variable["label"] == label
    assert variable["datasource"]["uid"] == "${datasource}"
    assert variable["multi"] is True
    assert variable["allValue"] == ".+"


@each_dashboard
def test_template_label_promql_and_reload_rules(name: str) -> None:
    """Queries of variables are valid PromQL, asked again when the time range changes.

    Runs, which have an order, are the result of a query; all else is `label_values` of an info metric, which is cheap.
    """
    for variable in variables(name).values():
        if variable["type"] != "query":
            continue
        assert variable["refresh"] == 2
        query = variable["query"]["query"]
        if variable["name"] in ("run", "run_a", "prediction"):
            assert selectors(query.removeprefix("query_result(").removesuffix(")"))
            assert (variable["regex"], variable["sort"]) == (r'/^\{run="(.*)"\} \S+ \S+$/', 0)
            continue
        assert query.startswith("label_values(")
        selector, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        ((vector, _),) = selectors(selector)
        assert label in series_names()[vector.name]
        assert vector.name.endswith("_info"), "variables ask info metrics, which are cheap"


@each_dashboard
def test_panel_datasource_rule(name: str) -> None:
    """Each panel and each query uses the datasource variable."""
    for panel in panels(DASHBOARDS[name]):
        for part in (panel, *panel["targets"]):
            assert part["datasource"]["uid"] == "${datasource}", panel["title"]


@each_dashboard
def test_panel_title_description_and_units_rules(name: str) -> None:
    """Each panel says what it is, what is normal and what to do, in which unit, with thresholds of its own."""
    for panel in panels(DASHBOARDS[name]):
        what, normal, otherwise = panel["description"].split("\n\n")
        assert panel["title"]
        assert what
        assert normal.startswith("**")
        assert otherwise.startswith("**")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]


@each_dashboard
def test_panel_no_targets_rule(name: str) -> None:
    """Each panel asks something."""
    for panel in panels(DASHBOARDS[name]):
        assert panel["targets"], panel["title"]


@each_dashboard
def test_target_promql_rule(name: str) -> None:
    """Each expression parses."""
    for place in [*targets(name), *annotations(name)]:
        assert parsed(place.expr), place


@each_dashboard
def test_target_rate_interval_rule(name: str) -> None:
    """`rate` and its kin look back `$__rate_interval`, or over the whole range."""
    for place in targets(name):
        for function in ("rate(", "irate(", "increase("):
            for call in place.expr.split(function)[1:]:
                window = call.split("[", 1)[1].split("]", 1)[0]
                assert window in ("$__rate_interval", "$__range"), place


@each_dashboard
@pytest.mark.parametrize("label", ["job", "instance"])
def test_target_job_and_instance_rules(name: str, label: str) -> None:
    """Each selector is narrowed by the variables `job` and `instance`."""
    for place in [*targets(name), *annotations(name)]:
        for vector, _ in selectors(place.expr):
            if label in EXCLUDED_LABELS.get(vector.name, {}):
                continue
            assert (label, f"${label}") in _matchers(vector), place


def _matchers(vector: promql_parser.VectorSelector) -> set[tuple[str, str]]:
    return {(matcher.name, matcher.value) for matcher in vector.matchers.matchers}


@each_dashboard
def test_alerts_are_our_own(name: str) -> None:
    """Alerts of others, such as one that always fires, are no matter of these dashboards: ours have a category."""
    for place in [*targets(name), *annotations(name)]:
        for vector, _ in selectors(place.expr):
            if vector.name == "ALERTS":
                assert 'category!=""' in place.expr, place
                assert ("cluster", "$cluster") in _matchers(vector), place


def test_every_alert_has_a_category() -> None:
    """What the panels of alerts select by."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text(encoding="utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 50
    assert all(alert["labels"]["category"] for alert in alerts)


@each_dashboard
def test_dashboards_of_a_run_read_its_nodes_only(name: str) -> None:
    """Where a run is chosen, each selector names the run or its nodes: a thousand nodes cost nothing."""
    if not {"run", "prediction"} & variables(name).keys():
        return
    for place in [*targets(name), *annotations(name)]:
        for vector, _ in selectors(place.expr):
            runs = {("run", run.removeprefix("=~").strip("`")) for run in CHOSEN}
            narrow = runs | {("instance", "$node")}
            assert narrow & _matchers(vector) or vector.name in RECORDED_OVER_RUNS, place


@each_dashboard
def test_target_counter_agg_rule(name: str) -> None:
    """Counters appear only inside `rate`, `irate`, `increase`, `changes` or `resets`."""
    for place in [*targets(name), *annotations(name)]:
        for vector, around in selectors(place.expr):
            if vector.name.endswith("_total") and vector.name not in LIFETIME | EVER:
                assert {"rate", "irate", "increase", "changes", "resets"} & set(around), place


@each_dashboard
def test_uneditable_dashboard_rule(name: str) -> None:
    """What is provisioned cannot be edited: the source is the Python."""
    assert DASHBOARDS[name]["editable"] is False


@each_dashboard
def test_metrics_and_labels_exist(name: str) -> None:
    """Each series and each label in a matcher, a `by` or an `on` is in the catalogue or a recording rule."""
    names = series_names()
    for place in [*targets(name), *annotations(name)]:
        labels: set[str] = set()
        for vector, _ in selectors(place.expr):
            assert vector.name in names, place
            unknown = {matcher.name for matcher in vector.matchers.matchers} - set(names[vector.name])
            assert not unknown, place
            labels.update(names[vector.name])
        used, made = grouping(place.expr)
        assert used <= labels | made, place


@each_dashboard
def test_matchers_use_variables_the_dashboard_has(name: str) -> None:
    """A `$variable` that is not there would be sent to Prometheus as it stands."""
    for place in [*targets(name), *annotations(name)]:
        for vector, _ in selectors(place.expr):
            for matcher in vector.matchers.matchers:
                for variable in re.findall(r"\$\{?(\w+)", matcher.value):
                    assert variable in variables(name), place


def test_a_renamed_metric_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails when the catalogue loses a metric that the dashboards use."""
    monkeypatch.delitem(KNOWN, "yoloscope_train_epoch")
    with pytest.raises(AssertionError, match="yoloscope_train_epoch"):
        test_metrics_and_labels_exist("en/run")


def test_target_labels_are_those_the_variables_narrow() -> None:
    """The labels Prometheus adds are the first variables of every dashboard."""
    for name in DASHBOARDS:
        assert list(variables(name))[1:4] == list(TARGET)
