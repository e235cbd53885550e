"""Training run: is it healthy, and if not, what slows it and what to type. The first dashboard anybody opens."""

from __future__ import annotations

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import gpu, training
from yoloscope_exporter.measures import host as cpu
from yoloscope_exporter.measures.promql import THIS_RUN, Expr, top, total

from dashboards import look, measures, verdicts
from dashboards.board import OF_RUN, Board, Row
from dashboards.panels import BOUND, THIRD, About, Column, Query, Size, heatmap, lines, stat, table, timeline
from dashboards.views.common import (
    LIFECYCLE,
    ONE_RUN,
    RUN,
    RUN_LINK,
    configuration,
    firing,
    of_run,
)
from deploy.prometheus.rulebook import levels
from deploy.prometheus.rulebook import records as recording
from deploy.prometheus.rulebook.records import MAP

QUARTILES = ((0.5, "half of the steps"), (0.95, "95 % of the steps"), (0.99, "99 % of the steps"))
FACTS = ("model", "data", "imgsz", "optimizer", "amp", "cache", "device", "ultralytics", "torch", "cuda")


def holding(*by: str) -> Expr:
    """Verdicts that hold, how severe each is."""
    return levels.severity(RUN, *by, "verdict")


def fixes() -> Expr:
    """What to do about each verdict; that of one rank where they differ."""
    return top(1, total("max", RUN(m.TRAIN_VERDICT_FIX_INFO), "verdict", "fix"), "verdict")


def owner() -> Expr:
    """Whose run it is."""
    return total("max", ONE_RUN(recording.RUN_OWNER), "run", "user")


def job() -> Expr:
    """The Slurm job or the pod, of any of its ranks."""
    return total("max", ONE_RUN(m.TRAIN_JOB_INFO), "run", "slurm_job_id", "slurm_partition", "namespace", "pod")


def ranks_of_verdict() -> Expr:
    """On how many ranks each verdict holds."""
    return total("count", total("max", RUN(m.TRAIN_VERDICT).equals(1), "rank", "verdict"), "verdict").of("")


GLANCE = Row(
    "Diagnosis and fix",
    [
        table(
            "Diagnosis",
            About(
                "One blue row: healthy.",
                "The first row is the most severe: type its fix. docs/diagnosis.md says of each verdict how to verify "
                "it, and what looks alike.",
                "The verdicts of the diagnosis that hold now, each with the fix computed for one of its ranks.",
            ),
            ("verdict", "Verdict"),
            Column(title="Fix", expr=fixes(), label="fix", least=180, wraps=True),
            Column(title="Ranks", expr=ranks_of_verdict(), decimals=0, width=70),
            Column(title="Severity", expr=holding(), mappings=(verdicts.LEVELS,), filled=True, width=120),
            key_mappings=(verdicts.TITLES,),
            sort="Severity",
            size=Size(width=24, height=5),
        ),
        stat(
            "State",
            About(
                "train, with short validate and checkpoint between epochs.",
                "setup for minutes: the data set is being scanned or cached. killed: look at dmesg and the job's log.",
            ),
            Query(top(1, levels.states(RUN, "state")), "{{state}}"),
            steps=verdicts.STEPS,
        ),
        stat(
            gpu.BUSY.title,
            About(
                "Above 85 % while training.",
                "Look at the Step anatomy: what is neither blue nor green is what the GPU waits for.",
                gpu.BUSY_OF_RANK.help,
            ),
            Query(of_run(measures.measured(RUN, gpu.BUSY_OF_RANK))),
            steps=look.below("gpu_well_used", "gpu_low"),
            decimals=0,
        ),
        stat(
            training.DATA_WAIT.title,
            About("Under 10 %.", "Above 20 % the loader slows the run: open the dashboard Data pipeline."),
            Query(of_run(measures.measured(RUN, training.DATA_WAIT))),
            steps=look.above("input_share", "input_share_severe"),
            decimals=1,
        ),
        stat(
            "Goodput",
            About("Above 70 %; validation takes its part.", "The verdict names what takes the rest."),
            Query(of_run(measures.measured(RUN, training.GOODPUT))),
            steps=look.below("goodput", "goodput_low"),
            decimals=0,
        ),
        stat(
            "Images per second",
            About(
                "Steady from the second epoch on.",
                "Falling: throttling, a leak or shared storage. Compare with an earlier run on the dashboard Compare.",
            ),
            Query(of_run(measures.images(RUN))),
            decimals=0,
        ),
        stat(
            "Progress",
            About(
                "Grows evenly.",
                "Stands still: look at Last batch. Early stopping ends a run before 100 %.",
                "Epoch under way over epochs asked for.",
            ),
            Query(of_run(measures.measured(RUN, training.PROGRESS))),
            decimals=0,
        ),
        stat(
            "ETA",
            About("Falls as fast as the clock runs.", "If it grows, throughput is falling: look at the diagnosis."),
            Query(of_run(total("max", RUN(m.TRAIN_REMAINING_SECONDS)))),
        ),
        stat(
            "Last batch",
            About(
                "A few seconds; longer during validation.",
                "Minutes without a batch while the state is train: the run hangs. py-spy dump shows where.",
                "Time since the last training batch ended.",
            ),
            Query(of_run(measures.measured(RUN, training.SINCE_BATCH))),
            steps=look.above("late_batch", "stall_most_seconds"),
        ),
        lines(
            "Step anatomy",
            About(
                "Blue and green, which compute, fill nearly all of it.",
                "A wide orange band: the loader. Vermillion: waiting for other ranks. Grey: validation or checkpoints.",
                "Where each second of the ranks' wall time went, mean over ranks.",
            ),
            Query(total("avg", RUN.rate(m.TRAIN_PHASE_SECONDS_TOTAL), "phase"), "{{phase}}"),
            stacked=True,
            highest=1,
            size=Size(width=12, height=11),
        ),
        timeline(
            "Verdicts over time",
            About(
                "One blue bar, compute_bound.",
                "Orange slows the run, magenta has stopped it. The dashboard DDP ranks tells the ranks apart.",
                "Verdicts of the diagnosis, while they held for a rank.",
            ),
            Query(holding(), "{{verdict}}"),
            mappings=(verdicts.LEVELS,),
            size=Size(width=12, height=11),
        ),
    ],
)

TIME = Row(
    "Throughput and hardware",
    [
        lines(
            "Images per second by rank",
            About("Flat and equal over the ranks.", "One rank below the others slows all: open DDP ranks."),
            Query(measures.images(RUN, "rank"), "rank {{rank}}"),
        ),
        lines(
            "GPU and CPU utilization",
            About(
                "GPU lines near 100 %, CPU below.",
                "GPU low while CPU is full: preparing data is the limit. Both low: storage.",
                "Share of time the GPUs computed and share of their nodes' CPU time in use, on one time base.",
            ),
            Query(measures.measured(RUN, gpu.BUSY_OF_RANK, "rank"), "rank {{rank}}"),
            Query(measures.measured(RUN, cpu.CPU_BUSY, "instance"), "CPU of {{instance}}", BOUND),
            highest=1,
        ),
        lines(
            gpu.MFU.title,
            About(
                "Steady over the run; higher for larger models, images and batches.",
                "Falling: throttling, or steps that wait. Low from the start: AMP off, a small batch, no compile=True.",
                gpu.MFU.help + " Absent for cards whose peak is not known, and with rect or multi_scale.",
            ),
            Query(measures.measured(RUN, gpu.MFU, "rank"), "rank {{rank}}"),
        ),
        lines(
            "CPU cores used by the run",
            About(
                "Loader workers use several CPUs, the trainers about one each.",
                "Workers near the CPUs they may use: fewer augmentations, cache=ram, or more CPUs.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_PROCESS_CPU_SECONDS_TOTAL), "role").of("cores"), "{{role}}"),
        ),
    ],
)

LEARNING = Row(
    "Learning",
    [
        lines(
            "Loss",
            About("Falls, ever more slowly.", "Rising or gone (not finite): lower lr0; look at the labels and at amp."),
            Query(total("avg", RUN(m.TRAIN_LOSS), "component"), "{{component}}"),
            unit="score",
            size=THIRD,
        ),
        lines(
            "Learning rate",
            About("Warm-up, then a decline.", "A flat line over the whole run: look at lrf and cos_lr."),
            Query(total("max", RUN(m.TRAIN_LEARNING_RATE), "group"), "{{group}}"),
            unit="score",
            size=THIRD,
        ),
        lines(
            "Validation metrics",
            About("Rise and level off.", "Level while the loss still falls: overfitting, or too little data."),
            Query(total("max", RUN(m.TRAIN_METRIC), "name"), "{{name}}"),
            unit="score",
            size=THIRD,
        ),
    ],
)

STEPS_ROW = Row(
    "Step time, epochs, batch size, training errors",
    [
        stat(
            "Step time",
            About(
                "Steady; the smaller the better for one batch size.",
                "Growing: look at clocks and throttling on the dashboard Node.",
                "Half of the steps are shorter than this; the data wait is left out.",
            ),
            Query(of_run(RUN.quantile(0.5, m.TRAIN_STEP_SECONDS))),
            size=Size(width=6, height=3),
        ),
        stat(
            "Epoch",
            About("Grows.", "Stands still: look at Last batch.", "Epoch under way, counted from 1."),
            Query(of_run(total("max", RUN(m.TRAIN_EPOCH)))),
            size=Size(width=6, height=3),
        ),
        stat(
            "mAP50-95",
            About(
                "Rises from epoch to epoch, then levels off.", "n/a before the first validation, and for other tasks."
            ),
            Query(of_run(total("max", RUN(m.TRAIN_METRIC, name=MAP)))),
            decimals=3,
            unit="score",
            size=Size(width=6, height=3),
        ),
        stat(
            "Epochs since the best",
            About(
                "Small, or growing slowly towards the end.",
                "At `patience` training stops: more data or augmentation helps, not more epochs.",
            ),
            Query(of_run(total("max", RUN(m.TRAIN_EPOCHS_SINCE_BEST)))),
            size=Size(width=6, height=3),
        ),
        heatmap(
            "Step time, distribution",
            About("One narrow band.", "A second band or a tail: look at ranks, loader and throttling."),
            Query(total("sum", RUN.rate(m.TRAIN_STEP_SECONDS, "_bucket"), "le")),
        ),
        lines(
            "Step time, quantiles",
            About(
                "The three lines lie close together.",
                "A 99 % line far above: now and then a step takes long: a busy neighbour, a slow rank.",
            ),
            *[Query(RUN.quantile(q, m.TRAIN_STEP_SECONDS), legend) for q, legend in QUARTILES],
        ),
        lines(
            "Epochs",
            About("A straight line that meets the epochs asked for.", "It flattens: throughput fell."),
            Query(total("max", RUN(m.TRAIN_EPOCH)), "under way"),
            Query(total("max", RUN(m.TRAIN_EPOCHS)), "asked for", BOUND),
            size=THIRD,
        ),
        lines(
            "Batch",
            About(
                "Constant; accumulation ramps up during warm-up.",
                "A smaller batch in the middle of a run: Ultralytics halved it after running out of memory.",
                "Images in a batch of a rank, and batches for one optimizer step.",
            ),
            Query(total("max", RUN(m.TRAIN_BATCH_SIZE)), "images in a batch"),
            Query(total("max", RUN(m.TRAIN_ACCUMULATED_BATCHES)), "batches per optimizer step"),
            size=THIRD,
        ),
        lines(
            "Training errors",
            About(
                "Nothing but zero.",
                "Non-finite losses: lower lr0, amp=False to try. Out of memory: a smaller batch or imgsz.",
                "Non-finite losses, returns to the last checkpoint and halved batches in the window of the panel.",
            ),
            Query(total("sum", RUN.increase(m.TRAIN_NONFINITE_LOSS_TOTAL)), "losses not finite"),
            Query(total("sum", RUN.increase(m.TRAIN_NAN_RECOVERIES_TOTAL)), "went back after NaN"),
            Query(total("sum", RUN.increase(m.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL)), "batch halved"),
            steps=look.above(1),
            size=THIRD,
        ),
    ],
    collapsed=True,
)

WHO = Row(
    "Owner, alerts and configuration",
    [
        table(
            "Owner",
            About(
                "You.",
                "No row: Prometheus does not evaluate deploy/prometheus/rules/recording.yml.",
                recording.RUN_OWNER.help,
            ),
            ("run", "Run"),
            Column(title="User", expr=owner(), label="user"),
            Column(title="Slurm job", expr=job(), label="slurm_job_id"),
            Column(title="Partition", expr=job(), label="slurm_partition"),
            Column(title="Namespace", expr=job(), label="namespace"),
            Column(title="Pod", expr=job(), label="pod"),
            Column(title="GPUs", expr=total("sum", ONE_RUN(recording.RUN_GPUS_HELD), "run"), decimals=0),
            link=RUN_LINK,
            width=140,
            size=Size(width=12, height=4),
        ),
        firing(THIS_RUN),
        configuration(
            RUN(m.TRAIN_RUN_INFO),
            FACTS,
            "amp=False, cache=False or an odd device is often the whole explanation.",
            height=6,
        ),
    ],
)

BOARD = Board(
    name="run",
    title="Training run",
    about="One run: is it healthy, and if not, what slows it and what to do about it.",
    variables=OF_RUN,
    rows=(GLANCE, WHO, TIME, LEARNING, STEPS_ROW),
    annotations=LIFECYCLE,
)
