"""What several dashboards share: scopes, marks on the time axis, the list of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import ALERTS, THIS_PREDICTION, THIS_RUN, Expr, Scope, known, named, top, total

from dashboards import look, verdicts
from dashboards.board import Annotation, link
from dashboards.panels import About, Column, Size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboards import sdk

#: Whatever the node.
NODES: Final = Scope(TARGET)
#: One run, some or all of its ranks.
RUN: Final = Scope((*TARGET, "run", "rank"), nodes="node")
ONE_RUN: Final = Scope((*TARGET, "run"), nodes="node")
#: One process that predicts, validates on its own or exports.
PREDICTION: Final = Scope((*TARGET, "run", "rank"), nodes="node", run=THIS_PREDICTION)
#: Nodes, some or all of their GPUs.
GPUS: Final = Scope((*TARGET, "gpu"))

RUN_LINK: Final = ("Open the run", link("run", run="__value.raw"))
NODE_LINK: Final = ("Open the node", link("node", instance="__value.raw"))


def of_run(expr: Expr) -> Expr:
    """`expr`, or n/a where the run is known but does not have it."""
    return known(expr, total("max", RUN(m.TRAIN_RUN_INFO)))


def alerts(**labels: str) -> Expr:
    """Alerts that fire, one series for each name, severity, run and node.

    Only yoloscope's, which all have a category: a Prometheus that others use too has alerts that always fire.
    """
    firing = Scope(("cluster",))(ALERTS, alertstate="firing", category="!=", **labels)
    return total("max", firing, "alertname", "severity", "run", "instance")


def began(on: Scope, start: m.Metric = m.TRAIN_START_TIMESTAMP_SECONDS) -> Expr:
    """When each run began, in milliseconds; one mark for all of its ranks."""
    return total("min", on(start), "run") * 1000


def _ended(on: Scope, end: m.Metric) -> Expr:
    """When the last rank ended that did so in order."""
    return total("max", on(end), "run") * 1000


def _grew(metric: m.Metric, window: str = "1m") -> Expr:
    """1 where a counter of the run grew."""
    return Expr(f"changes({RUN(metric)}[{window}]) > 0", "", metric.help)


def _pauses() -> Expr:
    """While a rank validates or saves, and for a minute after: a checkpoint is over before it is scraped."""
    states = {"state": "=~validate|checkpoint"}
    spent = RUN(m.TRAIN_PHASE_SECONDS_TOTAL, phase="=~validate|checkpoint")
    over = named(total("max", Expr(f"changes({spent}[1m])", "", spent.help), "run", "phase") > 0, "state", "", "phase")
    return total("max", RUN(m.TRAIN_STATE, **states).equals(1).or_(over), "run", "state")


def _death() -> Expr:
    """The moment a rank was killed; the state itself stays for an hour."""
    now = RUN(m.TRAIN_STATE, state="killed")
    return now.equals(1).unless(now.offset("1m").equals(1))


#: What happens to a run. What explains a gap or a step is always marked; what comes with every epoch has a switch.
LIFECYCLE: Final = (
    Annotation("Start", began(RUN), "{{run}}", look.OK, at_value=True),
    Annotation("End", _ended(RUN, m.TRAIN_END_TIMESTAMP_SECONDS), "{{run}}", look.NEUTRAL, at_value=True),
    Annotation("Killed", _death(), "{{run}}, rank {{rank}}", look.CRITICAL),
    Annotation("Batch halved (out of memory)", _grew(m.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL), "{{run}}", look.WARNING),
    Annotation("Went back after NaN", _grew(m.TRAIN_NAN_RECOVERIES_TOTAL), "{{run}}", look.CRITICAL),
    Annotation("Alerts", alerts(run=THIS_RUN), "{{alertname}}", look.WARNING, optional=True),
    Annotation("Validation, checkpoints", _pauses(), "{{state}}, {{run}}", look.NEUTRAL, optional=True),
    Annotation("Loader workers restarted", _grew(m.TRAIN_WORKER_RESTARTS_TOTAL), "{{run}}, rank {{rank}}"),
)

#: The same of what is no training.
OF_PREDICTION: Final = (
    Annotation("Start", began(PREDICTION, m.PREDICT_START_TIMESTAMP_SECONDS), "{{run}}", look.OK, at_value=True),
    Annotation("End", _ended(PREDICTION, m.PREDICT_END_TIMESTAMP_SECONDS), "{{run}}", look.NEUTRAL, at_value=True),
)

SEVERITY: Final = look.mapping(
    {
        "critical": ("critical", look.CRITICAL),
        "warning": ("warning", look.WARNING),
        "info": ("info", look.NEUTRAL),
    }
)
#: Pixels of an alert's name, which has no place to be divided.
ALERT: Final = 200
FIRING: Final = About(
    "No row.",
    "Open docs/alerts.md at the alert's name: it says how to verify it and what to type.",
    "Alerts of Prometheus that are firing now. Where alerts are evaluated elsewhere, this stays empty.",
)


def verdict_column(expr: Expr) -> Column:
    """The verdict's name in words, in the colour of its severity."""
    return Column(
        title="Verdict", expr=expr, label="verdict", mappings=(verdicts.TITLES,), filled=True, least=180, wraps=True
    )


def severity_column(expr: Expr) -> Column:
    """An alert's severity, coloured."""
    return Column(title="Severity", expr=expr, label="severity", mappings=(SEVERITY,), filled=True)


def firing(run: str) -> sdk.models.Panel:
    """The alerts of one run, the variable `run`."""
    severity = top(1, total("max", alerts(run=run), "alertname", "severity"), "alertname")
    return table(
        "Firing alerts of this run",
        FIRING,
        ("alertname", "Alert"),
        severity_column(severity),
        least=ALERT,
        empty="no firing alerts",
        size=Size(width=12, height=4),
    )


def configuration(asked: Expr, facts: Sequence[str], suspect: str, height: int) -> sdk.models.Panel:
    """The facts that label `asked`, a row for each rank; `suspect` says which are often to blame."""
    by_rank = total("max", asked, "rank", *facts)
    return table(
        "Configuration",
        About("What you asked for.", suspect),
        ("rank", "Rank"),
        *[Column(title=fact, expr=by_rank, label=fact) for fact in facts],
        width=80,
        size=Size(width=24, height=height),
    )
