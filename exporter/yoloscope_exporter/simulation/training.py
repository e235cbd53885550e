"""What a simulated node shows of its training: each rank, its loader workers, its processes, its diagnosis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import causes, rules
from yoloscope_exporter.diagnosis.live import in_labels
from yoloscope_exporter.language import CHINESE, finished, translated
from yoloscope_exporter.simulation import gpu, host, timeline
from yoloscope_exporter.simulation.histograms import both, spread
from yoloscope_exporter.simulation.moment import pid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yoloscope_exporter.simulation.moment import Moment, Part


VERDICTS = tuple(rule.name for rule in rules.RULES)


IMAGE_FLOPS = 3 * 68e9  # forward and backward of a yolo11m at 640 pixels


#: Of an image at 640 pixels, most of them landscapes.
CACHED_BYTES = 3.0 * 640 * 480


QUOTA_PERIODS_PER_SECOND = 10.0  # of 100 ms, the kernel's default


VALIDATION = {"loader": 0.1, "preprocess": 0.02, "inference": 0.55, "postprocess": 0.2, "metrics": 0.1}  # shares
DECODING = 0.4  # share of the preparation


LOSSES = {"box_loss": (0.9, 1.6), "cls_loss": (0.5, 3.0), "dfl_loss": (1.0, 1.1)}  # final value, excess at the start


METRICS = {
    "metrics/precision(B)": 0.71,
    "metrics/recall(B)": 0.62,
    "metrics/mAP50(B)": 0.68,
    "metrics/mAP50-95(B)": 0.50,
}


def samples(moment: Moment) -> Iterator[Sample]:
    """All of it; of one that has ended what the exporter still shows."""
    run = moment.node.run
    if moment.alive:
        for metric, labels, value in _cgroup(moment):
            yield Sample(metric, (run, *labels), value)
    for rank in moment.ranks:
        parts = (_facts, _course, _work, _phases, _histograms, _loader, _cuda, _learning, _ourselves, _diagnosis)
        for part in (*parts, _processes) if moment.alive else parts:
            for metric, labels, value in part(moment, int(rank)):
                yield Sample(metric, (run, rank, *labels), value)
    if moment.progress.state in catalog.DEAD:
        yield Sample(catalog.TRAIN_POST_MORTEMS_TOTAL, ("kept",), float(moment.node.ranks))


def _cgroup(moment: Moment) -> Iterator[Part]:
    node = moment.node
    workers = node.ranks * max(1, node.workers)
    seconds = (
        host.loader_seconds(moment) * timeline.PREPARATION_CPU * workers + node.ranks * 0.9 * moment.progress.trained
    )
    yield catalog.CGROUP_CPU_SECONDS_TOTAL, (), seconds
    yield catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, (), 0.0
    yield catalog.CGROUP_CPU_PERIODS_TOTAL, (), QUOTA_PERIODS_PER_SECOND * moment.progress.trained
    yield catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (), 0.0
    yield catalog.CGROUP_CPU_QUOTA_CORES, (), float(host.CORES_PER_GPU * node.ranks)
    used = sum(host.resident(moment, role) for role in host.ROLES) * node.ranks
    yield catalog.CGROUP_MEMORY_USED_BYTES, (), used
    yield catalog.CGROUP_MEMORY_LIMIT_BYTES, (), 0.9 * host.MEMORY_PER_GPU * node.gpus
    yield catalog.CGROUP_OOM_KILLS_TOTAL, (), 0.0
    for labels, pressure in host.pressure(moment).items():
        yield catalog.CGROUP_PRESSURE_SECONDS_TOTAL, labels, pressure


def _facts(moment: Moment, rank: int) -> Iterator[Part]:
    node = moment.node
    facts = {
        "task": "detect",
        "model": "yolo11m.pt",
        "data": "coco.yaml",
        "imgsz": "640",
        "optimizer": "SGD",
        "amp": "true",
        "amp_asked": "true",
        "workers": str(node.workers),
        "cache": "false",
        "world_size": str(node.ranks),
        "device": ",".join(moment.ranks),
        "close_mosaic": "10",
        "ultralytics": "8.4.2",
        "torch": "2.8.0+cu128",
        "cuda": "12.8",
        "user": "simulated",
        "pid": str(pid(rank)),
        "slurm_job_id": str(100_000 + node.index),
        "pod": "",
        "visible_gpus": str(node.ranks),
        "nbs": "64",
        "weight_decay": "0.0005",
        "lr0": "0.01",
        "lrf": "0.01",
        "warmup_epochs": "3.0",
        "patience": "100",
        "val": "True",
        "save_period": "-1",
        "rect": "False",
        "mosaic": "1.0",
        "multi_scale": "0.0",
        "compile": "False",
        "deterministic": "True",
        "fraction": "1.0",
        "channels_last": "False",
    }
    yield catalog.TRAIN_RUN_INFO, tuple(facts[name] for name in catalog.RUN_FACTS), 1.0
    job = {"slurm_job_id": facts["slurm_job_id"], "slurm_job_user": "simulated", "slurm_partition": "gpu"}
    yield catalog.TRAIN_JOB_INFO, tuple(job.get(name, "") for name in catalog.TRAIN_JOB_INFO.labels[2:]), 1.0
    yield catalog.TRAIN_DEVICE_INFO, (str(rank), gpu.uuid(node, rank)), 1.0
    yield catalog.TRAIN_EPOCHS, (), float(node.epochs)
    yield catalog.TRAIN_EPOCH_BATCHES, (), float(moment.training.healthy.batches)
    yield catalog.TRAIN_BATCH_SIZE, (), float(timeline.BATCH_SIZE)
    yield catalog.TRAIN_WORKERS, (), float(node.workers)
    images = moment.training.healthy.batches * timeline.BATCH_SIZE * node.ranks
    yield catalog.TRAIN_CACHE_NEEDED_BYTES, ("ram",), CACHED_BYTES * images
    yield catalog.TRAIN_CACHE_NEEDED_BYTES, ("disk",), CACHED_BYTES * images
    yield catalog.TRAIN_CACHE_DISK_AVAILABLE_BYTES, (), float(200 << 30)


def _course(moment: Moment, _rank: int) -> Iterator[Part]:
    """Where it stands: state, beginning, end, epoch, what remains."""
    node, progress = moment.node, moment.progress
    yield catalog.TRAIN_UP, (), float(moment.alive)
    for state in catalog.STATES:
        yield catalog.TRAIN_STATE, (state,), float(state == progress.state)
    yield catalog.TRAIN_START_TIMESTAMP_SECONDS, (), node.start
    if progress.batches >= 1:
        yield catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, (), _last_batch(moment)
    if progress.state in catalog.FINAL:
        yield catalog.TRAIN_END_TIMESTAMP_SECONDS, (), node.start + moment.training.end
    if progress.state == "failed":
        told = {"exception": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 2.00 GiB."}
        yield catalog.TRAIN_END_INFO, tuple(told.get(name, "") for name in catalog.END_FACTS), 1.0
    if progress.state != "setup":
        yield catalog.TRAIN_EPOCH, (), float(min(node.epochs, progress.epochs + 1))
    if moment.alive and progress.batches >= 1:
        yield catalog.TRAIN_REMAINING_SECONDS, (), (node.epochs - progress.epochs) * moment.regime.epoch


def _work(moment: Moment, rank: int) -> Iterator[Part]:
    """What it has done, and the energy that took."""
    batches = int(moment.progress.batches)
    yield catalog.TRAIN_BATCHES_TOTAL, (), float(batches)
    yield catalog.TRAIN_IMAGES_TOTAL, (), float(batches * timeline.BATCH_SIZE)
    yield catalog.TRAIN_FLOPS_TOTAL, (), IMAGE_FLOPS * batches * timeline.BATCH_SIZE
    yield catalog.TRAIN_OPTIMIZER_STEPS_TOTAL, (), float(batches)
    yield catalog.TRAIN_CHECKPOINTS_TOTAL, (), float(moment.progress.epochs)
    lived = min(moment.time - moment.node.start, moment.training.end)
    joules = {"gpu": gpu.IDLE_WATTS * lived + gpu.DYNAMIC_WATTS * moment.busy_seconds(rank), "cpu": 30.0 * lived}
    for source in catalog.ENERGY_SOURCES:
        yield catalog.TRAIN_ENERGY_JOULES_TOTAL, (source,), joules[source]


def _phases(moment: Moment, rank: int) -> Iterator[Part]:
    """Where its time went: phases, and the parts of some of them."""
    progress, phases = moment.progress, moment.phase_seconds(rank)
    first = 0.1 * phases["data_wait"]  # the part of the wait that is an epoch's first
    callbacks = 0.002 * progress.epochs
    divided = {
        **phases,
        "loader_start": first,
        "data_wait": phases["data_wait"] - first,
        "callbacks": callbacks,
        "other": phases["other"] - callbacks,
    }
    for phase, seconds in divided.items():
        yield catalog.TRAIN_PHASE_SECONDS_TOTAL, (phase,), seconds
    for part, share in VALIDATION.items():
        yield catalog.TRAIN_VALIDATE_SECONDS_TOTAL, (part,), share * phases["validate"]
    yield from _setup(progress.state == "setup", phases["setup"], timeline.SETUP_SECONDS / moment.node.speed)
    yield catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, (), first
    yield catalog.TRAIN_CALLBACK_SECONDS_TOTAL, ("(others)",), callbacks
    yield catalog.TRAIN_CALLBACK_CALLS_TOTAL, ("(others)",), float(2 * progress.epochs)


def _setup(under_way: bool, spent: float, whole: float) -> Iterator[Part]:  # noqa: FBT001 - one caller
    """Set-up by stage: the stages follow each other, each for its share of the `whole`, in seconds."""
    before = 0.0
    for stage, share in timeline.SETUP_STAGES.items():
        seconds = min(max(spent - before, 0.0), share * whole)
        yield catalog.TRAIN_SETUP_SECONDS_TOTAL, (stage,), seconds
        if under_way and before <= spent < before + share * whole:
            yield catalog.TRAIN_SETUP_STAGE, (stage,), 1.0
            if stage == "scan":
                yield catalog.TRAIN_SETUP_PROGRESS_RATIO, (), seconds / (share * whole)
        before += share * whole


def _last_batch(moment: Moment) -> float:
    """When the last batch ended: after the ones done in this epoch, or before validation and checkpoint."""
    now = moment.time - max(0.0, moment.progress.ended)
    training, regime = moment.training, moment.regime
    begin = training.onset if moment.degraded else timeline.SETUP_SECONDS / moment.node.speed
    into = max(0.0, now - moment.node.start - begin) % regime.epoch
    done = min(regime.batches, int(into / regime.period))
    pause = regime.epoch - regime.batches * regime.period
    return now - (into - done * regime.period) - (0.0 if done else pause)


def _histograms(moment: Moment, _rank: int) -> Iterator[Part]:
    healthy, degraded = moment.training.healthy, moment.training.degraded
    before, after = moment.progress.healthy.batches, moment.progress.degraded.batches
    bounds = catalog.STEP_BUCKETS
    steps = both(spread(before, healthy.step, bounds, 0.1), spread(after, degraded.step, bounds, 0.1))
    waits = both(spread(before, healthy.wait, bounds, 0.6), spread(after, degraded.wait, bounds, 0.4))
    prepared = both(spread(before, healthy.preparation, bounds), spread(after, degraded.preparation, bounds))
    yield catalog.TRAIN_STEP_SECONDS, (), steps
    yield catalog.TRAIN_DATA_WAIT_SECONDS, (), waits
    yield catalog.TRAIN_LOADER_BATCH_SECONDS, (), prepared


def _loader(moment: Moment, rank: int) -> Iterator[Part]:
    node = moment.node
    each = moment.progress.batches / max(1, node.workers)
    seconds = host.loader_seconds(moment)
    for worker in map(str, range(node.workers)):
        yield catalog.TRAIN_WORKER_BATCHES_TOTAL, (worker,), float(int(each))
        yield catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, (worker,), seconds
        yield catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, (worker,), seconds * timeline.PREPARATION_CPU
        yield catalog.TRAIN_WORKER_MAJOR_FAULTS_TOTAL, (worker,), float(int(0.02 * each))
        yield catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL, (worker,), seconds * DECODING
    capacity = 2 * node.workers
    starved = moment.regime.wait > 2 * timeline.LEAST_WAIT_SECONDS
    ready = 0 if starved else int(capacity * (0.85 + 0.1 * moment.noise("queue", rank, every=1.0)))
    if moment.alive:
        yield catalog.TRAIN_QUEUE_DEPTH, (), float(ready)
    yield catalog.TRAIN_QUEUE_CAPACITY, (), float(capacity)
    ahead = 0.85 * capacity * moment.training.healthy.period
    dwell = ahead * (moment.progress.batches - (moment.progress.degraded.batches if starved else 0.0))
    yield catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL, (), dwell
    yield catalog.TRAIN_WORKER_RESTARTS_TOTAL, (), 0.0
    yield catalog.TRAIN_WORKER_DEATHS_TOTAL, (), 0.0
    yield catalog.TRAIN_WORKER_DEATH_SIGNAL_TOTAL, ("SIGKILL",), 0.0
    yield catalog.TRAIN_VAL_WORKERS, (), 0.0
    for number in range(5 if each else 0):
        file = f"/data/images/train/{rank:02d}{number:04d}.jpg"
        yield catalog.TRAIN_SLOW_FILE_SECONDS, (file,), 0.09 - 0.01 * number
        yield catalog.TRAIN_SLOW_FILE_BYTES, (file,), host.IMAGE_BYTES * (6 - number)
        yield catalog.TRAIN_SLOW_FILE_CPU_SECONDS, (file,), 0.04 - 0.004 * number
        yield catalog.TRAIN_SLOW_FILE_INFO, (file, "1920", "1080", "JPEG", "nfs4", ""), 1.0


def _cuda(moment: Moment, rank: int) -> Iterator[Part]:
    allocated, reserved = gpu.device_memory(moment, rank)
    kinds = {
        "allocated": allocated,
        "reserved": reserved,
        "active": allocated * 1.01,
        "inactive_split": (reserved - allocated) * 0.4,
        "peak_allocated": min(allocated * 1.06, reserved),
        "peak_reserved": reserved,
    }
    if moment.alive:
        for kind, value in kinds.items():
            yield catalog.TRAIN_CUDA_MEMORY_BYTES, (kind,), value
        leak = moment.node.scenario.leak * moment.node.speed * moment.degraded
        yield catalog.TRAIN_CUDA_MEMORY_GROWTH_BYTES, (), leak * moment.regime.batches
    full = moment.training.outcome == "failed"
    left = -moment.progress.ended * moment.node.speed  # seconds before it runs out of memory
    retries = max(0, int(30 - max(0.0, left) / 2)) if full else 0
    yield catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, (), float(retries)
    yield catalog.TRAIN_CUDA_OOMS_TOTAL, (), float(full and not moment.alive)


def _learning(moment: Moment, rank: int) -> Iterator[Part]:
    epochs = moment.progress.epochs
    left = math.exp(-epochs / 30)
    if moment.progress.batches >= 1:
        for component, (final, excess) in LOSSES.items():
            noise = 0.02 * moment.noise("loss", component, every=10.0)
            yield catalog.TRAIN_LOSS, (component,), final + excess * left + noise
        for group in ("pg0", "pg1", "pg2"):
            yield catalog.TRAIN_LEARNING_RATE, (group,), 0.01 * (1 - 0.99 * epochs / moment.node.epochs)
        yield catalog.TRAIN_ACCUMULATED_BATCHES, (), 1.0
        yield catalog.TRAIN_EPOCHS_SINCE_BEST, (), 0.0
    if epochs and rank == 0:
        for name, final in METRICS.items():
            yield catalog.TRAIN_METRIC, (name,), final * (1 - left) * (1 + 0.01 * moment.noise(name, epochs, every=1e9))
    yield catalog.TRAIN_PATIENCE_EPOCHS, (), 100.0
    yield catalog.TRAIN_NONFINITE_LOSS_TOTAL, (), 0.0
    yield catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, (), 0.0
    yield catalog.TRAIN_NAN_RECOVERIES_TOTAL, (), 0.0


def _ourselves(moment: Moment, _rank: int) -> Iterator[Part]:
    yield catalog.TRAIN_HOOK_SECONDS_TOTAL, (), 18e-6 * int(moment.progress.batches)
    yield catalog.TRAIN_HOOK_ERRORS_TOTAL, (), 0.0


def _processes(moment: Moment, _rank: int) -> Iterator[Part]:
    node = moment.node
    workers = max(1, node.workers)
    seconds = {"main": 0.9 * moment.progress.trained}
    seconds["worker"] = host.loader_seconds(moment) * timeline.PREPARATION_CPU * workers
    read = 0.1 * moment.progress.batches * timeline.BATCH_SIZE * host.IMAGE_BYTES
    for role in host.ROLES:
        yield catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (role,), seconds[role]
        yield catalog.TRAIN_PROCESS_RESIDENT_BYTES, (role,), host.resident(moment, role)
        yield catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, (role,), read if role == "worker" else 0.0
        yield catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, (role,), 0.004 * seconds[role]
        yield catalog.TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL, (role,), 0.01 * seconds[role]
        yield catalog.TRAIN_PROCESSES, (role,), 1.0 if role == "main" else float(node.workers)
        yield catalog.TRAIN_PROCESS_AFFINITY_CORES, (role,), float(host.CORES_PER_GPU * node.gpus)
        yield catalog.TRAIN_PROCESS_FAIR_CORES, (role,), float(host.CORES_PER_GPU * node.gpus) / node.ranks
    yield catalog.TRAIN_SHM_SIZE_BYTES, (), host.MEMORY_PER_GPU * node.gpus / 2
    yield catalog.TRAIN_SHM_AVAILABLE_BYTES, (), 0.98 * host.MEMORY_PER_GPU * node.gpus / 2


def _diagnosis(moment: Moment, rank: int) -> Iterator[Part]:
    verdict = _verdict(moment, rank)
    for name in VERDICTS:
        yield catalog.TRAIN_VERDICT, (name,), float(name == verdict)
    if verdict:
        yield catalog.TRAIN_VERDICT_FIX_INFO, (verdict, *in_labels(rules.BY_NAME[verdict].remedy)), 1.0
    if verdict in catalog.DEAD:
        yield catalog.TRAIN_VERDICT_CAUSE_INFO, (verdict, *_why(verdict)), 1.0
    phases = moment.regime.phases[rank]
    lost = phases["data_wait"] + phases.get("backward_exposed", 0.0)
    if moment.alive and moment.progress.state == "train":
        yield catalog.TRAIN_GOODPUT_RATIO, (), 1 - lost / moment.regime.period
    for cause, seconds in _wasted(moment, rank):
        yield catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, (cause,), seconds
        yield catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL, (cause,), gpu.IDLE_WATTS * seconds


def _why(verdict: str) -> tuple[str, str, str]:
    """The cause of a death, its evidence, and the cause in Chinese."""
    why = "unknown: it was killed from outside, mostly by SIGKILL, which leaves nothing behind"
    how = "the process exited without a final state"
    if verdict == "failed":
        cause = causes.BY_NAME["cuda_out_of_memory"]
        why = f"{cause.name}: {cause.title}"
        how = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    return why, how, translated(finished(why), CHINESE)


def _verdict(moment: Moment, rank: int) -> str:
    """What holds for the rank; nothing does for the ranks that wait for a straggler."""
    scenario, state = moment.node.scenario, moment.progress.state
    if state in catalog.DEAD:
        return state
    if moment.progress.batches < 1:
        return "insufficient_data"
    if not moment.degraded or scenario.dies:
        return "compute_bound"
    waits = scenario.straggler > 1 and rank < moment.node.ranks - 1
    return "" if waits else scenario.verdict


def _wasted(moment: Moment, rank: int) -> Iterable[tuple[str, float]]:
    """Seconds the GPU waited for data or for the slowest rank, or ran below its clock."""
    scenario, batches = moment.node.scenario, moment.progress.degraded.batches
    degraded = moment.training.degraded
    healthy = moment.training.healthy
    if moment.degraded and not scenario.dies and not scenario.leak and scenario.verdict != "compute_bound":
        lost = degraded.period - healthy.period
        slow = scenario.straggler > 1 and rank == moment.node.ranks - 1
        yield scenario.verdict, 0.0 if slow else lost * batches
