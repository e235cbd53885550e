"""Compare: two runs side by side, in figures over their whole course and in curves over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import BOTH_RUNS, OTHER_RUN, Expr, Scope, by_epoch, known, over, total, zero

from dashboards import look, measures, verdicts
from dashboards.board import OF_TWO_RUNS, Board, Row
from dashboards.panels import HALF, THIRD, About, Column, Query, Size, epochs, stat, table
from dashboards.views.common import RUN_LINK
from deploy.prometheus.rulebook import records as recording
from deploy.prometheus.rulebook.records import MAP

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboards.sdk import Panel

RANGE = "$__range"
A = Scope((*TARGET, "run"), run=OTHER_RUN)
B = Scope((*TARGET, "run"))
BOTH = Scope((*TARGET, "run"), nodes="node", run=BOTH_RUNS)
#: Facts that may differ on purpose; those that name a process are left out.
FACTS = tuple(fact for fact in m.RUN_FACTS if fact not in ("pid", "slurm_job_id", "pod"))
DELTA = Size(width=8, height=3)
HINT = "Set the time range so that it holds both runs whole."


def most(on: Scope, recorded: m.Metric, **labels: str) -> Expr:
    """The largest value in the time range."""
    return total("max", over("max_over_time", on(recorded, **labels), RANGE), "run")


def images(on: Scope) -> Expr:
    """Images per second of the training loop, validation and checkpoints left out; all ranks together."""
    return measures.images(on, "run", window=RANGE)


def waiting(on: Scope) -> Expr:
    """Share of the training loop spent waiting for data, over the whole range."""
    return measures.measured(on, training.DATA_WAIT, "run", window=RANGE)


def busy(on: Scope) -> Expr:
    """Mean utilization of the GPUs of the run."""
    return total("avg", over("avg_over_time", on(recording.RUN_GPU_BUSY), RANGE), "run")


def duration(on: Scope) -> Expr:
    """From the start to the last batch."""
    began = total("min", over("min_over_time", on(m.TRAIN_START_TIMESTAMP_SECONDS), RANGE), "run")
    return (most(on, m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS) - began).of("seconds")


def best(on: Scope) -> Expr:
    """The best mAP50-95."""
    return most(on, m.TRAIN_METRIC, name=MAP).of("score")


def energy(on: Scope) -> Expr:
    """Energy of the GPUs while the run held them: each minute's mean power, added up."""
    power = total("sum", on(recording.RUN_GPU_POWER), "run")
    return Expr(f"sum_over_time(({power})[{RANGE}:1m]) * 60", "joules", recording.RUN_GPU_POWER.help)


def wasted(on: Scope) -> Expr:
    """GPU-hours held but not computing."""
    lost = total("sum", on(recording.RUN_WASTED), "run")
    return Expr(f"sum_over_time(({lost})[{RANGE}:1m]) / 60", "hours", recording.RUN_WASTED.help)


def both_there() -> Expr:
    """One value for each of the two runs."""
    return total("max", over("last_over_time", BOTH(m.TRAIN_RUN_INFO), RANGE), "run")


def which() -> Expr:
    """Whether a run is A or B, as the label `which`."""
    parts = []
    for name, on in (("A", A), ("B", B)):
        seen = total("max", over("last_over_time", on(m.TRAIN_RUN_INFO), RANGE), "run")
        parts.append(f'label_replace({seen}, "which", "{name}", "", "")')
    return Expr(" or ".join(parts), "", m.TRAIN_RUN_INFO.help)


def either(expr: Expr) -> Expr:
    """One row for each of the two runs; n/a for what a run does not have."""
    return known(expr, both_there())


def change(a: Expr, b: Expr) -> Expr:
    """By how much run B differs from run A, as a share of A."""
    return (total("sum", b) / total("sum", a) - 1).of("ratio")


def facts(on: Scope) -> Expr:
    """What the run was configured with, as one series for each fact with its value as a label."""
    parts = [_fact(on, fact) for fact in FACTS]
    return Expr(" or ".join(parts), "", m.TRAIN_RUN_INFO.help)


def _fact(on: Scope, fact: str) -> str:
    values = total("max", over("last_over_time", on(m.TRAIN_RUN_INFO), RANGE), fact)
    return f'label_replace(label_replace({values}, "value", "$1", "{fact}", "(.*)"), "fact", "{fact}", "", "")'


def differing(ours: Scope, theirs: Scope, label: str) -> Expr:
    """Facts that the other run does not have with the same value; the value is the label `label`."""
    differ = f"({facts(ours)}) unless on (fact, value) ({facts(theirs)})"
    moved = f'label_replace(({differ}), "{label}", "$1", "value", "(.*)")'
    return Expr(f"max by (fact, {label}) ({moved})", "", m.TRAIN_RUN_INFO.help)


def verdict_share(on: Scope) -> Expr:
    """Share of the time in which each verdict held."""
    return (total("max", over("avg_over_time", on(m.TRAIN_VERDICT), RANGE), "verdict") > 0).of("ratio")


def curve(on: Scope, expr: Expr, how: str = "last_over_time") -> Expr:
    """`expr` of the run over its epochs."""
    return by_epoch(total("max", on(m.TRAIN_EPOCH), "run"), expr, how)


BETTER: look.Steps = ((None, look.WARNING), (-0.02, look.NEUTRAL), (0.02, look.OK))
WORSE: look.Steps = ((None, look.OK), (-0.02, look.NEUTRAL), (0.02, look.WARNING))

CHANGES = Row(
    "Change from run A to run B",
    [
        stat(
            "Throughput",
            About("0 % if nothing changed.", "Blue: B is faster. Orange: Share of time by verdict says why.", HINT),
            Query(change(images(A), images(B))),
            steps=BETTER,
            decimals=1,
            size=DELTA,
        ),
        stat(
            "GPU utilization",
            About("0 % if nothing changed.", "Orange: B leaves the GPU waiting more.", HINT),
            Query(change(busy(A), busy(B))),
            steps=BETTER,
            decimals=1,
            size=DELTA,
        ),
        stat(
            "Waiting for data",
            About("0 % if nothing changed.", "Orange: B waits more: workers, cache, storage.", HINT),
            Query(change(waiting(A), waiting(B))),
            steps=WORSE,
            decimals=1,
            size=DELTA,
        ),
        stat(
            "Peak memory",
            About("Follows batch and imgsz.", "More without a larger batch: look at the differences below.", HINT),
            Query(change(most(A, recording.RUN_PEAK_MEMORY), most(B, recording.RUN_PEAK_MEMORY))),
            decimals=1,
            size=DELTA,
        ),
        stat(
            "Best mAP50-95",
            About("Within 2 % between two seeds.", "Orange: B learnt less; faster is no gain then.", HINT),
            Query(change(best(A), best(B))),
            steps=BETTER,
            decimals=1,
            size=DELTA,
        ),
        stat(
            "Duration",
            About("Comparable only after as many epochs.", "Longer at higher throughput: more epochs or images.", HINT),
            Query(change(duration(A), duration(B))),
            decimals=1,
            size=DELTA,
        ),
    ],
)

FIGURES = Row(
    "Side by side",
    [
        table(
            "Both runs",
            About("Two rows.", "One row: the other run lies outside the time range.", HINT),
            ("run", "Run"),
            Column(title="A or B", expr=which(), label="which", width=80),
            Column(
                title="GPU utilization",
                expr=either(busy(BOTH)),
                steps=look.below("gpu_well_used", "gpu_low"),
                highest=1,
                width=132,
            ),
            Column(title="Images per second", expr=either(images(BOTH)), decimals=0, width=145),
            Column(
                title="Waiting for data",
                expr=either(waiting(BOTH)),
                steps=look.above("input_share", "input_share_severe"),
                highest=1,
                width=138,
            ),
            Column(title="Peak memory", expr=either(most(BOTH, recording.RUN_PEAK_MEMORY))),
            Column(title="Best mAP50-95", expr=either(best(BOTH)), decimals=3),
            Column(title="Duration", expr=either(duration(BOTH))),
            Column(title="Epochs", expr=either(most(BOTH, m.TRAIN_EPOCH)), decimals=0),
            Column(title="Images in a batch", expr=either(most(BOTH, m.TRAIN_BATCH_SIZE)), decimals=0, width=140),
            Column(title="Workers", expr=either(most(BOTH, m.TRAIN_WORKERS)), decimals=0),
            link=RUN_LINK,
            size=Size(width=24, height=4),
        ),
        table(
            "Energy and waste of both runs",
            About(
                "Less for the faster run.", "More energy per epoch: the GPUs wait, and draw power while they do.", HINT
            ),
            ("run", "Run"),
            Column(title="A or B", expr=which(), label="which", width=80),
            Column(title="Energy", expr=either(energy(BOTH))),
            Column(title="Energy per epoch", expr=either((energy(BOTH) / most(BOTH, m.TRAIN_EPOCH)).of("joules"))),
            Column(title="GPU-hours wasted", expr=zero(wasted(BOTH), both_there()), decimals=2),
            link=RUN_LINK,
            size=Size(width=24, height=4),
        ),
        table(
            "Configuration that differs",
            About(
                "What you changed, and nothing else.",
                "A version or a cache setting that differs by accident explains more than any tuning.",
                "Empty when both runs are configured alike. Batch size and workers stand in the table above.",
            ),
            ("fact", "Setting"),
            Column(title="Run A", expr=differing(A, B, "in_a"), label="in_a"),
            Column(title="Run B", expr=differing(B, A, "in_b"), label="in_b"),
            empty="no differences",
            size=HALF,
        ),
        table(
            "Share of time by verdict",
            About("compute_bound near 100 % in both.", "The verdict that grew is what slowed the run.", HINT),
            ("verdict", "Verdict"),
            Column(title="Run A", expr=zero(verdict_share(A), verdict_share(B)), highest=1),
            Column(title="Run B", expr=zero(verdict_share(B), verdict_share(A)), highest=1),
            key_mappings=(verdicts.TITLES,),
            size=HALF,
        ),
    ],
)


def both(title: str, about: About, of: Callable[[Scope], Expr], how: str, highest: float | None = None) -> Panel:
    """A figure of both runs over epochs."""
    curves = [Query(curve(on, of(on), how), legend) for on, legend in ((A, "Run A"), (B, "Run B"))]
    return epochs(title, about, *curves, highest=highest, size=THIRD)


CURVES = Row(
    "Over epochs",
    [
        both(
            "Loss",
            About("Both fall alike.", "B above A from the start: another lr0 or batch.", "Components added up."),
            lambda on: total("sum", total("avg", on(m.TRAIN_LOSS), "run", "component"), "run").of("score"),
            "last_over_time",
        ),
        both(
            "mAP50-95",
            About("Both rise alike.", "B below A: the change costs accuracy.", "The value of the last validation."),
            lambda on: total("max", on(m.TRAIN_METRIC, name=MAP), "run").of("score"),
            "last_over_time",
        ),
        both(
            "Learning rate",
            About("The same course.", "Different: lr0, epochs, batch or warm-up differ."),
            lambda on: total("max", on(m.TRAIN_LEARNING_RATE), "run").of("score"),
            "last_over_time",
        ),
        both(
            "Images per second",
            About("Flat.", "One falls after some epochs: throttling, a leak, or the end of mosaic."),
            lambda on: total("sum", on(recording.RUN_IMAGES), "run").of("images/s"),
            "avg_over_time",
        ),
        both(
            "Waiting for data, by epoch",
            About("Low after the first epoch.", "High in the first epoch alone: cold files. In all: the loader."),
            lambda on: total("avg", on(recording.RUN_DATA_WAIT), "run"),
            "avg_over_time",
        ),
        both(
            "GPU utilization, by epoch",
            About("Flat and high.", "Lower in B: look at waiting for data beside it."),
            lambda on: total("avg", on(recording.RUN_GPU_BUSY), "run"),
            "avg_over_time",
            1,
        ),
    ],
)

BOARD = Board(
    name="compare",
    title="Compare",
    about="Two runs side by side, over their whole course and over epochs. Needs Grafana 9.4 or newer for the curves.",
    variables=OF_TWO_RUNS,
    rows=(CHANGES, FIGURES, CURVES),
    span="now-24h",
    refresh="5m",
)
