"""DDP ranks: who is slow, who waits for whom, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import gpu as gpu_measures
from yoloscope_exporter.measures import ranks as rank_measures
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.formula import GPU
from yoloscope_exporter.measures.promql import Expr, known, top, total
from yoloscope_exporter.measures.thresholds import THRESHOLDS

from dashboards import look, measures
from dashboards.board import OF_RUN, Board, Row
from dashboards.panels import CULPRIT, THIRD, About, Column, Query, Size, lines, rows, stat, table, timeline
from dashboards.views.common import LIFECYCLE, NODE_LINK, ONE_RUN, RUN, of_run

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure

LATE = THRESHOLDS["lag"].value
HOLDS_UP = look.mapping({"0": ("in time", look.OK), "1": ("slow", look.WARNING)})


def of_rank(measure: Measure) -> Expr:
    """A measure of each rank."""
    return measures.measured(RUN, measure, "rank")


def peers() -> Expr:
    """Seconds each rank waits for its peers in a batch: the part of the all-reduce that backward does not hide."""
    return of_rank(training.EXPOSED_SECONDS)


def own() -> Expr:
    """Seconds of its own that each rank needs for a batch."""
    return of_rank(rank_measures.OWN)


def behind() -> Expr:
    """How much longer each rank needs than the mean of the others; whichever ranks are chosen, of all."""
    return measures.measured(ONE_RUN, rank_measures.LAG, "rank")


def late() -> Expr:
    """1 for a rank that holds the others up, else 0."""
    return Expr(f"({behind()}) >= bool {LATE:g}", "", "1 while the rank holds the others up.")


def gpu(measure: Measure) -> Expr:
    """A measure of the GPU of each rank."""
    return total("max", measures.of_ranks(RUN, measures.measured(RUN, measure, *GPU)), "rank")


def row(expr: Expr) -> Expr:
    """One row for each rank."""
    return known(expr, total("max", RUN(m.TRAIN_RUN_INFO), "rank"))


def clock() -> Expr:
    """SM clock over the highest."""
    return gpu(gpu_measures.CLOCK)


def temperature() -> Expr:
    """Of the core of the rank's GPU."""
    return gpu(gpu_measures.HEAT_CELSIUS)


def apart() -> Expr:
    """Batches between the rank that has done most and the one that has done least, in the time range."""
    done = total("max", RUN.increase(m.TRAIN_BATCHES_TOTAL, window="$__range"), "rank")
    return (total("max", done) - total("min", done)).of("")


def where() -> Expr:
    """Node and GPU of each rank."""
    return total("max", RUN(m.TRAIN_DEVICE_INFO), "rank", "instance", "gpu")


GLANCE = Row(
    "At a glance",
    [
        stat(
            "Lag of the slowest rank",
            About(
                "Under 10 %.",
                "Above, one rank holds all others up, for they wait at every step: the table names it.",
                "How much longer the slowest rank's own time for a batch is than the mean of the other ranks.",
            ),
            Query(of_run(total("max", behind()))),
            steps=look.above("lag", "lag_severe"),
            decimals=0,
            size=Size(width=8, height=3),
        ),
        stat(
            "Slowest rank",
            About(
                "Changes all the time.",
                "Always the same: look at its GPU's clock, its workers, its node below.",
                "The rank whose own work takes longest now.",
            ),
            Query(top(1, own()), "rank {{rank}}"),
            size=Size(width=8, height=3),
        ),
        stat(
            "Waiting for peers",
            About(
                "Under 20 %; n/a for a single process.",
                "High and equal: communication is slow (NVLink, network). High on all but one: that one is slow.",
                "Share of the wall time in which ranks waited for each other at the end of backward.",
            ),
            Query(of_run(measures.measured(RUN, training.EXPOSED))),
            steps=look.above("exposed_share"),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Waiting for data",
            About("Under 10 %.", "Above: every other rank waits with it.", "The rank that waits most."),
            Query(of_run(total("max", of_rank(training.DATA_WAIT)))),
            steps=look.above("input_share", "input_share_severe"),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Active ranks",
            About(
                "As many as asked for.",
                "Fewer: one has died, the others hang until NCCL's timeout. Kill the run.",
                "Ranks whose process lives.",
            ),
            Query(of_run(total("sum", RUN(m.TRAIN_UP)))),
            size=Size(width=8, height=3),
        ),
        stat(
            "Difference in batches",
            About(
                "0 or 1.",
                "More: ranks do not step together; a rank hangs.",
                "Batches between the rank that has done most and the one that has done least, in the time range.",
            ),
            Query(of_run(apart())),
            steps=look.above("batches_apart"),
            size=Size(width=8, height=3),
        ),
    ],
)

WHO = Row(
    "Slow ranks",
    [
        rows(
            "Own time for a batch, by rank",
            About(
                "All rows alike.",
                "One row stands out: that rank's GPU, node or data. All change at once: clocks, or the batch.",
                "One row for each rank, its own time for a batch as colour: the wait for other ranks is left out.",
            ),
            Query(own(), "rank {{rank}}"),
            size=Size(width=24, height=8),
        ),
        timeline(
            "Slow ranks over time",
            About(
                "All blue.",
                "A rank orange all along is the straggler; the others wait for it at the end of each backward.",
                f"A rank is slow when its own time for a batch is {LATE:.0%} longer than the mean of the others.",
            ),
            Query(late(), "rank {{rank}}"),
            mappings=(HOLDS_UP,),
        ),
        table(
            "Comparison of ranks",
            About(
                "Equal rows.",
                "The straggler works longer and waits for nobody; the others wait for it. Its clock, temperature and "
                "data wait say why.",
                "Times are for one batch.",
            ),
            ("rank", "Rank"),
            Column(
                title=rank_measures.LAG.title,
                expr=row(behind()),
                steps=look.above("lag", "lag_severe"),
                decimals=0,
                width=190,
            ),
            Column(title=rank_measures.OWN.title, expr=row(own()), width=165),
            Column(title="Waits for peers", expr=row(peers())),
            Column(title="Waits for data", expr=row(of_rank(training.WAIT))),
            Column(title=gpu_measures.BUSY.title, expr=row(of_rank(gpu_measures.BUSY_OF_RANK)), highest=1, width=132),
            Column(title=gpu_measures.CLOCK.title, expr=row(clock()), steps=look.below("clock_ratio"), highest=1),
            Column(title="Temperature", expr=row(temperature()), steps=look.above("hot"), decimals=0),
            Column(title="Node", expr=where(), label="instance", link=NODE_LINK, least=130),
            Column(title="GPU", expr=where(), label="gpu", width=70),
            width=80,
            sort=rank_measures.LAG.title,
            size=Size(width=24, height=10),
        ),
    ],
)

TIMES = Row(
    "Batch time by rank",
    [
        lines(
            "Own time for a batch",
            About(
                "The lines lie together.",
                "The thick line is a rank that the others wait for: its GPU is slower, hotter, or shared.",
                rank_measures.OWN.help,
            ),
            Query(own(), "rank {{rank}}"),
            Query(own().where(late().equals(1), ["rank"]), "slow: rank {{rank}}", CULPRIT),
            size=THIRD,
        ),
        lines(
            "Waiting for peers, by rank",
            About(
                "Low and equal.",
                "Low on one and high on the others: that one is the straggler.",
                "Time each rank waits for the others at the end of backward, for a batch.",
            ),
            Query(peers(), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Waiting for data, by rank",
            About(
                "Low and equal.", "High on one: its workers or its node's storage.", "Time each rank waits for a batch."
            ),
            Query(of_rank(training.WAIT), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Backward, its own part",
            About(
                "The lines lie together.",
                "One above: that GPU computes slower.",
                "Time of backward without waiting for peers.",
            ),
            Query(of_rank(training.BACKWARD_SECONDS), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Step time, by rank",
            About(
                "Equal: all wait for the slowest.",
                "Different: they do not step together.",
                "Half of the steps are shorter.",
            ),
            Query(RUN.quantile(0.5, m.TRAIN_STEP_SECONDS, "rank"), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Lag of the slowest rank, over time",
            About("Under 10 %.", "Rising: heat, or a neighbour on that node."),
            Query(total("max", behind()), "slowest"),
            steps=look.above("lag", "lag_severe"),
            size=THIRD,
        ),
    ],
)

WHY = Row(
    "Causes of a slow rank",
    [
        lines(
            "SM clock / max, by rank",
            About(
                "Equal and near 100 %.",
                "One lower: throttled. The dashboard Node says by what.",
                "Clock of the multiprocessors over the highest.",
            ),
            Query(clock(), "rank {{rank}}"),
            highest=1,
            size=THIRD,
        ),
        lines(
            "Temperature, by rank",
            About("Within 10 °C of each other.", "One hotter: its place in the case, its fan."),
            Query(temperature(), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Waiting for a CPU, by rank",
            About("Near zero.", "One higher: its processes share their CPUs. taskset, cpuset, fewer workers."),
            Query(total("sum", RUN.rate(m.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL), "rank").of("cores"), "rank {{rank}}"),
            size=THIRD,
        ),
    ],
)

BOARD = Board(
    name="ranks",
    title="DDP ranks",
    about="The ranks of one run: which is slow, which wait for it, and why.",
    variables=OF_RUN,
    rows=(GLANCE, WHO, TIMES, WHY),
    annotations=LIFECYCLE,
)
