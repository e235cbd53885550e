"""Inference: what one process predicts, how fast, and where the time between two batches goes."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import gpu, prediction
from yoloscope_exporter.measures.formula import GPU, RANK, TARGET
from yoloscope_exporter.measures.promql import THIS_PREDICTION, Expr, joined, known, top, total

from dashboards import look, measures, verdicts
from dashboards.board import OF_PREDICTION, Board, Row
from dashboards.panels import THIRD, About, Column, Query, Size, heatmap, lines, stat, table, timeline
from dashboards.views import common
from dashboards.views.common import PREDICTION
from deploy.prometheus.rulebook import levels

FACTS: Final = ("mode", "task", "model", "format", "precision", "imgsz", "batch", "device", "source", "stream")
#: What the time of predictions is divided into, and the phase whose colour each part has.
PARTS: Final = (
    ("waiting for the source", prediction.PREDICT_SOURCE, "source"),
    ("preprocessing", prediction.PREDICT_PREPROCESS, "preprocess"),
    ("in the model", prediction.PREDICT_INFERENCE, "inference"),
    ("postprocessing", prediction.PREDICT_POSTPROCESS, "postprocess"),
    ("your own code, trackers, saving", prediction.PREDICT_OWN, "user"),
)


def _of_run(expr: Expr) -> Expr:
    """`expr`, or n/a where the run is known but does not have it."""
    return known(expr, total("max", PREDICTION(m.PREDICT_RUN_INFO)))


def _holding() -> Expr:
    """Verdicts that hold, how severe each is."""
    return levels.predict_severity(PREDICTION, "verdict")


def _fixes() -> Expr:
    """What to do about each verdict; that of one rank where they differ."""
    return top(1, total("max", PREDICTION(m.PREDICT_VERDICT_FIX_INFO), "verdict", "fix"), "verdict")


def _gpu_busy() -> Expr:
    """How busy the GPU of each rank is, whoever uses it: found by the UUID that the process tells."""
    on = (*TARGET, "uuid")
    alive = PREDICTION(m.PREDICT_RUN_INFO).where(PREDICTION(m.PREDICT_UP).equals(1), RANK)
    told = Expr(f'label_replace({alive}, "uuid", "$1", "gpu_uuid", "(.+)")')
    cards = total("max", PREDICTION(m.GPU_INFO), *GPU, "uuid")
    busy = joined(joined(told, cards, on, ("gpu",)), measures.measured(PREDICTION, gpu.BUSY, *GPU), GPU)
    return total("max", busy, "rank").of("ratio")


GLANCE = Row(
    "Diagnosis and fix",
    [
        table(
            "Diagnosis",
            About(
                "One blue row: healthy.",
                "The first row is the most severe: type its fix. docs/diagnosis.md says of each verdict how to verify "
                "it, and what looks alike.",
                "The verdicts on these predictions that hold now, each with its fix; of validations that on callbacks, "
                "of exports none.",
            ),
            ("verdict", "Verdict"),
            Column(title="Fix", expr=_fixes(), label="fix", least=180, wraps=True),
            Column(title="Severity", expr=_holding(), mappings=(verdicts.LEVELS,), filled=True, width=120),
            key_mappings=(verdicts.PREDICTION_TITLES,),
            sort="Severity",
            size=Size(width=24, height=5),
        ),
        stat(
            "State",
            About(
                "predict, validate or export, then finished, or stopped by Ctrl-C or SIGTERM.",
                "killed: look at dmesg and the job's log. failed: an exception ended the program.",
            ),
            Query(top(1, levels.predict_states(PREDICTION, "state")), "{{state}}"),
            steps=verdicts.STEPS,
        ),
        stat(
            "Images per second",
            About("What the model gives on this device.", "Look below where the time between two batches goes."),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_IMAGES).of("images/s"))),
            decimals=1,
        ),
        stat(
            prediction.PREDICT_TYPICAL_LATENCY.title,
            About("Steady.", "It grows: larger images, more boxes, somebody else on the GPU."),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_TYPICAL_LATENCY))),
        ),
        stat(
            prediction.PREDICT_LATENCY.title,
            About(
                "A few times the median.", "Far above the median: now and then an image waits; see Latency of an image."
            ),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_LATENCY))),
        ),
        stat(
            "Time in the model",
            About("Above 50 %.", "Below: something else holds predictions back."),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_INFERENCE))),
            steps=look.below("inference_share"),
            decimals=0,
        ),
        stat(
            prediction.PREDICT_SOURCE.title,
            About(
                "Under 25 %, but for cameras and streams, which set the pace.",
                "Decoding or reading is slow: vid_stride, smaller frames or files, a local disk.",
            ),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_SOURCE))),
            steps=look.above("predict_part_share"),
            decimals=0,
        ),
        stat(
            prediction.PREDICT_OWN.title,
            About(
                "Under 25 %.",
                "A thread or process of its own for it, several images in one call, save=False.",
                prediction.PREDICT_OWN.help,
            ),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_OWN))),
            steps=look.above("predict_part_share"),
            decimals=0,
        ),
        stat(
            "Last batch",
            About("Seconds.", "Minutes: the source blocks, or your own code holds the generator."),
            Query(_of_run(measures.measured(PREDICTION, prediction.PREDICT_SINCE_BATCH))),
            steps=look.above("inference_stalled"),
        ),
        lines(
            "Where the time goes",
            About(
                "Blue, the model, fills most of what is not idle.",
                "source: decoding, reading. postprocess: too many boxes. user, callbacks, save: your own work.",
            ),
            Query(total("avg", PREDICTION.rate(m.PREDICT_PHASE_SECONDS_TOTAL), "phase"), "{{phase}}"),
            stacked=True,
            colours=look.PREDICT_PHASES,
            size=Size(width=12, height=11),
        ),
        timeline(
            "Verdicts over time",
            About(
                "One blue bar, inference_bound.",
                "Orange slows predictions: its fix stands in the table above.",
                "Verdicts on predictions, while they held for a rank.",
            ),
            Query(_holding(), "{{verdict}}"),
            mappings=(verdicts.LEVELS,),
            size=Size(width=12, height=11),
        ),
    ],
)

COURSE = Row(
    "Latency and throughput",
    [
        heatmap(
            "Latency of an image",
            About("One narrow band.", "Two bands: two kinds of images, or the GPU is shared."),
            Query(total("sum", PREDICTION.rate(m.PREDICT_IMAGE_SECONDS, "_bucket"), "le")),
        ),
        lines(
            "Latency, quantiles",
            About(
                "The two lines lie close together.",
                "A 99 % line far above: some images take long, by their boxes or by who else is on the GPU.",
                "Time from an image's arrival to its result that half, and 99 of 100, of the images stay below.",
            ),
            Query(measures.measured(PREDICTION, prediction.PREDICT_TYPICAL_LATENCY), "half of the images"),
            Query(measures.measured(PREDICTION, prediction.PREDICT_LATENCY), "99 % of the images"),
        ),
        lines(
            "Time by part, without idle time",
            About(
                "The model has the most.",
                "Another part above 25 % holds predictions back; the table Diagnosis says what to type.",
                "What the time of predictions went into; set-up and idle time do not count.",
            ),
            *[Query(measures.measured(PREDICTION, measure), legend) for legend, measure, _ in PARTS],
            colours={legend: look.PREDICT_PHASES[phase] for legend, _, phase in PARTS},
            highest=1,
        ),
        lines(
            "Images per second by rank",
            About("Flat.", "Falling: throttling, more boxes, somebody else on the GPU."),
            Query(measures.measured(PREDICTION, prediction.PREDICT_IMAGES, "rank").of("images/s"), "rank {{rank}}"),
        ),
        lines(
            "Boxes per image",
            About("A few.", "Hundreds: postprocessing takes long. A higher conf, a lower max_det."),
            Query(measures.measured(PREDICTION, prediction.PREDICT_DETECTIONS, "rank").of(""), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            gpu.BUSY.title,
            About(
                "High while images are asked for.",
                "Low with much time in the model: small batches, see the diagnosis. High without: other work.",
                "Share of time in which the GPU that predicts ran a kernel, of this process or of another.",
            ),
            Query(_gpu_busy(), "rank {{rank}}"),
            highest=1,
            size=THIRD,
        ),
        lines(
            "CUDA memory",
            About("Flat.", "It grows and grows: results are kept on the GPU."),
            Query(total("max", PREDICTION(m.PREDICT_CUDA_MEMORY_BYTES), "kind"), "{{kind}}"),
            size=THIRD,
        ),
    ],
)

WHAT = Row(
    "Alerts, configuration and exports",
    [
        common.firing(THIS_PREDICTION),
        table(
            "Exports",
            About("No row.", "A row for each format that was exported: how long it took and how large it is."),
            ("format", "Format"),
            Column(title="Duration", expr=total("max", PREDICTION(m.EXPORT_SECONDS), "format")),
            Column(title="Size", expr=total("max", PREDICTION(m.EXPORT_ARTEFACT_BYTES), "format")),
            empty="no exports",
            size=Size(width=12, height=4),
        ),
        common.configuration(
            PREDICTION(m.PREDICT_RUN_INFO),
            FACTS,
            "fp32 on a card with tensor cores, batch 1, or a source of another kind is often the explanation.",
            height=4,
        ),
    ],
)

BOARD = Board(
    name="inference",
    title="Inference",
    about="What one process predicts: how fast, how long an image waits, and where the time between two batches goes.",
    variables=OF_PREDICTION,
    rows=(GLANCE, COURSE, WHAT),
    annotations=common.OF_PREDICTION,
)
