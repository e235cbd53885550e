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
    Text,
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
    why_hold=("the first batch after a long validation ends it", "长时间验证之后的第一个 batch 会使其结束"),
    keep="1m",
    why_keep=("a scrape that fails is not the end of a hang", "一次抓取失败不代表卡死结束"),
    located=True,
    dashboard="yoloscope-run",
    fixed_by=("stalled",),
    en=Text(
        summary="no batch for {{ $value | humanizeDuration }} though it is training",
        what="The last batch ended {{ $value | humanizeDuration }} ago and the process lives: it hangs, and holds its "
        "GPUs.",
        fix="See where it stands (`yoloscope stacks RUN` on its node). In the loader: workers=0 or OMP_NUM_THREADS=1 "
        "for a deadlock, a network file system that does not answer for I/O. In a collective: the rank whose phase "
        "differs has the fault; restart with resume=True. Ultralytics itself waits up to 3 h before NCCL gives up.",
        meaning="Every rank says it is in training, and the diagnosis calls it stalled: no batch for @stall_factor@ "
        "times as long as the longest so far, and @stall_seconds@ s. Whatever the diagnosis says, a silence of "
        "@stall_most_seconds@ s is one. Validation, checkpoints and setup do not count, and a callback after an "
        "epoch's last batch has @stall_most_seconds@ s.",
        verify="`yoloscope top` shows the phase of each rank; `nvidia-smi` shows 100 % at low power in a hung "
        "collective, 0 % in a hung loader.",
        silence="Somebody has stopped the process in a debugger.",
    ),
    zh=Text(
        summary="正在训练，却已 {{ $value | humanizeDuration }} 没有新的 batch",
        what="上一个 batch 在 {{ $value | humanizeDuration }} 前结束，进程仍存活：它卡住了，并占着 GPU。",
        fix="看它停在哪里（在该节点上运行 `yoloscope stacks RUN`）。在 loader 中：死锁用 workers=0 或 "
        "OMP_NUM_THREADS=1；I/O 则检查网络文件系统。在集合通信中：阶段与众不同的 rank 有问题；用 resume=True 重启。"
        "Ultralytics 要等 3 小时 NCCL 才会放弃。",
        meaning="所有 rank 都处于训练状态，且诊断结论为 stalled：超过至今最长 batch 的 @stall_factor@ 倍且超过 "
        "@stall_seconds@ 秒没有新 batch。无论诊断如何，@stall_most_seconds@ 秒没有 batch 即为卡住。验证、检查点和 "
        "setup 不计入；每个 epoch 最后一个 batch 之后的回调有 @stall_most_seconds@ 秒。",
        verify="`yoloscope top` 显示各 rank 的阶段；`nvidia-smi` 显示 100 % 但功耗低是集合通信卡死，0 % 是 loader "
        "卡死。",
        silence="有人用调试器暂停了进程。",
    ),
)

TRAINING_STUCK = Alert(
    name="TrainingStuck",
    expr=(
        f"time() - ({_LAST_BATCH} or max by ({RANK}) ({series(c.TRAIN_START_TIMESTAMP_SECONDS)})) > @stuck@\n{alive()}"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="5m",
    why_hold=("a batch may end right now", "可能马上就有 batch 结束"),
    dashboard="yoloscope-run",
    fixed_by=("setup_slow",),
    en=Text(
        summary="no training batch for {{ $value | humanizeDuration }}",
        what=(
            "The process lives, and has been in setup, validation or a checkpoint for {{ $value | humanizeDuration }}."
        ),
        fix="In setup: scanning or caching a large data set; cache=disk and a data set cached once beforehand. In "
        "validation: a smaller validation set, val=False with val at the end, or larger batches. In a checkpoint: the "
        "storage hangs (df, mount).",
        meaning="Whatever state it is in, no batch has ended for two hours; before the first one the start counts.",
        verify="'State' on the dashboard Training run; `py-spy dump --pid PID`.",
        silence="A data set known to take that long to cache.",
    ),
    zh=Text(
        summary="已 {{ $value | humanizeDuration }} 没有训练 batch",
        what="进程存活，但处于 setup、验证或检查点已 {{ $value | humanizeDuration }}。",
        fix="setup：正在扫描或缓存大数据集，用 cache=disk 并事先缓存一次。验证：缩小验证集，val=False 最后再验证，"
        "或增大 batch。"
        "检查点：存储卡住（df、mount）。",
        meaning="无论处于什么状态，两小时没有 batch 结束；第一个 batch 之前从启动时算起。",
        verify="仪表盘“训练任务”的“状态”；`py-spy dump --pid PID`。",
        silence="已知需要这么久才能缓存的数据集。",
    ),
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
    en=Text(
        summary="training killed ({{ $value }} ranks)",
        what="{{ $value }} processes of the run exited without a final state: a signal, the kernel, the scheduler, a "
        "crash. "
        "The other ranks wait for them and will not go on.",
        fix="Out of memory (CgroupOomKill, journalctl -k): fewer workers, cache=disk. Time limit or preemption: the "
        "scheduler's log. Then resume=True goes on from last.pt. Cancelled by hand: nothing to do.",
        meaning="The process dropped the lock on its record without writing an end. Its last epoch, phase and memory "
        "stay readable for an hour, and so long the alert fires, unless the run goes on: resumed, here or on another "
        "node. Ultralytics before 8.4.130 leaves no end when it crashes either.",
        verify="`yoloscope report --black-box RUN` on the node, or of the folder of its results; "
        "`journalctl -k | grep -i -e killed -e oom`.",
        silence="Ending many runs by hand.",
    ),
    zh=Text(
        summary="训练任务被终止（{{ $value }} 个 rank）",
        what=(
            "该任务有 {{ $value }} 个进程没有写入结束状态就退出了：信号、内核、调度器或崩溃。其他 rank 在等待它们，"
            "不会继续。"
        ),
        fix="内存不足（CgroupOomKill、journalctl -k）：减少 workers、cache=disk。超时或被抢占：看调度器日志。之后用 "
        "resume=True 从 last.pt 继续。手动取消的：无需处理。",
        meaning="进程放开了记录文件的锁却没有写入结束状态。最后的 epoch、阶段和显存在一小时内仍可读取，"
        "告警也持续这么久，除非该任务已在本节点或其他节点恢复运行。8.4.130 之前的 Ultralytics "
        "崩溃时也不会写入结束状态。",
        verify="在节点上用 `yoloscope report --black-box RUN` 读取记录，或给出结果目录；"
        "`journalctl -k | grep -i -e killed -e oom`。",
        silence="手动结束许多任务时。",
    ),
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
    en=Text(
        summary="training failed with an exception ({{ $value }} ranks)",
        what="{{ $value }} processes of the run ended with an exception.",
        fix="Read the traceback. CUDA out of memory: a smaller batch. A data set error: check data=. "
        "DataLoader worker killed: fewer workers, more shared memory. resume=True goes on from last.pt.",
        meaning="Ultralytics ended with an exception; Ctrl-C is one. It fires while the run is shown (15 minutes).",
        verify="The trainer's output; 'Loss' on the dashboard Training run before the end.",
        silence="Interactive work.",
    ),
    zh=Text(
        summary="训练任务因异常失败（{{ $value }} 个 rank）",
        what="该任务有 {{ $value }} 个进程因异常结束。",
        fix="查看堆栈。显存不足：减小 batch。数据集错误：检查 data=。worker 被杀：减少 workers，"
        "更大的共享内存。resume=True 从 last.pt 继续。",
        meaning="Ultralytics 因异常结束；Ctrl-C 也算。在任务仍显示期间（15 分钟）持续告警。",
        verify="训练的输出；仪表盘“训练任务”的“损失”在结束前的变化。",
        silence="交互式工作。",
    ),
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
    why_hold=("the exporter may be reading its records anew", "exporter 可能正在重新读取记录"),
    keep="1h",
    why_keep=("after five minutes there is nothing left to compare with", "五分钟之后就没有可比较的数据了"),
    dashboard="yoloscope-fleet",
    en=Text(
        summary="run vanished without a final state ({{ $value }} ranks)",
        what="{{ $value }} ranks that were running five minutes ago are gone, and left neither an end nor a killed "
        "state, though the exporter answers: its record was removed.",
        fix="The record directory was emptied (a reboot, a cleaned /dev/shm, a restarted container) or is not shared "
        "any more: YOLOSCOPE_DIR must be one volume for trainer and exporter. If the training is gone, resume=True.",
        meaning="Ranks that trained and were gone at a later scrape, without a state finished, failed or killed in "
        "between, however short it was shown. A run that has started anew since, on this node or another, with fewer "
        "ranks or not, has not vanished.",
        verify="`ls -la /dev/shm/yoloscope`; `pgrep -af yolo` on the node. `yoloscope report --black-box` of the "
        "folder of its results tells a reboot.",
        silence="Re-deploying the exporter with another directory.",
    ),
    zh=Text(
        summary="运行中的训练任务消失，没有结束状态（{{ $value }} 个 rank）",
        what=(
            "五分钟前还在运行的 {{ $value }} 个 rank 消失了，既没有结束状态也没有 killed 状态，而 exporter 正常应答："
            "记录文件被删除了。"
        ),
        fix="记录目录被清空（重启、清理 /dev/shm、容器重建），或不再共享：YOLOSCOPE_DIR 必须是训练与 exporter "
        "共用的卷。"
        "如果训练任务已经结束，用 resume=True 继续。",
        meaning="某些 rank 在训练，下一次抓取时却不见了，其间没有出现过 finished、failed 或 killed 状态"
        "（无论显示多久）。此后在本节点或其他节点重新启动的任务不算消失，即使 rank 数减少。",
        verify="在节点上执行 `ls -la /dev/shm/yoloscope`；`pgrep -af yolo`。对结果目录执行 "
        "`yoloscope report --black-box` 可得知节点是否重启过。",
        silence="exporter 换目录重新部署时。",
    ),
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
    en=Text(
        summary="the loss is NaN or infinite",
        what="About {{ $value | humanize }} batches in ten minutes had a NaN or infinite loss. From here on the run "
        "learns nothing.",
        fix="A smaller lr0, more warmup_epochs, amp=False once to see whether precision is the cause, and check "
        "the labels of the last batches. Then start again from a checkpoint from before (resume=True).",
        meaning="Counted in the hooks, per batch. Ultralytics 8.3.213 and newer goes back to last.pt by itself at the "
        "end of the epoch, at most three times: train_nan_recoveries_total counts that.",
        verify="'Loss' on the dashboard Training run, by component; results.csv.",
        silence="A run that recovered by itself.",
    ),
    zh=Text(
        summary="损失为 NaN 或无穷",
        what="十分钟内约有 {{ $value | humanize }} 个 batch 的损失为 NaN 或无穷。此后训练学不到任何东西。",
        fix="减小 lr0，增大 warmup_epochs，用 amp=False 试一次以确认是否精度问题，并检查最近 batch 的标注。"
        "然后从之前的检查点继续（resume=True）。",
        meaning="由 hooks 逐个 batch 统计。8.3.213 及更新的 Ultralytics 会在 epoch 结束时自动回到 last.pt，最多三次："
        "train_nan_recoveries_total 记录次数。",
        verify="仪表盘“训练任务”的“损失”的各个分量；results.csv。",
        silence="已自动恢复的任务。",
    ),
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
    why_hold=("the epoch that just ended may be being saved", "刚结束的 epoch 可能正在保存"),
    dashboard="yoloscope-run",
    en=Text(
        summary="{{ $value }} epochs in an hour and no checkpoint",
        what="{{ $value }} epochs have passed in the last hour and none was saved, though the run did save before: a "
        "death now loses them.",
        fix="Look whether the disk of the project folder is full or read-only, and whether a callback turned save off; "
        "save=True, save_period=1.",
        meaning="Ultralytics saves last.pt after each epoch. A run with save=False has never saved and does not alert.",
        verify="`ls -la runs/detect/NAME/weights`.",
        silence="A run whose weights nobody needs.",
    ),
    zh=Text(
        summary="一小时内过了 {{ $value }} 个 epoch，却没有检查点",
        what="最近一小时过了 {{ $value }} 个 epoch，一次都没有保存，而该任务此前保存过：此时中断会丢失这些 epoch。",
        fix="检查项目目录所在磁盘是否已满或只读，是否有回调关闭了保存；save=True、save_period=1。",
        meaning="Ultralytics 每个 epoch 之后保存 last.pt。save=False 的任务从未保存过，不会告警。",
        verify="`ls -la runs/detect/NAME/weights`。",
        silence="不需要权重的任务。",
    ),
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
