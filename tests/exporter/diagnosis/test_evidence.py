"""A cause is named only on evidence of its own, and nothing that contradicts it is printed beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis import engine, rules
from yoloscope_exporter.diagnosis.rules.loader import io_evidence
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

#: A rank that waits for data while its workers neither compute nor queue; hooks that time callbacks.
WAITING = {
    "data_wait_share": 0.5,
    "step_seconds": 0.2,
    "wait_seconds": 0.2,
    "batches": 100.0,
    "callbacks_share": 0.0,
    "callback_seconds": 0.0,
    "workers": 8.0,
    "prep_seconds": 3.2,
    "prep_cpu_ratio": 0.1,
    "runqueue_share": 0.02,
    "node_cores": 32.0,
    "rank_cores": 32.0,
    "cores_per_trainer": 32.0,
    "allowed_cores": 32.0,
    "free_cores": 24.0,
    "others_cores": 1.0,
}
QUEUEING = {**WAITING, "prep_cpu_ratio": 0.4, "runqueue_share": 0.5}
COMPUTING = {**WAITING, "prep_cpu_ratio": 0.9}


def told(numbers: dict[str, float], names: dict[str, str] | None = None, **facts: str) -> dict[str, engine.Verdict]:
    """Verdicts of one rank in the state train, by name."""
    s = Signals("run", "0", "train", facts=facts, numbers=numbers, names=names or {})
    held = {name: s for name, holds in engine.judge(s, DEFAULTS).items() if holds}
    return {verdict.name: verdict for verdict in engine.diagnose(s, held, DEFAULTS).verdicts}


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"io_pressure": 0.4, "disk_busy_share": 0.1}, "I/O pressure 40%"),
        ({"io_pressure": 0.0, "disk_busy_share": 0.95}, "busiest disk 95% busy"),
        ({"io_delay_share": 0.6, "io_pressure": 0.0}, "workers wait for block I/O 60% of their time"),
        ({"major_faults": 400.0}, "400 pages fetched from storage for each batch"),
        ({"network_file_systems": 1.0, "worker_read_rate": 5e6}, "workers read 4.77 MiB/s"),
        ({"slow_files_on_network": 5.0}, "the 5 slowest files lie on a network file system and were mostly waited for"),
    ],
)
def test_storage_is_named_on_evidence_of_its_own(evidence: dict[str, float], said: str) -> None:
    """What speaks for it is printed, and nothing else: an idle disk beside it would say the contrary."""
    found = told(WAITING | evidence)
    assert list(found) == ["loader_io"]
    assert said in found["loader_io"].evidence
    assert "10%" not in found["loader_io"].evidence.replace("90%", "")


def test_a_worker_s_wait_for_its_disk_has_a_limit_of_its_own() -> None:
    """How long some task of the node waited is another quantity."""
    s = Signals("run", "0", "train", numbers=WAITING | {"io_delay_share": 0.2, "io_pressure": 0.2})
    assert io_evidence(s, replace(DEFAULTS, io_delay_share=0.5)) == ["I/O pressure 20%"]
    assert io_evidence(s, replace(DEFAULTS, io_pressure=0.5)) == ["workers wait for block I/O 20% of their time"]


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"io_pressure": 0.02, "disk_busy_share": 0.1, "major_faults": 0.1},
        {"network_file_systems": 0.0, "worker_read_rate": 5e6},
        {"network_file_systems": 1.0, "worker_read_rate": 1e4},
        {"slow_files_on_network": 5.0, "decode_share": 0.1},  # a transform waits; where the data set lies is no reason
    ],
)
def test_workers_that_wait_for_something_else_are_told_as_that(evidence: dict[str, float]) -> None:
    """The cause is not known, and it says so."""
    found = told(WAITING | evidence)
    assert list(found) == ["loader_wait"]
    assert found["loader_wait"].cause.startswith("not known")
    assert "py-spy dump" in found["loader_wait"].fix


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"allowed_cores": 2.0, "rank_cores": 2.0}, "cpu_affinity"),
        ({"allowed_cores": 2.0, "rank_cores": 2.0, "free_cores": 0.1}, "cpu_oversubscribed"),
        ({"cores_per_trainer": 4.0, "allowed_cores": 4.0, "rank_cores": 4.0}, "cpu_oversubscribed"),
        ({"others_cores": 28.0, "free_cores": 0.1}, "cpu_contended"),
        ({"others_cores": 28.0, "free_cores": 0.1, "workers": 40.0}, "cpu_oversubscribed"),
        ({"others_cores": 28.0, "free_cores": 0.1, "worker_threads": 3.0}, "cpu_oversubscribed"),
    ],
)
def test_who_takes_the_cpus(numbers: dict[str, float], verdict: str) -> None:
    """Pinned, others, or the run itself: each by what it alone would show."""
    assert list(told(QUEUEING | numbers)) == [verdict]


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"others_cores": 3.0}, "cpu_contended"),
        ({"others_cores": 3.0, "gpu_busy": 0.95}, "compute_bound"),  # a GPU that is busy does not wait for launches
        ({"others_cores": 0.1}, "compute_bound"),  # its own threads: no cause outside
        ({"others_cores": 3.0, "trainer_cores": 9.0}, "compute_bound"),  # of many threads each waits a little
        ({"throttled_share": 0.6}, "cpu_throttled"),
        ({"allowed_cores": 1.0, "free_cores": 2.0}, "cpu_affinity"),
    ],
)
def test_who_takes_the_cpus_from_the_step(numbers: dict[str, float], verdict: str) -> None:
    """Data are ready, and the training process itself waits for a CPU: that is no healthy run."""
    node = {"node_cores": 4.0, "cpu_busy_share": 0.9, "others_cores": 2.0, "cores_per_trainer": 4.0, "free_cores": 0.1}
    queueing = {"trainer_queue_share": 0.5, "trainer_cores": 0.5, "runqueue_share": 0.0, "allowed_cores": 4.0}
    (found,) = told(HEALTHY | node | queueing | numbers).values()
    assert found.name == verdict
    own = "the training process itself spends 50% of its time waiting for a CPU"
    assert found.evidence.startswith(own) == (verdict != "compute_bound")


def test_a_quota_does_not_stop_workers_that_wait_for_something_else() -> None:
    """Its time shows in the run queue, and these hardly queue."""
    assert list(told(WAITING | {"throttled_share": 0.3})) == ["loader_wait"]
    assert list(told(QUEUEING | {"throttled_share": 0.3})) == ["cpu_throttled"]


def test_a_disk_that_others_keep_busy_is_not_what_workers_wait_for() -> None:
    """They read nothing from any disk."""
    busy = WAITING | {"disk_busy_share": 0.95, "io_pressure": 0.5}
    assert list(told(busy | {"worker_read_rate": 1e6})) == ["loader_io"]
    assert list(told(busy | {"worker_read_rate": 0.0})) == ["loader_wait"]


def test_batches_that_are_ready_sooner_than_they_are_waited_for() -> None:
    """The workers are not the cause; handing batches over is, which is not measured."""
    (found,) = told(COMPUTING | {"prep_seconds": 0.05, "wait_seconds": 0.3}).values()
    assert found.name == "insufficient_data"
    assert "workers prepare a batch in 50 ms, in less than it is waited for" in found.evidence


def test_one_file_that_takes_longer_than_a_batch_is_named() -> None:
    """Beside the cause, whichever it is."""
    slow = {"slow_file_seconds": 6.0}
    assert "; /a.png alone took" in told(WAITING | slow, {"slow_file": "/a.png"})["loader_wait"].evidence
    assert "/a.png" not in told(WAITING | {"slow_file_seconds": 0.9}, {"slow_file": "/a.png"})["loader_wait"].evidence


@pytest.mark.parametrize(("batches", "unstable"), [(3.0, False), (100.0, True)])
def test_the_loss_of_few_batches_swings_by_chance(batches: float, *, unstable: bool) -> None:
    """The mean of three batches differs by a third from the next three."""
    swings = {"settled_epochs": 20.0, "loss_turns": 0.7, "loss_swing": 0.3, "epoch_batches": batches}
    assert ("loss_unstable" in told(HEALTHY | swings)) == unstable


@pytest.mark.parametrize(
    ("more", "bound"), [({}, False), ({"callback_pauses": 3.0}, True), ({"process_epoch": 3.0}, True)]
)
def test_callbacks_that_pause_a_long_epoch(more: dict[str, float], *, bound: bool) -> None:
    """Not for the first time is enough: an epoch may take an hour."""
    paused = {"callbacks_of_run": 0.3, "callback_seconds": 0.0, "process_epoch": 1.0, "epoch_callback_seconds": 90.0}
    assert ("callback_bound" in told(HEALTHY | paused | more)) == bound


def test_what_takes_most_of_a_validation_is_what_the_advice_is_about() -> None:
    """Fewer boxes, or quicker reads; `val=False` alone gives up more."""
    slow = HEALTHY | {"validate_share": 0.6, "process_epoch": 5.0}
    assert "max_det" in told(slow, {"validation_part": "postprocess"})["validation_bound"].fix
    assert "more workers" in told(slow, {"validation_part": "loader"})["validation_bound"].fix
    assert "takes most" not in told(slow)["validation_bound"].fix


def test_without_workers_there_is_none_whose_record_is_missing() -> None:
    """On a full CPU it takes two readings of the process to know what its wait is."""
    early = {name: value for name, value in WAITING.items() if name != "prep_cpu_ratio"}
    found = told(early | {"workers": 0.0, "free_cores": 0.1}, device="cpu")
    assert "the training process prepares its batches itself" in found["insufficient_data"].evidence
    assert "leave no record" in told(early)["insufficient_data"].evidence


@pytest.mark.parametrize(("calls", "said"), [(1.0, "per batch"), (0.01, "per epoch")])
def test_a_callback_is_told_by_when_it_is_called(calls: float, said: str) -> None:
    """In short epochs one of each end takes its share of every part of the window as well."""
    often = {"callbacks_share": 0.2, "callbacks_of_run": 0.25, "callback_seconds": 0.05, "epoch_callback_seconds": 5.0}
    found = told(HEALTHY | often | {"process_epoch": 6.0, "callback_calls": calls})
    assert said in found["callback_bound"].evidence


def test_neighbours_that_are_known_are_named() -> None:
    """Other runs by name, with their CPUs."""
    found = told(QUEUEING | {"others_cores": 28.0, "free_cores": 0.1}, {"neighbours": "train/b 20.1"})
    assert "others use 28.0 of 32 CPUs (of them runs known here: train/b 20.1)" in found["cpu_contended"].evidence


def test_a_cap_is_told_instead_of_the_same_advice_for_ever() -> None:
    """More workers were asked for than Ultralytics started: `workers` is no argument to change."""
    few = COMPUTING | {"workers": 2.0, "workers_asked": 16.0}
    assert "workers" not in told(few)["workers_capped"].advice.arguments
    assert told(few | {"workers_asked": 2.0})["loader_workers"].advice.arguments["workers"] > 2


def test_workers_that_wait_are_capped_before_they_wait_for_something_unknown() -> None:
    """More of them would wait side by side, which takes no CPU; where as many as asked were started, it is the wait."""
    few = WAITING | {"workers": 2.0, "workers_asked": 16.0, "free_cores": 0.0}
    assert "88% of it waiting" in told(few)["workers_capped"].evidence
    assert list(told(few | {"workers_asked": 2.0})) == ["loader_wait"]
    assert list(told(few | {"workers": 17.0, "workers_asked": 20.0})) == ["loader_wait"]  # enough of them


def test_workers_that_compute_on_all_cpus_are_not_capped() -> None:
    """Another one would have no CPU."""
    few = COMPUTING | {"workers": 2.0, "workers_asked": 16.0, "free_cores": 0.0}
    assert list(told(few)) == ["loader_cpu"]


@pytest.mark.parametrize(
    ("numbers", "device", "verdict"),
    [
        ({}, "cuda:0", "loader_workers"),
        ({}, "cpu", "loader_workers"),
        ({"free_cores": 0.0}, "cpu", "loader_workers"),  # it waits: a worker would wait beside it
        ({"free_cores": 0.0, "prep_cpu_ratio": 0.9}, "cpu", "loader_cpu"),
        ({"free_cores": 0.0, "runqueue_share": 0.6, "others_cores": 20.0}, "cpu", "cpu_contended"),
    ],
)
def test_a_trainer_that_prepares_its_batches_itself(numbers: dict[str, float], device: str, verdict: str) -> None:
    """With workers=0 nothing is prepared beside training; on a CPU a worker needs one of its own, or has to wait."""
    (found,) = told(WAITING | {"workers": 0.0} | numbers, device=device).values()
    assert found.name == verdict
    assert "workers" not in found.advice.arguments or device != "cpu"


def test_nobody_is_said_to_wait_for_no_cpu_before_that_is_known() -> None:
    """Neither computing nor seen to queue is not the same as waiting for something else."""
    unread = {name: value for name, value in WAITING.items() if name != "runqueue_share"}
    (found,) = told(unread).values()
    assert found.name == "insufficient_data"
    assert "whether its workers wait for a CPU is not known" in found.evidence


def test_a_full_queue_clears_the_loader_where_callbacks_are_not_timed() -> None:
    """Older hooks: the share is an upper bound, and with batches ready it is not the loader's."""
    old = {name: value for name, value in COMPUTING.items() if not name.startswith("callback")}
    assert list(told(old | {"queue_ready": 20.0})) == ["insufficient_data"]
    assert "callbacks are likely" in told(old | {"queue_ready": 20.0})["insufficient_data"].evidence
    (verdict,) = told(old | {"queue_ready": 0.0}).values()
    assert verdict.evidence.startswith("up to 50% of training time waits for data, other callbacks included")


def test_nothing_is_copied_where_there_is_no_device() -> None:
    """On a CPU preprocess_batch is not a copy, whatever older hooks call it."""
    numbers = {"h2d_share": 0.4, "batches": 100.0}
    assert "h2d_bound" not in told(numbers, device="cpu")
    assert "up to 40%" in told(numbers, device="cuda:0")["h2d_bound"].evidence


def test_a_narrow_link_is_a_note_and_copies_say_whether_it_matters() -> None:
    """Fewer lanes by design harm nobody while copies are quick."""
    link = {"pcie_width": 4.0, "pcie_width_max": 16.0}
    assert told(link)["pcie_degraded"].severity == rules.INFO
    slow = told(link | {"h2d_share": 0.3, "batches": 100.0, "preprocess_share": 0.0}, device="cuda:0")
    assert "4 of 16 lanes" in slow["h2d_bound"].evidence


def test_heat_and_a_power_brake_are_told_apart() -> None:
    """Each by its own reason, and both where both hold the clocks down."""
    assert list(told(HEALTHY | {"thermal_share": 0.0, "power_brake_share": 0.4})) == ["power_brake"]
    assert set(told(HEALTHY | {"thermal_share": 0.4, "power_brake_share": 0.4})) == {"thermal_throttle", "power_brake"}


@pytest.mark.parametrize(
    ("numbers", "cause", "said"),
    [
        ({"oom_kills": 1.0}, "the cgroup's count", "in the run's cgroup: 1"),
        ({"node_oom_kills": 2.0}, "probably the kernel's OOM killer: the node's count", "on the node: 2"),
        ({"oom_kills": 0.0}, "killed from outside", ""),
    ],
)
def test_who_killed_a_training(numbers: dict[str, float], cause: str, said: str) -> None:
    """Without a cgroup that counts, as in WSL2, the node's count is what is left, and is no certainty."""
    s = Signals("run", "0", "killed", numbers={"workers": 8.0, **numbers})
    (verdict,) = engine.diagnose(s, {"killed": s}, DEFAULTS).verdicts
    assert cause in verdict.cause
    assert said in verdict.evidence
    assert ("workers=4" in verdict.fix) == bool(said)


@pytest.mark.parametrize("workers", [{}, {"workers": 0.0}, {"workers": 1.0}], ids=["unknown", "none", "one"])
def test_no_fewer_workers_where_there_is_at_most_one(workers: dict[str, float]) -> None:
    """One worker in place of none would take more memory."""
    s = Signals("run", "0", "killed", numbers={"oom_kills": 1.0, **workers}, facts={"cache": "ram"})
    (verdict,) = engine.diagnose(s, {"killed": s}, DEFAULTS).verdicts
    assert verdict.fix.startswith("cache=False resume=True;")


@pytest.mark.parametrize("device", ["cpu", "mps", "mps:0"])
def test_where_there_can_be_no_workers_the_fix_says_so(device: str) -> None:
    """Ultralytics sets workers=0 on MPS as on a CPU: to advise them would leave nothing to type."""
    found = told(WAITING | {"workers": 0.0}, device=device)
    assert "sets workers=0 on a CPU and on MPS" in found["loader_workers"].fix
    assert "workers=" not in found["loader_workers"].fix.replace("workers=0", "")


@pytest.mark.parametrize(
    ("numbers", "signals", "cause", "fix"),
    [
        ({"oom_kills": 2.0}, "2 by SIGKILL", "main memory", "workers=4; each worker"),
        ({}, "1 by SIGBUS", "/dev/shm", "--shm-size"),
        ({}, "1 by SIGKILL", "not known who", "end of the log"),
        ({}, "1 by 1", "not known", "end of the log"),
    ],
)
def test_why_workers_died(numbers: dict[str, float], signals: str, cause: str, fix: str) -> None:
    """By OOM kills and by signal; else it is not known."""
    known = {"worker_deaths": 2.0, "workers": 8.0, "shm_size_bytes": 2.0**30, "shm_least_bytes": 2.0**20}
    found = told(known | numbers, {"death_signals": signals})["worker_died"]
    assert signals in found.evidence
    assert "1 MiB of 1 GiB" in found.evidence
    assert cause in found.cause
    assert fix in found.fix


HEALTHY = {
    "data_wait_share": 0.01, "step_seconds": 0.2, "wait_seconds": 0.0, "batches": 100.0, "compute_share": 0.95,
    "train_share": 0.95, "callbacks_share": 0.0, "callback_seconds": 0.0, "preprocess_share": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"power_share": 0.9, "clock_ratio": 0.7},
        {"exposed_share": 0.2, "least_exposed_share": 0.2},
        {"amp_asked": 1.0, "amp_on": 0.0},
    ],
    ids=["power", "exchange", "amp"],
)
def test_nobody_is_healthy_whose_gpu_could_do_more(more: dict[str, float]) -> None:
    """Not even beside a note."""
    assert list(told(HEALTHY)) == ["compute_bound"]
    found = told(HEALTHY | more, {"gpu": "0"})
    assert "compute_bound" not in found
    assert len(found) == 1


def test_what_nothing_measures_is_called_that() -> None:
    """No part is above its limit and yet half of the time does not compute: no cause is made up."""
    (verdict,) = told(HEALTHY | {"compute_share": 0.5}).values()
    assert verdict.name == "insufficient_data"
    assert "the other 49% is not measured" in verdict.evidence


def test_what_was_measured_but_happened_once_is_no_residual() -> None:
    """A callback that paused the run for once: neither typical nor unknown."""
    once = HEALTHY | {"compute_share": 0.6, "parts_share": 0.39}
    assert "insufficient_data" not in told(once)


@pytest.mark.parametrize(
    ("ooms", "phase", "cause"),
    [
        (1.0, "forward", "label assigner ran on the CPU"),
        (0.0, "forward", "not known: forward"),
        (0.0, "data_wait", "file"),
    ],
)
def test_what_is_known_of_a_slow_batch(ooms: float, phase: str, cause: str) -> None:
    """An OOM meanwhile, or a file as slow; else only the phase."""
    numbers = {"slow_batch_seconds": 40.0, "usual_batch_seconds": 0.2, "slow_phase_seconds": 39.0}
    names = {"slow_phase": phase, "slow_file": "a/huge.png"}
    found = told(numbers | {"slow_batch_ooms": ooms, "slow_file_seconds": 38.0}, names)["slow_batch"]
    assert cause in found.cause
    assert ("a/huge.png" in found.evidence) == (phase == "data_wait")


def test_without_validation_early_stopping_and_best_pt_are_lost() -> None:
    """That is said; the run gets shorter by all of it but the last epoch's."""
    found = told(HEALTHY | {"validate_share": 0.5, "epoch": 4.0, "process_epoch": 4.0, "epochs": 10.0})[
        "validation_bound"
    ]
    assert found.advice.arguments == {"val": False}
    assert found.advice.effect == ("best.pt", "early stopping")
    assert "it ends early stopping (patience), and best.pt becomes the last epoch" in found.fix
    assert found.gain == "1.8x to 2.0x for the run as a whole"
    assert not told(HEALTHY | {"validate_share": 0.5, "epoch": 4.0, "process_epoch": 4.0}, val="False")[
        "validation_bound"
    ].advice.arguments


def test_save_period_is_advised_only_where_it_is_set() -> None:
    """-1 is the default: it was advised to everybody, and changes nothing."""
    slow = HEALTHY | {"checkpoint_share": 0.3, "process_epoch": 4.0}
    assert told(slow)["checkpoint_bound"].advice.arguments == {}
    assert told(slow, save_period="-1")["checkpoint_bound"].advice.arguments == {}
    assert told(slow, save_period="1")["checkpoint_bound"].advice.arguments == {"save_period": -1}
    assert told(slow)["checkpoint_bound"].gain == "up to 1.4x for the run as a whole"


#: Half a TB is free, and in ten minutes the rank has grown by 34 MiB with each batch of 8: more than its images take.
GROWING = HEALTHY | {
    "resident_growth_bytes": 20 * 2.0**30, "resident_growth_batch": 34 * 2.0**20, "resident_growth_rate": 35 * 2.0**20,
    "growth_seconds": 600.0, "batch_size": 8.0, "memory_available_bytes": 5e11, "memory_used_share": 0.5, "ranks": 1.0,
    "workers": 8.0, "available_fall_bytes": 0.0,
}  # fmt: skip
FIRST_EPOCH = {"first_epoch_left": 5000.0}
RAM_CACHE = {"cache_ram_bytes": 100e9}


@pytest.mark.parametrize("left", [FIRST_EPOCH, {}], ids=["first epoch", "later"])
@pytest.mark.parametrize(
    ("cache", "growing", "more", "leaks"),
    [
        ("ram", "worker", RAM_CACHE, False),
        ("True", "worker", {}, False),  # its size is not known
        ("False", "worker", RAM_CACHE | {"epoch_images": 1e5}, True),
        ("disk", "worker", RAM_CACHE | {"epoch_images": 1e5}, True),
        ("ram", "main", RAM_CACHE | {"epoch_images": 1e5}, True),  # which has filled it in the set-up
        ("ram", "worker", {"cache_ram_bytes": 2e9}, True),  # eight workers cannot map more than 16 GB of it
    ],
)
def test_workers_that_read_a_cache_in_memory_do_not_leak(
    left: dict[str, float], cache: str, growing: str, more: dict[str, float], *, leaks: bool
) -> None:
    """It is shared, and what a worker has read of it counts as its resident memory."""
    found = told(GROWING | left | more, {"growing": growing}, cache=cache)
    assert ("host_memory_leak" in found) == leaks


def test_what_takes_memory_is_no_shared_cache() -> None:
    """Mapping it takes none, so that what is available stays."""
    found = told(GROWING | RAM_CACHE | {"available_fall_bytes": 60e9}, {"growing": "worker"}, cache="ram")
    assert "loader workers" in found["host_memory_leak"].evidence


@pytest.mark.parametrize(("of_images", "leaks"), [({}, True), ({"cache_disk_bytes": 4e11, "epoch_images": 1e5}, False)])
def test_a_cache_of_one_s_own_may_keep_images_as_they_are_decoded(of_images: dict[str, float], *, leaks: bool) -> None:
    """4 MB each here, and 1.2 MB as the network sees them."""
    found = told(GROWING | FIRST_EPOCH | of_images, {"growing": "main"}, cache="False")
    assert ("host_memory_leak" in found) == leaks
