"""Signals that the recordings of the corpus do not tell apart, and their table."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yoloscope_exporter
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import causes, engine, rules, signals
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.peers import with_peers
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.ranks import WAITED_FOR
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.measures.thresholds import DEFAULTS

from tests.recordings.model import START, Plan, play

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def node(*samples: Sample) -> dict[str, signals.Signals]:
    """Signals of rank 0 by run, on a node of 16 CPUs that says so twice."""
    store = Store()
    for time in (100.0, 101.0):
        store.add(time, [Sample(c.CPU_CORES, (), 16.0), *samples])
    window = Window(store, 100.0, 101.0)
    return {one.run: one for one in signals.gather([(window, window)]) if one.rank == "0"}


def ranks(run: str, count: int) -> list[Sample]:
    return [Sample(c.TRAIN_UP, (run, str(rank)), 1.0) for rank in range(count)]


def affinity(run: str, cores: float) -> Sample:
    return Sample(c.TRAIN_PROCESS_AFFINITY_CORES, (run, "0", "worker"), cores)


def quota(run: str, cores: float) -> Sample:
    return Sample(c.CGROUP_CPU_QUOTA_CORES, (run,), cores)


def allowed(run: str, cores: float, share: float) -> list[Sample]:
    """CPUs that rank 0's workers may run on, and its share of them."""
    labels = (run, "0", "worker")
    told = [Sample(c.TRAIN_PROCESS_AFFINITY_CORES, labels, cores)]
    return [*told, Sample(c.TRAIN_PROCESS_FAIR_CORES, labels, share)] if share else told


def test_a_lost_gpu_is_none_to_train_on() -> None:
    """It keeps its facts, but nobody can be told to use it."""
    facts = [Sample(c.GPU_INFO, (gpu, f"GPU-{gpu}", "H100", "580", "13.0", gpu), 1.0) for gpu in "01"]
    assert node(*ranks("a", 1), *facts)["a"].gpus == 2
    assert node(*ranks("a", 1), *facts, Sample(c.GPU_UP, ("0",), 1.0), Sample(c.GPU_UP, ("1",), 0.0))["a"].gpus == 1


@pytest.mark.parametrize(
    ("kinds", "computing", "told"),
    [
        (["9p", "9p"], 0.1, 2.0),
        (["nfs4"], 0.1, 1.0),
        (["9p", "ext4"], 0.1, None),
        (["9p", ""], 0.1, None),
        ([], 0.1, None),
        (["nfs4", "nfs4"], 0.5, None),  # they were decoded for most of their time
        (["nfs4"], None, None),
    ],
)
def test_slowest_files_that_come_over_a_network(kinds: list[str], computing: float | None, told: float | None) -> None:
    """Drives of Windows in WSL2 do; nothing is said unless all of them are known to, and were waited for."""
    files = [("a", "0", f"/mnt/c/{number}.jpg") for number in range(len(kinds))]
    slow = [
        Sample(c.TRAIN_SLOW_FILE_INFO, (*file, "640", "480", "JPEG", kind, ""), 1.0)
        for file, kind in zip(files, kinds, strict=True)
    ]
    slow += [Sample(c.TRAIN_SLOW_FILE_SECONDS, file, 0.8) for file in files]
    if computing is not None:
        slow += [Sample(c.TRAIN_SLOW_FILE_CPU_SECONDS, file, computing) for file in files]
    assert node(*ranks("a", 1), *slow)["a"].numbers.get("slow_files_on_network") == told


@pytest.mark.parametrize(
    ("samples", "cores"),
    [
        (ranks("a", 1), 16.0),
        (ranks("a", 4), 4.0),
        ([*ranks("a", 1), *ranks("b", 7)], 2.0),
        ([*ranks("a", 2), quota("a", 6.0)], 3.0),
        ([*ranks("a", 2), affinity("a", 8.0)], 8.0),  # each rank has its own
        ([*ranks("a", 1), affinity("a", 2.0)], 2.0),
        ([*ranks("a", 1), *ranks("b", 1), quota("a", 6.0)], 6.0),  # another run's rank has no part in this quota
        ([*ranks("a", 4), *allowed("a", 4, 3.0)], 3.0),  # pinned: each rank has its own
        ([*ranks("a", 4), *allowed("a", 8, 2.0)], 2.0),  # a container's eight CPUs for all four
        ([*ranks("a", 4), *allowed("a", 4, 0.0)], 4.0),  # an exporter of version 0.1 does not tell the share
    ],
)
def test_cpus_for_each_rank(samples: list[Sample], cores: float) -> None:
    """All trainers share the node's CPUs, those of a run its quota."""
    assert node(*samples)["a"].rank_cores == cores


@pytest.mark.parametrize("idle", [0, 16])
def test_validation_workers_do_not_hide_how_long_the_others_queue(idle: int) -> None:
    """Older hooks count both as `worker`; eight were asked for."""
    who, store = ("a", "0"), Store()
    for time in range(100, 131):
        queued = Sample(c.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, (*who, "worker"), 8 * 0.55 * time)
        count = Sample(c.TRAIN_PROCESSES, (*who, "worker"), 8.0 + idle)
        computed = Sample(c.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (*who, "main"), float(time))
        store.add(time, [*ranks("a", 1), Sample(c.TRAIN_WORKERS, who, 8.0), queued, count, computed])
    window = Window(store, 100.0, 130.0)
    (one,) = signals.gather([(window, window)])
    assert one.runqueue_share == pytest.approx(0.55)


@pytest.mark.parametrize(("seconds", "queueing"), [(9, None), (19, None), (29, 0.5)])
def test_how_long_workers_queue_is_not_known_before_processes_were_read_twice(
    seconds: int, queueing: float | None
) -> None:
    """They are read every ten seconds; until then a counter that stands still says nothing."""
    who, store = ("a", "0"), Store()
    for time in range(100, 101 + seconds):
        read = float(time // 10 * 10)
        queued = Sample(c.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, (*who, "worker"), 4 * 0.5 * read)
        computed = Sample(c.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (*who, "worker"), 4 * 0.4 * read)
        count = Sample(c.TRAIN_PROCESSES, (*who, "worker"), 4.0)
        store.add(time, [*ranks("a", 1), Sample(c.TRAIN_WORKERS, who, 4.0), queued, computed, count])
    window = Window(store, 100.0, 100.0 + seconds)
    (one,) = signals.gather([(window, window)])
    assert one.numbers.get("runqueue_share") == queueing


def test_without_workers_the_training_process_is_the_one_that_queues() -> None:
    """It prepares the batches; there is nobody else whose waiting could be read."""
    who, store = ("a", "0"), Store()
    for time in range(100, 131):
        queued = Sample(c.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, (*who, "main"), 0.3 * time)
        computed = Sample(c.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (*who, "main"), 0.6 * time)
        store.add(time, [*ranks("a", 1), Sample(c.TRAIN_WORKERS, who, 0.0), queued, computed])
    window = Window(store, 100.0, 130.0)
    (one,) = signals.gather([(window, window)])
    assert one.runqueue_share == pytest.approx(0.3)


@pytest.mark.parametrize(("done", "left"), [(30.0, 70.0), (100.0, None), (130.0, None)])
def test_a_process_has_a_first_epoch_of_its_own(done: float, left: float | None) -> None:
    """A run resumed in epoch 57 fills its caches anew; its batches are counted from the start of the process."""
    who = ("a", "0")
    counts = [Sample(c.TRAIN_EPOCH_BATCHES, who, 100.0), Sample(c.TRAIN_BATCHES_TOTAL, who, done)]
    store = Store()
    for time in range(100, 131):
        resident = Sample(c.TRAIN_PROCESS_RESIDENT_BYTES, (*who, "main"), 1e9)
        store.add(
            time,
            [*ranks("a", 1), Sample(c.TRAIN_EPOCH, who, 57.0), Sample(c.TRAIN_WORKERS, who, 1.0), *counts, resident],
        )
    window = Window(store, 100.0, 130.0)
    (one,) = signals.gather([(window, window)])
    assert one.numbers.get("first_epoch_left") == left
    assert one.resident_growth_bytes == 0.0


def test_whose_memory_grows_is_read_where_its_growth_is() -> None:
    """The trainer fills a cache of 50 GB in the set-up; later the validation's workers come, and the others leak."""
    who, store = ("a", "0"), Store()
    for time in range(200):
        after = max(time - 100, 0)
        held = {"main": 1e9 + min(time, 50) * 1e9, "worker": 4e9 + after * 1e8, "val_worker": 1e11 * (time > 150)}
        resident = [Sample(c.TRAIN_PROCESS_RESIDENT_BYTES, (*who, role), value) for role, value in held.items()]
        epoch = Sample(c.TRAIN_EPOCH, who, 1.0 if time < 100 else 2.0)
        store.add(100.0 + time, [*ranks("a", 1), epoch, *resident])
    window = Window(store, 100.0, 299.0)
    (one,) = signals.gather([(window, window)])
    assert one.names["growing"] == "worker"


def test_shared_memory_is_the_ranks_own_where_it_is_known() -> None:
    """The exporter of a node sees another /dev/shm than a training in a container."""
    mount = ("/dev/shm", "tmpfs")
    of_node = [
        Sample(c.FILESYSTEM_SIZE_BYTES, mount, 64 * 2.0**30),
        Sample(c.FILESYSTEM_AVAILABLE_BYTES, mount, 60 * 2.0**30),
    ]
    of_rank = [
        Sample(c.TRAIN_SHM_SIZE_BYTES, ("a", "0"), 2.0**26),
        Sample(c.TRAIN_SHM_AVAILABLE_BYTES, ("a", "0"), 2.0**20),
    ]
    without, own = (node(*ranks("a", 1), *of_node, *more)["a"] for more in ([], of_rank))
    assert (without.shm_size_bytes, without.shm_least_bytes) == (64 * 2.0**30, 60 * 2.0**30)
    assert (own.shm_size_bytes, own.shm_least_bytes) == (2.0**26, 2.0**20)


@pytest.mark.parametrize(("of_cgroup", "kills"), [([], (None, 2.0)), ([0.0, 1.0], (1.0, None))])
def test_oom_kills_are_those_of_the_cgroup_where_it_counts(
    of_cgroup: list[float], kills: tuple[float | None, ...]
) -> None:
    """The node's may be somebody else's."""
    store = Store()
    for index, time in enumerate((100.0, 101.0)):
        counted = [Sample(c.CGROUP_OOM_KILLS_TOTAL, ("a",), count) for count in of_cgroup[index : index + 1]]
        store.add(time, [*ranks("a", 1), Sample(c.MEMORY_OOM_KILLS_TOTAL, (), 5.0 + 2 * index), *counted])
    window = Window(store, 100.0, 101.0)
    (one,) = signals.gather([(window, window)])
    assert (one.numbers.get("oom_kills"), one.numbers.get("node_oom_kills")) == kills


def ended(state: str, kills: Mapping[int, float], metric: c.Metric, *labels: str) -> Signals:
    """A rank that ended at 160 and had its last batch at 155, on a node that counts kills like that since its boot."""
    store, who = Store(), ("a", "0")
    for time in range(100, 171):
        now = state if time >= 160 else "train"
        counted = [count for since, count in kills.items() if since <= time][-1:]
        store.add(
            float(time),
            [
                Sample(c.TRAIN_UP, who, float(time < 160)),
                Sample(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, who, float(min(time, 155))),
                *(Sample(c.TRAIN_STATE, (*who, one), float(one == now)) for one in c.STATES),
                *(Sample(metric, labels, count) for count in counted),
            ],
        )
    window = Window(store, 100.0, 170.0)
    (one,) = signals.gather([(window, window)])
    return one


@pytest.mark.parametrize(
    ("kills", "of_the_run"),
    [
        ({100: 12.0}, 0.0),
        ({101: 12.0}, 0.0),  # counted since boot, read for the first time
        ({100: 12.0, 120: 13.0}, 0.0),  # before its last batch: somebody else's
        ({100: 12.0, 160: 13.0}, 1.0),
        ({100: 12.0, 156: 13.0}, 1.0),  # by the next sample
    ],
)
def test_kills_of_the_node_are_those_since_the_last_batch(kills: dict[int, float], of_the_run: float) -> None:
    """Anybody's count there; what a run survived did not end it."""
    assert ended("killed", kills, c.MEMORY_OOM_KILLS_TOTAL).node_oom_kills == of_the_run


def test_kills_of_a_cgroup_count_from_its_beginning() -> None:
    """The exporter may see it for the first time after the death; a run that failed had its workers killed before."""
    of_cgroup = (c.CGROUP_OOM_KILLS_TOTAL, "a")
    assert ended("killed", {160: 1.0}, *of_cgroup).oom_kills == 1.0
    assert ended("killed", {100: 0.0, 120: 1.0}, *of_cgroup).oom_kills == 0.0
    assert ended("failed", {100: 0.0, 120: 1.0}, *of_cgroup).oom_kills == 1.0


def test_ranks_of_a_run_are_not_those_of_the_node() -> None:
    """A data set cached in memory is kept once for each rank of its own run."""
    one = node(*ranks("a", 2), *ranks("b", 3))["a"]
    assert (one.run_ranks, one.ranks) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("shares", "told"), [([0.25, 0.3, 0.25, 0.25], True), ([0.25, 0.02, 0.25, 0.25], False), ([0.25], True)]
)
def test_ranks_of_other_nodes_are_not_seen(shares: list[float], told: bool) -> None:  # noqa: FBT001 - a parameter
    """All of a node wait alike for the exchange, or for one elsewhere: which, is not said; a late one here is."""
    here = [
        Signals("a", str(rank), "train", numbers={"exposed_share": share, "world_size": 8.0})
        for rank, share in enumerate(shares)
    ]
    for one in with_peers(here, Faults()):
        assert (one.unseen_ranks, one.least_exposed_share) == (8.0 - len(shares), min(shares))
        assert engine.judge(one, DEFAULTS)["communication_bound"] == told
        rule = rules.BY_NAME["communication_bound"]
        assert f"{8 - len(shares)} ranks of the run's 8 cannot be seen" in rule.evidence(one, DEFAULTS)
        assert "not known here" in rule.cause(one, DEFAULTS)  # type: ignore[operator]
        assert "--prometheus" in str(rule.fix(one))


@pytest.mark.parametrize(
    ("peer", "cause"),
    [
        ({"end_signal": "SIGSEGV", "end_event": "job_cancelled"}, "launcher"),
        ({}, "launcher"),  # kill -9
        ({"end_signal": "SIGTERM"}, "eviction"),
        ({"end_event": "job_over"}, "eviction"),  # it made nothing of SIGTERM
        ({"end_event": "reboot"}, "eviction"),
    ],
    ids=["crash", "kill", "all", "time", "reboot"],
)
def test_a_rank_that_went_with_another_one(peer: dict[str, str], cause: str) -> None:
    """Torchrun ends those that are left by SIGTERM: neither Slurm nor Kubernetes has."""
    told = {"end_signal": "SIGTERM", "end_pod": "train-0"}
    here = [
        Signals("a", "0", "killed", names=told),
        Signals("a", "1", "killed", names=peer),
        Signals("a", "2", "train"),
    ]
    found = causes.cause_of(with_peers(here, Faults())[0])
    assert found
    assert found.name == cause


def test_a_rank_without_peers_exchanges_nothing() -> None:
    """One GPU, or a world whose size is not known."""
    for numbers in ({"world_size": 1.0}, {}):
        (one,) = with_peers([Signals("a", "0", "train", numbers={"exposed_share": 0.25, **numbers})], Faults())
        assert "communication_bound" not in engine.judge(one, DEFAULTS)


def test_a_signal_is_its_own_name_on_the_class_and_a_number_on_a_rank() -> None:
    """Unknown ones raise; `get` and `has` ask before."""
    one = Signals("run", "0", numbers={"workers": 4.0})
    assert (Signals.workers.name, one.workers, one.has(Signals.workers)) == ("workers", 4.0, True)
    assert (one.has(Signals.lag), one.get(Signals.lag, 0.5)) == (False, 0.5)
    with pytest.raises(KeyError, match="lag"):
        assert one.lag
    more = one.with_numbers({Signals.lag: 0.1, Signals.epoch: None, Signals.workers: 2.0}, {"gpu": "1"})
    assert (more.numbers, more.names) == ({"workers": 2.0, "lag": 0.1}, {"gpu": "1"})


def test_no_two_areas_have_a_signal_of_the_same_name() -> None:
    """One would hide the other."""
    names = [name for area in Signals.__bases__ for name in vars(area) if name in signals.SIGNALS]
    assert len(names) == len(signals.SIGNALS)


def test_every_signal_is_read() -> None:
    """By a rule, an advice, or whoever shows the diagnosis; what nobody reads is not computed."""
    source = Path(yoloscope_exporter.__file__).parent
    read = {node.attr for path in source.rglob("*.py") for node in _attributes(path)}
    assert set(signals.SIGNALS) - read == set()


def _attributes(path: Path) -> Iterator[ast.Attribute]:
    """`s.name` and `Signals.name`; an area's own `StepSignals.name` is where it is computed."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in {"s", "Signals", "alone"}:
                yield node
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "told.signals":
            yield node


def test_every_metric_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter keeps, and a Prometheus is asked for, what signals.METRICS names: nothing else may be looked at."""
    asked: set[str] = set()
    for name in ("one", "family", "selection"):
        usual = getattr(Store, name)

        def listen(self: Store, metric: c.Metric | str, *rest: object, usual: object = usual) -> object:
            asked.add(metric if isinstance(metric, str) else metric.name)
            return usual(self, metric, *rest)  # type: ignore[operator]

        monkeypatch.setattr(Store, name, listen)
    store = play(Plan(ranks=2, epochs=3, batches=60))
    window = Window(store, store.first, store.last - 22, 2.0)
    signals.gather([(window, window)])
    signals.of_node(window, window, DEFAULTS)
    assert len(asked) > 50
    assert asked <= signals.METRICS


def epochs(epoch: float, batches: float) -> list[Sample]:
    """A training of eight batches an epoch."""
    who = ("a", "0")
    told = {c.TRAIN_UP: 1.0, c.TRAIN_EPOCH: epoch, c.TRAIN_EPOCH_BATCHES: 8.0, c.TRAIN_BATCHES_TOTAL: batches}
    return [Sample(metric, who, value) for metric, value in told.items()]


@pytest.mark.parametrize(
    ("epoch", "batches", "done"), [(1, 8, 1.0), (2, 8, 0.0), (2, 16, 1.0), (1, 5, 0.0), (50, 8, 1.0)]
)
def test_a_young_run_is_past_its_epochs_end_once_the_next_has_begun(epoch: int, batches: int, done: float) -> None:
    """The hooks have not told the next epoch's first batches yet; a resumed run counts its epochs otherwise."""
    assert node(*epochs(epoch, batches))["a"].epoch_done == done


def validating(seconds: int, still_from: dict[str, int], reads: bool = False) -> dict[str, signals.Signals]:  # noqa: FBT001, FBT002
    """Ranks by number that have validated for so long, each without a move since then."""
    store = Store()
    for time in range(0, seconds + 1, 5):
        samples = []
        for rank, still in still_from.items():
            who = ("a", rank)
            moved = float(min(time, still))
            samples += [
                Sample(c.TRAIN_UP, who, 1.0),
                Sample(c.TRAIN_STATE, (*who, "validate"), 1.0),
                Sample(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, who, 1000.0),
                Sample(c.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (*who, "main"), moved),
                Sample(c.TRAIN_PROCESS_READ_BYTES_TOTAL, (*who, "val_worker"), 1e6 * time if reads else 1e6),
            ]
        store.add(1000.0 + time, samples)
    window = Window(store, 1000.0, 1000.0 + seconds, 5.0)
    return {one.rank: one for one in signals.gather([(window, window)])}


def test_a_validation_in_which_nothing_moves_stands_still() -> None:
    """It has no batches to go by: CPU time, reading and the GPU tell."""
    stalled = rules.BY_NAME["stalled"]
    (hung,) = validating(200, {"0": 100}).values()
    assert hung.still_seconds == pytest.approx(100, abs=5)
    assert stalled.applies(hung)
    assert stalled.when(hung, DEFAULTS)
    assert "nothing has moved for 100 s (limit 60 s) while the state is 'validate'" in stalled.evidence(hung, DEFAULTS)
    for moving in (validating(200, {"0": 200}), validating(200, {"0": 150}), validating(200, {"0": 100}, reads=True)):
        assert not stalled.when(moving["0"], DEFAULTS)


def test_a_rank_that_waits_for_one_that_moves_does_not_stand_still() -> None:
    """Rank 0 has done its part of the validation; both stand still where the other one does, too."""
    stalled = rules.BY_NAME["stalled"]
    waiting = validating(300, {"0": 100, "1": 300})
    assert [stalled.when(waiting[rank], DEFAULTS) for rank in "01"] == [False, False]
    hung = validating(300, {"0": 100, "1": 150})
    assert [stalled.when(hung[rank], DEFAULTS) for rank in "01"] == [True, True]
    long_ago = validating(900, {"0": 100, "1": 900})  # whatever the other one does: ten minutes are too many
    assert stalled.when(long_ago["0"], DEFAULTS)


def test_where_it_hangs_is_part_of_the_evidence() -> None:
    """And the remedy speaks of the file that is not opened, or of the process that was stopped."""
    stalled = rules.BY_NAME["stalled"]
    facts = ["0", "worker 1", "47", "open() of /nfs/1.jpg", "imread", "/x/site-packages/cv2.py", "9", "rank 0 waits"]
    running = [*epochs(1, 5), Sample(c.TRAIN_STATE, ("a", "0", "train"), 1.0)]
    s = node(*running, Sample(c.TRAIN_HANG_INFO, ("a", "0", *facts), 1.0))["a"]
    s = s.with_numbers({Signals.last_batch_age: 99.0})
    told = "rank 0, worker 1 (pid 47), open() of /nfs/1.jpg: imread (cv2.py:9); rank 0 waits"
    assert stalled.evidence(s, DEFAULTS).endswith(f"; {told}")
    assert "/nfs/1.jpg" in str(stalled.fix(s))
    assert callable(stalled.cause)
    assert stalled.cause(s, DEFAULTS).startswith("rank 0's worker 1 does not get on")
    facts[3] = "stopped (SIGSTOP, or a debugger)"
    stopped = node(*running, Sample(c.TRAIN_HANG_INFO, ("a", "0", *facts), 1.0))["a"]
    assert str(stalled.fix(stopped)) == "kill -CONT 47 lets it go on"


GIB = 2.0**30


def halved(reductions: float) -> signals.Signals:
    """A rank that reserved 79 GiB for 32 images, and 42 for 16; on a device of 80 GiB, seen over a minute each."""
    store, run = Store(), ("a", "0")
    for time in range(0, 120, 2):
        after = time >= 60
        now = {"reserved": 42.0 if after else 79.0, "peak_reserved": 79.0, "allocated": 5.0}
        store.add(
            100.0 + time,
            [
                *ranks("a", 1),
                Sample(c.TRAIN_DEVICE_INFO, (*run, "0", "GPU-1"), 1.0),
                Sample(c.GPU_MEMORY_TOTAL_BYTES, ("0",), 80 * GIB),
                Sample(c.GPU_MEMORY_USED_BYTES, ("0",), (now["reserved"] + 1) * GIB),
                Sample(c.TRAIN_BATCH_SIZE, run, 16.0 if after and reductions else 32.0),
                Sample(c.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, run, reductions * after),
                *(Sample(c.TRAIN_CUDA_MEMORY_BYTES, (*run, kind), size * GIB) for kind, size in now.items()),
            ],
        )
    (one,) = signals.gather([(Window(store, 170.0, 218.0, 2.0), Window(store, 100.0, 218.0, 2.0))])
    return one


def test_the_peak_of_a_larger_batch_is_no_peak_of_this_one() -> None:
    """Review r12: after Ultralytics halved the batch, that the device had been full told of pressure for ever."""
    one = halved(1.0)
    assert one.cuda_batch_peak_bytes == 42 * GIB
    assert one.cuda_reserved_bytes == 42 * GIB
    assert one.cuda_peak_share == pytest.approx(42 / 80)
    assert not rules.BY_NAME["gpu_memory_pressure"].when(one, DEFAULTS)


def test_the_peak_of_the_run_counts_while_its_batch_is_what_it_was() -> None:
    """A validation that took more than the steps of now is to come again."""
    one = halved(0.0)
    assert one.cuda_batch_peak_bytes == 79 * GIB
    assert rules.BY_NAME["gpu_memory_pressure"].when(one, DEFAULTS)


def test_a_spread_is_that_of_images_per_second() -> None:
    """Over parts of the window: a steady training has little of it."""
    window = Window(play(Plan(epochs=1, batches=300)), START + 20, START + 80, 2.0)
    (one,) = signals.gather([(window, window)])
    assert 0 < one.throughput_spread < 0.1
    assert one.trainer_cores == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("ends", "still"), [((1.0, 0.0), False), ((0.0, 0.0), True), ((1.0, 1.0), True)])
def test_a_rank_that_waits_for_the_logger_of_another_does_not_stand_still(
    ends: tuple[float, float], *, still: bool
) -> None:
    """Loggers often belong to rank 0, at its epoch's end; rank 1 waits in the next epoch. Both at the end may hang."""
    silent = {"last_batch_age": 700.0, "longest_batch": 0.5}
    pair = [
        Signals("run", str(rank), "train", numbers={**silent, "epoch_done": done}) for rank, done in enumerate(ends)
    ]
    other = with_peers(pair, Faults())[1]
    assert rules.BY_NAME["stalled"].when(other, DEFAULTS) == still


@pytest.mark.parametrize(
    ("late", "waits", "validates", "told"),
    [
        (0.05, 0.06, 0.0, True),  # in each step rank 1 waits for what rank 0 takes longer
        (0.05, 0.01, 0.0, False),  # they take turns, as on a machine that others use
        (0.05, 1.0, 1.0, False),  # rank 1 has waited for the validation of rank 0, and for nothing else
        (0.05, 1.06, 1.0, True),  # for both
        (0.02, 0.06, 0.0, False),  # for less than is worth telling
    ],
)
def test_a_straggler_is_waited_for_in_its_steps(late: float, waits: float, validates: float, *, told: bool) -> None:
    """Seconds of a batch: rank 0 is `late`, rank 1 waits longer than rank 0, which validates alone."""
    own = {"forward": 0.2, "backward_local": 0.2}
    phases = (
        {**own, "forward": 0.2 + late, "backward_exposed": 0.03, "validate": validates},
        {
            **own,
            "backward_exposed": 0.03 + waits,
        },
    )
    pair = [
        Signals("run", str(rank), "train", local=one, numbers={"local_seconds": 0.4 + after, "exposed_share": share})
        for rank, (one, after, share) in enumerate(zip(phases, (late, 0.0), (0.06, 0.07), strict=True))
    ]
    assert [rules.BY_NAME["straggler"].when(one, DEFAULTS) for one in with_peers(pair, Faults())] == [told, False]


def test_the_verdict_and_the_alert_ask_how_long_a_rank_is_waited_for() -> None:
    """The signal of the one is the measure of the other: of three ranks, one of which validates longer."""
    phases: list[dict[str, float]] = [
        {"forward": 0.3, "backward_local": 0.2, "backward_exposed": 0.02, "validate": 0.5},
        {"forward": 0.2, "backward_local": 0.2, "backward_exposed": 0.7, "validate": 0.1},
        {"forward": 0.2, "backward_local": 0.2, "backward_exposed": 0.6, "checkpoint": 0.2},
    ]
    stores = Store("node1:9911"), Store("node2:9911")
    for time, batches in ((100.0, 0.0), (140.0, 80.0)):
        for rank, own in enumerate(phases):
            every = {"validate": 0.0, "checkpoint": 0.0, **own}
            grown = [
                Sample(c.TRAIN_PHASE_SECONDS_TOTAL, ("a", str(rank), one), batches * seconds)
                for one, seconds in every.items()
            ]
            stores[rank % 2].add(time, [*grown, Sample(c.TRAIN_BATCHES_TOTAL, ("a", str(rank)), batches)])
    windows = [Window(store, 100.0, 140.0, 40.0) for store in stores]
    measured = {dict(labels)["rank"]: value for labels, value in evaluate(WAITED_FOR.formula, windows, "rank").items()}
    told = with_peers(
        [
            Signals("a", str(rank), "train", local=own, numbers={"local_seconds": 1.0})
            for rank, own in enumerate(phases)
        ],
        Faults(),
    )
    assert measured == pytest.approx({one.rank: one.waited_for_seconds for one in told})
    assert measured["0"] == pytest.approx(0.65 - 0.02 - 0.35)


def test_a_run_without_a_first_batch_is_told_as_slow_to_begin() -> None:
    """Workers whose batches never arrive: the set-up is over, and no batch says for how long is too long."""
    never = Plan(epochs=1, batches=20, first_wait=260.0)
    course = diagnose_range([play(never)])
    (told,) = [verdict for one in course.diagnoses for verdict in one.verdicts if verdict.name == "setup_slow"]
    assert "no batch so far" in told.evidence


def test_a_resumed_run_is_judged_by_the_epochs_of_its_process() -> None:
    """Its clocks begin with it: what starting workers takes of an epoch is no more for the fifty epochs before."""
    plan = Plan(epochs=4, batches=100, kept=False)
    whole, resumed = (_of_all(replace(plan, before=before)) for before in (0, 50))
    assert (whole.epoch, resumed.epoch) == (4, 54)
    assert whole.process_epoch == resumed.process_epoch == 4
    assert resumed.loader_start_share == whole.loader_start_share < DEFAULTS.loader_start_share
    assert resumed.numbers["epoch_callback_seconds"] == whole.numbers["epoch_callback_seconds"]


def test_the_first_epoch_of_a_resumed_run_may_fill_a_cache() -> None:
    """Growth of memory is watched from the second epoch of the process on, whichever of the run that is."""
    fills = Plan(epochs=2, batches=300, resident=lambda at: (2 + 10 * min(at.batch, 300) / 300) * GIB)
    whole, resumed = (_of_all(replace(fills, before=before), until=-20.0) for before in (0, 50))
    assert not whole.get(Signals.resident_growth_bytes)
    assert not resumed.get(Signals.resident_growth_bytes)
    assert resumed.numbers.get("growth_seconds") == whole.numbers.get("growth_seconds")


def _of_all(plan: Plan, until: float = 0.0) -> Signals:
    """Signals of a training over all of it, or up to some seconds before its end."""
    store = play(plan)
    window = Window(store, store.first, store.last + until)
    (one,) = signals.gather([(window, window)])
    return one


def test_epochs_of_the_warm_up_s_batches_are_no_plateau() -> None:
    """Ultralytics warms up for 100 batches at least: 33 epochs of three."""
    flat = Plan(epochs=30, batches=3, workers=2, loss=lambda _: 3.0, validate=0.1, checkpoint=0.1)
    view = play(flat)
    window = Window(view, view.first, view.last)
    (s,) = signals.gather([(window, window)])
    assert not s.has(Signals.epochs_seen)
