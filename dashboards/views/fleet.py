"""Fleet: are the GPUs working, which trainings need a look, which nodes. Reads recorded series only."""

from __future__ import annotations

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.promql import UP, Expr, known, middle, since, top, total, zero

from dashboards import look, verdicts
from dashboards.board import NODES as NODE_VARIABLES
from dashboards.board import Board, Row, link
from dashboards.panels import About, Column, Query, Size, lines, stat, table, timeline
from dashboards.views.common import FIRING, NODE_LINK, NODES, RUN_LINK, alerts, severity_column, verdict_column
from deploy.prometheus.rulebook import records as recording

QUANTILES = ((0.1, "lowest tenth"), (0.5, "middle"), (0.9, "highest tenth"))
SHOWN = 40  # rows a screen can show


def fleet(recorded: recording.Recorded) -> Expr:
    """A recorded count or sum over all nodes."""
    return total("sum", NODES(recorded))


def run(recorded: recording.Recorded, how: str = "max") -> Expr:
    """A recorded figure of each run, over the nodes it runs on; n/a if a run that is known has none."""
    return known(total(how, NODES(recorded), "run"), total("max", NODES(recording.RUN_UP), "run"))


def node(recorded: recording.Recorded) -> Expr:
    """A recorded figure of each node; n/a if the node answers but has none."""
    return known(total("max", NODES(recorded), "instance"), total("max", NODES(m.BUILD_INFO), "instance"))


def living(expr: Expr) -> Expr:
    """Only of runs that live."""
    return expr.where(total("max", NODES(recording.RUN_UP), "run").equals(1), ["run"])


def worst(*by: str) -> Expr:
    """The most severe verdict of each run."""
    return top(1, total("max", NODES(recording.RUN_SEVERITY), "run", *by), "run")


def state() -> Expr:
    """A state of each run; that of one rank where they differ."""
    return top(1, total("max", NODES(recording.RUN_STATE), "run", "state"), "run")


def wasted_hours(*by: str) -> Expr:
    """GPU-hours lost in the time range: each minute's lost GPUs, added up."""
    lost = total("sum", NODES(recording.RUN_WASTED), *by)
    return Expr(f"sum_over_time(({lost})[$__range:1m]) / 60", "hours", recording.RUN_WASTED.help)


def known_nodes() -> Expr:
    """One value while any exporter answers: what a count of nothing is told from no data by."""
    return total("max", NODES(m.BUILD_INFO))


GLANCE = Row(
    "At a glance",
    [
        stat(
            "GPUs",
            About("All you own.", "Fewer than yesterday: a node is down or a GPU has fallen off the bus."),
            Query(fleet(recording.NODE_GPUS)),
        ),
        stat(
            "GPU busy",
            About(
                "Above 60 % over a day for a shared cluster; each training above 85 %.",
                "Low while GPUs are held: see Held but idle. Low while none are held: nobody trains.",
                "Mean utilisation over all GPUs.",
            ),
            Query(
                (
                    total("sum", NODES(recording.NODE_GPU_BUSY) * NODES(recording.NODE_GPUS))
                    / total("sum", NODES(recording.NODE_GPUS).where(NODES(recording.NODE_GPU_BUSY), ["instance"]))
                ).of("ratio")
            ),
            steps=look.below("fleet_used", "gpu_low_severe"),
            decimals=0,
        ),
        stat(
            "Held but idle",
            About(
                "0, or a few while trainings start.",
                "The nodes table names them; the training there is stalled, setting up, or starved of data.",
            ),
            Query(fleet(recording.NODE_GPUS_IDLE)),
            steps=look.above(1, "many_idle_gpus"),
        ),
        stat(
            "Faulty GPUs",
            About("0.", "Drain the node: a GPU reset clears a pending remap, anything else needs a replacement."),
            Query(fleet(recording.NODE_GPUS_FAULTY)),
            steps=look.above(1, 1),
        ),
        stat(
            "Power",
            About("Follows utilisation.", "High at low utilisation: GPUs spin without work."),
            Query(fleet(recording.NODE_GPU_POWER)),
        ),
        stat(
            "Nodes that do not answer",
            About(
                "0.",
                "The node or its exporter is down: systemctl status yoloscope, or the pod's events.",
                "Exporters whose last scrape failed.",
            ),
            Query(
                zero(
                    total("count", NODES(UP).equals(0).where(total("max", NODES(m.BUILD_INFO), "job"), ["job"])),
                    known_nodes(),
                ).of("")
            ),
            steps=look.above(1),
        ),
        stat(
            "Living trainings",
            About(
                "What was submitted.",
                "Fewer: look for killed ones in the table below.",
                "Trainings with a living rank.",
            ),
            Query(zero(total("count", run(recording.RUN_UP).equals(1)), known_nodes()).of("")),
        ),
        stat(
            "Broken",
            About(
                "0.",
                "The table below names them and the verdict; open the training from there.",
                "Trainings that are stalled, killed, failed or diverged, of the last minutes.",
            ),
            Query(zero(total("count", worst().equals(4)), known_nodes()).of("")),
            steps=look.above(1, 1),
        ),
        stat(
            "Waiting for data",
            About(
                "Under 10 %.",
                "Above 20 % for most trainings: the shared storage is the likely cause.",
                "Share of the training loop's time spent waiting for data; the middle one of all trainings.",
            ),
            Query(middle(0.5, living(total("max", NODES(recording.RUN_DATA_WAIT), "run")))),
            steps=look.above("input_share", "input_share_severe"),
            decimals=1,
        ),
        stat(
            "Images per second",
            About("Follows the number of trainings.", "Falling with as many trainings: something shared got slow."),
            Query(total("sum", NODES(recording.RUN_IMAGES))),
            unit="images/s",
        ),
        stat(
            "GPU-hours wasted",
            About(
                "Under a tenth of the GPU-hours held.",
                "The panel Waste by cause says which remedy pays most.",
                "GPU-hours held but not computing, in the time range of the dashboard.",
            ),
            Query(zero(wasted_hours(), known_nodes())),
            decimals=1,
        ),
        stat(
            "Firing alerts",
            About("0.", "The table at the bottom names them."),
            Query(zero(total("count", alerts()), known_nodes()).of("")),
            steps=look.above(1),
        ),
    ],
)

TRAININGS = Row(
    "Trainings",
    [
        table(
            "Trainings",
            About(
                "Blue verdicts, GPUs above 85 %, waiting under 10 %.",
                "Sort by a column; a click on a name opens the training.",
                "One row for each training that lives or ended a short while ago; the worst verdict of its ranks.",
            ),
            ("run", "Training"),
            verdict_column(worst("verdict")),
            Column(title="State", expr=state(), label="state"),
            Column(title="Ranks", expr=run(recording.RUN_RANKS, "sum"), decimals=0),
            Column(
                title="GPU busy",
                expr=run(recording.RUN_GPU_BUSY),
                steps=look.below("gpu_well_used", "gpu_low"),
                highest=1,
            ),
            Column(
                title="Waiting for data",
                expr=run(recording.RUN_DATA_WAIT),
                steps=look.above("input_share", "input_share_severe"),
                highest=1,
            ),
            Column(title="Images per second", expr=run(recording.RUN_IMAGES, "sum"), unit="images/s", decimals=0),
            Column(title="mAP50-95", expr=run(recording.RUN_MAP), unit="score", decimals=3),
            Column(title="Progress", expr=run(recording.RUN_PROGRESS), highest=1),
            Column(title="Time to go", expr=run(recording.RUN_REMAINING)),
            Column(
                title="Last batch",
                expr=since(total("max", NODES(recording.RUN_LAST_BATCH), "run")),
                steps=look.above("late_batch", "stall_most_seconds"),
            ),
            link=RUN_LINK,
            sort="Waiting for data",
            size=Size(width=24, height=10),
        ),
        timeline(
            "Verdicts of the trainings",
            About(
                "Blue.",
                "Orange holds a training back, magenta has broken it; many at once point at something shared.",
                f"The worst verdict of each training over time; the {SHOWN} worst where there are more.",
            ),
            Query(top(SHOWN, total("max", NODES(recording.RUN_SEVERITY), "run")), "{{run}}"),
            mappings=(verdicts.LEVELS,),
            size=Size(width=24, height=8),
            link=("Open the training", link("run", run="__field.labels.run")),
        ),
    ],
)

NODES_ROW = Row(
    "Nodes",
    [
        table(
            "Nodes",
            About(
                "Nothing held but idle, no throttling, memory below 90 %.",
                "Sort by a column; a click on a name opens the node.",
                "One row for each node whose exporter answers; n/a: no GPU, or a figure its hardware does not have.",
            ),
            ("instance", "Node"),
            Column(title="GPUs", expr=node(recording.NODE_GPUS), decimals=0),
            Column(title="Held", expr=node(recording.NODE_GPUS_HELD), decimals=0),
            Column(title="Idle", expr=node(recording.NODE_GPUS_IDLE), steps=look.above(1), decimals=0),
            Column(title="Faulty", expr=node(recording.NODE_GPUS_FAULTY), steps=look.above(1, 1), decimals=0),
            Column(title="GPU busy", expr=node(recording.NODE_GPU_BUSY), highest=1),
            Column(
                title="GPU memory", expr=node(recording.NODE_GPU_MEMORY), steps=look.above("cuda_peak_share"), highest=1
            ),
            Column(title="Power", expr=node(recording.NODE_GPU_POWER), decimals=0),
            Column(title="Hottest GPU", expr=node(recording.NODE_GPU_TEMPERATURE), steps=look.above("hot"), decimals=0),
            Column(
                title="Throttled", expr=node(recording.NODE_GPU_THROTTLED), steps=look.above("thermal_share"), highest=1
            ),
            Column(title="CPU busy", expr=node(recording.NODE_CPU_BUSY), steps=look.above("busy"), highest=1),
            Column(title="Memory", expr=node(recording.NODE_MEMORY), steps=look.above("busy"), highest=1),
            Column(title="Disk busy", expr=node(recording.NODE_DISK_BUSY), steps=look.above("busy"), highest=1),
            link=NODE_LINK,
            sort="Idle",
            size=Size(width=24, height=10),
        )
    ],
)

WASTE = Row(
    "Use and waste",
    [
        lines(
            "GPUs over time",
            About("Held near installed, idle at the bottom.", "A wide gap: nobody trains."),
            Query(fleet(recording.NODE_GPUS), "installed"),
            Query(fleet(recording.NODE_GPUS_HELD), "held"),
            Query(fleet(recording.NODE_GPUS_IDLE), "held but idle"),
            colours={"held but idle": look.WARNING},
        ),
        lines(
            "Utilisation over nodes",
            About(
                "The middle node near the highest tenth.",
                "The lowest tenth at zero: nodes without work, or stuck ones.",
                "A tenth, half and nine tenths of the nodes have a lower mean GPU utilisation.",
            ),
            *[Query(middle(q, NODES(recording.NODE_GPU_BUSY)), legend) for q, legend in QUANTILES],
            highest=1,
        ),
        lines(
            "Waste by cause",
            About("Close to zero.", "The thickest band is the remedy that pays most: docs/diagnosis.md."),
            Query(total("sum", NODES(recording.RUN_WASTED), "cause"), "{{cause}}"),
            stacked=True,
            unit="gpus",
        ),
        table(
            "GPU-hours wasted by cause",
            About("Short bars.", "Start with the longest: docs/diagnosis.md has the remedy for each cause."),
            ("cause", "Cause"),
            Column(title="GPU-hours", expr=wasted_hours("cause"), decimals=2),
            sort="GPU-hours",
            size=Size(width=6),
        ),
        table(
            "GPU-hours wasted by training",
            About("Short bars.", "A click opens the training.", "The twenty that wasted most in the time range."),
            ("run", "Training"),
            Column(title="GPU-hours", expr=top(20, wasted_hours("run")), decimals=2),
            link=RUN_LINK,
            sort="GPU-hours",
            size=Size(width=6),
        ),
    ],
)

ALERTS = Row(
    "Alerts",
    [
        table(
            "Alerts that fire",
            FIRING,
            ("alertname", "Alert"),
            severity_column(alerts()),
            Column(title="Training", expr=alerts(), label="run", link=RUN_LINK),
            Column(title="Node", expr=alerts(), label="instance", link=NODE_LINK),
        )
    ],
)

BOARD = Board(
    name="fleet",
    title="Fleet",
    about="All nodes and trainings: are the GPUs working, and which training or node needs a look.",
    variables=NODE_VARIABLES,
    rows=(GLANCE, TRAININGS, NODES_ROW, WASTE, ALERTS),
    span="now-6h",
    refresh="1m",
)
