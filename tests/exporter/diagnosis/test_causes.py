"""Causes of death: each message as torch, CUDA, Ultralytics or Python write it, and nothing where nothing tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yoloscope_exporter.diagnosis import causes, rules
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

ROOT = Path(__file__).parents[3]

MESSAGES = {
    "cuda_out_of_memory": [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    "cuda_device_assert": [("RuntimeError", "CUDA error: device-side assert triggered … `TORCH_USE_CUDA_DSA`")],
    "cuda_illegal_access": [
        ("RuntimeError", "CUDA error: an illegal memory access was encountered"),
        ("AcceleratorError", "CUDA error: misaligned address"),
        ("AcceleratorError", "CUDA error: unspecified launch failure"),  # mostly a pointer
    ],
    "gpu_busy": [
        ("AcceleratorError", "CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
        ("RuntimeError", "CUDA error: all CUDA-capable devices are busy or unavailable"),
    ],
    "gpu_lost": [("RuntimeError", "CUDA error: uncorrectable ECC error encountered")],
    "fabric_manager": [("RuntimeError", "Error 802: system not yet initialized")],
    "driver_mismatch": [
        ("RuntimeError", "CUDA error: system has unsupported display driver / cuda driver combination"),
        ("NVMLError_LibRmVersionMismatch", "Driver/library version mismatch"),
    ],
    "cuda_no_kernel_image": [("RuntimeError", "CUDA error: no kernel image is available for execution on the device")],
    "cuda_driver": [
        ("RuntimeError", "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
        ("RuntimeError", "The NVIDIA driver on your system is too old (found version 11040)."),
    ],
    "port_in_use": [
        (
            "DistNetworkError",
            "The server socket has failed to listen on any local network address. port: 29500, … name: EADDRINUSE, …",
        )
    ],
    "collective_timeout": [
        ("RuntimeError", "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)"),
        ("RuntimeError", "[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation"),
        ("DistStoreError", "wait timeout after 300000ms, keys: /default_pg/0//cpu//0/rank_1"),
    ],
    "peer_lost": [
        ("RuntimeError", "[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:20533"),
        ("RuntimeError", "Connection reset by peer"),
    ],
    "shared_memory_full": [
        ("RuntimeError", "DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that dataloader's"),
        ("RuntimeError", "unable to write to file </torch_77_123_0>: No space left on device (28)"),
    ],
    "worker_killed": [
        ("RuntimeError", "DataLoader worker (pid 77) is killed by signal: Killed."),
        ("RuntimeError", "DataLoader worker (pid(s) 77, 78) exited unexpectedly"),
    ],
    "disk_full": [
        ("OSError", "[Errno 28] No space left on device: 'runs/train/weights/last.pt'"),
        ("RuntimeError", "[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        ("OSError", "[Errno 122] Disk quota exceeded"),
    ],
    "labels": [
        ("ValueError", "train: No labels found in /data/labels/train.cache. See https://docs.ultralytics.com"),
        ("AssertionError", "Label class 7 exceeds dataset class count 2. Possible class labels are 0-1"),
    ],
    "data_missing": [
        ("RuntimeError", "Dataset 'coco8.yaml' error ❌ Dataset 'coco8.yaml' images not found, missing path '/data'"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/data/images/0001.jpg'"),
    ],
    "data_unreadable": [
        ("UnidentifiedImageError", "cannot identify image file '/data/1.jpg'"),
        ("OSError", "[Errno 116] Stale file handle: '/nfs/1.jpg'"),
    ],
    "host_out_of_memory": [
        ("MemoryError", ""),
        ("RuntimeError", "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    ],
    "too_many_files": [("OSError", "[Errno 24] Too many open files"), ("RuntimeError", "received 0 items of ancdata")],
    "not_a_number": [("RuntimeError", "Training failed: NaN persisted for 4 epochs")],
    "interrupted": [("KeyboardInterrupt", "")],
    "missing_package": [("ModuleNotFoundError", "No module named 'albumentations'")],
    "worker_exception": [
        ("ValueError", "Caught ValueError in DataLoader worker process 0. … ValueError: not enough values to unpack")
    ],
    "cuda_error": [("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")],
}


def ended(state: str = "failed", numbers: dict[str, float] | None = None, **names: str) -> Signals:
    return Signals("run", "0", state, numbers={"world_size": 2.0, **(numbers or {})}, names=names)


@pytest.mark.parametrize(
    ("name", "exception", "message"), [(name, *one) for name, messages in MESSAGES.items() for one in messages]
)
def test_an_exception_names_its_cause(name: str, exception: str, message: str) -> None:
    """And no other; the verdict says it, with the message and what to do."""
    s = ended(end_exception=exception, end_message=message, end_own="main (train.py:7)", end_at="f (torch/x.py:1)")
    cause = causes.cause_of(s)
    assert cause
    assert cause.name == name
    rule = rules.BY_NAME["failed"]
    evidence = rule.evidence(s, DEFAULTS)
    assert message in evidence
    assert exception in evidence
    assert "in f (torch/x.py:1), called from main (train.py:7)" in evidence
    assert callable(rule.cause)
    assert rule.cause(s, DEFAULTS) == f"{name}: {cause.title}"
    assert str(rule.fix(s)).endswith(cause.remedy)


@pytest.mark.parametrize(
    ("name", "s"),
    [
        ("native_crash", ended("killed", end_signal="SIGSEGV", end_at="imread (cv2/__init__.py:3)")),
        ("native_crash", ended("killed", end_signal="SIGABRT")),
        ("collective_abort", ended("killed", end_signal="SIGABRT", end_waited="peers")),
        ("scheduler", ended("killed", end_signal="SIGTERM", end_slurm_job_id="77")),
        ("eviction", ended("killed", end_signal="SIGTERM", end_pod="train-0")),
        ("terminated", ended("killed", end_signal="SIGTERM")),
        ("hangup", ended("killed", end_signal="SIGHUP")),
        ("node_rebooted", ended("killed", end_event="reboot")),
        ("slurm_time_limit", ended("killed", end_event="job_over", end_signal="SIGTERM", end_slurm_job_id="77")),
        ("slurm_time_limit", ended("killed", end_event="job_over", end_slurm_job_id="77")),
        ("slurm_cancelled", ended("killed", end_event="job_cancelled", end_signal="SIGTERM", end_slurm_job_id="77")),
        ("slurm_requeued", ended("killed", end_event="job_requeued", end_signal="SIGTERM", end_slurm_job_id="77")),
        ("gpu_lost", ended("killed", {"gpu_gone": 1.0}, death_gpu="2")),
        ("gpu_lost", ended("killed", end_signal="SIGTERM", death_gpu="2", xid="43, 79")),
        ("gpu_lost", ended(numbers={"gpu_gone": 1.0}, end_exception="RuntimeError", end_message="CUDA error: unknown")),
        (
            "gpu_lost",
            ended(
                end_exception="RuntimeError",
                end_message="CUDA error: unspecified launch failure",
                xid="79",
                death_gpu="2",
            ),
        ),
        (
            "gpu_lost",
            ended(
                numbers={"gpu_gone": 1.0},
                end_exception="RuntimeError",
                end_message="CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            ),
        ),
        (
            "cuda_illegal_access",
            ended(
                end_exception="RuntimeError",
                end_message="CUDA error: unspecified launch failure",
                xid="31",
                death_gpu="2",
            ),
        ),
        ("eviction_memory", ended("killed", {"node_memory_left_bytes": 2e8}, end_signal="SIGTERM", end_pod="train-0")),
        ("eviction_memory", ended("killed", {"node_memory_left_bytes": 2e8}, end_pod="train-0")),
        ("eviction_disk", ended("killed", {"nodefs_left": 0.08}, end_signal="SIGTERM", end_pod="train-0")),
        (
            "eviction",
            ended(
                "killed", {"nodefs_left": 0.3, "node_memory_left_bytes": 9e9}, end_signal="SIGTERM", end_pod="train-0"
            ),
        ),
        ("disk_full", ended(numbers={"gpu_gone": 1.0}, end_exception="OSError", end_message="[Errno 28] No space")),
        ("out_of_memory_kill", ended("killed", end_cause="out_of_memory_kill", end_event="reboot")),
        ("launcher", ended("killed", {"peers_failed": 1.0}, end_signal="SIGTERM", end_slurm_job_id="77")),
        (
            "launcher",
            ended("killed", {"peers_killed": 1.0}, end_signal="SIGTERM", end_event="job_cancelled", end_pod="train-0"),
        ),
        ("out_of_memory_kill", ended("killed", {"oom_kills": 1.0})),
        ("node_out_of_memory_kill", ended("killed", {"node_oom_kills": 1.0})),
        (
            "worker_out_of_memory",
            ended("failed", {"oom_kills": 1.0}, death_signals="SIGKILL", end_exception="RuntimeError"),
        ),
        ("shared_memory_full", ended("failed", death_signals="SIGBUS", end_exception="RuntimeError")),
    ],
)
def test_a_signal_or_a_count_names_its_cause(name: str, s: Signals) -> None:
    """Where no exception is left to do so."""
    cause = causes.cause_of(s)
    assert cause
    assert cause.name == name
    rule = rules.BY_NAME[s.state]
    assert callable(rule.cause)
    assert rule.cause(s, DEFAULTS).startswith(f"{name}: ")


def test_the_remedy_and_the_arguments_say_the_same() -> None:
    """`resume=True` first of all only where nothing has to be done before."""
    advise = rules.BY_NAME["killed"].fix
    lost = str(advise(ended("killed", {"gpu_gone": 1.0})))
    assert lost == causes.BY_NAME["gpu_lost"].remedy
    assert "resume=True elsewhere" in lost
    assert str(advise(ended("killed", end_signal="SIGTERM", end_pod="p"))) == causes.BY_NAME["eviction"].remedy
    assert str(advise(ended("killed", {"oom_kills": 1.0}))).startswith("cache=False resume=True; ")
    assert str(advise(ended("killed"))) == "resume=True; continue from the last checkpoint"


@pytest.mark.parametrize("state", ["killed", "failed"])
@pytest.mark.parametrize(
    "names", [{}, {"end_signal": "SIGTERM", "end_pod": "p"}, {"end_exception": "KeyboardInterrupt"}]
)
def test_nothing_is_resumed_where_no_epoch_has_ended(state: str, names: dict[str, str]) -> None:
    """Ultralytics ends with an error where there is no checkpoint."""
    advise = rules.BY_NAME[state].fix
    assert "resume=True" not in str(advise(ended(state, {"resumable": 0.0}, **names)))
    assert str(advise(ended(state, {"resumable": 0.0}, **names)))
    assert "resume=True" not in str(advise(ended(state, {"resumable": 0.0, "gpu_gone": 1.0}, **names)))


def test_a_less_particular_cause_takes_no_ones_place() -> None:
    """What told more has left the windows; what tells more comes later."""
    evicted = ended("killed", {"node_memory_left_bytes": 2e8}, end_signal="SIGTERM", end_pod="train-0")
    later, nothing = ended("killed", end_signal="SIGTERM", end_pod="train-0"), ended("killed")
    assert causes.still_told(evicted, later) is evicted
    assert causes.still_told(later, evicted) is evicted
    assert causes.still_told(evicted, nothing) is evicted
    assert causes.still_told(None, nothing) is nothing


def test_unknown_is_said_to_be_unknown() -> None:
    """A kill that leaves nothing behind, and an exception that nobody has seen before."""
    killed, failed = rules.BY_NAME["killed"], rules.BY_NAME["failed"]
    assert callable(killed.cause)
    assert callable(failed.cause)
    assert killed.cause(ended("killed"), DEFAULTS).startswith("unknown: ")
    strange = ended(end_exception="ZeroDivisionError", end_message="division by zero")
    assert causes.cause_of(strange) is None
    assert failed.cause(strange, DEFAULTS) == "an exception left the trainer"
    assert "ZeroDivisionError: division by zero" in failed.evidence(strange, DEFAULTS)


def test_a_broken_connection_is_no_lost_rank_where_there_is_none() -> None:
    """A logger that cannot reach its server."""
    assert (
        causes.cause_of(ended(numbers={"world_size": 1.0}, end_exception="ConnectionResetError", end_message="reset"))
        is None
    )


def test_every_cause_is_shown_by_a_test_and_documented() -> None:
    """At least fifteen; in both languages."""
    shown = set(MESSAGES) | {"native_crash", "collective_abort", "scheduler", "eviction", "terminated", "launcher"}
    shown |= {"out_of_memory_kill", "node_out_of_memory_kill", "worker_out_of_memory", "hangup", "node_rebooted"}
    shown |= {"slurm_time_limit", "slurm_cancelled", "slurm_requeued", "eviction_memory", "eviction_disk"}
    assert shown == causes.BY_NAME.keys()
    assert len(shown) >= 15
    for page in ("diagnose.md", "diagnose.zh-CN.md"):
        listed = re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs" / page).read_text("utf-8"))
        assert shown <= set(listed), page
