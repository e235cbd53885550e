"""Why a run ended before its time: the causes that are known, each with what tells it and what to do.

A cause is named where the exception's message, the signal or a count of the kernel's says so; else it is `unknown`.
To add one: a row of CAUSES, before those that are less particular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import smaller_batch
from yoloscope_exporter.diagnosis.advice.workers import fewer_workers
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import BETWEEN, joined, text, units
from yoloscope_exporter.measures.gpu import XIDS_OF_HARDWARE, XIDS_OF_KERNELS, XIDS_OF_PROCESS
from yoloscope_exporter.measures.thresholds import MORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

_CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}


@dataclass(frozen=True)
class Cause:
    """One cause of an end.

    Attributes:
        title: what happened.
        told: whether it is this one.
        remedy: what to do.
        fix: arguments on top of that, from the signals.
        evidence: what tells it, for the documentation.
    """

    name: str
    title: str
    told: Callable[[Signals], bool]
    remedy: str
    evidence: str
    fix: Callable[[Signals], Mapping[str, Value]] = field(default=lambda _: {})


def _says(pattern: str) -> Callable[[Signals], bool]:
    """Whether the exception's type and message match."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda s: (
        compiled.search(f"{s.names.get('end_exception', '')}: {s.names.get('end_message', '')}") is not None
    )


def _signal(*names: str) -> Callable[[Signals], bool]:
    return lambda s: s.names.get("end_signal", "") in names


def _both(one: Callable[[Signals], bool], other: Callable[[Signals], bool]) -> Callable[[Signals], bool]:
    return lambda s: one(s) and other(s)


def _either(one: Callable[[Signals], bool], other: Callable[[Signals], bool]) -> Callable[[Signals], bool]:
    return lambda s: one(s) or other(s)


def _ended_by(event: str) -> Callable[[Signals], bool]:
    return lambda s: s.names.get("end_event", "") == event


def _xid(codes: Iterable[int]) -> Callable[[Signals], bool]:
    """Whether the driver reported one of these errors of the rank's GPU when it died."""
    wanted = frozenset(map(str, codes))
    return lambda s: bool(wanted & set(s.names.get("xid", "").split(", ")))


def _killed(s: Signals) -> bool:
    return s.state == "killed"


_ABOUT_CUDA = _says(r"CUDA|CUDNN|CUBLAS|NCCL|AcceleratorError")


def _gpu_gone(s: Signals) -> bool:
    """The exporter's own evidence, where the exception does not tell of something else."""
    broken = s.get(Signals.gpu_gone) > 0 or _xid((*XIDS_OF_HARDWARE, *XIDS_OF_PROCESS))(s)
    return broken and (_killed(s) or _ABOUT_CUDA(s))


def _unless_gone(told: Callable[[Signals], bool]) -> Callable[[Signals], bool]:
    return lambda s: told(s) and not _gpu_gone(s)


def _other_first(s: Signals) -> bool:
    """Whether another rank failed, or was killed by something that was meant for it."""
    return s.get(Signals.peers_failed) + s.get(Signals.peers_killed) > 0


def _evicted(s: Signals) -> bool:
    """A pod's process that was told to go, or killed without a word."""
    return "end_pod" in s.names and _killed(s) and s.names.get("end_signal", "") in ("SIGTERM", "")


def _without_memory(s: Signals) -> bool:
    return s.has(Signals.node_memory_left_bytes) and s.node_memory_left_bytes < MORE["eviction_memory_bytes"].value


def _without_disk(s: Signals) -> bool:
    return s.has(Signals.nodefs_left) and s.nodefs_left < MORE["eviction_disk_left"].value


CAUSES = (
    Cause(
        "cuda_out_of_memory",
        "the GPU's memory is used up",
        _says(r"OutOfMemoryError|CUDA (error: )?out of memory|CUBLAS_STATUS_ALLOC_FAILED"),
        "a smaller batch, or imgsz; batch=-1 measures what fits; nvidia-smi shows who else holds memory",
        "`torch.OutOfMemoryError`, `CUBLAS_STATUS_ALLOC_FAILED`",
        lambda s: smaller_batch(s).arguments,
    ),
    Cause(
        "cuda_device_assert",
        "a check inside a kernel failed, mostly an index beyond a tensor: a class in the labels that the model lacks",
        _says(r"device-side assert"),
        "compare the labels' classes with `nc` and `names`; CUDA_LAUNCH_BLOCKING=1 or device=cpu shows the line",
        "`CUDA error: device-side assert triggered`",
    ),
    Cause(
        "cuda_illegal_access",
        "a kernel read or wrote memory that is not its own: an extension, a driver or the hardware",
        _either(
            _either(
                _says(r"illegal memory access|misaligned address|illegal instruction was encountered"),
                _unless_gone(_says(r"unspecified launch failure")),
            ),
            _both(_ABOUT_CUDA, _xid(XIDS_OF_KERNELS)),
        ),
        "CUDA_LAUNCH_BLOCKING=1 names the call; another version of torch or of the driver; dmesg for Xid 13, 31",
        "`CUDA error: an illegal memory access was encountered`, `unspecified launch failure`; any CUDA error with Xid "
        "13 or 31 of the rank's GPU",
    ),
    Cause(
        "gpu_busy",
        "the GPU lets no further process in: it is in exclusive mode, or another process takes it up",
        _unless_gone(_says(r"busy or unavailable")),
        "nvidia-smi -q -d COMPUTE shows the mode, nvidia-smi who holds the GPU; end that process, or nvidia-smi -c 0",
        "`CUDA-capable device(s) is/are busy or unavailable` (46) of a GPU that answers",
    ),
    Cause(
        "gpu_lost",
        "the GPU does not answer any more, or its memory has failed",
        _either(
            _says(r"GPU is lost|fallen off the bus|uncorrectable (ECC|NVLink)"),
            _gpu_gone,
        ),
        "dmesg | grep -i xid; nvidia-smi -q -d ECC; drain the node, reset the GPU; resume=True elsewhere",
        "`CUDA error: uncorrectable ECC error`, `GPU is lost`; of a kill or of any CUDA error: the rank's "
        "GPU does not answer (`gpu_up` 0), or Xid 48, 62, 64, 74, 79, 94, 95, 119 or 120 of it",
    ),
    Cause(
        "driver_mismatch",
        "the driver was changed under a running system: its library and its kernel module differ",
        _says(r"driver/library version mismatch|unsupported display driver|SYSTEM_DRIVER_MISMATCH"),
        "restart the node, or unload and load the nvidia modules; hold back the driver's package while trainings run",
        "`Driver/library version mismatch`, `system has unsupported display driver / cuda driver combination` (803)",
    ),
    Cause(
        "fabric_manager",
        "the fabric manager of an NVSwitch system does not run, or is not ready yet",
        _says(r"system not yet initialized|SYSTEM_NOT_READY"),
        "systemctl status nvidia-fabricmanager: it has to run, in the driver's version; nvidia-smi -q tells its state",
        "`CUDA error: system not yet initialized` (802)",
    ),
    Cause(
        "cuda_no_kernel_image",
        "this build of torch has no code for this GPU",
        _says(r"no kernel image is available"),
        "a torch built for the GPU's compute capability: `torch.cuda.get_arch_list()` lists what there is",
        "`no kernel image is available for execution on the device`",
    ),
    Cause(
        "cuda_driver",
        "the driver is missing, or too old for this torch",
        _says(
            r"driver version is insufficient|no NVIDIA driver|driver initialization failed|forward compatibility|"
            r"driver.*too old"
        ),
        "a newer driver, or a torch for an older CUDA; in a container the NVIDIA runtime",
        "`CUDA driver version is insufficient`, `Found no NVIDIA driver`",
    ),
    Cause(
        "port_in_use",
        "the port at which the ranks meet is taken, mostly by another training on this node",
        _both(_says(r"address already in use|EADDRINUSE"), lambda s: s.get(Signals.world_size) > 1),
        "MASTER_PORT=29501 in the environment, or torchrun --master-port=29501; ss -ltnp shows who listens",
        "`EADDRINUSE`, `address already in use` of a run with several ranks",
    ),
    Cause(
        "collective_timeout",
        "a collective timed out: another rank hangs, is slow, or is gone",
        _says(
            r"collective operation timeout|Timed out (after|waiting)|wait timeout|DistStoreError|"
            r"NCCL.*(timeout|timed out)"
        ),
        "the rank that did not come has the fault: its log, its stacks; NCCL_DEBUG=INFO says more",
        "`Watchdog caught collective operation timeout`, `Timed out waiting ...`",
    ),
    Cause(
        "peer_lost",
        "the connection to another rank broke: that one ended first",
        _both(
            _says(
                r"connection (was )?(closed|reset)|broken pipe|DistNetworkError|NCCL.*(remote|unhandled system) error"
            ),
            lambda s: s.get(Signals.world_size) > 1,
        ),
        "look at the rank that ended first, it has the cause",
        "`Connection closed by peer`, `Connection reset by peer`",
    ),
    Cause(
        "worker_out_of_memory",
        "loader workers were killed: main memory is used up",
        lambda s: "SIGKILL" in s.names.get("death_signals", "") and s.get(Signals.oom_kills) > 0,
        "each worker holds its own batches; a RAM cache comes on top",
        "workers ended by SIGKILL and the cgroup's count of OOM kills rose",
        lambda s: {**fewer_workers(s), "cache": False},
    ),
    Cause(
        "shared_memory_full",
        "shared memory, through which workers hand batches over, is too small",
        _either(
            lambda s: "SIGBUS" in s.names.get("death_signals", ""),
            _says(r"killed by signal: Bus error|insufficient shared memory|unable to .*shared memory|/torch_\d+"),
        ),
        "docker run --shm-size=8g or --ipc=host; in Kubernetes an emptyDir, medium: Memory",
        "a worker ended by SIGBUS, `insufficient shared memory (shm)`",
        fewer_workers,
    ),
    Cause(
        "worker_killed",
        "a loader worker was killed by a signal",
        _either(
            lambda s: "SIG" in s.names.get("death_signals", ""),
            _says(r"DataLoader worker.*(by signal|unexpectedly)"),
        ),
        "journalctl -k names the kernel's OOM killer; a native library that crashes shows with workers=0",
        "`train_worker_death_signal_total`, `DataLoader worker ... is killed by signal`",
        fewer_workers,
    ),
    Cause(
        "disk_full",
        "a disk is full, or a quota is used up",
        _says(
            r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]|unexpected pos|failed writing file|"
            r"enforce fail at inline_container"
        ),
        "df -h and df -i of the project's folder, of /tmp and of the cache; save_period=-1 keeps two checkpoints only",
        "`[Errno 28] No space left on device`, a checkpoint that torch could not write",
    ),
    Cause(
        "labels",
        "the labels do not fit the model or the data set's file",
        _says(
            r"Label class|No labels found|No valid (images|labels)|labels? (require|exceed)|class(es)? .*exceed|"
            r"kpt_shape|negative label|non-normalized"
        ),
        "the log names files; compare `nc` and `names` with the labels, and delete labels.cache after a correction",
        "`Label class 7 exceeds dataset class count`, `No labels found in ...`",
    ),
    Cause(
        "data_missing",
        "images, labels, weights or another file are not where they are looked for",
        _says(
            r"images not found|No images found|no training images|not found ❌|FileNotFoundError|Image Not Found|"
            r"Dataset '.*' error"
        ),
        "the path in the data set's YAML (`path`, `train`, `val`), and whether it is mounted on this node",
        "`Dataset ... images not found`, `FileNotFoundError`",
    ),
    Cause(
        "data_unreadable",
        "a file of the data set is broken, or may not be read",
        _says(
            r"UnidentifiedImageError|cannot identify image|image file is truncated|PermissionError|Stale file handle|"
            r"\[Errno (5|13|116)\]"
        ),
        "open the file that the message names; in a network mount look at the server",
        "`UnidentifiedImageError`, `PermissionError`, `[Errno 5]`, `[Errno 116] Stale file handle`",
    ),
    Cause(
        "host_out_of_memory",
        "main memory is used up",
        _says(
            r"^MemoryError|can't allocate memory|Cannot allocate memory|\[Errno 12\]|_ArrayMemoryError|"
            r"Unable to allocate"
        ),
        "fewer workers, cache=False; free -h, and who else uses memory",
        "`MemoryError`, `DefaultCPUAllocator: can't allocate memory`",
        lambda s: {**fewer_workers(s), "cache": False},
    ),
    Cause(
        "too_many_files",
        "the process may open no more files",
        _says(r"Too many open files|\[Errno 24\]|received 0 items of ancdata"),
        "ulimit -n 65536; fewer workers; torch.multiprocessing.set_sharing_strategy('file_system')",
        "`[Errno 24] Too many open files`, `received 0 items of ancdata`",
        fewer_workers,
    ),
    Cause(
        "not_a_number",
        "the loss became NaN or infinite and did not recover",
        _says(r"\bNaNs?\b|non-?finite"),
        "a lower lr0, amp=False, warmup_epochs=5; labels with boxes outside of their images",
        "`Training failed: NaN persisted`",
    ),
    Cause(
        "interrupted",
        "somebody pressed Ctrl-C, or sent SIGINT",
        _says(r"^KeyboardInterrupt"),
        "nothing, if it was meant; resume=True goes on from the last checkpoint",
        "`KeyboardInterrupt`",
    ),
    Cause(
        "missing_package",
        "a Python package is missing, or does not fit the others",
        _says(r"^(ModuleNotFoundError|ImportError)"),
        "pip install what the message names, into the Python that trains",
        "`ModuleNotFoundError`, `ImportError`",
    ),
    Cause(
        "worker_exception",
        "an exception in a loader worker: in reading or augmenting an image",
        _says(r"in DataLoader worker process"),
        "the message ends with the worker's own exception; workers=0 shows its whole way",
        "`Caught ... in DataLoader worker process`",
    ),
    Cause(
        "cuda_error",
        "CUDA reported an error",
        _says(r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|AcceleratorError"),
        "CUDA_LAUNCH_BLOCKING=1 names the call; dmesg | grep -i xid",
        "any other `CUDA error`",
    ),
    Cause(
        "out_of_memory_kill",
        "the kernel's OOM killer: the cgroup's count of OOM kills rose, its memory is used up",
        lambda s: s.state == "killed" and s.get(Signals.oom_kills) > 0,
        "fewer workers, no RAM cache, or a higher limit (--mem, resources.limits.memory)",
        "the cgroup's count of OOM kills rose",
        lambda s: {**fewer_workers(s), "cache": False},
    ),
    Cause(
        "collective_abort",
        "it ended itself while it waited for other ranks: NCCL's watchdog does so when a collective times out",
        _both(_signal("SIGABRT"), lambda s: s.names.get("end_waited", "") == "peers"),
        "the rank that did not come has the fault: its log, its stacks; NCCL_DEBUG=INFO says more",
        "SIGABRT in a collective or in backward",
    ),
    Cause(
        "native_crash",
        "a crash in native code: of torch, of an extension, of a library that reads images",
        _signal(*_CRASHES),
        "the call that the evidence names; another version of that package; a file that it cannot read",
        "SIGSEGV, SIGBUS, SIGABRT, SIGFPE or SIGILL, by faulthandler",
    ),
    Cause(
        "launcher",
        "torchrun ended it, because another rank had failed or was killed",
        _both(_signal("SIGTERM"), _other_first),
        "look at the rank that failed, it has the cause",
        "SIGTERM beside a rank that failed, or that died otherwise than by SIGTERM or the end of its job",
    ),
    Cause(
        "node_rebooted",
        "the node was restarted before the run had told its end",
        _ended_by(catalog.REBOOT),
        "last -x reboot and journalctl -b -1 -e say who or what restarted it",
        "the node's boot id is another one than at the run's start, and it was started after the run's last word",
    ),
    Cause(
        "slurm_time_limit",
        "the Slurm job's time was over",
        _both(_ended_by(catalog.JOB_OVER), _either(_signal("SIGTERM"), _signal(""))),
        "a longer --time, or --signal=B:USR1@120 with --requeue and a script that resumes",
        "SIGTERM, or a death without a word, at the end of the job's time (SLURM_JOB_END_TIME, from Slurm 23 on)",
    ),
    Cause(
        "slurm_requeued",
        "the Slurm job was preempted by another one, or requeued by hand, and came again",
        _both(_ended_by(catalog.JOB_REQUEUED), _either(_signal("SIGTERM"), _signal(""))),
        "a script that resumes goes on when the job comes again; a partition or QOS that is not preempted",
        "the same job number came again with a higher SLURM_RESTART_COUNT, as far as its record is here",
    ),
    Cause(
        "slurm_cancelled",
        "the Slurm job was ended before its time: scancel, or a preemption that cancels",
        _both(_ended_by(catalog.JOB_CANCELLED), _signal("SIGTERM")),
        "nothing, if it was meant; the end of the job's output says DUE TO PREEMPTION where it was that, as sacct does",
        "SIGTERM before the end of the job's time, of a job of which no process is left and that did not come again",
    ),
    Cause(
        "scheduler",
        "Slurm ended it (scancel, preemption, its time limit), or a kill inside the job",
        _both(_signal("SIGTERM"), lambda s: "end_slurm_job_id" in s.names),
        "sacct -j JOB --format=JobID,State,ExitCode,Elapsed,Timelimit says which; --signal=B:USR1@120 warns before",
        "SIGTERM in a Slurm job, where it is not known that the job ended",
    ),
    Cause(
        "eviction_memory",
        "Kubernetes evicted its pod, most likely: the node had hardly any memory left",
        _both(_evicted, _without_memory),
        "kubectl describe pod says Evicted and why; resources.requests.memory of what it really takes, fewer workers",
        "SIGTERM or a death without a word in a pod while less than 500 MiB of the node's memory could be had",
        lambda s: {**fewer_workers(s), "cache": False},
    ),
    Cause(
        "eviction_disk",
        "Kubernetes evicted its pod, most likely: the node's disk was nearly full",
        _both(_evicted, _without_disk),
        "kubectl describe pod says Evicted and why; resources.requests.ephemeral-storage, results on a volume",
        "SIGTERM or a death without a word in a pod while less than 10 % of a file system of the node's was free, of "
        "which there was more before",
    ),
    Cause(
        "eviction",
        "Kubernetes ended its pod: deletion, eviction, or a node that was drained",
        _both(_signal("SIGTERM"), lambda s: "end_pod" in s.names),
        "kubectl describe pod, kubectl get events: the reason; resume=True in the next one",
        "SIGTERM in a pod",
    ),
    Cause(
        "terminated",
        "somebody sent SIGTERM: kill, a service manager, a shutdown",
        _signal("SIGTERM"),
        "nothing, if it was meant; the log of who manages the machine or the service",
        "SIGTERM, by the stack it leaves behind",
    ),
    Cause(
        "hangup",
        "its terminal or its ssh session was closed",
        _signal("SIGHUP"),
        "start it in tmux or screen, or with nohup ... & or systemd-run --user; under Slurm with sbatch",
        "SIGHUP, by the stack it leaves behind",
    ),
    Cause(
        "node_out_of_memory_kill",
        "probably the kernel's OOM killer: the node's count of OOM kills rose, and the run's cgroup has none",
        lambda s: s.state == "killed" and s.get(Signals.node_oom_kills) > 0,
        "journalctl -k names who was killed; fewer workers, no RAM cache",
        "the node's count of OOM kills rose",
        lambda s: {**fewer_workers(s), "cache": False},
    ),
)
BY_NAME = {cause.name: cause for cause in CAUSES}


def cause_of(s: Signals) -> Cause | None:
    """The cause of the end of a rank, first as it was told when its record was kept; None if nothing tells it."""
    kept = BY_NAME.get(s.names.get("end_cause", ""))
    return kept or next((cause for cause in CAUSES if cause.told(s)), None)


def still_told(before: Signals | None, now: Signals) -> Signals:
    """The signals that tell a death: earlier ones, where those of now, long after it, tell a less particular cause."""
    return before if before is not None and _place(before) < _place(now) else now


def _place(s: Signals) -> int:
    """Of the cause that is told in CAUSES; the end where none is."""
    cause = cause_of(s)
    return CAUSES.index(cause) if cause else len(CAUSES)


_EVENTS = {
    catalog.REBOOT: text("the node was started after the run's last word"),
    catalog.JOB_OVER: text("at the end of the job's time"),
    catalog.JOB_CANCELLED: text("before the end of the job's time"),
    catalog.JOB_REQUEUED: text("the job came again"),
}


def around(s: Signals) -> Iterator[str]:
    """What the node tells of the death."""
    if event := _EVENTS.get(s.names.get("end_event", "")):
        yield event
    gpu = s.names.get("death_gpu", "")
    if s.get(Signals.gpu_gone) > 0:
        yield text("GPU {gpu} does not answer", gpu=gpu)
    if "xid" in s.names:
        yield s.text("Xid {xid} of GPU {gpu}", gpu=gpu)
    if _evicted(s) and _without_memory(s):
        yield text(
            "{node_memory_left_bytes} of the node's memory were left",
            node_memory_left_bytes=units.size(s.node_memory_left_bytes),
        )
    if _evicted(s) and _without_disk(s):
        yield s.text("{nodefs_left:.1%} of the node's disk were free")


def how(s: Signals) -> str:
    """The exception with its message, or the signal, and where; empty where nothing is known."""
    exception, message = s.names.get("end_exception", ""), s.names.get("end_message", "")
    what = (
        text("{exception}: {message}", exception=exception, message=message)
        if exception and message
        else exception or message
    )
    signal = s.names.get("end_signal", "")
    own, at = s.names.get("end_own", ""), s.names.get("end_at", "")
    places = [text("in {at}", at=at) if at else "", text("called from {own}", own=own) if own and own != at else ""]
    return joined((what, signal, joined(places, ", "), *around(s)))


def fix(s: Signals, otherwise: Advice) -> Advice:
    """What to do about it; `otherwise` where the cause is not known."""
    cause = cause_of(s)
    return Advice(cause.fix(s), note=_possible(cause.remedy, s)) if cause else otherwise


def resumable(s: Signals) -> bool:
    """Whether a restart could continue; so too where that is not known."""
    return s.get(Signals.resumable, 1.0) > 0


def _possible(remedy: str, s: Signals) -> str:
    """Without the clause that continues from a checkpoint, where there is none."""
    return remedy if resumable(s) else joined(one for one in remedy.split(BETWEEN) if "resume=True" not in one)
