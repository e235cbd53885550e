"""The table of verdicts: what is seen, how it is told, why, how to verify it, what to type.

To add a verdict: one `Rule` in `RULES`, its thresholds in `THRESHOLDS`, its signals in `signals.py`.
`docs/diagnosis.md` is generated from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis import advice
from yoloscope_exporter.diagnosis.advice import Advice

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals import Signals

OK, INFO, WARNING, CRITICAL = "ok", "info", "warning", "critical"
SEVERITIES = (OK, INFO, WARNING, CRITICAL)

Limits = Mapping[str, float]

SHM = "/dev/shm"  # noqa: S108 - a name for people


class Threshold(NamedTuple):
    """A number a rule compares with, and where it comes from."""

    value: float
    source: str


_OURS = "ours: "
THRESHOLDS: dict[str, Threshold] = {
    "input_share": Threshold(0.10, "TraceML policy: input share 10 % warn, 20 % critical"),
    "h2d_share": Threshold(0.10, "TraceML policy: H2D share 10 % warn, 20 % critical"),
    "compute_share": Threshold(
        0.75, "TraceML policy says >= 0.90; less, because the wait and the copy may each be just below their own limit"
    ),
    "validate_share": Threshold(0.35, _OURS + "a validation per epoch that takes a third of the run is worth thinning"),
    "checkpoint_share": Threshold(0.10, _OURS + "as for the other parts of a step"),
    "epochs_for_shares": Threshold(2, _OURS + "shares of the whole run mean something after two epochs"),
    "throttled_share": Threshold(0.10, _OURS + "a tenth of the time stopped by the quota; below, CFS rounds"),
    "slow_worker_ratio": Threshold(2.0, _OURS + "twice the others' time; measured spread of healthy workers is < 1.5"),
    "runqueue_share": Threshold(0.20, _OURS + "a fifth of a worker's time ready but without a CPU"),
    "worker_threads": Threshold(1.5, _OURS + "CPUs per worker above its own thread's, as from OpenMP or OpenCV pools"),
    "waiting_ratio": Threshold(
        0.50, "measured: CPU over wall time of a worker is 0.03 to 0.04 with slow storage, 0.69 to 0.89 when computing"
    ),
    "free_cores": Threshold(0.5, _OURS + "half an idle CPU is room for another worker"),
    "gpu_low": Threshold(0.50, "pytorch/kineto tb_plugin: GPU utilisation < 50 % is low"),
    "sm_fill": Threshold(0.50, _OURS + "kernels that leave half the multiprocessors without a warp"),
    "train_share": Threshold(0.80, _OURS + "below, validation and pauses blur what the GPU does in a step"),
    "memory_spare": Threshold(0.50, _OURS + "a batch can grow by half and more"),
    "cuda_peak_share": Threshold(0.92, "TraceML policy: step memory 92 % warn, 97 % critical"),
    "growth_bytes": Threshold(100 * 2**20, "TraceML policy: memory creep from 100 MiB, three rising bands"),
    "available_fall_share": Threshold(0.05, _OURS + "a twentieth of the memory, gone and not in the training"),
    "exposed_share": Threshold(
        0.20, "pytorch/kineto tb_plugin: communication > 10 %; twice that, PCIe boxes live with 10 %"
    ),
    "lag": Threshold(0.10, "TraceML policy: straggler 0.10 warn, 0.20 critical"),
    "peer_exposed_share": Threshold(0.05, _OURS + "half the lag: somebody must be seen waiting"),
    "thermal_share": Threshold(0.05, _OURS + "3 s in a minute; gpud counts 0.6 slowdown events per minute"),
    "power_share": Threshold(0.50, _OURS + "a capped GPU under load is normal; most of the time is not"),
    "clock_ratio": Threshold(0.85, _OURS + "a power cap that costs less than 15 % of the clock costs little"),
    "gpu_under_load": Threshold(0.30, "TraceML policy: GPU utilisation 30 to 70 % is moderate"),
    "stall_factor": Threshold(5.0, "nvidia-resiliency-ext: timeout = longest seen x 5"),
    "stall_seconds": Threshold(15.0, _OURS + "people look after 5 s at 0 %; three times that, to be sure"),
    "stall_most_seconds": Threshold(600.0, "PrimeIntellect-ai/prime-rl#1547: no step for 600 s"),
    "loss_drop": Threshold(0.01, _OURS + "less than 1 % between the halves of the epochs seen"),
    "metric_gain": Threshold(0.002, _OURS + "less than the spread of mAP50-95 between two seeds"),
    "plateau_epochs": Threshold(10, _OURS + "two halves of five epochs"),
    "gpu_busy": Threshold(0.80, "the table practitioners work by: GPU above 80 % yet the loss falls slowly"),
    "held_idle": Threshold(0.05, "gpud and others call a GPU idle below 5 %"),
}

DEFAULTS: Limits = {name: threshold.value for name, threshold in THRESHOLDS.items()}


@dataclass(frozen=True)
class Rule:
    """One verdict.

    Attributes:
        needs: signals without which the rule abstains.
        when: whether it holds. Gets signals and thresholds; asks optional signals with `get`.
        thresholds: names of those it uses, for the documentation.
        evidence: sentence with numbers, or what makes one.
        fix: computes the remedy from the signals.
        remedy: the same in general, for the documentation.
        verify: a command or a place to look that shows the same.
        states: states of the rank in which it is judged; empty means in all.
        event: it is worth telling however short it was.
        waste: phases whose time is lost when it holds, for the account of wasted GPU time.
    """

    name: str
    title: str
    severity: str
    needs: tuple[str, ...]
    when: Callable[[Signals, Limits], bool]
    thresholds: tuple[str, ...]
    evidence: str | Callable[[Signals, Limits], str]
    cause: str | Callable[[Signals, Limits], str]
    verify: str
    fix: Callable[[Signals], Advice | None]
    remedy: str
    states: tuple[str, ...] = ("train", "validate", "checkpoint")
    event: bool = False
    waste: tuple[str, ...] = ()


# --- waiting for data: one cause is named ---------------------------------------------------------------------------


def starved(s: Signals, t: Limits) -> bool:
    """Whether training waits for data."""
    return s["data_wait_share"] >= t["input_share"]


def input_cause(s: Signals, t: Limits) -> str:
    """Which verdict explains the wait for data; empty where the loader's workers say nothing.

    In the order in which one cause would hide the next: a quota stops everybody, one late worker holds up the ordered
    queue, a crowd on the CPUs looks like slow storage and like slow code.
    """
    known = s.has("prep_seconds", "prep_cpu_ratio")
    causes = (
        ("cpu_throttled", s.get("throttled_share") >= t["throttled_share"]),
        ("loader_workers", s.get("workers", -1) == 0 and advice.more_workers(s) is not None),
        ("", not known),
        ("slow_worker", one_late(s, t)),
        ("cpu_oversubscribed", crowded(s, t)),
        ("loader_io", known and waiting(s) >= t["waiting_ratio"]),
        ("loader_workers", room_for_workers(s, t)),
        ("loader_cpu", True),
    )
    return next(name for name, holds in causes if holds)


def waiting(s: Signals) -> float:
    """Share of a batch's preparation that is neither computing nor queueing for a CPU: waiting, mostly for storage."""
    return max(1 - s["prep_cpu_ratio"] - s.get("runqueue_share"), 0.0)


def one_late(s: Signals, t: Limits) -> bool:
    """One worker takes much longer than the others, who alone would keep the trainer busy."""
    if not s.has("slowest_ratio", "others_prep_seconds", "step_seconds", "workers"):
        return False
    others_suffice = s["others_prep_seconds"] <= s["step_seconds"] * max(s["workers"] - 1, 1)
    return s["slowest_ratio"] >= t["slow_worker_ratio"] and others_suffice


def crowded(s: Signals, t: Limits) -> bool:
    """Workers queue for a CPU, and there are more of them than CPUs, or they start threads."""
    if s.get("runqueue_share") < t["runqueue_share"] or not s.has("rank_cores"):
        return False
    too_many = s.get("workers") > s["rank_cores"]
    return too_many or s.get("worker_threads") >= t["worker_threads"]


def room_for_workers(s: Signals, t: Limits) -> bool:
    """More workers would help: they are needed, allowed, and there are CPUs idle for them."""
    if advice.more_workers(s) is None:
        return False
    return not s.has("free_cores") or s["free_cores"] >= t["free_cores"]


def _starved_by(name: str) -> Callable[[Signals, Limits], bool]:
    return lambda s, t: starved(s, t) and input_cause(s, t) == name


def _waits(s: Signals) -> str:
    text = f"{s['data_wait_share']:.0%} of training time waits for data"
    if s.has("gpu_busy"):
        text += f" (GPU busy {s['gpu_busy']:.0%})"
    return text


def _preparation(s: Signals) -> str:
    if not s.has("prep_seconds", "step_seconds"):
        return ""
    workers = f" by {counted(s['workers'], 'worker')}" if s.get("workers") else ""
    return f"; a batch takes {_ms(s['prep_seconds'])} to prepare{workers} and {_ms(s['step_seconds'])} to train on"


def counted(number: float, noun: str) -> str:
    """A number and its noun in the right number: `1 worker`, `2 workers`."""
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _workers_evidence(s: Signals, _: Limits) -> str:
    if s.get("workers", -1) == 0:
        return f"{_waits(s)}; the training process loads its batches itself (workers=0)"
    free = f"; {s['free_cores']:.1f} of {s['node_cores']:.0f} CPUs idle" if s.has("free_cores", "node_cores") else ""
    return _waits(s) + _preparation(s) + free


def _cpu_evidence(s: Signals, _: Limits) -> str:
    busy = f"; CPUs of the node {s['cpu_busy_share']:.0%} busy" if s.has("cpu_busy_share") else ""
    return f"{_waits(s)}{_preparation(s)}, {s['prep_cpu_ratio']:.0%} of it computing{busy}"


def _io_evidence(s: Signals, _: Limits) -> str:
    share = f", {waiting(s):.0%} of it waiting"
    disk = f"; busiest disk {s['disk_busy_share']:.0%} busy" if s.has("disk_busy_share") else ""
    pressure = f"; I/O pressure {s['io_pressure']:.0%}" if s.has("io_pressure") else ""
    return _waits(s) + _preparation(s) + share + disk + pressure


def _slow_worker_evidence(s: Signals, _: Limits) -> str:
    return (
        f"{_waits(s)}; worker {s.names['slowest_worker']} takes {_ms(s['slowest_prep_seconds'])} per batch, "
        f"the others {_ms(s['others_prep_seconds'])}: batches are delivered in order, so all wait for it"
    )


def _crowd_evidence(s: Signals, _: Limits) -> str:
    count = (
        f"; {counted(s['workers'], 'worker')} on {s['rank_cores']:.3g} CPUs for each rank" if s.has("workers") else ""
    )
    threads = f", {s['worker_threads']:.1f} CPUs used per worker" if s.get("worker_threads") > 1.2 else ""  # noqa: PLR2004
    return f"{_waits(s)}; loader workers stand {s['runqueue_share']:.0%} of their time in the run queue{count}{threads}"


def _quota_evidence(s: Signals, _: Limits) -> str:
    quota = f" of {s['quota_cores']:g} CPUs" if s.has("quota_cores") else ""
    return f"{_waits(s)}; the cgroup's quota{quota} stops it {s['throttled_share']:.0%} of the time"


def _slow_worker_advice(s: Signals) -> Advice:
    return Advice(
        note=f"look at what worker {s.names.get('slowest_worker', '')} reads: its files, its mount, its random state",
        speedup=advice.without_wait(s),
    )


# --- the rest -------------------------------------------------------------------------------------------------------


def _validation_advice(s: Signals) -> Advice:
    speedup = 1 / (1 - s["validate_share"]) if s["validate_share"] < 1 else None
    note = "validate with `yolo val` afterwards; or a smaller validation set"
    return Advice({"val": False}, note=note, speedup=speedup, whole=True)


def _checkpoint_advice(s: Signals) -> Advice:
    note = "checkpoints every epoch are Ultralytics' own; write them to a local disk (project=)"
    speedup = 1 / (1 - s["checkpoint_share"]) if s["checkpoint_share"] < 1 else None
    return Advice({"save_period": -1}, note=note, speedup=speedup, whole=True)


def _copy_advice(s: Signals) -> Advice:
    note = "look at the PCIe link (pcie_degraded) and at transforms that return floats instead of bytes"
    if s.get("workers", -1) != 0:
        return Advice(note=note)
    workers = advice.more_workers(s)
    return Advice(workers.arguments if workers else {}, note=f"pinned memory needs loader workers; {note}")


def _underfilled(s: Signals, t: Limits) -> bool:
    if s["data_wait_share"] >= t["input_share"] or s["cuda_peak_share"] >= t["memory_spare"]:
        return False
    if s["train_share"] < t["train_share"]:
        return False
    low = s["sm_fill"] < t["sm_fill"] if s.has("sm_fill") else s["gpu_busy"] < t["gpu_low"]
    return low and advice.larger_batch(s) is not None


def _small_batch_evidence(s: Signals, _: Limits) -> str:
    what = (
        f"kernels fill {s['sm_fill']:.0%} of the multiprocessors"
        if s.has("sm_fill")
        else f"GPU busy {s['gpu_busy']:.0%}"
    )
    size = f" at batch {s['batch_size']:.0f}" if s.has("batch_size") else ""
    return f"{what}{size} without waiting for data; peak memory {s['cuda_peak_share']:.0%} of the device"


def _growth(name: str) -> Callable[[Signals, Limits], bool]:
    return lambda s, t: s[name] >= t["growth_bytes"]


def _host_leak(s: Signals, t: Limits) -> bool:
    if s["resident_growth_bytes"] >= t["growth_bytes"]:
        return True
    if not s.has("available_fall_bytes", "memory_used_share") or s.get("ranks", 2) > 1:
        return False  # somebody else's training may be what grows
    total = s.get("memory_available_bytes") / max(1 - s["memory_used_share"], 1e-9)
    return s["available_fall_bytes"] >= max(t["available_fall_share"] * total, t["growth_bytes"])


def _host_leak_evidence(s: Signals, t: Limits) -> str:
    if s["resident_growth_bytes"] >= t["growth_bytes"]:
        per_hour = advice.size(s.get("resident_growth_rate") * 3600)
        return (
            f"resident memory grew by {advice.size(s['resident_growth_bytes'])} in {s['growth_seconds']:.0f} s "
            f"({per_hour}/h), steadily, after the first epoch{_until_full(s)}"
        )
    return (
        f"free memory fell by {advice.size(s['available_fall_bytes'])} in {s['growth_seconds']:.0f} s while the "
        f"training's own memory stayed level"
    )


def _until_full(s: Signals) -> str:
    rate = s.get("resident_growth_rate")
    if not s.has("memory_available_bytes") or rate <= 0:
        return ""
    return f"; memory lasts for {s['memory_available_bytes'] / rate / 3600:.1f} h"


def _retried(s: Signals, _: Limits) -> bool:
    return s.get("ooms") > 0 or s.get("batch_reductions") > 0 or s.get("alloc_retries") > 0


def _retry_evidence(s: Signals, _: Limits) -> str:
    counts = (
        (s.get("ooms"), "out-of-memory errors"),
        (s.get("batch_reductions"), "halvings of the batch"),
        (s.get("alloc_retries"), "allocation retries"),
    )
    text = ", ".join(f"{count:.0f} {what}" for count, what in counts if count)
    size = f"; batch is {s['batch_size']:.0f}" if s.has("batch_size") else ""
    swings = s.get("gpu_idle_samples") > 0.3 and s.get("gpu_full_samples") > 0.3  # noqa: PLR2004
    return text + size + ("; the GPU swings between idle and full" if swings else "")


def _lags(s: Signals, t: Limits) -> bool:
    slower = s["lag"] >= t["lag"] and s["peer_exposed_share"] >= t["peer_exposed_share"]
    return slower and s.get("exposed_share") <= s["peer_exposed_share"] and not _all_starve(s, t)


def _all_starve(s: Signals, t: Limits) -> bool:
    """All ranks' loaders are too slow, and the one that is behind by chance does the waiting for all."""
    if s.names.get("lag_phase") != "data_wait" or not s.has("prep_seconds", "peer_prep_seconds"):
        return False
    return s["prep_seconds"] < (1 + t["lag"]) * s["peer_prep_seconds"]


def _straggler_evidence(s: Signals, _: Limits) -> str:
    return (
        f"rank {s.rank} takes {_ms(s['local_seconds'])} per batch for itself, its peers "
        f"{_ms(s['peer_local_seconds'])}; most of the difference is in {s.names['lag_phase']}; "
        f"the peers wait {s['peer_exposed_share']:.0%} of their time"
    )


def _straggler_advice(s: Signals) -> Advice:
    by_phase = {
        "data_wait": "give its loader what its peers have: same storage, same CPUs (numactl, affinity)",
        "h2d": "look at its PCIe link",
    }
    note = by_phase.get(s.names.get("lag_phase", ""), "look at its GPU: clocks, throttling, another process on it")
    speedup = 1 / (1 - s["lag"]) if s["lag"] < 1 else None
    return Advice(note=note, speedup=speedup)


def _thermal_evidence(s: Signals, _: Limits) -> str:
    heat = f" at {s['temperature_celsius']:.0f} C" if s.has("temperature_celsius") else ""
    clock = f"; SM clock {s['clock_ratio']:.0%} of its highest" if s.has("clock_ratio") else ""
    return f"heat held the clocks down {s['thermal_share']:.0%} of the time{heat}{clock}"


def _power_evidence(s: Signals, _: Limits) -> str:
    power = f" of {s['power_limit_watts']:.0f} W" if s.has("power_limit_watts") else ""
    clock = f"; SM clock {s['clock_ratio']:.0%} of its highest" if s.has("clock_ratio") else ""
    return f"the power limit{power} held the clocks down {s['power_share']:.0%} of the time{clock}"


def _narrow(s: Signals, t: Limits) -> bool:
    if s["pcie_width"] < s["pcie_width_max"]:
        return True
    loaded = s.get("gpu_busy") >= t["gpu_under_load"]  # an idle GPU lowers the generation to save power
    return (
        loaded and s.has("pcie_generation", "pcie_generation_max") and s["pcie_generation"] < s["pcie_generation_max"]
    )


def _pcie_evidence(s: Signals, _: Limits) -> str:
    text = f"PCIe x{s['pcie_width']:.0f} of x{s['pcie_width_max']:.0f}"
    if s.has("pcie_generation", "pcie_generation_max"):
        text += f", generation {s['pcie_generation']:.0f} of {s['pcie_generation_max']:.0f} under load"
    return text


def stall_limit(s: Signals, t: Limits) -> float:
    """Seconds without a batch that are too many: five times the longest batch so far, within bounds."""
    if not s.get("longest_batch"):
        return t["stall_most_seconds"]
    return min(max(t["stall_factor"] * s["longest_batch"], t["stall_seconds"]), t["stall_most_seconds"])


def _stalled(s: Signals, t: Limits) -> bool:
    return s.up and s["last_batch_age"] >= stall_limit(s, t)


def _stall_evidence(s: Signals, t: Limits) -> str:
    text = f"no batch for {s['last_batch_age']:.0f} s (limit {stall_limit(s, t):.0f} s) while the state is 'train'"
    return text + _missing_workers(s)


def _missing_workers(s: Signals) -> str:
    if not s.has("workers", "workers_alive") or s["workers_alive"] >= s["workers"]:
        return ""
    return f"; {s['workers_alive']:.0f} of {s['workers']:.0f} loader workers are left"


def _stall_cause(s: Signals, _: Limits) -> str:
    """A loader worker died, a rank waits for another, or the loader, the storage or a callback hangs."""
    if _missing_workers(s):
        return "a loader worker died; the log ends with 'DataLoader worker exited unexpectedly'"
    if s.get("world_size") > 1:
        return "a rank waits for another one, or for data; see which rank's last batch is oldest"
    return "the loader, the storage or a callback hangs"


def _killed_cause(s: Signals, _: Limits) -> str:
    """Lack of memory if the cgroup's count of OOM kills rose; else the signal cannot be known afterwards."""
    if s.get("oom_kills") > 0:
        return "the kernel killed it for lack of memory: the cgroup's count of OOM kills rose"
    return "it ended without its own doing; which signal it was cannot be known afterwards"


def _killed_evidence(s: Signals, _: Limits) -> str:
    where = f" in epoch {s['epoch']:.0f} of {s['epochs']:.0f}" if s.has("epoch", "epochs") else ""
    memory = f"; its processes held {advice.size(s['resident_bytes'])}" if s.has("resident_bytes") else ""
    kills = f"; OOM kills in its cgroup: {s['oom_kills']:.0f}" if s.get("oom_kills") > 0 else ""
    return f"the process is gone without having ended{where}{memory}{kills}"


def _killed_advice(s: Signals) -> Advice:
    if s.get("oom_kills") > 0:
        return Advice({"workers": max(int(s.get("workers", 8)) // 2, 1), "cache": False, "resume": True})
    return Advice({"resume": True}, note="continue from the last checkpoint")


def _diverged_advice(s: Signals) -> Advice:
    """A tenth of the usual learning rate; `optimizer=auto`, Ultralytics' default, would not look at `lr0`."""
    given = s.facts.get("optimizer", "auto")
    optimizer = "AdamW" if given in {"", "auto"} else given
    arguments: dict[str, advice.Value] = {"optimizer": optimizer, "lr0": 0.001 if "SGD" in optimizer else 0.0001}
    return Advice(arguments | ({"amp": False} if s.facts.get("amp", "").lower() in {"true", "1"} else {}))


def _flat(s: Signals, t: Limits) -> bool:
    if s["epochs_seen"] < t["plateau_epochs"] or s["loss_drop"] >= t["loss_drop"]:
        return False
    busy = s["gpu_busy"] >= t["gpu_busy"] if s.has("gpu_busy") else s["data_wait_share"] < t["input_share"]
    return busy and s.get("metric_gain") < t["metric_gain"]


def _plateau_evidence(s: Signals, _: Limits) -> str:
    metric = f", mAP by {s['metric_gain']:+.4f}" if s.has("metric_gain") else ""
    return f"over {s['epochs_seen']:.0f} epochs the loss fell by {s['loss_drop']:.1%}{metric}, with the hardware busy"


def _mismatch(s: Signals, _: Limits) -> bool:
    return bool(_environment_problem(s))


def _environment_problem(s: Signals) -> str:
    """What is wrong with the installation, in words; empty if nothing is."""
    on_cpu = s.facts.get("device", "").lower() in {"cpu", ""}
    if s.has("gpus", "torch_cuda") and s["torch_cuda"] == 0:
        return f"PyTorch {s.facts.get('torch', '')} has no CUDA, on a node with {_gpus(s)}"
    if s.has("driver_cuda", "torch_cuda") and int(s["torch_cuda"]) > int(s["driver_cuda"]):
        return f"PyTorch was built for CUDA {s.facts['cuda']}, the driver supports up to {s['driver_cuda']:g}"
    if s.has("gpus") and on_cpu and "device" in s.facts:
        return f"training runs on the CPU, on a node with {_gpus(s)}"
    return _shared_memory_problem(s)


def _gpus(s: Signals) -> str:
    return "a GPU" if s["gpus"] == 1 else f"{s['gpus']:.0f} GPUs"


def _shared_memory_problem(s: Signals) -> str:
    if not s.has("shm_size_bytes", "workers", "batch_size") or not s["workers"]:
        return ""
    needed = s["workers"] * 4 * s["batch_size"] * advice.image_bytes(s)  # prefetch_factor 4 since ultralytics#21974
    if s["shm_size_bytes"] >= needed:
        return ""
    return (
        f"{SHM} has {advice.size(s['shm_size_bytes'])}, {s['workers']:.0f} workers may prefetch "
        f"{advice.size(needed)}: workers die with a bus error"
    )


def _environment_advice(s: Signals) -> Advice:
    problem = _environment_problem(s)
    if problem.startswith(SHM):
        return Advice(note="docker run --ipc=host or --shm-size=8g; in Kubernetes an emptyDir with medium: Memory")
    if s.get("torch_cuda", 1) == 0:
        return Advice(
            {"device": 0}, note="install a CUDA build: pip install torch --index-url of pytorch.org/get-started"
        )
    if problem.startswith("PyTorch"):
        return Advice(note=f"update the driver, or install PyTorch built for CUDA {s['driver_cuda']:g} or older")
    return Advice({"device": 0})


def _unknown(s: Signals, t: Limits) -> bool:
    if s.state == "train" and s.has("last_batch_age") and _stalled(s, t):
        return False
    return bool(_unknown_reason(s, t))


def _unknown_reason(s: Signals, t: Limits) -> str:
    if not s.has("batches"):
        return "the trainer publishes no batches"
    if not s.has("data_wait_share"):
        return f"{s['batches']:.0f} batches in the window, too few to judge a step"
    if starved(s, t) and not input_cause(s, t):
        return f"{_waits(s)}, but the loader's workers leave no record, so the cause stays open"
    return ""


def _healthy(s: Signals, t: Limits) -> bool:
    return (
        s["data_wait_share"] < t["input_share"]
        and s.get("h2d_share") < t["h2d_share"]
        and s.get("exposed_share") < t["exposed_share"]
        and s["compute_share"] + s.get("exposed_share") >= t["compute_share"]
    )


def _healthy_evidence(s: Signals, _: Limits) -> str:
    busy = f"; GPU busy {s['gpu_busy']:.0%}" if s.has("gpu_busy") else ""
    rate = f"; {s['images_per_second']:.3g} images/s" if s.has("images_per_second") else ""
    return f"{s['compute_share']:.0%} of training time computes, {s['data_wait_share']:.0%} waits for data{busy}{rate}"


_PERF = ("data_wait_share", "step_seconds", "batches")

RULES: tuple[Rule, ...] = (
    Rule(
        "loader_workers",
        "Too few loader workers",
        WARNING,
        _PERF,
        _starved_by("loader_workers"),
        ("input_share", "free_cores"),
        _workers_evidence,
        "the loader's workers are too few to prepare batches as fast as the trainer takes them, and CPUs are idle",
        "htop: loader workers busy, CPUs idle; yoloscope top: queue depth 0",
        advice.more_workers,
        waste=("data_wait",),
        remedy="`workers` up: preparation time over step time, and one to spare; "
        "not beyond the rank's share of CPUs, of the quota, and of memory for each worker",
    ),
    Rule(
        "loader_cpu",
        "Decoding and augmentation take too long",
        WARNING,
        (*_PERF, "prep_seconds", "prep_cpu_ratio"),
        _starved_by("loader_cpu"),
        ("input_share", "waiting_ratio", "free_cores"),
        _cpu_evidence,
        "decoding and augmenting images takes more CPU than there is",
        "py-spy record --pid <a loader worker> --duration 30 --output loader.svg",
        advice.lighter,
        waste=("data_wait",),
        remedy="`cache=ram` if the decoded data set fits into half of what memory is left, else `cache=disk`; "
        "lighter augmentation (`mosaic`), smaller images on disk",
    ),
    Rule(
        "loader_io",
        "Storage is too slow",
        WARNING,
        (*_PERF, "prep_seconds", "prep_cpu_ratio"),
        _starved_by("loader_io"),
        ("input_share", "waiting_ratio"),
        _io_evidence,
        "loader workers wait for storage instead of computing",
        "iostat -x 1: %util near 100; for NFS: nfsiostat 1",
        advice.feed,
        waste=("data_wait",),
        remedy="`cache=ram` if the decoded data set fits into half of what memory is left (Ultralytics asks for as "
        "much), else a local disk; more `workers`, so that more reads wait at once",
    ),
    Rule(
        "slow_worker",
        "One loader worker holds the others up",
        WARNING,
        (*_PERF, "slowest_ratio", "others_prep_seconds"),
        _starved_by("slow_worker"),
        ("input_share", "slow_worker_ratio"),
        _slow_worker_evidence,
        "one loader worker is persistently late, and batches are delivered in order",
        "yoloscope top: the loader workers' times side by side; then py-spy dump --pid <that worker>",
        _slow_worker_advice,
        waste=("data_wait",),
        remedy="mend what that worker meets: its files, its mount, its CPU",
    ),
    Rule(
        "cpu_oversubscribed",
        "Too many threads for the CPUs",
        WARNING,
        (*_PERF, "runqueue_share", "rank_cores"),
        _starved_by("cpu_oversubscribed"),
        ("input_share", "runqueue_share", "worker_threads"),
        _crowd_evidence,
        "more threads want to run than there are CPUs, so they take turns instead of working",
        "pidstat -w -t 1: involuntary switches (nvcswch/s); column 2 of /proc/<pid>/schedstat grows",
        advice.fewer_threads,
        waste=("data_wait",),
        remedy="`OMP_NUM_THREADS=1`, no more `workers` than CPUs",
    ),
    Rule(
        "cpu_throttled",
        "The cgroup's CPU quota stops the training",
        WARNING,
        (*_PERF, "throttled_share"),
        _starved_by("cpu_throttled"),
        ("input_share", "throttled_share"),
        _quota_evidence,
        "the container's or job's CPU quota is used up in every period, and then all its threads stop",
        "cat /sys/fs/cgroup/<run's cgroup>/cpu.stat: nr_throttled and throttled_usec grow",
        advice.within_quota,
        waste=("data_wait",),
        remedy="raise the CPU limit to what preparation needs, or `workers` down to the quota",
    ),
    Rule(
        "h2d_bound",
        "Copying batches to the device takes too long",
        WARNING,
        ("h2d_share", "batches"),
        lambda s, t: s["h2d_share"] >= t["h2d_share"],
        ("h2d_share",),
        "{h2d_share:.0%} of training time moves batches to the device",
        "batches are copied from pageable memory, over a narrow PCIe link, or as large floats",
        "nvidia-smi dmon -s t: rxpci; nsys profile shows the copies",
        _copy_advice,
        waste=("h2d",),
        remedy="pinned memory (needs `workers` > 0), a full PCIe link",
    ),
    Rule(
        "validation_bound",
        "Validation takes a large part of the run",
        WARNING,
        ("validate_share", "epoch"),
        lambda s, t: s["validate_share"] >= t["validate_share"] and s["epoch"] > t["epochs_for_shares"],
        ("validate_share", "epochs_for_shares"),
        "{validate_share:.0%} of the run so far went into validation",
        "every epoch ends with a pass over the whole validation set",
        "the progress bars of training and validation, side by side",
        _validation_advice,
        remedy="`val=False` and `yolo val` afterwards, or a smaller validation set",
    ),
    Rule(
        "checkpoint_bound",
        "Writing checkpoints takes a large part of the run",
        WARNING,
        ("checkpoint_share", "epoch"),
        lambda s, t: s["checkpoint_share"] >= t["checkpoint_share"] and s["epoch"] > t["epochs_for_shares"],
        ("checkpoint_share", "epochs_for_shares"),
        "{checkpoint_share:.0%} of the run so far went into writing checkpoints",
        "the checkpoint goes to slow storage, or epochs are very short",
        "time cp <save_dir>/weights/last.pt /tmp and back",
        _checkpoint_advice,
        waste=("checkpoint",),
        remedy="`project=` on a local disk, `save_period=-1`",
    ),
    Rule(
        "small_batch",
        "The batch is too small for the GPU",
        INFO,
        ("data_wait_share", "train_share", "gpu_busy", "cuda_peak_share"),
        _underfilled,
        ("input_share", "train_share", "sm_fill", "gpu_low", "memory_spare"),
        _small_batch_evidence,
        "the kernels are too small to fill the GPU, and memory is to spare",
        "yoloscope_gpu_sm_active_ratio beside yoloscope_gpu_utilization_ratio; nsys profile: many short kernels",
        advice.larger_batch,
        remedy="`batch` up, as far as the measured peak memory allows",
    ),
    Rule(
        "gpu_memory_pressure",
        "GPU memory is nearly full",
        WARNING,
        ("cuda_peak_share",),
        lambda s, t: s["cuda_peak_share"] >= t["cuda_peak_share"],
        ("cuda_peak_share",),
        "peak of GPU memory {cuda_peak_share:.0%} of the device",
        "activations of the batch, or uneven batches (many boxes, multi-scale), leave no room",
        "torch.cuda.memory_summary(); nvidia-smi --query-gpu=memory.used --format=csv -l 1",
        advice.smaller_batch,
        remedy="`batch` down with `nbs=64`, so that gradients are accumulated to the same nominal batch; `amp=True`",
    ),
    Rule(
        "gpu_memory_leak",
        "GPU memory grows and is not given back",
        WARNING,
        ("cuda_growth_bytes",),
        _growth("cuda_growth_bytes"),
        ("growth_bytes",),
        lambda s, _: (
            f"allocated CUDA memory grew by {advice.size(s['cuda_growth_bytes'])} in {s['growth_seconds']:.0f} s, "
            f"steadily, after the first epoch"
        ),
        "something keeps tensors: losses with their graph, outputs kept in a list, a callback's cache",
        "torch.cuda.memory_summary() at the same place of two epochs",
        lambda _: Advice(note="detach() what is kept, and release it in on_train_batch_end"),
        remedy="`detach()` what is kept, release it in `on_train_batch_end`",
    ),
    Rule(
        "host_memory_leak",
        "Memory grows and is not given back",
        WARNING,
        ("resident_growth_bytes",),
        _host_leak,
        ("growth_bytes", "available_fall_share"),
        _host_leak_evidence,
        "a callback, the data set or the loader keeps what it should drop, or copies on write what workers share",
        "py-spy dump --pid <pid>; tracemalloc in the callback; ls -l /dev/shm",
        lambda s: Advice(
            {"workers": max(int(s.get("workers")) // 2, 1)} if s.get("workers") > 1 else {},
            note="drop references in on_train_batch_end; lists of Python objects in a data set belong into one array",
        ),
        remedy="drop references in `on_train_batch_end`; arrays instead of lists of Python objects; "
        "fewer `workers` meanwhile",
    ),
    Rule(
        "oom_retry",
        "Out of GPU memory, tried again",
        WARNING,
        ("ooms",),
        _retried,
        (),
        _retry_evidence,
        "the batch does not fit: PyTorch flushes its cache and retries, or Ultralytics halves the batch",
        "the log's 'out of memory'; torch.cuda.memory_stats()['num_alloc_retries']",
        advice.smaller_batch,
        event=True,
        remedy="`batch` down to what fits, `nbs=64`, `amp=True`",
    ),
    Rule(
        "straggler",
        "This rank holds the others up",
        WARNING,
        ("lag", "peer_exposed_share"),
        _lags,
        ("lag", "peer_exposed_share"),
        _straggler_evidence,
        "every rank waits for the slowest one when gradients are reduced",
        "nvidia-smi dmon on its node: a waiting GPU shows 100 % at little power, the slow one does not",
        _straggler_advice,
        waste=("backward_exposed",),
        remedy="by the phase in which it is slow: its loader, its PCIe link, its GPU",
    ),
    Rule(
        "communication_bound",
        "All ranks wait for the exchange of gradients",
        INFO,
        ("exposed_share", "lag"),
        lambda s, t: s["exposed_share"] >= t["exposed_share"] and abs(s["lag"]) < t["lag"],
        ("exposed_share", "lag"),
        "{exposed_share:.0%} of training time waits for gradients, on this rank as on its peers",
        "the links between the GPUs are too slow for gradients of this size at this batch",
        "nvidia-smi topo -m; NCCL_DEBUG=INFO: which transport was chosen",
        advice.fewer_exchanges,
        waste=("backward_exposed",),
        remedy="a larger `batch`, if it fits: fewer exchanges per image",
    ),
    Rule(
        "thermal_throttle",
        "The GPU is too hot",
        WARNING,
        ("thermal_share",),
        lambda s, t: s["thermal_share"] >= t["thermal_share"],
        ("thermal_share",),
        _thermal_evidence,
        "the GPU lowers its clocks to stay within its temperature limit",
        "nvidia-smi -q -d PERFORMANCE,TEMPERATURE",
        lambda _: Advice(note="cooling, dust, rack temperature; nvidia-smi -pl lowers the power limit meanwhile"),
        remedy="cooling; a lower power limit meanwhile",
    ),
    Rule(
        "power_capped",
        "The GPU is held down by its power limit",
        INFO,
        ("power_share",),
        lambda s, t: s["power_share"] >= t["power_share"] and s.get("clock_ratio") < t["clock_ratio"],
        ("power_share", "clock_ratio"),
        _power_evidence,
        "the power limit is lower than what this training would draw",
        "nvidia-smi -q -d POWER,CLOCK",
        lambda _: Advice(note="raise the limit where that is allowed: nvidia-smi -pl <watts>"),
        remedy="raise the power limit where that is allowed",
    ),
    Rule(
        "pcie_degraded",
        "The PCIe link is narrower or slower than it could be",
        WARNING,
        ("pcie_width", "pcie_width_max"),
        _narrow,
        ("gpu_under_load",),
        _pcie_evidence,
        "a badly seated card, a riser, a slot with fewer lanes, or a link that trained down",
        "nvidia-smi --query-gpu=pcie.link.width.current,pcie.link.width.max,pcie.link.gen.current --format=csv",
        lambda _: Advice(note="reseat the card or move it to a full slot"),
        remedy="reseat the card, a full slot",
    ),
    Rule(
        "stalled",
        "Training stands still",
        CRITICAL,
        ("last_batch_age",),
        _stalled,
        ("stall_factor", "stall_seconds", "stall_most_seconds"),
        _stall_evidence,
        _stall_cause,
        "py-spy dump --pid <pid>; the end of the log",
        lambda s: Advice(
            {"workers": max(int(s.get("workers")) // 2, 1)} if _missing_workers(s) else {},
            note="check shared memory (/dev/shm) and the storage's mount, then restart with resume=True",
        ),
        states=("train",),
        event=True,
        remedy="shared memory, storage, workers; then `resume=True`",
    ),
    Rule(
        "killed",
        "The training process was killed",
        CRITICAL,
        (),
        lambda s, _: s.state == "killed",
        (),
        _killed_evidence,
        _killed_cause,
        "journalctl -k | grep -i -e 'killed process' -e 'out of memory'; the job scheduler's log",
        _killed_advice,
        states=("killed",),
        event=True,
        remedy="`resume=True`; after an OOM kill fewer `workers` and no RAM cache",
    ),
    Rule(
        "failed",
        "The training ended with an error",
        CRITICAL,
        (),
        lambda s, _: s.state == "failed",
        (),
        lambda s, _: "the trainer ended with an exception" + (f" in epoch {s['epoch']:.0f}" if s.has("epoch") else ""),
        "an exception left the trainer",
        "the end of the log",
        lambda _: Advice(note="the exception's last line says what to mend; resume=True continues from the checkpoint"),
        states=("failed",),
        event=True,
        remedy="what the exception says; `resume=True`",
    ),
    Rule(
        "diverged",
        "The loss is not finite",
        CRITICAL,
        ("nonfinite",),
        lambda s, _: s["nonfinite"] > 0 or s.get("nan_recoveries") > 0,
        (),
        "{nonfinite:.0f} batches with a NaN or infinite loss",
        "the learning rate is too high, half precision overflows, or labels are broken",
        "results.csv: nan in the loss columns; yolo train amp=False for a few epochs",
        _diverged_advice,
        event=True,
        remedy="`lr0` down with an explicit `optimizer`, `amp=False`, check the labels",
    ),
    Rule(
        "plateau",
        "The loss no longer falls, and it is not the hardware",
        INFO,
        ("epochs_seen", "loss_drop", "data_wait_share"),
        _flat,
        ("plateau_epochs", "loss_drop", "metric_gain", "gpu_busy"),
        _plateau_evidence,
        "model, data or learning rate: resources are not what holds it back",
        "results.png: the loss curves; a confusion matrix of the last checkpoint",
        lambda _: Advice({"patience": 20}, note="leave the hardware alone: look at labels, model size, learning rate"),
        remedy="labels, model, learning rate; `patience` ends it earlier",
    ),
    Rule(
        "environment",
        "The installation does not match the machine",
        WARNING,
        ("torch_cuda",),
        _mismatch,
        (),
        lambda s, _: _environment_problem(s),
        "PyTorch, the driver or the container's limits do not fit together",
        'python -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"; nvidia-smi',
        _environment_advice,
        states=("setup", "train", "validate", "checkpoint"),
        remedy="a matching CUDA build, `device=0`, a larger `/dev/shm` (`--ipc=host`, `--shm-size`)",
    ),
    Rule(
        "held_idle",
        "A process that trains nothing holds a GPU",
        WARNING,
        ("held_idle_gpus",),
        lambda s, _: s["held_idle_gpus"] > 0,
        ("held_idle",),
        lambda s, _: (
            f"GPU {s.names['held_idle']}: memory is held by a process that is no training known here, and idle"
        ),
        "a notebook, a finished script or a zombie keeps its CUDA context",
        "nvidia-smi --query-compute-apps=gpu_uuid,pid,name,used_memory --format=csv",
        lambda s: Advice(note=f"end process {s.names['held_by']} if nobody needs it"),
        states=("",),
        remedy="end the process if nobody needs it",
    ),
    Rule(
        "insufficient_data",
        "Not enough is known to judge",
        INFO,
        (),
        _unknown,
        ("input_share",),
        _unknown_reason,
        "the window holds too few batches, or series that a verdict needs are missing",
        "yoloscope check; curl the exporter's /metrics and look for yoloscope_train_phase_seconds_total",
        lambda _: None,
        states=("train",),
        remedy="wait for more batches, or see what is missing with `yoloscope diagnose --verbose`",
    ),
    Rule(
        "compute_bound",
        "Healthy: the time goes into training",
        OK,
        (*_PERF, "compute_share"),
        _healthy,
        ("input_share", "h2d_share", "compute_share"),
        _healthy_evidence,
        "nothing holds training back but the arithmetic itself",
        "nvidia-smi dmon -s u",
        lambda _: None,
        remedy="nothing: a faster GPU, a smaller model or `imgsz`",
    ),
)

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}

#: With one of these, a rank is not healthy even if its time goes into computing.
NOT_HEALTHY = tuple(rule.name for rule in RULES if rule.severity in (WARNING, CRITICAL))
