"""Is the training alive and getting on?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c

from .model import (
    AT_ONCE,
    CRITICAL,
    NODE,
    OF_RANK,
    OF_RUN,
    OF_RUN_ON_NODE,
    RANK,
    RUN,
    RUN_ON_NODE,
    STAY_VISIBLE,
    WARNING,
    Alert,
    increase,
    series,
)
from .records import SUPERSEDED, alive

_LAST_BATCH = f"max by ({RANK}) ({series(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS)})"
_SILENCE = f"time() - {_LAST_BATCH}"


def _told(verdict: str) -> str:
    """Condition: the exporter's diagnosis holds it, by limits that only it can know."""
    return f"and on ({RANK}) {series(c.TRAIN_VERDICT, verdict=verdict)} == 1"


def _count(state: str) -> str:
    """Ranks that ended so and have not been replaced: a run that goes on elsewhere is not dead."""
    return f"count by ({RUN_ON_NODE}) ({series(c.TRAIN_STATE, state=state)} == 1 unless on ({RANK}) {SUPERSEDED})"


TRAINING_STALLED = Alert(
    name="TrainingStalled",
    expr=(
        f"({_SILENCE} {_told('stalled')}\n"
        f"or {_SILENCE} > @stall_most_seconds@)\n"
        f"{alive()}\n"
        f"and on ({RUN}) min by ({RUN}) ({series(c.TRAIN_STATE, state='train')} unless on ({RANK}) {SUPERSEDED}) == 1"
    ),
    labels=OF_RANK,
    severity=CRITICAL,
    hold="2m",
    why_hold="the first batch after a long validation ends it",
    keep="1m",
    why_keep="a scrape that fails is not the end of a hang",
    located=True,
    dashboard="yoloscope-run",
    fixed_by=("stalled",),
    summary="no batch for {{ $value | humanizeDuration }} though it is training",
    what="The last batch ended {{ $value | humanizeDuration }} ago and the process lives: it hangs, and holds its "
    "GPUs.",
    fix="See where it stands (`yoloscope stacks RUN` on its node). In the loader: workers=0 or OMP_NUM_THREADS=1 for a "
    "deadlock, a network file system that does not answer for I/O. In a collective: the rank whose phase differs has "
    "the fault; restart with resume=True. Ultralytics itself waits up to 3 h before NCCL gives up.",
    meaning="Every rank says it is in training, and the diagnosis calls it stalled: no batch for @stall_factor@ times "
    "as long as the longest so far, and @stall_seconds@ s. Whatever the diagnosis says, a silence of "
    "@stall_most_seconds@ s is one. Validation, checkpoints and setup do not count, and a callback after an epoch's "
    "last batch has @stall_most_seconds@ s.",
    verify="`yoloscope top` shows the phase of each rank; `nvidia-smi` shows 100 % at low power in a hung collective, "
    "0 % in a hung loader.",
    silence="Somebody has stopped the process in a debugger.",
)

TRAINING_STUCK = Alert(
    name="TrainingStuck",
    expr=(
        f"time() - ({_LAST_BATCH} or max by ({RANK}) ({series(c.TRAIN_START_TIMESTAMP_SECONDS)})) > @stuck@\n{alive()}"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="5m",
    why_hold="a batch may end right now",
    dashboard="yoloscope-run",
    fixed_by=("setup_slow",),
    summary="no training batch for {{ $value | humanizeDuration }}",
    what="The process lives, and has been in setup, validation or a checkpoint for {{ $value | humanizeDuration }}.",
    fix="In setup: scanning or caching a large data set; cache=disk and a data set cached once beforehand. In "
    "validation: a smaller validation set, val=False with val at the end, or larger batches. In a checkpoint: the "
    "storage hangs (df, mount).",
    meaning="Whatever state it is in, no batch has ended for two hours; before the first one the start counts.",
    verify="'State' on the dashboard Training run; `py-spy dump --pid PID`.",
    silence="A data set known to take that long to cache.",
)

TRAINING_KILLED = Alert(
    name="TrainingKilled",
    expr=_count("killed"),
    labels=OF_RUN_ON_NODE,
    severity=CRITICAL,
    hold="0m",
    why_hold=AT_ONCE,
    dashboard="yoloscope-run",
    caused=True,
    fixed_by=("killed",),
    summary="training killed ({{ $value }} ranks)",
    what="{{ $value }} processes of the run exited without a final state: a signal, the kernel, the scheduler, a "
    "crash. The other ranks wait for them and will not go on.",
    fix="Out of memory (CgroupOomKill, journalctl -k): fewer workers, cache=disk. Time limit or preemption: the "
    "scheduler's log. Then resume=True goes on from last.pt. Cancelled by hand: nothing to do.",
    meaning="The process dropped the lock on its record without writing an end. Its last epoch, phase and memory stay "
    "readable for an hour, and so long the alert fires, unless the run goes on: resumed, here or on another node. "
    "Ultralytics before 8.4.130 leaves no end when it crashes either.",
    verify="`yoloscope report --black-box RUN` on the node, or of the folder of its results; `journalctl -k | grep -i "
    "-e killed -e oom`.",
    silence="Ending many runs by hand.",
)

TRAINING_FAILED = Alert(
    name="TrainingFailed",
    expr=_count("failed"),
    labels=OF_RUN_ON_NODE,
    severity=WARNING,
    hold="0m",
    why_hold=AT_ONCE,
    dashboard="yoloscope-run",
    caused=True,
    fixed_by=("failed",),
    summary="training failed with an exception ({{ $value }} ranks)",
    what="{{ $value }} processes of the run ended with an exception.",
    fix="Read the traceback. CUDA out of memory: a smaller batch. A data set error: check data=. DataLoader worker "
    "killed: fewer workers, more shared memory. resume=True goes on from last.pt.",
    meaning="Ultralytics ended with an exception; Ctrl-C is one. It fires while the run is shown (15 minutes).",
    verify="The trainer's output; 'Loss' on the dashboard Training run before the end.",
    silence="Interactive work.",
)

_ENDED = f"last_over_time({series(c.TRAIN_STATE, '5m', state='=~finished|failed|killed')}) == 1"
_STARTED = f"max by ({RUN}) ({series(c.TRAIN_START_TIMESTAMP_SECONDS)})"
_STARTED_BEFORE = f"max by ({RUN}) ({series(c.TRAIN_START_TIMESTAMP_SECONDS)} offset 5m)"

TRAINING_VANISHED = Alert(
    name="TrainingVanished",
    expr=(
        f"count by ({RUN_ON_NODE}) (\n"
        f"  ({series(c.TRAIN_UP)} offset 5m == 1) unless on ({RANK}) {series(c.TRAIN_UP)}\n"
        f"  unless on ({RANK}) {_ENDED}\n"
        f")\n"
        f"unless on ({RUN}) {_STARTED} > {_STARTED_BEFORE}\n"
        f"and on ({NODE}) {series(c.BUILD_INFO)}"
    ),
    labels=OF_RUN_ON_NODE,
    severity=CRITICAL,
    hold="2m",
    why_hold="the exporter may be reading its records anew",
    keep="1h",
    why_keep="after five minutes there is nothing left to compare with",
    dashboard="yoloscope-fleet",
    summary="run vanished without a final state ({{ $value }} ranks)",
    what="{{ $value }} ranks that were running five minutes ago are gone, and left neither an end nor a killed state, "
    "though the exporter answers: its record was removed.",
    fix="The record directory was emptied (a reboot, a cleaned /dev/shm, a restarted container) or is not shared any "
    "more: YOLOSCOPE_DIR must be one volume for trainer and exporter. If the training is gone, resume=True.",
    meaning="Ranks that trained and were gone at a later scrape, without a state finished, failed or killed in "
    "between, however short it was shown. A run that has started anew since, on this node or another, with fewer ranks "
    "or not, has not vanished.",
    verify="`ls -la /dev/shm/yoloscope`; `pgrep -af yolo` on the node. `yoloscope report --black-box` of the folder of "
    "its results tells a reboot.",
    silence="Re-deploying the exporter with another directory.",
)

LOSS_NOT_FINITE = Alert(
    name="LossNotFinite",
    expr=f"{increase(c.TRAIN_NONFINITE_LOSS_TOTAL, '10m')} > 0",
    labels=OF_RANK,
    severity=CRITICAL,
    hold="0m",
    why_hold=AT_ONCE,
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-run",
    fixed_by=("diverged",),
    summary="the loss is NaN or infinite",
    what="About {{ $value | humanize }} batches in ten minutes had a NaN or infinite loss. From here on the run learns "
    "nothing.",
    fix="A smaller lr0, more warmup_epochs, amp=False once to see whether precision is the cause, and check the labels "
    "of the last batches. Then start again from a checkpoint from before (resume=True).",
    meaning="Counted in the hooks, per batch. Ultralytics 8.3.213 and newer goes back to last.pt by itself at the end "
    "of the epoch, at most three times: train_nan_recoveries_total counts that.",
    verify="'Loss' on the dashboard Training run, by component; results.csv.",
    silence="A run that recovered by itself.",
)

_CHECKPOINTS = f"sum by ({RUN}) ({series(c.TRAIN_CHECKPOINTS_TOTAL)})"
_EPOCH = f"max by ({RUN}) ({series(c.TRAIN_EPOCH)})"
_CHECKPOINTS_BEFORE = f"sum by ({RUN}) ({series(c.TRAIN_CHECKPOINTS_TOTAL)} offset 1h)"
_EPOCH_BEFORE = f"max by ({RUN}) ({series(c.TRAIN_EPOCH)} offset 1h)"

CHECKPOINT_STALE = Alert(
    name="CheckpointStale",
    expr=(
        f"{_EPOCH} - {_EPOCH_BEFORE} >= @epochs_without_checkpoint@\n"
        f"and {_CHECKPOINTS} == {_CHECKPOINTS_BEFORE} and {_CHECKPOINTS} > 0\n"
        f"and max by ({RUN}) ({series(c.TRAIN_UP)}) == 1"
    ),
    labels=OF_RUN,
    severity=WARNING,
    hold="5m",
    why_hold="the epoch that just ended may be being saved",
    dashboard="yoloscope-run",
    summary="{{ $value }} epochs in an hour and no checkpoint",
    what="{{ $value }} epochs have passed in the last hour and none was saved, though the run did save before: a death "
    "now loses them.",
    fix="Look whether the disk of the project folder is full or read-only, and whether a callback turned save off; "
    "save=True, save_period=1.",
    meaning="Ultralytics saves last.pt after each epoch. A run with save=False has never saved and does not alert.",
    verify="`ls -la runs/detect/NAME/weights`.",
    silence="A run whose weights nobody needs.",
)

ALERTS = (
    TRAINING_STALLED,
    TRAINING_STUCK,
    TRAINING_KILLED,
    TRAINING_FAILED,
    TRAINING_VANISHED,
    LOSS_NOT_FINITE,
    CHECKPOINT_STALE,
)
