"""Inference: what one process predicts, how fast, and where the time between two batches goes."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import prediction
from yoloscope_exporter.measures.promql import Expr, Scope, known, over, total

from dashboards import look, measures, verdicts
from dashboards.board import NODES, Board, Row, Variable
from dashboards.panels import About, Column, Query, Size, heatmap, lines, stat, table
from dashboards.views.common import RUN

SIXTH = Size(width=4, height=4)
FACTS: Final = ("mode", "task", "model", "format", "precision", "imgsz", "batch", "device", "source", "stream")


def _newest_living(on: Scope) -> Expr:
    """The living one that began last; without one, what has ended."""
    now = total("max", on(m.PREDICT_START_TIMESTAMP_SECONDS), "run")
    started = now.or_(over("max_over_time", Expr(f"({now})", now.unit, now.help), "$__range:5m"))
    living = total("max", on(m.PREDICT_UP), "run").equals(1) * 1e10
    return started + living.or_(started * 0)


PREDICTION = Variable("run", "Run", m.PREDICT_RUN_INFO, "run", single=True, preferred=_newest_living)
NODE = Variable("node", "Node of the run", m.PREDICT_RUN_INFO, "instance", all_value="", hidden=True)
RANK = Variable("rank", "Rank", m.PREDICT_RUN_INFO, "rank")


def _of_run(expr: Expr) -> Expr:
    """`expr`, or n/a where the run is known but does not have it."""
    return known(expr, total("max", RUN(m.PREDICT_RUN_INFO)))


GLANCE = Row(
    "At a glance",
    [
        table(
            "Diagnosis",
            About(
                "One blue row: healthy.",
                "The first row is the most severe: type its fix. docs/diagnosis.md says how to verify it.",
                "The verdicts on these predictions that hold now, each with its fix.",
            ),
            ("verdict", "Verdict"),
            Column(
                title="Fix",
                expr=total("max", RUN(m.PREDICT_VERDICT_FIX_INFO), "verdict", "fix"),
                label="fix",
                wraps=True,
            ),
            key_mappings=(verdicts.PREDICTION_TITLES,),
            size=Size(width=24, height=5),
        ),
        stat(
            "Images per second",
            About(
                "What the model gives on this device.",
                "Look below where the time between two batches goes.",
                prediction.PREDICT_IMAGES.help,
            ),
            Query(_of_run(measures.measured(RUN, prediction.PREDICT_IMAGES).of("images/s"))),
            size=SIXTH,
        ),
        stat(
            "Latency, 99th percentile",
            About(
                "Steady.",
                "It grows: larger images, more boxes, somebody else on the GPU.",
                prediction.PREDICT_LATENCY.help,
            ),
            Query(_of_run(measures.measured(RUN, prediction.PREDICT_LATENCY))),
            size=SIXTH,
        ),
        stat(
            "In the model",
            About("Above 50 %.", "Below: something else holds predictions back.", prediction.PREDICT_INFERENCE.help),
            Query(_of_run(measures.measured(RUN, prediction.PREDICT_INFERENCE))),
            steps=look.below("inference_share"),
            decimals=0,
            size=SIXTH,
        ),
        stat(
            "Waiting for the source",
            About(
                "Under 25 %, but for cameras and streams, which set the pace.",
                "Decoding or reading is slow: vid_stride, smaller frames or files, a local disk.",
                prediction.PREDICT_SOURCE.help,
            ),
            Query(_of_run(measures.measured(RUN, prediction.PREDICT_SOURCE))),
            steps=look.above("predict_part_share"),
            decimals=0,
            size=SIXTH,
        ),
        stat(
            "Since the last batch",
            About(
                "Seconds.",
                "Minutes: the source blocks, or your own code holds the generator.",
                prediction.PREDICT_SINCE_BATCH.help,
            ),
            Query(_of_run(measures.measured(RUN, prediction.PREDICT_SINCE_BATCH))),
            steps=look.above("inference_stalled"),
            size=SIXTH,
        ),
        stat(
            "Images so far",
            About("It grows.", "It stands still: nothing is asked for, or a call hangs.", m.PREDICT_IMAGES_TOTAL.help),
            Query(_of_run(total("sum", RUN(m.PREDICT_IMAGES_TOTAL)))),
            decimals=0,
            size=SIXTH,
        ),
    ],
)

TIME = Row(
    "Where the time goes",
    [
        lines(
            "Where the time of predictions goes",
            About(
                "Mostly the model (inference).",
                "source: decoding, reading. postprocess: too many boxes. user, callbacks, save: your own work.",
                m.PREDICT_PHASE_SECONDS_TOTAL.help,
            ),
            Query(total("sum", RUN.rate(m.PREDICT_PHASE_SECONDS_TOTAL), "phase"), "{{phase}}"),
            size=Size(width=16, height=8),
        ),
        lines(
            "Boxes per image",
            About(
                "A few.",
                "Hundreds: postprocessing takes long. A higher conf, a lower max_det.",
                prediction.PREDICT_DETECTIONS.help,
            ),
            Query(measures.measured(RUN, prediction.PREDICT_DETECTIONS, "rank"), "rank {{rank}}"),
            size=Size(width=8, height=8),
        ),
        heatmap(
            "Latency of an image",
            About("One band.", "Two bands: two kinds of images, or the GPU is shared.", m.PREDICT_IMAGE_SECONDS.help),
            Query(total("sum", RUN.rate(m.PREDICT_IMAGE_SECONDS, "_bucket"), "le")),
            size=Size(width=16, height=8),
        ),
        lines(
            "CUDA memory",
            About("Flat.", "It grows and grows: results are kept on the GPU.", m.PREDICT_CUDA_MEMORY_BYTES.help),
            Query(total("max", RUN(m.PREDICT_CUDA_MEMORY_BYTES), "kind"), "{{kind}}"),
            size=Size(width=8, height=8),
        ),
        table(
            "What predicts",
            About(
                "What you asked for.",
                "fp32 on a card with tensor cores, batch 1, or a source of another kind is often the explanation.",
            ),
            ("rank", "Rank"),
            *[
                Column(title=fact, expr=total("max", RUN(m.PREDICT_RUN_INFO), "rank", *FACTS), label=fact)
                for fact in FACTS
            ],
            size=Size(width=24, height=4),
        ),
        table(
            "Exports",
            About("No row.", "A row for each format that was exported: how long it took and how large it is."),
            ("format", "Format"),
            Column(title="Duration", expr=total("max", RUN(m.EXPORT_SECONDS), "format")),
            Column(title="Size", expr=total("max", RUN(m.EXPORT_ARTEFACT_BYTES), "format")),
            size=Size(width=24, height=4),
        ),
    ],
)

BOARD = Board(
    name="inference",
    title="Inference",
    about="What one process predicts: how fast, how long an image waits, and where the time between two batches goes.",
    variables=(*NODES, PREDICTION, NODE, RANK),
    rows=(GLANCE, TIME),
)
