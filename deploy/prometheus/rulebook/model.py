"""What an alert is, and the few helpers its expression is written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yoloscope_exporter.measures.promql import Scope, render

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure

CRITICAL, WARNING, INFO = "critical", "warning", "info"

#: Evaluation intervals: of what reads about an hour, and of what reads a day.
SLOW, DAILY = "1m", "5m"

#: What identifies things in an expression. `job` is left out: it says nothing to the reader. `cluster` is there only
#: where somebody set it; addresses of nodes repeat from one cluster to the next.
NODE = "cluster, instance"
GPU = f"{NODE}, gpu"
RUN = "cluster, run"
RUN_ON_NODE = f"{NODE}, run"
RANK = f"{RUN_ON_NODE}, rank"
RANK_GPU = f"{RANK}, gpu"

#: The same as labels of an alert, in the order in which people read them.
OF_RANK_GPU = ("run", "rank", "gpu", "instance")
OF_RANK = ("run", "rank", "instance")
OF_RUN_ON_NODE = ("run", "instance")
OF_RUN = ("run",)
OF_GPU = ("gpu", "instance")
OF_NODE = ("instance",)

#: Reasons that many alerts share.
AT_ONCE = "it has happened; waiting tells nothing more"
STAY_VISIBLE = "the event is over at once; it stays visible long enough to be read"
NO_FLAPPING = "avoids repeated firing while the value moves around the threshold"


#: Verdicts about the loader, and all that say why a training step, or the wait before it, takes long.
LOADER: Final = (
    *("loader_startup", "loader_wait", "loader_workers", "loader_cpu", "loader_io", "slow_worker", "workers_capped"),
    *("cpu_affinity", "cpu_contended", "cpu_oversubscribed", "cpu_throttled"),
)
SLOWNESS: Final = (
    *LOADER,
    *("callback_bound", "preprocess_bound", "h2d_bound", "small_batch", "straggler", "communication_bound"),
    *("thermal_throttle", "power_brake"),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. Its texts are English; the Chinese stands in `yoloscope_exporter/language/zh_cn/alerts.py`.

    In a text `{{ ... }}` is Prometheus's template language and `@name@` a threshold.

    Attributes:
        name: as it is shown; also the section in docs/alerts.md.
        expr: PromQL within Prometheus 2.42, `@name@` for thresholds.
        labels: those of the result that say where: they end the summary, fill the dashboard and the silence.
        severity: CRITICAL is a page, WARNING a ticket, INFO is for the dashboards only.
        hold: `for`, with its reason in `why_hold`.
        dashboard: uid of the dashboard to look at.
        summary: half a line with the number; run, rank, GPU and node are appended from the alert's labels.
        what: the number again, and what it means for the training.
        fix: what to do, the likeliest first, as Ultralytics arguments; in the runbook, and in an annotation of its own
            as long as the diagnosis has computed none (`fixed_by`).
        meaning: runbook: what the rule compares and what it leaves out.
        verify: runbook: how to see that it is so.
        silence: runbook: when silence is right; the command is appended.
        keep: `keep_firing_for`, empty for none, with its reason in `why_keep`.
        fixed_by: verdicts of the diagnosis whose fix is that of the alert, and is told instead of the text's while they
            hold: of the run, or of all runs on the node for an alert that knows no run.
        caused: whether it ends with why the ranks died, as far as the diagnosis knows.
        located: whether it ends with where the run stands still, if its processes have been asked.
        named: whether it ends with uuid and bus of the GPU, for whoever has to find the board.
        every: evaluation interval if it is not the server's; what reads hours is asked less often.
    """

    name: str
    expr: str
    labels: tuple[str, ...]
    severity: str
    hold: str
    why_hold: str
    dashboard: str
    summary: str
    what: str
    fix: str
    meaning: str
    verify: str
    silence: str
    keep: str = ""
    why_keep: str = ""
    fixed_by: tuple[str, ...] = ()
    caused: bool = False
    located: bool = False
    named: bool = False
    every: str = ""


#: What people read of an alert.
TEXTS: Final = ("summary", "what", "fix", "meaning", "verify", "silence", "why_hold", "why_keep")


@dataclass(frozen=True, slots=True)
class Category:
    """Alerts of one kind; its name is their label `category` and, for most, their group in the rule file."""

    name: str
    title: str
    alerts: tuple[Alert, ...]


#: All series: rules know no variables.
ALL: Final = Scope(())


def series(metric: Metric, window: str = "", /, *, part: str = "", **labels: str) -> str:
    """A selector of the metric; a `window` such as `5m` makes it a range. Labels as `Scope` takes them."""
    return f"{ALL(metric, part, **labels)}" + (f"[{window}]" if window else "")


def rate(metric: Metric, window: str, /, *, part: str = "", **labels: str) -> str:
    """Increase per second of a counter."""
    return str(ALL.rate(metric, part, window, **labels))


def increase(metric: Metric, window: str, /, *, part: str = "", **labels: str) -> str:
    """Increase of a counter over the window."""
    return str(ALL.increase(metric, part, window, **labels))


def measured(measure: Measure, window: str, *by: str) -> str:
    """A measure over a window; by its own labels if none are given."""
    return str(render(measure.formula, ALL, *(by or measure.of), window=window))
