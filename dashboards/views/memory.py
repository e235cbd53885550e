"""GPU memory: does the training fit, does it grow, and what batch would still fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import memory
from yoloscope_exporter.measures.formula import GPU
from yoloscope_exporter.measures.promql import Expr, Scope, by_epoch, known, named, over, total

from dashboards import look, measures
from dashboards.board import OF_RUN, Board, Row
from dashboards.panels import THIRD, About, Column, Query, Size, epochs, lines, stat, table
from dashboards.views.common import LIFECYCLE, NODES, RUN, RUN_LINK, of_run
from deploy.prometheus.rulebook import records as recording

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure

BY_GPU = ("rank", "gpu")


def cuda(kind: str, *by: str) -> Expr:
    """PyTorch's memory of one kind, the most of the ranks."""
    return total("max", RUN(m.TRAIN_CUDA_MEMORY_BYTES, kind=kind), *by)


def device(metric: m.Metric, *by: str) -> Expr:
    """A figure of the device memory of the GPUs that the ranks train on."""
    return total("max", measures.of_ranks(RUN, RUN(metric)), *by)


def fragmented(*by: str) -> Expr:
    """Share of the device memory that PyTorch reserved and tensors never used at once."""
    return measures.measured(RUN, memory.FRAGMENTED, *by)


def mean(measure: Measure) -> Expr:
    """Of the ranks."""
    return total("avg", measures.measured(RUN, measure, "rank"))


def peak_share() -> Expr:
    """Most that PyTorch reserved, over the GPU's memory; the rank where it is tightest."""
    return measures.measured(RUN, memory.PEAK_SHARE)


def per_epoch(kind: str) -> Expr:
    """The most in each epoch."""
    return by_epoch(total("max", RUN(m.TRAIN_EPOCH), "run"), cuda(kind, "run"), "max_over_time")


def on_these_gpus() -> Expr:
    """Memory of every process on the GPUs of the run, whosever it is."""
    processes = Scope(nodes="node")(m.GPU_PROCESS_MEMORY_BYTES)
    here = processes.where(measures.alive(RUN, RUN(m.TRAIN_DEVICE_INFO)), GPU)
    return total("max", named(here, "who", ", ", "gpu", "pid"), "who", "command", "run")


def of_all_runs(recorded: recording.Recorded) -> Expr:
    """The most of each run in the time range, whichever run is chosen above."""
    return known(
        total("max", over("max_over_time", NODES(recorded), "$__range"), "run"),
        total("max", over("max_over_time", NODES(recording.RUN_BATCH_SIZE), "$__range"), "run"),
    )


GLANCE = Row(
    "At a glance",
    [
        stat(
            "Peak",
            About(
                "Up to 92 %.",
                "Above 97 % the next large batch may fail: a smaller batch or imgsz, amp=True.",
                "Most that PyTorch reserved on a rank, as a share of its GPU's memory.",
            ),
            Query(of_run(peak_share())),
            steps=look.above("cuda_peak_share", "cuda_peak_share_severe"),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Free at the peak",
            About(
                "A tenth of the memory.",
                "Much more: a larger batch uses the GPU better. See peak against batch size below.",
                "Device memory less the peak, on the rank where it is tightest.",
            ),
            Query(of_run(measures.measured(RUN, memory.PEAK_LEFT))),
            size=Size(width=8, height=3),
        ),
        stat(
            "Reserved but unused",
            About(
                "Under 20 %.",
                "High and near full: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, multi_scale=False, fixed imgsz.",
                "What PyTorch reserved beyond the most that tensors used at once, as a share of the GPU's memory.",
            ),
            Query(of_run(fragmented())),
            steps=look.above("fragmented", "fragmented_severe"),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Growth in the last epoch",
            About(
                "Around 0 after the second epoch.",
                "Growing epoch after epoch: a leak. Look for tensors kept in lists, callbacks or losses.",
            ),
            Query(of_run(total("max", RUN(m.TRAIN_CUDA_MEMORY_GROWTH_BYTES)))),
            steps=look.above("growth_bytes"),
            size=Size(width=8, height=3),
        ),
        stat(
            "Retries",
            About(
                "0.",
                "Each one stops the GPU while the cache is flushed: a smaller batch, or expandable segments.",
                "Allocations in the time range that failed, flushed the cache and were tried again.",
            ),
            Query(of_run(total("sum", RUN.increase(m.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, window="$__range")))),
            steps=look.above(1),
            decimals=0,
            size=Size(width=8, height=3),
        ),
        stat(
            "Out of memory",
            About("0.", "A smaller batch or imgsz; Ultralytics halves the batch by itself in the first epoch only."),
            Query(of_run(total("sum", RUN.increase(m.TRAIN_CUDA_OOMS_TOTAL, window="$__range")))),
            steps=look.above(1, 1),
            decimals=0,
            size=Size(width=8, height=3),
        ),
    ],
)

TIME = Row(
    "Memory use",
    [
        lines(
            "Device memory by user",
            About(
                "The sum is the GPU's memory; some of it free.",
                "Others is large: another process is on this GPU, see the processes below.",
                "Mean over the GPUs of the run: tensors, PyTorch's cache, everybody else and what is free.",
            ),
            Query(total("avg", RUN(m.TRAIN_CUDA_MEMORY_BYTES, kind="allocated")), "tensors"),
            Query(mean(memory.CACHED), "PyTorch's cache"),
            Query(mean(memory.OF_OTHERS), "CUDA context and others"),
            Query(total("avg", measures.of_ranks(RUN, RUN(m.GPU_MEMORY_FREE_BYTES))), "free"),
            stacked=True,
            colours={"free": look.NEUTRAL},
        ),
        lines(
            "PyTorch's memory",
            About(
                "Allocated swings with each step, reserved is flat.",
                "Reserved climbs step by step: fragmentation or growing inputs. Allocated climbs: a leak.",
                "By kind, the most of the ranks.",
            ),
            Query(total("max", RUN(m.TRAIN_CUDA_MEMORY_BYTES), "kind"), "{{kind}}"),
        ),
        lines(
            "Used by GPU",
            About("Equal over the ranks.", "Rank 0 somewhat higher: it validates. Much higher: a leak."),
            Query(device(m.GPU_MEMORY_USED_BYTES, *BY_GPU), "GPU {{gpu}} of rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Reserved but unused, by rank",
            About("Under 20 %.", "Growing over hours: fragmentation."),
            Query(fragmented("rank"), "rank {{rank}}"),
            highest=1,
            size=THIRD,
        ),
        lines(
            "Retries and out of memory",
            About("Zero.", "Retries come before the failure: act on the first."),
            Query(total("sum", RUN.increase(m.TRAIN_CUDA_ALLOC_RETRIES_TOTAL)), "retries"),
            Query(total("sum", RUN.increase(m.TRAIN_CUDA_OOMS_TOTAL)), "out of memory"),
            Query(total("sum", RUN.increase(m.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL)), "batch halved"),
            steps=look.above(1),
            size=THIRD,
        ),
    ],
)

GROWTH = Row(
    "Memory growth and batch size",
    [
        epochs(
            "Peak in each epoch",
            About(
                "Flat from the second epoch; a step at close_mosaic is normal.",
                "Rising evenly: a leak. The run ends out of memory when it meets the GPU's memory.",
                "The most in each epoch. Needs Grafana 9.4 or newer.",
            ),
            Query(per_epoch("peak_allocated"), "tensors, peak"),
            Query(per_epoch("peak_reserved"), "reserved, peak"),
        ),
        table(
            "Peak against batch size",
            About(
                "The peak grows in proportion to the batch, from a base of model and optimizer.",
                "Take two rows of the same model: their slope tells what the next larger batch needs.",
                "All runs in the time range, not the chosen one alone.",
            ),
            ("run", "Run"),
            Column(title="Images in a batch", expr=of_all_runs(recording.RUN_BATCH_SIZE), decimals=0),
            Column(title="Peak", expr=of_all_runs(recording.RUN_PEAK_MEMORY)),
            Column(
                title="Of the GPU",
                expr=of_all_runs(recording.RUN_PEAK_SHARE),
                steps=look.above("cuda_peak_share", "cuda_peak_share_severe"),
                highest=1,
            ),
            link=RUN_LINK,
            sort="Images in a batch",
            size=Size(),
        ),
        lines(
            "Host memory of the run",
            About(
                "Grows in the first epoch, then flat.",
                "Workers that grow all along: copies of lists in Python. The trainer growing: cache=ram, or a leak.",
            ),
            Query(total("sum", RUN(m.TRAIN_PROCESS_RESIDENT_BYTES), "role"), "{{role}}"),
        ),
        table(
            "Processes on these GPUs",
            About(
                "The run alone.",
                "Another process: end it, or move the run to another GPU with device=.",
            ),
            ("who", "GPU, process"),
            Column(title="Program", expr=on_these_gpus(), label="command"),
            Column(title="Run", expr=on_these_gpus(), label="run", link=RUN_LINK),
            Column(title="GPU memory", expr=on_these_gpus()),
            sort="GPU memory",
            size=Size(),
        ),
    ],
)

BOARD = Board(
    name="memory",
    title="GPU memory",
    about="Device memory of one run: does it fit, does it grow, and what batch would still fit.",
    variables=OF_RUN,
    rows=(GLANCE, TIME, GROWTH),
    annotations=LIFECYCLE,
)
