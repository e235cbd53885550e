"""The field cases that two cores can stage: a real training each, what is done to it, and the right answer.

Each stands for a row of what people report (`row`, in the order of issue 15's list). `right` are the verdicts worse
than ok that must be told, `allowed` those that are true as well and may be told; any other one is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """One training and its diagnosis.

    Attributes:
        why: what happens in it.
        right: verdicts that must be told.
        allowed: verdicts that may be told besides.
        row: the row of the field's reports; 0 for a training that is as it should be, or for a plain verdict.
        options: those of `tests.training.Options`.
        version: the version of Ultralytics.
        images: training images; half as many for validation.
        size: their width and height.
        seconds: how long it is watched, if it does not end by itself before.
        prefix: a command in front of the training's, such as taskset.
        neighbours: processes that keep a CPU busy beside it.
        signal: a signal for a loader worker (`worker`), all of them (`workers`) or the trainer (`main`) after
            `signal_after` seconds.
        said: what the training's own output must contain.
    """

    why: str
    right: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    row: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    version: str = "newest"
    images: int = 400
    size: int = 64
    seconds: float = 50.0
    prefix: tuple[str, ...] = ()
    neighbours: int = 0
    signal: tuple[str, str] | None = None
    signal_after: float = 25.0
    said: str = ""


#: Replaces a function by itself after a wait; `times` of its first calls are spared.
SLOW = """
import importlib, time

def slow(owner, name, seconds, spared=0, once=False):
    module, _, attribute = owner.partition(":")
    owner = importlib.import_module(module)
    owner = getattr(owner, attribute) if attribute else owner
    original, calls = getattr(owner, name), [0]
    def slowed(*args, **kwargs):
        calls[0] += 1
        if calls[0] > spared and not (once and calls[0] > spared + 1):
            time.sleep(seconds)
        return original(*args, **kwargs)
    setattr(owner, name, slowed)

def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
"""
LONG = {"epochs": 1000, "batch": 4, "imgsz": 32}
#: A step that waits as a trainer waits for a GPU: it leaves the two cores to the loader.
STEP = {**LONG, "step_sleep": 0.1}


def sick(why: str, right: str, row: int = 0, *, script: str = "", allowed: str = "", **how: Any) -> Case:
    options = LONG | how.pop("options", {}) | ({"script": SLOW + script} if script else {})
    return Case(why, frozenset(right.split()), frozenset(allowed.split()), row, options, **how)


def fine(why: str, row: int = 0, **how: Any) -> Case:
    return sick(why, "", row, **how)


NO_VAL = {"arguments": {"val": False}}

CASES: dict[str, Case] = {
    # --- set-up
    "setup_scan": sick(
        "the label scan reads from a slow network disk",
        "setup_slow",
        1,
        script='slow("ultralytics.data.dataset", "verify_image_label", 1.5)',
        images=400,
        seconds=270,
    ),
    "setup_cache": sick(
        "cache=ram reads from slow storage",
        "setup_slow",
        1,
        script='slow("ultralytics.data.base", "imread", 1.5)',
        options={"arguments": {"cache": "ram"}},
        images=400,
        seconds=270,
    ),
    "setup_long_then_healthy": fine(
        "half a minute of scan, then all is well",
        1,
        script='slow("ultralytics.data.dataset", "verify_image_label", 0.15)',
        options={**STEP, **NO_VAL},
        images=160,
        seconds=110,
    ),
    # --- other people's callbacks
    "callback_per_batch": sick(
        "a logger takes half a second per batch, two workers",
        "callback_bound",
        2,
        script='model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.5))',
        options={"workers": 2, **NO_VAL},
    ),
    "callback_per_batch_no_workers": sick(
        "the same, without workers",
        "callback_bound",
        2,
        script='model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.5))',
        options={"workers": 0, **NO_VAL},
    ),
    "callback_per_epoch": sick(
        "a logger takes 20 s at the end of each epoch",
        "callback_bound",
        2,
        script='model.add_callback("on_fit_epoch_end", lambda trainer: time.sleep(20))',
        options={"workers": 2, **NO_VAL},
        images=64,
        seconds=110,
    ),
    "callback_computes": sick(
        "a callback draws for half a second per batch: it computes, as the loader does",
        "callback_bound",
        2,
        script='model.add_callback("on_train_batch_end", lambda trainer: work(0.5))',
        options={"workers": 0, **NO_VAL},
    ),
    # --- workers that die or hang
    "worker_killed": sick(
        "a worker gets SIGKILL, as from the OOM killer",
        "worker_died",
        3,
        allowed="failed",
        options={**STEP, "workers": 2, **NO_VAL},
        signal=("worker", "SIGKILL"),
    ),
    "worker_sigbus": sick(
        "a worker gets SIGBUS, as when /dev/shm is full",
        "worker_died",
        3,
        allowed="failed",
        options={**STEP, "workers": 2, **NO_VAL},
        signal=("worker", "SIGBUS"),
    ),
    "workers_hang": sick(
        "both workers hang in a read that does not return",
        "stalled",
        options={**STEP, "workers": 2, **NO_VAL},
        signal=("workers", "SIGSTOP"),
        seconds=75,
    ),
    # --- the loader
    "augmentation": sick(
        "transforms compute, decoding is cheap: a cache gains nothing",
        "loader_cpu",
        4,
        options={**STEP, "workers": 2, "image_work": 0.15, **NO_VAL},
    ),
    "augmentation_cached": sick(
        "the same after the advice to cache was followed",
        "loader_cpu",
        4,
        options={**STEP, "workers": 2, "image_work": 0.15, "arguments": {"val": False, "cache": "ram"}},
    ),
    "sleeping_storage": sick(
        "reads take long, and no disk of this node is busy",
        "loader_wait",
        4,
        script='slow("ultralytics.data.base", "imread", 0.2)',
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "sleeping_storage_no_workers": sick(
        "the same, read by the trainer itself",
        "loader_workers",
        4,
        script='slow("ultralytics.data.base", "imread", 0.2)',
        options={**STEP, "workers": 0, **NO_VAL},
    ),
    "cold_storage": sick(
        "each image costs 3000 reads of a disk that serves them one by one, past the page cache",
        "loader_io",
        script="""
import mmap, os, random, ultralytics.data.base
many = os.path.join(os.path.dirname(options.data), "many")
with open(many, "wb") as file:
    file.write(os.urandom(2**26))
    os.fsync(file.fileno())
read = ultralytics.data.base.imread
def cold(*args, **kwargs):
    page, file = mmap.mmap(-1, 4096), os.open(many, os.O_RDONLY | os.O_DIRECT)
    for _ in range(3000):
        os.preadv(file, [page], 4096 * random.randrange(2**14))
    os.close(file)
    return read(*args, **kwargs)
ultralytics.data.base.imread = cold
""",
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "sleeping_transform": sick(
        "a transform waits for something that is no disk",
        "loader_wait",
        4,
        options={**STEP, "workers": 2, "image_sleep": 0.2, **NO_VAL},
    ),
    "slow_worker": sick(
        "one worker waits, the other does not",
        "slow_worker",
        options={**STEP, "workers": 2, "image_sleep": 0.3, "slow_worker": 1, **NO_VAL},
    ),
    "no_workers": sick(
        "the trainer prepares its batches itself, a CPU idles",
        "loader_workers",
        options={**STEP, "workers": 0, "image_work": 0.08, **NO_VAL},
    ),
    "few_workers": sick(
        "one worker is not enough, a CPU idles",
        "loader_workers",
        options={**STEP, "workers": 1, "image_work": 0.05, **NO_VAL},
    ),
    "workers_capped": sick(
        "16 workers asked for, Ultralytics starts as many as there are CPUs, and they are too few",
        "workers_capped",
        8,
        allowed="loader_wait",
        options={**STEP, "workers": 16, "image_sleep": 0.2, **NO_VAL},
    ),
    "affinity": sick(
        "an affinity that was inherited leaves one CPU to everybody",
        "cpu_affinity",
        7,
        options={**STEP, "workers": 2, "image_work": 0.08, **NO_VAL},
        prefix=("taskset", "--cpu-list", "0"),
    ),
    "loader_startup": sick(
        "workers are started anew for every epoch, and each takes 4 s to begin",
        "loader_startup",
        13,
        script="""
import ultralytics.data.build
seed = ultralytics.data.build.seed_worker
def begin(index):
    time.sleep(4)
    seed(index)
ultralytics.data.build.seed_worker = begin
model.add_callback("on_train_epoch_start", lambda trainer: trainer.epoch and trainer.train_loader.reset())
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=96,
        seconds=80,
    ),
    "loader_spawn": sick(
        "workers are spawned, and imports take their time, anew for every epoch",
        "loader_startup",
        13,
        script="""
import ultralytics.data.build
endless = ultralytics.data.build.InfiniteDataLoader.__iter__
def anew(self, began=[]):
    if began:
        self.reset()
    began.append(True)
    yield from endless(self)
ultralytics.data.build.InfiniteDataLoader.__iter__ = anew
""",
        options={**STEP, "workers": 2, "start_method": "spawn", **NO_VAL},
        images=96,
        seconds=100,
    ),
    "contended": sick(
        "neighbours take the CPUs from workers that would do",
        "cpu_contended",
        22,
        options={**STEP, "workers": 2, "image_work": 0.03, **NO_VAL},
        neighbours=6,
    ),
    # --- the step
    "preprocess": sick(
        "text encoding in preprocess_batch, without a device to copy to",
        "preprocess_bound",
        11,
        script="""
import cpu_trainer
before = cpu_trainer.CpuDetectionTrainer.preprocess_batch
def preprocess(self, batch):
    work(0.3)
    return before(self, batch)
cpu_trainer.CpuDetectionTrainer.preprocess_batch = preprocess
""",
        options={"workers": 2, **NO_VAL},
    ),
    "slow_batch": sick(
        "one batch takes 25 s, as when the label assigner falls back to the CPU",
        "slow_batch",
        18,
        script='slow("ultralytics.utils.tal:TaskAlignedAssigner", "forward", 25, spared=60, once=True)',
        options={**STEP, "workers": 2, **NO_VAL},
        seconds=90,
    ),
    # --- epochs
    "slow_validation": sick(
        "validation takes longer than training",
        "validation_bound",
        20,
        script='slow("ultralytics.models.yolo.detect:DetectionValidator", "postprocess", 1)',
        options={**STEP, "workers": 2},
        images=48,
        seconds=100,
    ),
    "slow_checkpoint": sick(
        "checkpoints go to a slow disk",
        "checkpoint_bound",
        script='slow("cpu_trainer:CpuDetectionTrainer", "save_model", 4)',
        options={**STEP, "workers": 2, **NO_VAL},
        images=48,
        seconds=70,
    ),
    # --- memory
    "host_leak": sick(
        "a callback keeps 4 MiB of every batch, all within the first epoch",
        "host_memory_leak",
        5,
        script="""
kept = []
model.add_callback("on_train_batch_end", lambda trainer: kept.append(bytearray(b"x") * (4 * 2**20)))
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=2000,
        seconds=75,
    ),
    "host_leak_over_epochs": sick(
        "the same over many epochs",
        "host_memory_leak",
        5,
        script="""
kept = []
model.add_callback("on_train_batch_end", lambda trainer: kept.append(bytearray(b"x") * (4 * 2**20)))
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=120,
        seconds=110,
    ),
    # --- ends
    "failed": sick(
        "an exception ends it",
        "failed",
        script="""
def fail(trainer):
    if time.time() - trainer.train_time_start > 15:
        raise RuntimeError("enough")
model.add_callback("on_train_batch_end", fail)
""",
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "killed": sick(
        "it is killed", "killed", options={**STEP, "workers": 2, **NO_VAL}, signal=("main", "SIGKILL"), seconds=50
    ),
    "diverged": sick(
        "weights overflow after 60 batches",
        "diverged",
        script="""
def overflow(trainer, batches=[0]):
    batches[0] += 1
    if batches[0] == 60:
        next(trainer.model.parameters()).data.fill_(float("inf"))
model.add_callback("on_train_batch_start", overflow)
""",
        options={**STEP, "workers": 0, **NO_VAL},
    ),
    # --- ranks
    "rank_0_validates": fine(
        "up to 8.3.217 only rank 0 validates, the others wait",
        6,
        version="8.3.9",
        allowed="validation_bound",
        options={
            "ranks": 2,
            "batch": 8,
            "workers": 0,
            "step_sleep": 0.4,
            "everywhere": SLOW + 'slow("ultralytics.models.yolo.detect:DetectionValidator", "postprocess", 3)',
        },
        images=160,
        seconds=130,
    ),
    "straggler": sick(
        "rank 1 takes longer in each step",
        "straggler",
        31,
        options={"ranks": 2, "batch": 8, "workers": 0, "step_sleep": 0.5, "slow_rank": 1, **NO_VAL},
        images=200,
        seconds=75,
    ),
    "two_ranks": fine(
        "two ranks in step", options={"ranks": 2, "batch": 8, "workers": 0, "step_sleep": 0.3, **NO_VAL}, seconds=75
    ),
    # --- as it should be
    "custom_trainer": fine(
        "a trainer of one's own drops the callbacks: one line says that nothing is recorded",
        27,
        script="""
import cpu_trainer
def drop(self, *args, _begin=cpu_trainer.CpuDetectionTrainer.__init__, **kwargs):
    kwargs.pop("_callbacks", None)
    _begin(self, *args, **kwargs)
cpu_trainer.CpuDetectionTrainer.__init__ = drop
""",
        options={"workers": 0, "epochs": 1, **NO_VAL},
        images=64,
        said="yoloscope: nothing was recorded",
    ),
    "amp_on_a_cpu": fine(
        "AMP is asked for and there is no GPU", 28, options={**STEP, "workers": 2, "arguments": {"amp": True}}
    ),
    "multi_scale": fine(
        "images are scaled in preprocess_batch", 11, options={**STEP, "arguments": {"multi_scale": 0.5, "val": False}}
    ),
    "validation_workers": fine(
        "validation workers stay between validations", 14, options={**STEP, "workers": 2}, images=96
    ),
    "short": fine("two epochs and the end", options={**STEP, "workers": 2, "epochs": 2}, images=160),
}

#: A quota of CPUs for the training and all its processes, by a cgroup of version 1 that is made for it; needs root.
_QUOTA = """
folder=/sys/fs/cgroup/cpu/yoloscope-field; mkdir -p "$folder"; echo "$1" > "$folder/cpu.cfs_quota_us"
echo $$ > "$folder/cgroup.procs"; shift; exec "$@"
"""


def quota(cores: float) -> tuple[str, ...]:
    return ("sh", "-c", _QUOTA, "sh", str(int(cores * 100_000)))


#: A step that really computes, for CPUs of its own.
COMPUTE = {**LONG, "imgsz": 96, "batch": 8}

#: Variants of the kinds above that the rules' authors did not have before them: other times, mixtures, other places.
VARIANTS: dict[str, Case] = {
    # --- now and then
    "callback_now_and_then": sick(
        "a logger uploads for 18 s after every 50th batch, within one long epoch",
        "callback_bound",
        2,
        script="""
def upload(trainer, batches=[0]):
    batches[0] += 1
    if batches[0] % 50 == 0:
        time.sleep(18)
model.add_callback("on_train_batch_end", upload)
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=2000,
        seconds=110,
    ),
    "callback_every_60": sick(
        "a logger draws for 6 s after every 60th batch of a classifier, within one long epoch",
        "callback_bound",
        2,
        script="""
def upload(trainer, batches=[0]):
    batches[0] += 1
    if batches[0] % 60 == 0:
        time.sleep(6)
model.add_callback("on_train_batch_end", upload)
""",
        options={**STEP, "task": "classify", "workers": 2, **NO_VAL},
        images=2000,
        seconds=75,
    ),
    "storage_in_bursts": sick(
        "one read in 120 waits for 9 s, as for a cold object store, in a segmentation",
        "loader_wait",
        4,
        script="""
import ultralytics.data.base
read = ultralytics.data.base.imread
def cold(*args, calls=[0], **kwargs):
    calls[0] += 1
    if calls[0] % 60 == 0:
        time.sleep(9)
    return read(*args, **kwargs)
ultralytics.data.base.imread = cold
""",
        options={**STEP, "task": "segment", "workers": 2, "arguments": {"val": False, "mosaic": 0.0}},
        images=2000,
        seconds=75,
    ),
    "slow_files": sick(
        "four of 400 files take 5 s to read, all others are quick",
        "loader_wait",
        4,
        script="""
import ultralytics.data.base
read = ultralytics.data.base.imread
def cold(path, *args, **kwargs):
    if str(path).endswith("77.jpg"):
        time.sleep(5)
    return read(path, *args, **kwargs)
ultralytics.data.base.imread = cold
""",
        options={**STEP, "workers": 2, "arguments": {"val": False, "mosaic": 0.0}},
        images=400,
        seconds=75,
    ),
    "cold_first_epoch": sick(
        "the first 250 reads are slow, then the page cache has all",
        "loader_wait",
        4,
        script="""
import ultralytics.data.base
read = ultralytics.data.base.imread
def cold(*args, calls=[0], **kwargs):
    calls[0] += 1
    if calls[0] < 125:
        time.sleep(0.25)
    return read(*args, **kwargs)
ultralytics.data.base.imread = cold
""",
        options={**STEP, "workers": 2, "arguments": {"val": False, "mosaic": 0.0}},
        images=400,
        seconds=75,
    ),
    "pause_of_slow_steps": sick(
        "one read waits for 19 s beside steps of 1.3 s",
        "slow_batch",
        18,
        script='slow("ultralytics.data.base", "imread", 19, spared=40, once=True)',
        options={**LONG, "step_sleep": 1.2, "workers": 1, "arguments": {"val": False, "mosaic": 0.0}},
        images=400,
        seconds=80,
    ),
    "workers_anew_every_third_epoch": sick(
        "workers are started anew for every third epoch, and take 8 s",
        "loader_startup",
        13,
        script="""
import ultralytics.data.build
seed = ultralytics.data.build.seed_worker
def begin(index):
    time.sleep(8)
    seed(index)
ultralytics.data.build.seed_worker = begin
def anew(trainer):
    if trainer.epoch and trainer.epoch % 3 == 0:
        trainer.train_loader.reset()
model.add_callback("on_train_epoch_start", anew)
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=96,
        seconds=110,
    ),
    # --- very few batches in an epoch
    "one_batch_per_epoch": sick(
        "eight images make one batch, for which Ultralytics starts no workers, and a transform waits",
        "loader_workers",
        4,
        allowed="checkpoint_bound",
        options={**STEP, "batch": 8, "workers": 2, "image_sleep": 0.3, "arguments": {"val": False, "mosaic": 0.0}},
        images=8,
        seconds=60,
    ),
    "two_batches_per_epoch": sick(
        "sixteen images make two batches, and a transform waits: workers stay from epoch to epoch",
        "loader_wait",
        4,
        allowed="checkpoint_bound",
        options={**STEP, "batch": 8, "workers": 2, "image_sleep": 0.3, "arguments": {"val": False, "mosaic": 0.0}},
        images=16,
        seconds=60,
    ),
    "tiny_data": fine(
        "three batches an epoch: their loss says little, and differs from epoch to epoch",
        30,
        allowed="checkpoint_bound",
        options={**STEP, "workers": 2, **NO_VAL},
        images=12,
        seconds=75,
    ),
    "slow_steps": fine(
        "a batch takes eight seconds",
        options={**LONG, "batch": 16, "step_sleep": 8.0, "workers": 2, **NO_VAL},
        images=48,
        seconds=90,
    ),
    "batch_of_one": fine(
        "one image a batch, rect, cache on disk",
        options={
            **LONG,
            "imgsz": 64,
            "batch": 1,
            "step_sleep": 0.05,
            "workers": 1,
            "arguments": {"rect": True, "cache": "disk"},
        },
        images=200,
    ),
    # --- CPUs that the step itself needs
    "step_contended": sick(
        "neighbours take the CPUs from the step itself; data are ready",
        "cpu_contended",
        22,
        options={**COMPUTE, "workers": 1, **NO_VAL},
        neighbours=4,
    ),
    "step_throttled": sick(
        "a cgroup gives the step half a CPU; data are ready",
        "cpu_throttled",
        22,
        options={**COMPUTE, "workers": 1, **NO_VAL},
        prefix=quota(0.2),
        seconds=75,
    ),
    "step_pinned": sick(
        "an affinity leaves one CPU to the step and its workers; data are ready",
        "cpu_affinity",
        7,
        options={**COMPUTE, "workers": 2, **NO_VAL},
        prefix=("taskset", "--cpu-list", "0"),
    ),
    "throttled_and_slow_storage": sick(
        "a quota bites now and then, but what workers wait for is their storage",
        "loader_wait",
        4,
        script='slow("ultralytics.data.base", "imread", 0.25)',
        options={**STEP, "workers": 2, **NO_VAL},
        prefix=quota(0.3),
        seconds=75,
    ),
    # --- between workers and trainer
    "slow_to_take_over": fine(
        "batches are ready, and it takes the trainer 0.3 s to unpickle each: not the loader's, and not measured",
        4,
        script="""
class Heavy(dict):
    def __reduce__(self):
        return eval, ("__import__('time').sleep(0.3) or content", {"content": dict(self)})
import ultralytics.data.dataset
collate = ultralytics.data.dataset.YOLODataset.collate_fn
ultralytics.data.dataset.YOLODataset.collate_fn = staticmethod(lambda batch: Heavy(collate(batch)))
""",
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "own_loader": sick(
        "a loader of one's own does something with each batch before it hands it out",
        "insufficient_data",
        4,
        script="""
import ultralytics.data.build
endless = ultralytics.data.build.InfiniteDataLoader.__iter__
def fussy(self):
    for batch in endless(self):
        time.sleep(0.3)
        yield batch
ultralytics.data.build.InfiniteDataLoader.__iter__ = fussy
""",
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    # --- validation
    "callback_in_validation": sick(
        "a callback draws for a second with each batch of the validation, of an obb model",
        "callback_bound",
        2,
        script='model.add_callback("on_val_batch_end", lambda validator: time.sleep(1))',
        options={**STEP, "task": "obb", "workers": 2},
        images=48,
        seconds=75,
    ),
    "validation_waits_for_data": sick(
        "only the validation's images lie on slow storage, of a pose model",
        "validation_bound",
        20,
        script="""
import ultralytics.data.base
read = ultralytics.data.base.imread
def cold(path, *args, **kwargs):
    if "/val/" in str(path):
        time.sleep(0.8)
    return read(path, *args, **kwargs)
ultralytics.data.base.imread = cold
""",
        options={**STEP, "task": "pose", "workers": 2},
        images=64,
        seconds=75,
    ),
    # --- memory
    "leak_from_the_middle": sick(
        "after a minute of training a callback begins to keep 6 MiB of every batch",
        "host_memory_leak",
        5,
        allowed="callback_bound checkpoint_bound",
        script="""
kept, begun = [], time.time()
def keep(trainer):
    if time.time() - begun > 70:
        kept.append(bytearray(b"x") * (6 * 2**20))
model.add_callback("on_train_batch_end", keep)
""",
        options={**STEP, "workers": 2, **NO_VAL},
        images=48,
        seconds=130,
    ),
    "leak_in_a_worker": sick(
        "the data set keeps 1 MiB of every image in its workers",
        "host_memory_leak",
        5,
        script="""
import ultralytics.data.base
read, kept = ultralytics.data.base.imread, []
def keeping(*args, **kwargs):
    kept.append(bytearray(b"x") * 2**20)
    return read(*args, **kwargs)
ultralytics.data.base.imread = keeping
""",
        options={**STEP, "workers": 2, "arguments": {"val": False, "mosaic": 0.0}},
        images=120,
        seconds=90,
    ),
    # --- ends
    "worker_raises": sick(
        "an image raises in a worker",
        "failed",
        script="""
import ultralytics.data.base
read = ultralytics.data.base.imread
def broken(*args, calls=[0], **kwargs):
    calls[0] += 1
    if calls[0] > 40:
        raise ValueError("a broken image")
    return read(*args, **kwargs)
ultralytics.data.base.imread = broken
""",
        options={**STEP, "workers": 2, **NO_VAL},
        seconds=45,
    ),
    # --- ranks
    "logger_of_rank_0": sick(
        "the logger of rank 0 takes 20 s at the end of each epoch; rank 1 waits in the next one",
        "callback_bound",
        2,
        options={
            "ranks": 2,
            "batch": 8,
            "workers": 0,
            "step_sleep": 0.4,
            "everywhere": """
def _log(trainer):
    time.sleep(20)
def _with_logger(self, *args, _train=CpuDetectionTrainer._setup_train, **kwargs):
    if IS_RANK and RANK == 0:
        self.add_callback("on_fit_epoch_end", _log)
    return _train(self, *args, **kwargs)
CpuDetectionTrainer._setup_train = _with_logger
""",
            **NO_VAL,
        },
        images=160,
        seconds=130,
    ),
    # --- a second set, by somebody else, its answers written before any of it was staged
    "callback_at_epoch_end": sick(
        "plots are drawn for 9 s when an epoch's batches are over, of a classifier without workers",
        "callback_bound",
        2,
        script='model.add_callback("on_train_epoch_end", lambda trainer: time.sleep(9))',
        options={**STEP, "task": "classify", "workers": 0, **NO_VAL},
        images=160,
        seconds=80,
    ),
    "two_callbacks": sick(
        "two loggers, and neither is much by itself",
        "callback_bound",
        2,
        script="""
def log_scalars(trainer):
    time.sleep(0.05)
def log_images(trainer):
    time.sleep(0.05)
model.add_callback("on_train_batch_end", log_scalars)
model.add_callback("on_train_batch_start", log_images)
""",
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "callback_hides_the_loader": sick(
        "a logger takes longer than the loader needs for a batch: the loader is the next, not this one",
        "callback_bound",
        2,
        script='model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.5))',
        options={**STEP, "task": "segment", "workers": 2, "image_sleep": 0.2, **NO_VAL},
        seconds=60,
    ),
    "quick_logger": fine(
        "a logger of 4 ms per batch",
        2,
        script='model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.004))',
        options={**STEP, "workers": 2, **NO_VAL},
    ),
    "large_photos": sick(
        "photos of 12 million pixels are decoded by the trainer itself, for an image size of 64",
        "loader_workers",
        4,
        options={**STEP, "imgsz": 64, "workers": 0, "arguments": {"val": False, "mosaic": 0.0}},
        images=60,
        size=3500,
        seconds=60,
    ),
    "augmentation_of_masks": sick(
        "mixup and copy_paste on segments compute in both workers",
        "loader_cpu",
        4,
        options={
            **STEP,
            "task": "segment",
            "workers": 2,
            "image_work": 0.1,
            "arguments": {"val": False, "mixup": 0.5, "copy_paste": 0.5},
        },
    ),
    "preprocess_without_workers": sick(
        "preprocess_batch computes, and there are no workers",
        "preprocess_bound",
        11,
        script="""
import cpu_trainer
before = cpu_trainer.CpuDetectionTrainer.preprocess_batch
def preprocess(self, batch):
    work(0.4)
    return before(self, batch)
cpu_trainer.CpuDetectionTrainer.preprocess_batch = preprocess
""",
        options={"workers": 0, "arguments": {"val": True}},
        images=120,
    ),
    "a_worker_ends": sick(
        "one of two workers is told to end by SIGTERM late in the training",
        "worker_died",
        3,
        allowed="failed",
        options={**STEP, "task": "pose", "workers": 2, "image_sleep": 0.01},
        signal=("worker", "SIGTERM"),
        signal_after=40.0,
        seconds=70,
    ),
    "loss_swings": sick(
        "a learning rate far too high in every second epoch, after the warm-up",
        "loss_unstable",
        30,
        allowed="diverged checkpoint_bound",
        script="""
def swing(trainer):
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.2 if trainer.epoch % 2 else 1e-4
model.add_callback("on_train_batch_start", swing)
""",
        options={
            **LONG,
            "step_sleep": 0.05,
            "workers": 1,
            "imgsz": 64,
            "arguments": {"val": False, "warmup_epochs": 1.0},
        },
        images=60,
        seconds=110,
    ),
    "leak_of_one_rank": sick(
        "rank 1 alone keeps 6 MiB of every batch",
        "host_memory_leak",
        5,
        options={
            "ranks": 2,
            "batch": 8,
            "workers": 0,
            "step_sleep": 0.2,
            "everywhere": """
_kept = []
def _keep(trainer):
    _kept.append(bytearray(b"x") * (6 * 2**20))
def _keeping(self, *args, _train=CpuDetectionTrainer._setup_train, **kwargs):
    if IS_RANK and RANK == 1:
        self.add_callback("on_train_batch_end", _keep)
    return _train(self, *args, **kwargs)
CpuDetectionTrainer._setup_train = _keeping
""",
            **NO_VAL,
        },
        images=2000,
        seconds=110,
    ),
    "storage_of_one_rank": sick(
        "the data of rank 1 lie on slow storage; rank 0 waits for it in each step",
        "straggler",
        31,
        allowed="loader_workers loader_wait",
        options={
            "ranks": 2,
            "batch": 8,
            "workers": 0,
            "step_sleep": 0.2,
            "everywhere": """
import time
import ultralytics.data.base
_read = ultralytics.data.base.imread
def _cold(*args, **kwargs):
    if IS_RANK and RANK == 1:
        time.sleep(0.1)
    return _read(*args, **kwargs)
ultralytics.data.base.imread = _cold
""",
            "arguments": {"val": False, "mosaic": 0.0},
        },
        images=400,
        seconds=90,
    ),
    "setup_downloads": sick(
        "weights are fetched over a slow line before the model is there",
        "setup_slow",
        1,
        script='slow("cpu_trainer:CpuDetectionTrainer", "get_model", 400)',
        options={**STEP, "workers": 0, **NO_VAL},
        images=40,
        seconds=200,
    ),
    "long_start_of_the_first_batch": fine(
        "the first step takes 12 s, as compiling does, and then all is well",
        1,
        script='slow("cpu_trainer:CpuDetectionTrainer", "preprocess_batch", 12, once=True)',
        options={**STEP, "workers": 2, **NO_VAL},
        seconds=75,
    ),
    "neighbours_that_yield": fine(
        "neighbours use whatever is idle and step back",
        22,
        options={**STEP, "workers": 2, "image_work": 0.01, **NO_VAL},
        prefix=("nice", "-n", "-15"),
        neighbours=3,
        seconds=60,
    ),
    "checkpoint_of_an_old_version": sick(
        "8.3.9 writes its checkpoints to a slow disk, and validates",
        "checkpoint_bound",
        version="8.3.9",
        script='slow("cpu_trainer:CpuDetectionTrainer", "save_model", 5)',
        options={**STEP, "workers": 0},
        images=48,
        seconds=80,
    ),
    "validation_of_two_ranks": fine(
        "two ranks with a worker each, and a validation of normal length",
        6,
        options={"ranks": 2, "batch": 8, "workers": 1, "step_sleep": 0.4},
        images=240,
        seconds=100,
    ),
    "ends_well": fine(
        "early stopping ends it after a few epochs",
        options={**STEP, "workers": 2, "epochs": 60, "imgsz": 64, "arguments": {"patience": 2, "lr0": 1e-9}},
        images=60,
        seconds=100,
    ),
    "slow_validation_data_without_workers": sick(
        "transforms of the validation compute, and take as long as the training",
        "validation_bound",
        20,
        script='slow("ultralytics.models.yolo.detect:DetectionValidator", "preprocess", 0.7)',
        options={**STEP, "workers": 0},
        images=60,
        seconds=90,
    ),
    # --- a third set, by somebody else again, its answers written before any of it was staged
    "logger_of_a_segmentation": sick(
        "a logger takes 40 ms before each batch, of a segmentation in 8.4.2",
        "callback_bound",
        2,
        version="8.4.2",
        script='model.add_callback("on_train_batch_start", lambda trainer: time.sleep(0.04))',
        options={**STEP, "task": "segment", "workers": 2, **NO_VAL},
    ),
    "storage_of_an_obb_model": sick(
        "one worker waits for its files, of an obb model in 8.4.2",
        "loader_wait",
        4,
        version="8.4.2",
        script='slow("ultralytics.data.base", "imread", 0.15)',
        options={**STEP, "task": "obb", "workers": 1, "arguments": {"val": False, "mosaic": 0.0}},
    ),
    "spawned_worker_killed": sick(
        "a spawned worker of a classifier gets SIGKILL",
        "worker_died",
        3,
        allowed="failed",
        options={**STEP, "task": "classify", "workers": 2, "start_method": "spawn", **NO_VAL},
        images=1000,
        signal=("worker", "SIGKILL"),
        signal_after=35.0,
        seconds=60,
    ),
    "short_and_starved": sick(
        "forty batches in all, which the trainer prepares itself, and a transform waits",
        "loader_workers",
        4,
        options={**STEP, "epochs": 1, "workers": 0, "image_sleep": 0.08, **NO_VAL},
        images=160,
        seconds=60,
    ),
    "short_and_healthy": fine(
        "forty-eight batches of a classifier in all, with two validations",
        options={**STEP, "task": "classify", "epochs": 2, "workers": 2, "step_sleep": 0.2},
        images=96,
        seconds=60,
    ),
    "killed_in_the_first_epoch": sick(
        "it is killed before there is a checkpoint",
        "killed",
        options={**STEP, "workers": 0, **NO_VAL},
        images=2000,
        signal=("main", "SIGKILL"),
        signal_after=20.0,
        seconds=40,
    ),
    "plots_at_the_end": fine(
        "plots are drawn for 25 s when all is over",
        2,
        allowed="callback_bound",
        script='model.add_callback("on_train_end", lambda trainer: time.sleep(25))',
        options={**STEP, "epochs": 3, "workers": 2, **NO_VAL},
        images=160,
        seconds=75,
    ),
    "fails_in_set_up": sick(
        "the model cannot be built",
        "failed",
        script="""
import cpu_trainer
def broken(self, *args, **kwargs):
    time.sleep(6)
    raise FileNotFoundError("weights.pt does not exist")
cpu_trainer.CpuDetectionTrainer.get_model = broken
""",
        options={**STEP, "workers": 0, **NO_VAL},
        images=40,
        seconds=40,
    ),
    "leak_in_validation": sick(
        "a callback keeps 6 MiB of every batch of the validation",
        "host_memory_leak",
        5,
        allowed="validation_bound callback_bound checkpoint_bound",
        script="""
kept = []
model.add_callback("on_val_batch_end", lambda validator: kept.append(bytearray(b"x") * (6 * 2**20)))
""",
        options={**STEP, "workers": 2},
        images=120,
        seconds=110,
    ),
    "capped_and_computing": sick(
        "six workers asked for, two started: they compute on all CPUs, more would not help",
        "loader_cpu",
        8,
        options={**STEP, "workers": 6, "image_work": 0.12, **NO_VAL},
    ),
    "preprocess_of_one_rank": sick(
        "rank 1 alone encodes texts for 0.2 s in preprocess_batch",
        "straggler preprocess_bound",
        11,
        options={
            "ranks": 2,
            "batch": 8,
            "workers": 0,
            "step_sleep": 0.3,
            "everywhere": """
import time
def _encode(self, batch, _before=CpuDetectionTrainer.preprocess_batch):
    if IS_RANK and RANK == 1:
        time.sleep(0.2)
    return _before(self, batch)
CpuDetectionTrainer.preprocess_batch = _encode
""",
            **NO_VAL,
        },
        images=400,
        seconds=75,
    ),
}

TASKS = ("detect", "segment", "pose", "obb", "classify")
VERSIONS = ("8.3.9", "8.4.2", "newest")


def _healthy(task: str, version: str, workers: int, *, val: bool) -> Case:
    options = {"task": task, "workers": workers, "imgsz": 64, "step_sleep": 0.2, "arguments": {"val": val}}
    name = f"{task} on {version} with {workers} workers, {'with' if val else 'without'} validation"
    return fine(f"healthy: {name}", version=version, options=options, images=240)


HEALTHY: dict[str, Case] = {
    f"healthy_{task}_{version}_{workers}{'' if val else '_no_val'}": _healthy(task, version, workers, val=val)
    for task in TASKS
    for version in VERSIONS
    for workers in (0, 2)
    for val in (True, False)
}
#: A training whose step really computes, and nothing sleeps.
COMPUTING: dict[str, Case] = {
    f"computing_{name.removeprefix('healthy_')}": replace(
        case, options={**case.options, "step_sleep": 0.0, "imgsz": 96, "batch": 8}
    )
    for name, case in HEALTHY.items()
    if "newest_2" in name
}
EVERY: dict[str, Case] = CASES | VARIANTS | HEALTHY | COMPUTING
