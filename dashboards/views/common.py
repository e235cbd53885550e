"""What several dashboards share: scopes, marks on the time axis, the list of alerts."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import ALERTS, THIS_RUN, Expr, Scope, known, total

from dashboards import look, verdicts
from dashboards.board import Annotation, link
from dashboards.panels import About, Column

#: Whatever the node.
NODES: Final = Scope(TARGET)
#: One run, some or all of its ranks.
RUN: Final = Scope((*TARGET, "run", "rank"), nodes="node")
ONE_RUN: Final = Scope((*TARGET, "run"), nodes="node")
#: Nodes, some or all of their GPUs.
GPUS: Final = Scope((*TARGET, "gpu"))

RUN_LINK: Final = ("Open the training", link("run", run="__value.raw"))
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


def began(on: Scope) -> Expr:
    """When each run began, in milliseconds; one mark for all of its ranks."""
    return total("min", on(m.TRAIN_START_TIMESTAMP_SECONDS), "run") * 1000


def _ended() -> Expr:
    """When the last rank ended that did so in order."""
    return total("max", RUN(m.TRAIN_END_TIMESTAMP_SECONDS), "run") * 1000


def _grew(metric: m.Metric, window: str = "1m") -> Expr:
    """1 where a counter of the run grew."""
    return Expr(f"changes({RUN(metric)}[{window}]) > 0", "", metric.help)


def _phase(name: str) -> Expr:
    """While a rank is in that state, and for a minute after: a checkpoint is over before it is scraped."""
    spent = RUN(m.TRAIN_PHASE_SECONDS_TOTAL, phase=name)
    over = total("max", Expr(f"changes({spent}[1m])", "", spent.help), "run") > 0
    return total("max", RUN(m.TRAIN_STATE, state=name), "run").equals(1).or_(over)


def _death() -> Expr:
    """The moment a rank was killed; the state itself stays for an hour."""
    now = RUN(m.TRAIN_STATE, state="killed")
    return now.equals(1).unless(now.offset("1m").equals(1))


#: What happens to a run, each with a switch; those that explain a gap are on.
LIFECYCLE: Final = (
    Annotation("Start", began(RUN), "{{run}}", look.OK, True, True),
    Annotation("End", _ended(), "{{run}}", look.NEUTRAL, True, True),
    Annotation("Death", _death(), "{{run}}, rank {{rank}}", look.CRITICAL, True),
    Annotation("Validation", _phase("validate"), "{{run}}", look.NEUTRAL),
    Annotation("Checkpoint", _phase("checkpoint"), "{{run}}", look.NEUTRAL),
    Annotation(
        "Batch halved (out of memory)", _grew(m.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL), "{{run}}", look.WARNING, True
    ),
    Annotation("Went back after NaN", _grew(m.TRAIN_NAN_RECOVERIES_TOTAL), "{{run}}", look.CRITICAL, True),
    Annotation("Loader workers restarted", _grew(m.TRAIN_WORKER_RESTARTS_TOTAL), "{{run}}, rank {{rank}}"),
    Annotation("Alert", alerts(run=THIS_RUN), "{{alertname}}", look.WARNING, True),
)

SEVERITY: Final = look.mapping(
    {
        "critical": ("critical", look.CRITICAL),
        "warning": ("warning", look.WARNING),
        "info": ("info", look.NEUTRAL),
    }
)
FIRING: Final = About(
    "No row.",
    "Open docs/alerts.md at the alert's name: it says how to verify it and what to type.",
    "Alerts of Prometheus that are firing now. Where alerts are evaluated elsewhere, this stays empty.",
)


def verdict_column(expr: Expr) -> Column:
    """The verdict's name in words, in the colour of its severity."""
    return Column(title="Verdict", expr=expr, label="verdict", mappings=(verdicts.TITLES,), filled=True)


def severity_column(expr: Expr) -> Column:
    """An alert's severity, coloured."""
    return Column(title="Severity", expr=expr, label="severity", mappings=(SEVERITY,), filled=True)
