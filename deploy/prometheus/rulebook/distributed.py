"""Do the ranks of a run keep the same pace?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures import ranks
from yoloscope_exporter.measures.formula import last
from yoloscope_exporter.measures.promql import render
from yoloscope_exporter.measures.training import EXPOSED

from . import records
from .model import ALL, INFO, NO_FLAPPING, OF_RANK, OF_RUN, RANK, RUN, WARNING, Alert, measured, series
from .records import DATA_WAIT, ENOUGH_TRAINING, LAG, TRAINING, alive

#: What a rank takes longer for a batch, and what of it the others wait for in their steps, in seconds.
_BEHIND = render(ranks.behind(last(records.OWN)), ALL)
_WAITED_FOR = render(ranks.waited_for(last(records.EXPOSED), last(records.PAUSED)), ALL)

STRAGGLER_RANK = Alert(
    name="StragglerRank",
    expr=(
        f"{LAG} >= @lag@\n"
        f"and on ({RANK}) ({_WAITED_FOR}) >= @lag_covered@ * ({_BEHIND})\n"
        f"and on ({RUN}) {TRAINING} >= @training_share@"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold="a rank may draw crowded images for some minutes",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-ranks",
    fixed_by=("straggler",),
    summary="this rank needs {{ $value | humanizePercentage }} longer per batch than the others",
    what="Without waiting for its peers, the rank takes {{ $value | humanizePercentage }} longer per batch than the "
    "mean of the others; all others wait for it in every step.",
    fix="Its data wait is larger: as many workers there as elsewhere, data on a local disk. Its forward or backward is "
    "larger: throttling (GpuThermalSlowdown), another process on its GPU, a slower kind of GPU. One bad node: leave it "
    "out (device=, the scheduler's exclude list).",
    meaning="Step time per batch without the wait for peers, against the mean of the run's other ranks. At least "
    "@lag_covered%@ of what it takes longer is seen as a longer wait of the others in their steps: a rank that "
    "validates alone does not alert. Only where the hooks can split backward into work and waiting (DDP).",
    verify="'Comparison of ranks' on the dashboard DDP ranks: the straggler has the most own time and waits least for "
    "its peers.",
    silence="Ranks on different kinds of GPU.",
)

RANKS_MISSING = Alert(
    name="RanksMissing",
    expr=(
        f"max by ({RUN}, world_size) ({series(c.TRAIN_RUN_INFO, world_size='!~0?|1')} {alive()})\n"
        f"* on ({RUN}) group_left () count by ({RUN}) ({series(c.TRAIN_UP)} == 1)\n"
        f"unless on ({RUN}, world_size)\n"
        f'  count_values by ({RUN}) ("world_size", count by ({RUN}) ({series(c.TRAIN_UP)} == 1))\n'
        f"and on ({RUN}) {TRAINING} == 1"
    ),
    labels=OF_RUN,
    severity=WARNING,
    hold="5m",
    why_hold="ranks start and end some seconds apart",
    dashboard="yoloscope-ranks",
    summary="only {{ $value }} of {{ $labels.world_size }} ranks report",
    what="{{ $value }} of {{ $labels.world_size }} ranks are seen; data wait and failures of the others go unnoticed.",
    fix="Start with `yoloscope run -- yolo detect train device=0,1 ...`, which reaches every rank; "
    "yoloscope_hooks.attach reaches them from Ultralytics 8.4.140 on. A node without exporter, or with another "
    "YOLOSCOPE_DIR, hides its ranks as well.",
    meaning="Living ranks against the world size that they themselves state, while all that report are training. What "
    "dead ranks stated does not count: a run may be resumed with fewer.",
    verify="`ls /dev/shm/yoloscope/*` on each node: one record per rank.",
    silence="Ranks on nodes that are not monitored.",
)

COMMUNICATION_BOUND = Alert(
    name="CommunicationBound",
    expr=(
        f"{measured(EXPOSED, '5m')}\n"
        f"and on ({RUN}) min by ({RUN}) ({measured(EXPOSED, '5m')}) >= @exposed_share@\n"
        f"unless on ({RUN}) {DATA_WAIT} >= @input_share@\n"
        f"and on ({RANK}) {ENOUGH_TRAINING}"
    ),
    labels=OF_RANK,
    severity=INFO,
    hold="30m",
    why_hold="a small loss matters only if it lasts",
    dashboard="yoloscope-ranks",
    fixed_by=("communication_bound",),
    summary="{{ $value | humanizePercentage }} of the training time goes into waiting for other ranks",
    what="The rank waits for its peers' gradients {{ $value | humanizePercentage }} of the training time.",
    fix="Larger batches per rank (batch), accumulation (nbs), fewer GPUs, or a faster link: NVLink or InfiniBand "
    "instead of TCP (NCCL_DEBUG=INFO names it).",
    meaning="The part of backward after the rank's own last gradient, over all time in training phases; also on the "
    "rank that waits least, for nobody. Not while a rank waits for data: then the others wait for it.",
    verify="'Waiting for peers, by rank' on the dashboard DDP ranks: equal on all ranks means communication, one rank "
    "without it is the straggler.",
    silence="Not needed: nobody is notified, it is on the dashboards only.",
)

ALERTS = (STRAGGLER_RANK, RANKS_MISSING, COMMUNICATION_BOUND)
