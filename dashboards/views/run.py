"""Training run: is it healthy, and if not, which layer holds it back. The first dashboard anybody opens."""

from __future__ import annotations

from yoloscope_exporter import catalog as m

from dashboards import look, verdicts
from dashboards.board import NODES, RANK, RUN, Annotation, Board, Row
from dashboards.look import WARNING
from dashboards.panels import THIRD, About, Query, Size, heatmap, lines, stat, timeline
from dashboards.promql import ALERTS, TARGET, Expr, Scope, joined, total

ON = Scope((*TARGET, "run", "rank"))
#: A rank, wherever it was scraped.
KEY = (*TARGET, "run", "rank")
MAP = "metrics/mAP50-95(B)"


def alive(info: Expr) -> Expr:
    """Only ranks whose process lives: what a GPU does afterwards is somebody else's."""
    return info.where(ON(m.TRAIN_UP).equals(1), KEY)


def on_gpu(measured: Expr) -> Expr:
    """A GPU's measurement, for the run and rank that train on it."""
    return total("avg", joined(alive(ON(m.TRAIN_DEVICE_INFO)), measured, (*TARGET, "gpu")), "rank", "gpu")


def or_absent(expr: Expr) -> Expr:
    """-1, shown as n/a, while the run is known but does not have the value."""
    return expr.or_(total("max", ON(m.TRAIN_RUN_INFO)) * look.ABSENT).of(expr.unit)


def verdict(by: tuple[str, ...] = ("verdict",)) -> Expr:
    """The verdicts that hold, each with its severity as value."""
    levels = [
        (total("max", ON(m.TRAIN_VERDICT, verdict=f"=~{'|'.join(names)}"), *by).equals(1)) * level
        for level, names in verdicts.SEVERITIES.items()
    ]
    text = " or ".join(f"({level})" for level in levels)
    return Expr(text, "", m.TRAIN_VERDICT.help)


def data_wait() -> Expr:
    """Share of the training loop's time spent waiting for data."""
    wait = total("sum", ON.rate(m.TRAIN_DATA_WAIT_SECONDS, "_sum"))
    return wait / (wait + total("sum", ON.rate(m.TRAIN_STEP_SECONDS, "_sum")))


def epochs_left_seconds() -> Expr:
    """Time to go at the present rate: the epochs not begun, plus the one under way counted whole."""
    left = (ON(m.TRAIN_EPOCHS) - ON(m.TRAIN_EPOCH) + 1) * ON(m.TRAIN_EPOCH_BATCHES)
    return total("max", left / (ON.rate(m.TRAIN_BATCHES_TOTAL) > 0)).of("seconds")


GLANCE = Row(
    "At a glance",
    [
        stat(
            "Verdict",
            About("`compute_bound`.", "Look up the verdict in docs/diagnosis.md: it names cause and remedy."),
            Query(Expr(f"topk(1, {verdict()})", "", m.TRAIN_VERDICT.help), "{{verdict}}"),
            steps=verdicts.STEPS,
            size=Size(width=6, height=4),
        ),
        stat(
            "GPU busy",
            About("Above 85 %.", "The step anatomy below shows what the GPU waits for."),
            Query(or_absent(total("avg", on_gpu(ON.rate(m.GPU_BUSY_SECONDS_TOTAL))))),
            steps=look.below(0.85, 0.5),
            decimals=0,
        ),
        stat(
            "Waiting for data",
            About(
                "Under 5 %.",
                "Above 20 % the loader holds training back: open the dashboard Data pipeline.",
                "Share of the training loop's time in which the trainer waited for the next batch.",
            ),
            Query(data_wait()),
            steps=look.above(0.05, 0.2),
            decimals=1,
        ),
        stat(
            "Images/s",
            About("Steady from the second epoch on.", "Compare with an earlier run on the dashboard Compare."),
            Query(total("sum", ON.rate(m.TRAIN_IMAGES_TOTAL))),
            unit="images/s",
            graph=True,
        ),
        stat(
            "Time to go",
            About(
                "Falls as fast as the clock runs.",
                "If it grows, throughput is falling: look at the verdict.",
                "Epochs left, the one under way counted whole, at the rate of the last minutes.",
            ),
            Query(epochs_left_seconds()),
        ),
    ],
)

TIME = Row(
    "Where the time goes",
    [
        timeline(
            "Verdicts by rank",
            About("One blue bar, compute_bound.", "Orange holds training back, magenta has broken it."),
            Query(verdict(("rank", "verdict")), "rank {{rank}} {{verdict}}"),
            mappings=(verdicts.LEVELS,),
        ),
        lines(
            "Step anatomy",
            About(
                "Forward and backward fill nearly all of it.",
                "A wide orange band: the loader. Wide grey: validation or checkpoints too often.",
                "Where each second of the ranks' wall time went, mean over ranks.",
            ),
            Query(total("avg", ON.rate(m.TRAIN_PHASE_SECONDS_TOTAL), "phase"), "{{phase}}"),
            stacked=True,
            highest=1,
            colours=look.PHASES,
        ),
        lines(
            "GPU and CPU",
            About(
                "GPU lines near 100 %, CPU below.",
                "GPU low while CPU is full: preparing data is the limit. Both low: storage.",
                "Share of time the GPUs computed and share of the nodes' CPU time in use, on one time base.",
            ),
            Query(on_gpu(ON.rate(m.GPU_BUSY_SECONDS_TOTAL)), "GPU {{gpu}} (rank {{rank}})"),
            Query(
                total("sum", ON.rate(m.CPU_SECONDS_TOTAL, mode="!~idle|iowait|steal"), "instance")
                / total("sum", ON(m.CPU_CORES), "instance").of("ratio"),
                "CPU {{instance}}",
            ),
            highest=1,
        ),
        heatmap(
            "Step time",
            About("One narrow bright band.", "A second band or a tail: look at ranks, loader and throttling."),
            Query(total("sum", ON.rate(m.TRAIN_STEP_SECONDS, "_bucket"), "le")),
        ),
        lines(
            "Images/s by rank",
            About("Flat and equal over the ranks.", "One rank below the others slows all: open DDP ranks."),
            Query(total("sum", ON.rate(m.TRAIN_IMAGES_TOTAL), "rank"), "rank {{rank}}"),
            unit="images/s",
        ),
    ],
)

LEARNING = Row(
    "Learning",
    [
        lines(
            "Loss",
            About("Falls, ever more slowly.", "Rising or gone (not finite): lower lr0, look at labels and amp."),
            Query(total("avg", ON(m.TRAIN_LOSS), "component"), "{{component}}"),
            size=THIRD,
        ),
        lines(
            "Learning rate",
            About("Warm-up, then a decline.", "A flat line over the whole run: look at lrf and cos_lr."),
            Query(total("max", ON(m.TRAIN_LEARNING_RATE), "group"), "{{group}}"),
            size=THIRD,
        ),
        lines(
            "Validation metrics",
            About("Rise and level off.", "Level while the loss still falls: overfitting, or too little data."),
            Query(total("max", ON(m.TRAIN_METRIC), "name"), "{{name}}"),
            size=THIRD,
        ),
    ],
)

ALERTS_ROW = Row(
    "Alerts",
    [
        timeline(
            "Alerts of this run",
            About("Empty.", "The name of the alert leads to its runbook in docs/alerts.md."),
            Query(
                total("max", Scope()(ALERTS, run="=~$run", alertstate="firing"), "alertname", "severity"),
                "{{alertname}}",
            ),
            mappings=(look.texts(_1=("firing", WARNING)),),
            size=Size(width=24, height=5),
        )
    ],
)

BOARD = Board(
    name="run",
    title="Training run",
    about="One training: is it healthy, and if not, what holds it back.",
    variables=(*NODES, RUN, RANK),
    rows=(GLANCE, TIME, LEARNING, ALERTS_ROW),
    annotations=(
        Annotation(
            "Start", ON(m.TRAIN_START_TIMESTAMP_SECONDS) * 1000, "{{run}} rank {{rank}}", shown=True, at_value=True
        ),
        Annotation("Validation", ON(m.TRAIN_STATE, state="validate").equals(1), "{{run}} rank {{rank}}"),
    ),
)
