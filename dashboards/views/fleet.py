"""Fleet: are the GPUs working, which runs need a look, whose they are, what it costs. Reads recorded series only."""

from __future__ import annotations

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import gpu, training
from yoloscope_exporter.measures.formula import RUN_ON_NODE
from yoloscope_exporter.measures.promql import UP, Expr, joined, known, middle, since, top, total, zero

from dashboards import look, verdicts
from dashboards.board import NODES as NODE_VARIABLES
from dashboards.board import Board, Row, link
from dashboards.panels import About, Column, Query, Size, lines, stat, table, timeline
from dashboards.views.common import (
    ALERT,
    FIRING,
    NODE_LINK,
    NODES,
    RUN_LINK,
    alerts,
    severity_column,
    verdict_column,
)
from deploy.prometheus.rulebook import records as recording

QUANTILES = ((0.1, "lowest tenth"), (0.5, "middle"), (0.9, "highest tenth"))
SHOWN = 40  # rows a screen can show
SIXTH = Size(width=4, height=4)


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


def hours(amount: Expr) -> Expr:
    """What is so many things at a time, in thing-hours over the time range: each minute's, added up."""
    return Expr(f"sum_over_time(({amount})[$__range:1m]) / 60", "hours", amount.help)


def wasted_hours(*by: str) -> Expr:
    """GPU-hours lost in the time range."""
    return hours(total("sum", NODES(recording.RUN_WASTED), *by))


def of_user(amount: Expr) -> Expr:
    """A recorded figure of runs on nodes, summed by whose they are."""
    return total("sum", joined(NODES(recording.RUN_OWNER), amount, RUN_ON_NODE), "user")


def held_hours() -> Expr:
    """GPU-hours that each user held."""
    return hours(of_user(NODES(recording.RUN_GPUS_HELD)))


def wasted_hours_of_user() -> Expr:
    """GPU-hours that each user held and did not use."""
    return hours(of_user(total("sum", NODES(recording.RUN_WASTED), *RUN_ON_NODE)))


def energy() -> Expr:
    """Kilowatt-hours of the GPUs that each user held."""
    return (hours(of_user(NODES(recording.RUN_GPU_POWER))) / 1000).of("kilowatt-hours")


def wasted_energy() -> Expr:
    """Kilowatt-hours drawn in that time, by cause."""
    return (hours(total("sum", NODES(recording.RUN_WASTED_POWER), "cause")) / 1000).of("kilowatt-hours")


def times(amount: Expr, price: recording.Recorded) -> Expr:
    """An amount for each of several things times one price; nothing where nobody said a price."""
    return Expr(f"({amount}) * on () group_left () max({price.name})", "", price.help)


def cost(gpu_hours: Expr, energy: Expr) -> Expr:
    """GPU-hours and energy at their prices, as far as these are known."""
    held, drawn = times(gpu_hours, recording.PRICE_GPU_HOUR), times(energy, recording.PRICE_KWH)
    return Expr(f"(({held}) + ({drawn})) or ({held}) or ({drawn})", "", "Price of the GPU-hours and of the energy.")


def owner() -> Expr:
    """Whose run it is, and which job or pod."""
    return total("max", NODES(recording.RUN_OWNER), "run", "user", "workload")


def known_nodes() -> Expr:
    """One value while any exporter answers: what a count of nothing is told from no data by."""
    return total("max", NODES(m.BUILD_INFO))


GLANCE = Row(
    "Needs attention",
    [
        stat(
            "Failed runs",
            About(
                "0.",
                "The table below names them and the verdict; open the run from there.",
                "Runs that are stalled, killed, failed or diverged, of the last minutes.",
            ),
            Query(zero(total("count", worst().equals(4)), known_nodes()).of("")),
            steps=look.above(1, 1),
            size=SIXTH,
        ),
        stat(
            "Slowed runs",
            About(
                "0.", "The table below names them and the verdict.", "Runs with a verdict that something slows them."
            ),
            Query(zero(total("count", worst().equals(3)), known_nodes()).of("")),
            steps=look.above(1),
            size=SIXTH,
        ),
        stat(
            "Firing alerts",
            About("0.", "The table Firing alerts by name lists them."),
            Query(zero(total("count", alerts()), known_nodes()).of("")),
            steps=look.above(1),
            size=SIXTH,
        ),
        stat(
            "Idle GPUs",
            About(
                "0, or a few while runs start.",
                "The table Nodes names them; the run there is stalled, setting up, or waits for data.",
            ),
            Query(fleet(recording.NODE_GPUS_IDLE)),
            steps=look.above(1, "many_idle_gpus"),
            size=SIXTH,
        ),
        stat(
            "Faulty GPUs",
            About("0.", "Drain the node: a GPU reset clears a pending remap, anything else needs a replacement."),
            Query(fleet(recording.NODE_GPUS_FAULTY)),
            steps=look.above(1, 1),
            size=SIXTH,
        ),
        stat(
            "Nodes down",
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
            size=SIXTH,
        ),
        table(
            "Runs",
            About(
                "Blue verdicts, GPU utilization above 85 %, waiting under 10 %.",
                "Sort by a column; a click on a name opens the run, which says what to type.",
                "One row for each run that lives or ended a short while ago; the worst verdict of its ranks.",
            ),
            ("run", "Run"),
            verdict_column(worst("verdict")),
            Column(title="Severity", expr=worst("verdict"), mappings=(verdicts.LEVELS,), filled=True, width=120),
            Column(title="State", expr=state(), label="state", width=80),
            Column(title="User", expr=owner(), label="user", width=90),
            Column(title="Job or pod", expr=owner(), label="workload", width=120),
            Column(
                title=gpu.BUSY.title,
                expr=run(recording.RUN_GPU_BUSY),
                steps=look.below("gpu_well_used", "gpu_low"),
                highest=1,
                decimals=0,
                width=135,
            ),
            Column(
                title=training.DATA_WAIT.title,
                expr=run(recording.RUN_DATA_WAIT),
                steps=look.above("input_share", "input_share_severe"),
                highest=1,
                decimals=0,
                width=140,
            ),
            Column(title="ETA", expr=run(recording.RUN_REMAINING), width=80),
            link=RUN_LINK,
            width=150,  # what is left at 1366 pixels holds the longest verdict
            sort="Severity",
            size=Size(width=24, height=10),
        ),
        timeline(
            "Verdicts of the runs",
            About(
                "Blue.",
                "Orange slows a run, magenta has stopped it; many at once point at something shared.",
                f"The worst verdict of each run over time; the {SHOWN} worst where there are more.",
            ),
            Query(top(SHOWN, total("max", NODES(recording.RUN_SEVERITY), "run")), "{{run}}"),
            mappings=(verdicts.LEVELS,),
            size=Size(width=24, height=8),
            link=("Open the run", link("run", run="__field.labels.run")),
        ),
    ],
)

USE = Row(
    "Use, waste and cost",
    [
        stat(
            "GPUs",
            About("All you own.", "Fewer than yesterday: a node is down or a GPU fell off the bus."),
            Query(fleet(recording.NODE_GPUS)),
            size=Size(width=8, height=3),
        ),
        stat(
            "GPU utilization",
            About(
                "Above 60 % over a day for a shared cluster; each run above 85 %.",
                "Low while GPUs are held: see Idle GPUs. Low while none are held: nobody trains.",
                "Mean utilization over all GPUs.",
            ),
            Query(
                (
                    total("sum", NODES(recording.NODE_GPU_BUSY) * NODES(recording.NODE_GPUS))
                    / total("sum", NODES(recording.NODE_GPUS).where(NODES(recording.NODE_GPU_BUSY), ["instance"]))
                ).of("ratio")
            ),
            steps=look.below("fleet_used", "gpu_low_severe"),
            decimals=0,
            size=Size(width=8, height=3),
        ),
        stat(
            "Active runs",
            About("What was submitted.", "Fewer: look for killed ones in the table Runs.", "Runs with a living rank."),
            Query(zero(total("count", run(recording.RUN_UP).equals(1)), known_nodes()).of("")),
            size=Size(width=8, height=3),
        ),
        stat(
            "Images per second",
            About("Follows the number of runs.", "Falling with as many runs: something shared got slow."),
            Query(total("sum", NODES(recording.RUN_IMAGES))),
            unit="images/s",
            size=Size(width=8, height=3),
        ),
        stat(
            "GPU-hours wasted",
            About(
                "Under a tenth of the GPU-hours held.",
                "The panel Waste by cause says which fix pays most.",
                "GPU-hours held but not computing, in the time range of the dashboard.",
            ),
            Query(zero(wasted_hours(), known_nodes())),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Power",
            About("Follows utilization.", "High at low utilization: GPUs spin without work."),
            Query(fleet(recording.NODE_GPU_POWER)),
            size=Size(width=8, height=3),
        ),
        lines(
            "GPUs over time",
            About("Held near installed, idle at the bottom.", "A wide gap: nobody trains."),
            Query(fleet(recording.NODE_GPUS), "installed"),
            Query(fleet(recording.NODE_GPUS_HELD), "held"),
            Query(fleet(recording.NODE_GPUS_IDLE), "held but idle"),
            colours={"installed": look.NEUTRAL, "held": look.PALETTE[0], "held but idle": look.WARNING},
        ),
        lines(
            "Waste by cause",
            About("Close to zero.", "The thickest band is the fix that pays most: docs/diagnosis.md."),
            Query(total("sum", NODES(recording.RUN_WASTED), "cause"), "{{cause}}"),
            stacked=True,
            unit="gpus",
        ),
        table(
            "GPU-hours, energy and cost by user",
            About(
                "Waste under a tenth of the hours held.",
                "The table Runs has the user's runs. No cost or CO2: docs/dashboards/fleet.md says how to set prices.",
                "GPUs that each user's runs held in the time range, what they drew, and what that costs.",
            ),
            ("user", "User"),
            Column(title="GPU-hours", expr=held_hours(), decimals=2),
            Column(title="Wasted", expr=zero(wasted_hours_of_user(), held_hours()), decimals=2),
            Column(title="Energy", expr=energy(), decimals=2),
            Column(title="Cost", expr=known(cost(held_hours(), energy()), held_hours()), decimals=2),
            Column(
                title="CO2", expr=known(times(energy(), recording.CO2_KWH), held_hours()), unit="kilograms", decimals=2
            ),
            sort="GPU-hours",
            size=Size(width=24, height=7),
        ),
        table(
            "GPU-hours wasted by cause",
            About("Few hours.", "Start with the most: docs/diagnosis.md has the fix for each cause."),
            ("cause", "Cause"),
            Column(title="GPU-hours", expr=wasted_hours("cause"), decimals=2),
            Column(title="Energy", expr=known(wasted_energy(), wasted_hours("cause")), decimals=2),
            Column(
                title="Cost",
                expr=known(cost(wasted_hours("cause"), wasted_energy()), wasted_hours("cause")),
                decimals=2,
            ),
            sort="GPU-hours",
            size=Size(width=12, height=7),
        ),
        table(
            "GPU-hours wasted by run",
            About("Few hours.", "A click opens the run.", "The twenty that wasted most in the time range."),
            ("run", "Run"),
            Column(title="GPU-hours", expr=top(20, wasted_hours("run")), decimals=2),
            link=RUN_LINK,
            sort="GPU-hours",
            size=Size(width=12, height=7),
        ),
    ],
)

PROGRESS = Row(
    "Progress of the runs",
    [
        table(
            "Progress by run",
            About(
                "Progress grows, the last batch is a few seconds old.",
                "Minutes since the last batch while the state is train: the run hangs. A click opens it.",
                "One row for each run; images per second of all its ranks together.",
            ),
            ("run", "Run"),
            Column(title="Progress", expr=run(recording.RUN_PROGRESS), highest=1, decimals=0),
            Column(title="ETA", expr=run(recording.RUN_REMAINING), width=80),
            Column(
                title="Last batch",
                expr=since(total("max", NODES(recording.RUN_LAST_BATCH), "run")),
                steps=look.above("late_batch", "stall_most_seconds"),
            ),
            Column(title="Images per second", expr=run(recording.RUN_IMAGES, "sum"), unit="images/s", decimals=0),
            Column(title="mAP50-95", expr=run(recording.RUN_MAP), unit="score", decimals=3),
            link=RUN_LINK,
            sort="Progress",
            size=Size(width=24, height=8),
        )
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
            Column(title="GPUs", expr=node(recording.NODE_GPUS), width=65, decimals=0),
            Column(title="Held", expr=node(recording.NODE_GPUS_HELD), width=65, decimals=0),
            Column(title="Idle", expr=node(recording.NODE_GPUS_IDLE), width=65, steps=look.above(1), decimals=0),
            Column(title="Faulty", expr=node(recording.NODE_GPUS_FAULTY), width=65, steps=look.above(1, 1), decimals=0),
            Column(title=gpu.BUSY.title, expr=node(recording.NODE_GPU_BUSY), highest=1),
            Column(
                title="GPU memory", expr=node(recording.NODE_GPU_MEMORY), steps=look.above("cuda_peak_share"), highest=1
            ),
            Column(title="Power", expr=node(recording.NODE_GPU_POWER), decimals=0),
            Column(title="Hottest GPU", expr=node(recording.NODE_GPU_TEMPERATURE), steps=look.above("hot"), decimals=0),
            Column(
                title="Throttled", expr=node(recording.NODE_GPU_THROTTLED), steps=look.above("thermal_share"), highest=1
            ),
            Column(title="CPU busy", expr=node(recording.NODE_CPU_BUSY), steps=look.above("busy"), highest=1),
            Column(
                title="Memory",
                expr=node(recording.NODE_MEMORY),
                steps=look.above("host_memory", "busy_severe"),
                highest=1,
            ),
            Column(title="Disk busy", expr=node(recording.NODE_DISK_BUSY), steps=look.above("disk_busy"), highest=1),
            link=NODE_LINK,
            sort="Idle",
            size=Size(width=24, height=10),
        )
    ],
)

SPREAD = Row(
    "Spread over nodes and runs",
    [
        lines(
            "Utilization over nodes",
            About(
                "The middle node near the highest tenth.",
                "The lowest tenth at zero: nodes without work, or stuck ones.",
                "A tenth, half and nine tenths of the nodes have a lower mean GPU utilization.",
            ),
            *[Query(middle(q, NODES(recording.NODE_GPU_BUSY)), legend) for q, legend in QUANTILES],
            highest=1,
        ),
        lines(
            "Data wait over runs",
            About(
                "The middle run under 10 %.",
                "Above 20 % for most runs: the shared storage is the likely cause.",
                "A tenth, half and nine tenths of the living runs wait less for data.",
            ),
            *[
                Query(middle(q, living(total("max", NODES(recording.RUN_DATA_WAIT), "run"))), legend)
                for q, legend in QUANTILES
            ],
            highest=1,
        ),
    ],
    collapsed=True,
)

ALERTS = Row(
    "Alerts",
    [
        table(
            "Firing alerts by name",
            FIRING,
            ("alertname", "Alert"),
            severity_column(alerts()),
            Column(title="Run", expr=alerts(), label="run", link=RUN_LINK),
            Column(title="Node", expr=alerts(), label="instance", link=NODE_LINK),
            least=ALERT,
            empty="no firing alerts",
            size=Size(width=24, height=5),
        )
    ],
)

BOARD = Board(
    name="fleet",
    title="Fleet",
    about="All nodes and runs: which run or node needs a look, whose it is, and what it costs.",
    variables=NODE_VARIABLES,
    rows=(GLANCE, ALERTS, PROGRESS, NODES_ROW, USE, SPREAD),
    span="now-6h",
    refresh="1m",
)
