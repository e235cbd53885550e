"""Days on which nothing is wrong, though a simple rule would say so. No alert may fire on any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as c

from . import faults
from .world import DISK, GIB, GPU_MEMORY, HOST_MEMORY, Part, World, epochs, host_memory, limited

if TYPE_CHECKING:
    from collections.abc import Callable


def one_long_epoch(w: World) -> None:
    """Steady training for hours."""
    w.host()
    who = w.train(Part(w.minutes), epoch_minutes=w.minutes)
    memory = (0, 0.3 * GPU_MEMORY), (100, 0.3 * GPU_MEMORY + 2 * GIB)  # once more is no leak
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, *memory, **who, kind="allocated")


def epochs_with_validation(w: World) -> None:
    """Ten minutes of training, two of validation, a checkpoint, again and again."""
    w.host()
    w.train(*epochs(20), epoch_minutes=12.25)


def short_epochs(w: World) -> None:
    """Forty seconds of training, twenty of validation on the CPU."""
    w.host()
    parts = [part for _ in range(150) for part in (Part(2 / 3), Part(1 / 3, "validate", busy=0.05))]
    w.train(*parts, epoch_minutes=1)


def long_validation(w: World) -> None:
    """A validation of 25 minutes in which the GPU hardly works: most of it is matching boxes on the CPU."""
    w.host()
    validation = [Part(25, "validate", busy=0.04), Part(0.25, "checkpoint", busy=0)]
    w.train(Part(75), *validation, Part(60), epoch_minutes=75)


def very_long_validation(w: World) -> None:
    """A validation of 100 minutes, once, in which the GPU works one and a half per cent of the time."""
    w.host()
    w.train(Part(30), Part(100, "validate", busy=0.015), Part(40), epoch_minutes=130)


def checkpoint_on_slow_storage(w: World) -> None:
    """Each checkpoint takes four minutes; the GPU waits."""
    w.host()
    w.train(*epochs(8, train=15, validate=1, checkpoint=4), epoch_minutes=20)


def filling_the_cache(w: World) -> None:
    """cache=ram reads the data set for 45 minutes: memory falls, the GPU idles."""
    instance = w.host()
    who = w.train(Part(45, "setup", busy=0), Part(110), start=5, epoch_minutes=110)
    w.gauge(c.TRAIN_EPOCH_BATCHES, (0, None), (50, 13000), **who)
    falling = 0.45 * HOST_MEMORY / (45 * 60)
    resident = [(5, GIB, falling), (50, GIB + 0.45 * HOST_MEMORY, 0)]
    w.put(c.TRAIN_PROCESS_RESIDENT_BYTES, resident, **who, role="main")
    host_memory(w, instance, (0, 0.6, 0), (5, 0.6, -falling / HOST_MEMORY), (50, 0.15, 0))


def set_up_on_the_gpu(w: World) -> None:
    """A set-up of two hours that computes something on the GPU for 7 % of the time."""
    w.host()
    w.train(Part(123, "setup", busy=0.07), Part(30), start=2, epoch_minutes=160)


def compiled_first_batch(w: World) -> None:
    """compile=True: the first batch takes seven minutes."""
    w.host()
    w.train(Part(2, "setup", busy=0), Part(7, busy=0.0, batches=False), Part(150), start=5, epoch_minutes=160)


def cold_page_cache(w: World) -> None:
    """In the first eight minutes the data come from a cold disk."""
    w.host()
    w.train(Part(1, "setup", busy=0), Part(8, wait=0.4, busy=0.5), Part(150), start=5, epoch_minutes=30)


def close_mosaic(w: World) -> None:
    """Ten epochs before the end mosaic is closed: the workers start anew, for 70 seconds there is no batch."""
    w.host()
    who = w.train(Part(80), Part(1.2, busy=0, batches=False), Part(80), epoch_minutes=40)
    w.event(c.TRAIN_WORKER_RESTARTS_TOTAL, 81, 8, **who)


def early_stopping(w: World) -> None:
    """Patience runs out in the middle of an afternoon: final validation, the end, the record is cleared."""
    w.host()
    parts = [*epochs(6), Part(3, "validate", busy=0.5), Part(15, "finished", busy=0)]
    w.train(*parts, epoch_minutes=12.25)


def shown_for_a_minute(w: World) -> None:
    """--runs.keep=1m, or a tuner with more runs than are kept: a minute after its end nothing is shown of a run."""
    w.host()
    w.train(Part(30), Part(1, "finished", busy=0))


def restarted_with_fewer_ranks(w: World) -> None:
    """A pod of four ranks ends with its records; a minute later the run goes on in one of two, on another node."""
    w.host(gpus=4)
    w.host(1, gpus=2)
    for rank in range(4):
        w.train(Part(30), rank=str(rank), ranks=4, gpu=str(rank))
    for rank in range(2):
        w.train(Part(2, "setup", busy=0), Part(60), rank=str(rank), ranks=2, gpu=str(rank), node=1, start=31)


def one_run_after_the_other(w: World) -> None:
    """A run ends, the next begins on the same GPU two minutes later, while the old one is still shown."""
    w.host()
    w.train(Part(80), Part(15, "finished", busy=0), run=f"{w.name}-1", epoch_minutes=20)
    w.train(Part(3, "setup", busy=0), Part(70), run=f"{w.name}-2", start=82, epoch_minutes=20)
    where = {"instance": w.node(), "gpu": "0"}
    w.counter(c.GPU_BUSY_SECONDS_TOTAL, (0, 0.95), (80, 0.0), (85, 0.95), **where)
    count, bucket = (f"{c.GPU_UTILIZATION_SAMPLED_RATIO.name}_{part}" for part in ("count", "bucket"))
    w.counter(count, (0, 6.0), **where)
    for le in ("0.1", "0.7"):
        w.counter(bucket, (0, 0.0), (80, 6.0), (85, 0.0), **where, le=le)


def two_runs_share_a_gpu(w: World) -> None:
    """Two small trainings on one GPU; memory falls for an hour, from far to not quite half of it."""
    instance = w.host()
    host_memory(w, instance, (0, 0.8, 0), (20, 0.8, -0.25 / 3600), (80, 0.55, 0))
    w.train(Part(w.minutes, busy=0.8), run=f"{w.name}-1", epoch_minutes=15)
    w.train(Part(w.minutes, busy=0.8), run=f"{w.name}-2", epoch_minutes=17)


def small_model(w: World) -> None:
    """A small model fills a third of the GPU, always; the link rests at a lower generation meanwhile."""
    instance = w.host()
    w.constant(c.GPU_PCIE_LINK_GENERATION, 3, instance=instance, gpu="0")
    w.train(*[Part(10, busy=0.36, high=0.1, low=0.15), Part(1, "validate", busy=0.3)] * 14, epoch_minutes=11)


def multi_scale(w: World) -> None:
    """Image sizes change: utilisation between 78 and 95 %, step times by half, memory; CPUs have enough to do."""
    instance = w.host()
    who = w.train(*[Part(2), Part(2, busy=0.78, slow=1.5)] * 40, epoch_minutes=20)
    w.constant(c.LOAD_AVERAGE, 96, instance=instance, window="5m")
    w.constant(c.TRAIN_CUDA_MEMORY_BYTES, 0.8 * GPU_MEMORY, **who, kind="reserved")
    w.constant(c.TRAIN_CUDA_MEMORY_BYTES, 0.5 * GPU_MEMORY, **who, kind="peak_allocated")
    w.constant(c.GPU_MEMORY_FREE_BYTES, 0.15 * GPU_MEMORY, instance=instance, gpu="0")


def one_slow_file(w: World) -> None:
    """A pause of 80 seconds once an hour while one file is read from a sleeping disk."""
    w.host()
    pause = Part(1.33, busy=0, wait=1.0, batches=False)
    w.train(Part(25), pause, Part(50), pause, Part(30), epoch_minutes=50)


def older_hooks(w: World) -> None:
    """They do not tell the first batches of epochs apart; epochs and validations as usual."""
    w.host()
    w.train(*[Part(10), Part(2, "validate", busy=0.5)] * 10, epoch_minutes=12)
    w.without(c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL)


def a_little_waiting(w: World) -> None:
    """Four per cent of data wait, as everywhere."""
    w.host()
    w.train(*epochs(15, wait=0.04, busy=0.9), epoch_minutes=12.25)


def short_epochs_start_workers(w: World) -> None:
    """A quarter of each short epoch goes into its first batch."""
    w.host()
    w.train(Part(w.minutes, wait=0.27, first=0.25, busy=0.7), epoch_minutes=0.5)


def exporter_restart(w: World) -> None:
    """The exporter is upgraded: 45 seconds without it, its own counters begin again at 0."""
    w.host()
    w.train(*epochs(15), epoch_minutes=12.25)
    w.restart_exporter(70, 70.75)


def missed_scrapes(w: World) -> None:
    """The network fails for two minutes."""
    w.host()
    w.train(*epochs(15), epoch_minutes=12.25)
    w.gap(65, 67)
    w.gauge("up", (0, 1), (65, 0), (67, 1), instance=w.node())


def at_the_power_limit(w: World) -> None:
    """The power cap holds the clocks down all the time, as it is meant to."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=20)
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0.97), instance=instance, gpu="0", reason="sw_power_cap")
    brake = {"reason": "hw_power_brake_slowdown"}  # now and then, by the rack
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0.07), instance=instance, gpu="0", **brake)


def hot_for_a_moment(w: World) -> None:
    """A minute of thermal slowdown while fans speed up, five minutes near the limit."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=20)
    where = {"instance": instance, "gpu": "0"}
    reason = {"reason": "hw_thermal_slowdown"}
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0), (60, 0.8), (61, 0), **where, **reason)
    w.gauge(c.GPU_TEMPERATURE_CELSIUS, (0, 65), (60, 87), (65, 70), **where, sensor="core")


def warm(w: World) -> None:
    """Seven degrees below the slowdown for hours, and slowed down 3 % of the time."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=20)
    where = {"instance": instance, "gpu": "0"}
    w.constant(c.GPU_TEMPERATURE_CELSIUS, 83, **where, sensor="core")
    w.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0.03), **where, reason="sw_thermal_slowdown")


def idle_node(w: World) -> None:
    """Nobody trains: GPUs idle, links at their lowest generation, an empty display of utilisation."""
    instance = w.host(gpus=2)
    for gpu in range(2):
        w.constant(c.GPU_PCIE_LINK_GENERATION, 1, instance=instance, gpu=str(gpu))
    w.put(c.SNAPSHOT_TIMESTAMP_SECONDS, [(0, 0.0, 0.0), (0.75, 0.0, 1.0)], instance=instance)  # sampled every 45 s
    root = {"instance": instance, "mountpoint": "/", "fstype": "ext4"}
    w.constant(c.FILESYSTEM_AVAILABLE_BYTES, 0.08 * DISK, **root)  # full, but not too full


def node_without_gpu(w: World) -> None:
    """A CPU node: the GPU collector has never succeeded, another program fails. Batches take 40 seconds."""
    instance = w.host(gpus=0)
    w.constant("up", 0, instance=f"{w.name}-other:9100")
    w.constant(c.COLLECTOR_UP, 0, instance=instance, collector="gpu")
    del w.series[_key(c.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, instance=instance, collector="gpu")]
    w.train(Part(w.minutes, slow=80), device=False, epoch_minutes=40)


def old_scars(w: World) -> None:
    """Errors of years ago: ECC, an Xid, retired pages, a few NVLink replays."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=20)
    where = {"instance": instance, "gpu": "0"}
    w.constant(c.GPU_ECC_ERRORS_TOTAL, 12, **where, kind="uncorrected")
    w.constant(c.GPU_RETIRED_PAGES_TOTAL, 20, **where, kind="double_bit")
    w.gauge(c.GPU_XID_ERRORS_TOTAL, (0, None), (40, 3), **where, xid="13")
    w.counter(c.GPU_NVLINK_ERRORS_TOTAL, (0, 0), (60, 0.7 / 300), start=5, **where, kind="replay")


def allocator_warms_up(w: World) -> None:
    """PyTorch's allocator grows for half an hour to 92 %, with one retry; what batches free is not a hole."""
    instance = w.host()
    who = w.train(Part(2, "setup", busy=0), Part(150), start=3, epoch_minutes=20)
    reserved, allocated, peak = ({**who, "kind": kind} for kind in ("reserved", "allocated", "peak_allocated"))
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (3, None), (5, 0.5 * GPU_MEMORY), (15, 0.92 * GPU_MEMORY), **reserved)
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (3, None), (5, 2 * GIB), (6, 4 * GIB), (30, 5 * GIB), **allocated)
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (3, None), (5, 0.5 * GPU_MEMORY), (15, 0.74 * GPU_MEMORY), **peak)
    w.constant(c.GPU_MEMORY_FREE_BYTES, 0.06 * GPU_MEMORY, instance=instance, gpu="0")
    w.event(c.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, 15, 1, **who)


def mosaic_buffers_fill(w: World) -> None:
    """Workers fill their mosaic buffers for 15 minutes after setup: memory falls, and stops."""
    instance = w.host()
    w.train(Part(2, "setup", busy=0), Part(150), start=60, epoch_minutes=30)
    host_memory(w, instance, (0, 0.6, 0), (62, 0.6, -0.25 / 900), (77, 0.35, 0))


def first_epoch_fills_caches(w: World) -> None:
    """A data set of its own keeps what it decodes, on the device too, in a first epoch of an hour: it fits just so."""
    instance = w.host()
    who = w.train(Part(w.minutes), epoch_minutes=60)
    slope = 30 * GIB / 3600
    w.put(c.TRAIN_CUDA_MEMORY_BYTES, [(0, 20 * GIB, slope), (60, 50 * GIB, 0)], **who, kind="allocated")
    w.put(c.GPU_MEMORY_FREE_BYTES, [(0, 35 * GIB, -slope), (60, 5 * GIB, 0)], instance=instance, gpu="0")
    host_memory(w, instance, (0, 0.49, -0.34 / 3600), (60, 0.15, 0))
    limited(w, who, (0, 0.5, 0.35 / 3600), (60, 0.85, 0))


def first_epoch_fills_caches_beside_an_older_run(w: World) -> None:
    """The same beside a run that is past its first epoch, and does not grow."""
    instance = w.host(gpus=2)
    who = w.train(Part(w.minutes))
    w.gauge(c.TRAIN_PROCESS_RESIDENT_BYTES, (0, 8 * GIB), (50, 10 * GIB), **who, role="main")
    w.train(Part(w.minutes), run=f"{w.name}-2", gpu="1", start=20, epoch_minutes=60)
    host_memory(w, instance, (0, 0.49, 0), (20, 0.49, -0.34 / 3600), (80, 0.15, 0))


def benchmarks_and_validates(w: World) -> None:
    """A first validation takes memory, multi_scale swings, mosaic closes, cuDNN tries kernels: each grows once."""
    instance = w.host()
    who = w.train(*epochs(12, train=10, validate=2), epoch_minutes=12.25)
    swings = [(minute, (30 + 4 * (minute % 3) + (6 if minute > 10 else 0)) * GIB) for minute in range(150)]
    w.gauge(c.TRAIN_CUDA_MEMORY_BYTES, (0, 20 * GIB), (1, 26 * GIB), *swings[2:], **who, kind="allocated")
    levels = ((0, 0.48), (2, 0.44), (12, 0.36), (24, 0.35), (110, 0.30))
    host_memory(w, instance, *((minute, share, 0.0) for minute, share in levels))
    limited(w, who, *((minute, 1.02 - share, 0.0) for minute, share in levels))


def oom_is_somebody_elses(w: World) -> None:
    """Memory is at 85 %, /dev/shm at 70 %, and stays there."""
    instance = w.host()
    w.train(Part(w.minutes), epoch_minutes=20)
    host_memory(w, instance, (0, 0.15, 0))
    w.constant(c.FILESYSTEM_AVAILABLE_BYTES, 0.3 * 64 * GIB, instance=instance, mountpoint="/dev/shm", fstype="tmpfs")


def full_by_nature(w: World) -> None:
    """A read-only image is 100 % full; a data set is unpacked and the disk stops at 25 % free."""
    instance = w.host()
    squash = {"instance": instance, "mountpoint": "/opt/image", "fstype": "squashfs"}
    w.constant(c.FILESYSTEM_SIZE_BYTES, GIB, **squash)
    w.constant(c.FILESYSTEM_AVAILABLE_BYTES, 0, **squash)
    root = {"instance": instance, "mountpoint": "/", "fstype": "ext4"}
    falling = 0.35 * DISK / 1800
    w.put(c.FILESYSTEM_AVAILABLE_BYTES, [(0, 0.6 * DISK, 0), (30, 0.6 * DISK, -falling), (60, 0.25 * DISK, 0)], **root)


def two_nodes_validate_on_rank_0(w: World) -> None:
    """Older Ultralytics: rank 0 validates for eight minutes, the others still say 'train' and wait, GPU idle."""
    for node in (0, 1):
        w.host(node, gpus=2)
    waiting = Part(8, busy=0.0, batches=False)
    for rank in range(4):
        aside = waiting if rank else Part(8, "validate", busy=0.6)
        parts = [Part(30, exposed=0.08), aside] * 4
        where = {"node": rank // 2, "gpu": str(rank % 2), "epoch_minutes": 38.0}
        w.train(*parts, rank=str(rank), ranks=4, **where)  # type: ignore[arg-type]


def callbacks_after_epochs(w: World) -> None:
    """After each epoch of twenty minutes a callback draws pictures for one; every rank says 'train' meanwhile."""
    w.host()
    w.train(*[Part(20), Part(1, busy=0, batches=False)] * 5, epoch_minutes=21)


def two_clusters(w: World) -> None:
    """Equal addresses and equal runs in two clusters: one trains, in the other an idle GPU and a training on two."""
    one, two = World(w.name, minutes=w.minutes), World(w.name, minutes=w.minutes)
    one.host()
    one.train(Part(w.minutes), epoch_minutes=20)
    two.host(gpus=3)
    for rank in range(2):
        part = Part(w.minutes, busy=0.4, exposed=0.05, slow=2.0)
        two.train(part, rank=str(rank), ranks=2, gpu=str(rank), epoch_minutes=45)
    w.merge(one, cluster="one")
    w.merge(two, cluster="two")


def ranks_differ_a_little(w: World) -> None:
    """Four ranks, one ten per cent slower; it starts late, and ends twenty seconds after the others."""
    w.host(gpus=4)
    for rank in range(4):
        start, setup, end, slow, exposed = (8, 2, 90.33, 1.1, 0.02) if rank == 3 else (0, 10, 90, 1.0, 0.1)
        parts = Part(setup, "setup", busy=0), Part(end, exposed=exposed, slow=slow), Part(15, "finished", busy=0)
        w.train(*parts, rank=str(rank), ranks=4, gpu=str(rank), start=start, epoch_minutes=25)


def one_rank_is_late_between_steps(w: World) -> None:
    """A fifth slower, but the others wait for most of that after their steps: a minute of each ten, as for an epoch."""
    w.host(gpus=4)
    for rank in range(4):
        steps = [Part(9, exposed=0.073), Part(1, busy=0, batches=False)]
        parts = [Part(10, slow=1.2)] * 9 if rank == 3 else steps * 9
        w.train(*parts, rank=str(rank), ranks=4, gpu=str(rank))


def rank_0_is_late_and_validates_alone(w: World) -> None:
    """Older Ultralytics: for its validation, half a minute of each five, the others wait in their next step."""
    w.host(gpus=4)
    for rank in range(4):
        aside = Part(0.5, busy=0, batches=False) if rank else Part(0.5, "validate", busy=0.5)
        steps = Part(4.5, exposed=0.163) if rank else Part(4.5, slow=1.2)
        w.train(*[steps, aside] * 18, rank=str(rank), ranks=4, gpu=str(rank), epoch_minutes=5)


def ranks_not_split(w: World) -> None:
    """Hooks that cannot split the backward pass: one rank waits for data for some minutes, the others inside it."""
    w.host(gpus=4)
    for rank in range(4):
        waiting = Part(25, wait=0.18, busy=0.8) if rank == 3 else Part(25)
        who = w.train(waiting, Part(65), rank=str(rank), ranks=4, gpu=str(rank), epoch_minutes=30)
        for phase in ("backward_local", "backward_exposed"):
            del w.series[_key(c.TRAIN_PHASE_SECONDS_TOTAL, **who, phase=phase)]
        w.counter(c.TRAIN_PHASE_SECONDS_TOTAL, (0, 0.5), **who, phase="backward")


def trains_a_fifth_of_the_time(w: World) -> None:
    """The rest is validation: what a run waits for in so little time tells nothing."""
    faults.hardly_train(w, 1, Part(30))


def the_first_minutes_are_easy(w: World) -> None:
    """Four minutes of small images, then the usual ones: there is no level yet that the GPU could drop from."""
    w.host()
    w.train(Part(2, "setup", busy=0), Part(4), Part(90, busy=0.5), epoch_minutes=100)


def throughput_settles(w: World) -> None:
    """The same with images per second, in the first half hour."""
    w.host()
    w.train(Part(28), Part(92, slow=2.0), epoch_minutes=130)


def throughput_of_a_fifth_of_the_time(w: World) -> None:
    """What is done in twelve seconds of each minute, between validations, is no measure; here it halves."""
    w.host()
    turns = [[Part(1, "validate", busy=0.5), Part(0.25, slow=slow)] for slow in [1.0] * 72 + [2.0] * 40]
    w.train(*(part for turn in turns for part in turn), epoch_minutes=1000)


def saves_rarely(w: World) -> None:
    """Epochs of half an hour, of which every third is saved."""
    w.host()
    who = w.train(Part(w.minutes), epoch_minutes=31)
    w.gauge(c.TRAIN_CHECKPOINTS_TOTAL, (0, 1), (93, 2), **who)


def saves_nothing(w: World) -> None:
    """save=False: epochs pass, no checkpoint is ever written."""
    w.host()
    who = w.train(*epochs(40, train=5, validate=0, checkpoint=0), epoch_minutes=5)
    w.constant(c.TRAIN_CHECKPOINTS_TOTAL, 0, **who)


def quota_without_harm(w: World) -> None:
    """A container's CPU quota is touched all the time, and the data still come in time, or nearly."""
    instance = w.host()
    w.train(Part(w.minutes, wait=0.04), epoch_minutes=20)
    w.counter(c.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (0, 4), instance=instance, run=w.name)


def busy_host_without_training(w: World) -> None:
    """A compile farm at night: load of three per core, memory falls, nobody trains."""
    instance = w.host()
    host_memory(w, instance, (0, 0.45, 0), (20, 0.45, -0.2 / 3600), (80, 0.25, 0))
    w.constant(c.LOAD_AVERAGE, 192, instance=instance, window="5m")


def predicts_on_request(w: World) -> None:
    """Nothing was asked for in an hour, and no call is under way."""
    who = faults.predicts(w, (0, 10, 15), (60, 0, 15))
    w.gauge(c.PREDICT_UNDER_WAY, (0, 1), (60, 0), **who)
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0), (60, 3600, 0.0)], **who)


def a_killed_prediction(w: World) -> None:
    """Its process was killed in the middle of a call, and is shown for an hour."""
    who = faults.predicts(w, (0, 10, 15), (60, 0, 15))
    w.gauge(c.PREDICT_UP, (0, 1), (60, 0), **who)
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0), (60, 3600, 0.0)], **who)


def a_stopped_stream(w: World) -> None:
    """A camera's prediction that somebody has ended by Ctrl-C, or its supervisor by SIGTERM; shown for a while."""
    who = faults.predicts(w, (0, 10, 15), (60, 0, 15))
    w.gauge(c.PREDICT_UP, (0, 1), (60, 0), **who)
    w.gauge(c.PREDICT_STATE, (0, 1), (60, 0), **who, state="predict")
    w.gauge(c.PREDICT_STATE, (0, 0), (60, 1), **who, state="stopped")
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0), (60, 3600, 0.0)], **who)


def a_failed_validation(w: World) -> None:
    """A notebook keeps the frames of a validation that has failed: it looks as if it went on."""
    who = faults.predicts(w, (0, 10, 15), (60, 0, 15))
    w.gauge(c.PREDICT_STATE, (0, 0), **who, state="predict")
    w.constant(c.PREDICT_STATE, 1, **who, state="validate")
    w.put(c.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, [(0, 0, 1.0), (60, 3600, 0.0)], **who)


def a_few_large_images(w: World) -> None:
    """Three requests a minute with pictures from a drone, after many small ones."""
    faults.predicts(w, (0, 10, 15), (100, 0.05, 90))


def the_first_images_were_small(w: World) -> None:
    """A handful of thumbnails, half an hour of nothing, and then the work begins."""
    faults.predicts(w, (0, 0.02, 15), (60, 10, 90))


def resumed_run(w: World) -> None:
    """resume=True: the epoch begins at 50 and the counters at 0."""
    w.host()
    w.train(Part(4, "setup", busy=0), *epochs(11), start=10, epoch_minutes=12.25, first_epoch=50)


def world(scenario: Callable[[World], None]) -> World:
    """The scenario as a world."""
    made = World(scenario.__name__.replace("_", "-"), minutes=LENGTHS.get(scenario, 90))
    scenario(made)
    return made


def _key(metric: c.Metric, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return metric.name, tuple(sorted(labels.items()))


SCENARIOS: tuple[Callable[[World], None], ...] = (
    one_long_epoch,
    epochs_with_validation,
    short_epochs,
    long_validation,
    very_long_validation,
    checkpoint_on_slow_storage,
    filling_the_cache,
    set_up_on_the_gpu,
    compiled_first_batch,
    cold_page_cache,
    close_mosaic,
    early_stopping,
    shown_for_a_minute,
    restarted_with_fewer_ranks,
    one_run_after_the_other,
    two_runs_share_a_gpu,
    small_model,
    multi_scale,
    one_slow_file,
    older_hooks,
    a_little_waiting,
    short_epochs_start_workers,
    exporter_restart,
    missed_scrapes,
    at_the_power_limit,
    hot_for_a_moment,
    warm,
    idle_node,
    node_without_gpu,
    old_scars,
    allocator_warms_up,
    mosaic_buffers_fill,
    first_epoch_fills_caches,
    first_epoch_fills_caches_beside_an_older_run,
    benchmarks_and_validates,
    oom_is_somebody_elses,
    full_by_nature,
    two_nodes_validate_on_rank_0,
    callbacks_after_epochs,
    two_clusters,
    ranks_differ_a_little,
    one_rank_is_late_between_steps,
    rank_0_is_late_and_validates_alone,
    ranks_not_split,
    trains_a_fifth_of_the_time,
    the_first_minutes_are_easy,
    throughput_settles,
    throughput_of_a_fifth_of_the_time,
    saves_nothing,
    saves_rarely,
    quota_without_harm,
    busy_host_without_training,
    predicts_on_request,
    a_killed_prediction,
    a_stopped_stream,
    a_failed_validation,
    a_few_large_images,
    the_first_images_were_small,
    resumed_run,
)

#: Minutes of those in which something needs longer than an hour and a half.
LENGTHS = {
    long_validation: 150,
    set_up_on_the_gpu: 135,
    very_long_validation: 170,
    one_run_after_the_other: 150,
    early_stopping: 110,
    close_mosaic: 110,
    filling_the_cache: 110,
    ranks_differ_a_little: 110,
    mosaic_buffers_fill: 110,
    throughput_settles: 110,
    throughput_of_a_fifth_of_the_time: 135,
    saves_rarely: 110,
    one_long_epoch: 150,
}
