"""The diagnosis as a stage of the sampler."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis.live import FIX_LENGTH, Live, in_labels
from yoloscope_exporter.diagnosis.whole_run import energy
from yoloscope_exporter.measures.thresholds import DEFAULTS

from tests.recordings.model import START, Plan, moments

if TYPE_CHECKING:
    from collections.abc import Iterable

STARVED = Plan(workers=1, epochs=1, batches=200)


def live(plan: Plan, every: float = 1.0) -> tuple[Live, dict[tuple[str, tuple[str, ...]], float]]:
    """The live diagnosis at the end of a plan, and its last samples."""
    watching, last = Live(), {}
    for time, samples in moments(plan, every):
        last = {(s.metric.name, s.labels): s.value for s in watching.feed(time, samples)}
    return watching, last  # type: ignore[return-value]


def test_live_publishes_verdict_goodput_and_waste() -> None:
    """The same verdict as from the recording, as samples of the catalogue."""
    watching, last = live(replace(STARVED, end="running"))
    run = STARVED.run
    assert last[catalog.TRAIN_VERDICT.name, (run, "0", "loader_workers")] == 1
    assert last[catalog.TRAIN_VERDICT.name, (run, "0", "compute_bound")] == 0
    assert last[catalog.TRAIN_GOODPUT_RATIO.name, (run, "0")] == pytest.approx(0.41, abs=0.05)
    assert last[catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, (run, "0", "loader_workers")] > 0
    assert [verdict.name for verdict in watching.diagnoses[0].verdicts] == ["loader_workers"]


def fixes(samples: Iterable[Sample], verdict: str) -> list[str]:
    """What is said about a verdict."""
    return [s.labels[3] for s in samples if s.metric is catalog.TRAIN_VERDICT_FIX_INFO and s.labels[2] == verdict]


def test_live_publishes_what_to_do() -> None:
    """One series for each verdict that holds, with the fix that was computed for it."""
    watching, last = live(replace(STARVED, end="running"))
    told = watching.diagnoses[0].verdicts[0]
    assert told.fix.startswith("workers=")
    key = (STARVED.run, "0", "loader_workers", *in_labels(told.fix))
    assert [labels for name, labels in last if name == catalog.TRAIN_VERDICT_FIX_INFO.name] == [key]


def test_live_publishes_why_a_rank_died() -> None:
    """One series with the cause and what tells it; none of a rank that lives or ended well."""
    dead = replace(STARVED, stop=50, end="killed", oom_killed=1)
    _, last = live(dead)
    (labels,) = [labels for name, labels in last if name == catalog.TRAIN_VERDICT_CAUSE_INFO.name]
    assert labels[:3] == (dead.run, "0", "killed")
    assert labels[3].startswith("out_of_memory_kill: the kernel's OOM killer")
    assert "OOM kills in the run's cgroup: 1" in labels[4]
    assert labels[5] == "out_of_memory_kill：内核的 OOM killer：cgroup 的内存用完"  # noqa: RUF001
    for end in ("running", "finished"):
        _, last = live(replace(STARVED, stop=50, end=end))
        assert not [labels for name, labels in last if name == catalog.TRAIN_VERDICT_CAUSE_INFO.name]


def test_a_fix_whose_numbers_waver_is_one_series_in_ten_minutes() -> None:
    """Each judgement computes other numbers; who reads the alert wants one answer."""
    plan = replace(STARVED, batches=600, prep=lambda at: 0.9 if at.batch // 150 % 2 else 0.5, end="running")
    watching, said, computed = Live(), [], set()
    for time, samples in moments(plan, 1.0):
        said += fixes(watching.feed(time, samples), "loader_workers")
        computed |= {verdict.fix for told in watching.diagnoses for verdict in told.verdicts}
    assert len(computed) > 1
    assert len(said) > 100
    assert len(set(said)) == 1


@pytest.mark.parametrize("text", ["word " * 100, "x" * 500, "workers=2; " * 50])
def test_a_fix_has_at_most_200_characters_in_each_language(text: str) -> None:
    """So that a label is bounded."""
    assert [len(told) <= FIX_LENGTH for told in in_labels(text)] == [True, True]
    assert in_labels("workers=12; more") == ("workers=12; more", "workers=12；more")  # noqa: RUF001


@pytest.mark.parametrize("every", [1.0, 1.3, 2.0, 3.0, 5.0])
def test_waste_adds_up_to_the_wait_it_is_charged_with(every: float) -> None:
    """However samples and judgements fall: what lies between two judgements is lost to none of them."""
    watching, told = Live(), []
    charged = (STARVED.run, "0", "loader_workers")
    pairs = (
        (catalog.TRAIN_PHASE_SECONDS_TOTAL, (STARVED.run, "0", "data_wait")),
        (catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, charged),
    )
    for time, samples in moments(replace(STARVED, batches=600, end="running"), every):
        now = {(s.metric, s.labels): s.value for s in [*samples, *watching.feed(time, samples)]}
        if (catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, charged) in now:
            told.append([now[pair] for pair in pairs])
    (wait_before, before), (wait_after, after) = told[0], told[-1]
    assert after - before == pytest.approx(wait_after - wait_before, rel=0.04)


def test_wasted_energy_is_that_of_the_wasted_time() -> None:
    """In proportion to time; not there where no energy is counted, nor for a rank that loses nothing."""
    plan = replace(STARVED, batches=300, ranks=1, end="running")
    lost = (STARVED.run, "0", "loader_workers")
    watching, last = Live(), {}
    for time, samples in moments(plan, 1.0):
        counted = Sample(catalog.TRAIN_ENERGY_JOULES_TOTAL, (STARVED.run, "0", "gpu"), 7e6 + 200 * (time - START))
        last = {(s.metric.name, s.labels): s.value for s in watching.feed(time, [*samples, counted])}
    seconds = last[catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, lost]
    assert seconds > 30
    assert last[catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL.name, lost] == pytest.approx(200 * seconds, rel=0.05)
    _, last = live(plan)
    assert not [key for key in last if key[0] == catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL.name]


def test_a_mig_instance_wastes_its_part_of_a_gpu() -> None:
    """Of GPU-seconds; its energy was counted as its own."""
    plan = replace(STARVED, batches=300, ranks=1, end="running")
    lost = (STARVED.run, "0", "loader_workers")
    watching, last = {"whole": Live(), "part": Live()}, {}
    for time, samples in moments(plan, 1.0):
        counted = Sample(catalog.TRAIN_ENERGY_JOULES_TOTAL, (STARVED.run, "0", "gpu"), 7e6 + 200 * (time - START))
        devices = [one.labels[2] for one in samples if one.metric is catalog.TRAIN_DEVICE_INFO]
        parts = [Sample(catalog.GPU_PART_RATIO, (gpu,), 2 / 7) for gpu in devices]
        last = {
            (name, s.metric.name, s.labels): s.value
            for name, more in (("whole", []), ("part", parts))
            for s in watching[name].feed(time, [*samples, counted, *more])
        }
    seconds, joules = catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL.name
    assert last["part", seconds, lost] == pytest.approx(last["whole", seconds, lost] * 2 / 7)
    assert last["part", joules, lost] == pytest.approx(last["whole", joules, lost])


def test_live_forgets_a_run_that_is_no_longer_published() -> None:
    """No series of the diagnosis outlives its run."""
    watching, _ = live(replace(STARVED, end="running"))
    now = watching.short.last
    assert any(sample.labels[0] == STARVED.run for sample in watching.feed(now + 1, []))
    for second in range(2, 80):
        last = watching.feed(now + second, [])
    assert not [sample for sample in last if sample.labels[0] == STARVED.run]
    assert not watching.diagnoses


def test_live_keeps_no_history_of_runs_that_are_gone() -> None:
    """Of those of the last minutes it does, for they may come back; of the node all of it."""
    watching, seconds = Live(), range(0, 1500, 10)
    for second in seconds:
        who = (f"run {second // 60}", "0")
        ours = [Sample(catalog.TRAIN_UP, who, 1.0), Sample(catalog.TRAIN_EPOCH, who, 1.0)]
        watching.feed(START + second, [*ours, Sample(catalog.CPU_SECONDS_TOTAL, ("user",), 1.0)])
    there = {(f"run {number}", "0") for number in range(19, 25)}
    for metric in (catalog.TRAIN_UP, catalog.TRAIN_EPOCH):
        assert watching.long.series[metric.name].keys() == there
    assert len(watching.long.series[catalog.CPU_SECONDS_TOTAL.name]["user",].times) == len(seconds)


def test_live_survives_a_clock_that_is_set_back() -> None:
    """It starts anew instead of judging the future."""
    watching, _ = live(replace(STARVED, end="running", batches=40))
    assert watching.feed(watching.short.last - 3600, []) == ()


def test_a_gpu_held_by_nobodys_training_is_counted() -> None:
    """Memory held for two minutes by a process without a run, on an idle GPU, is wasted with empty run and rank."""
    watching = Live()
    for second in range(300):
        now = 1000.0 + second
        samples = [
            Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("1",), 5.0),
            Sample(catalog.GPU_PROCESS_MEMORY_BYTES, ("1", "77", "jupyter", "", "", "li"), 9e9),
        ]
        last = {(s.metric.name, s.labels): s.value for s in watching.feed(now, samples)}
        if second < DEFAULTS.held_seconds:
            assert not watching.diagnoses, "a training may begin"
    wasted = last[catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, ("", "", "held_idle")]
    assert wasted == pytest.approx(300 - DEFAULTS.held_seconds, abs=30)
    (alone,) = watching.diagnoses
    assert alone.verdicts[0].name == "held_idle"
    assert "77 (jupyter, user li, 8.38 GiB)" in alone.verdicts[0].fix


def test_a_rank_without_a_gpu_wastes_none() -> None:
    """A training on the CPU holds no GPU."""
    _, last = live(replace(STARVED, gpu=False, end="running"))
    assert not [key for key in last if key[0] == catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name]
    assert last[catalog.TRAIN_VERDICT.name, (STARVED.run, "0", "loader_workers")] == 1


def stalls(plan: Plan) -> set[str]:
    """Ranks that were ever told to be stalled."""
    watching, told = Live(), set()
    for time, samples in moments(plan, 1.0):
        watching.feed(time, samples)
        told |= {one.rank for one in watching.diagnoses for v in one.verdicts if v.name == "stalled"}
    return told


def test_a_silence_that_has_a_reason_is_no_stall() -> None:
    """Rank 0 validates alone, callbacks run after an epoch, labels are assigned on the CPU; a hang has none."""
    alone = Plan(ranks=2, epochs=2, batches=60, validate=60.0, first_alone=True)
    uploads = Plan(epochs=2, batches=60, epoch_callback=45.0)
    slow = {"forward": lambda at: 45.0 if at.batch == 60 else 0.08, "on_cpu": frozenset({60}), "main_cpus": 3.0}
    assert stalls(alone) == set()
    assert stalls(uploads) == set()
    assert stalls(Plan(epochs=1, batches=90, **slow)) == set()  # type: ignore[arg-type]
    assert stalls(Plan(epochs=1, batches=90, hang=60, hang_seconds=45.0, end="running")) == {"0"}


def test_a_pause_for_a_callback_is_no_standstill_once_it_is_known() -> None:
    """The first one is told as one while it lasts; the whole run's verdicts and the next pauses know better."""
    uploads = Plan(epochs=1, batches=400, callback=lambda at: 40.0 if at.batch % 100 == 99 else 0.0)
    told: list[bool] = []
    watching = Live()
    for time, samples in moments(uploads, 1.0):
        watching.feed(time, samples)
        told.append(any(v.name == "stalled" for one in watching.diagnoses for v in one.verdicts))
    assert sum(now and not before for before, now in pairwise(told)) == 1
    (one,) = [one for one in watching.diagnoses if one.run == uploads.run]
    assert "callback_bound" in {verdict.name for verdict in one.whole_run}
    assert "stalled" not in {verdict.name for verdict in one.whole_run}


def test_a_hang_after_an_epoch_has_begun_is_a_stall() -> None:
    """Although no batch of the new epoch has been published: the hooks publish a few at a time."""
    hanging = Plan(epochs=2, batches=60, hang=60, hang_seconds=60.0, end="running", validate=2.0)
    watching, told = Live(), set()
    for time, samples in moments(hanging, 1.0):
        known = [
            s._replace(value=min(s.value, 60.0)) if s.metric is catalog.TRAIN_BATCHES_TOTAL else s for s in samples
        ]  # type: ignore[type-var]
        watching.feed(time, known)
        told |= {v.name for one in watching.diagnoses for v in one.verdicts}
    assert "stalled" in told


def test_programs_of_the_desktop_hold_no_gpu() -> None:
    """Nor does a process of a few MiB; one that is not visible is told as such."""
    found = {}
    for pid, name, size in (("5", "Xorg", 9e8), ("6", "python", 1e7), ("7", "", 9e9)):
        watching = Live()
        for second in range(200):
            held = Sample(catalog.GPU_PROCESS_MEMORY_BYTES, ("1", pid, name, "", "", "li" if name else ""), size)
            watching.feed(1000.0 + second, [Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("1",), 5.0), held])
        found[pid] = [one.verdicts[0].evidence for one in watching.diagnoses]
    assert (found["5"], found["6"]) == ([], [])
    assert "7 (8.38 GiB; not visible here" in found["7"][0]


def test_ranks_that_wait_for_a_starved_peer_waste_its_way() -> None:
    """Where every loader is too slow, one rank makes the others wait: all of it is the loaders' doing."""
    _, last = live(replace(STARVED, workers=2, prep=0.9, ranks=2, end="running"))
    waste = {key[1][1:]: value for key, value in last.items() if key[0] == catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name}
    assert set(waste) == {("0", "loader_workers"), ("1", "loader_workers")}
    assert waste["1", "loader_workers"] == pytest.approx(waste["0", "loader_workers"], rel=0.3)
    assert last[catalog.TRAIN_VERDICT.name, (STARVED.run, "0", "straggler")] == 0


def test_live_remembers_what_was_advised_to_an_earlier_run() -> None:
    """The first run has ended, and its verdicts with it, when the second trains with the workers it was advised."""
    watching, end = Live(), 0.0
    for time, samples in moments(replace(STARVED, run="first"), 1.0):
        watching.feed(time, samples)
        end = time
    second = Plan(run="second", workers=4, epochs=1, batches=300, end="running")
    for time, samples in moments(second, 1.0, start=end + 120):
        watching.feed(time, samples)
    (found,) = next(told.followed for told in watching.diagnoses if told.run == "second")
    assert (found.run, found.arguments, found.helped) == ("first", {"workers": 4}, True)


def test_live_does_not_advise_again_what_did_not_help() -> None:
    """Four workers are four times as slow: more of them are not advised, in the document nor as a metric."""
    watching, end, last = Live(), 0.0, []
    for run, workers in (("first", 1), ("second", 4)):
        plan = replace(STARVED, run=run, workers=workers, prep=lambda _, slow=0.5 * workers: slow, end="running")
        for time, samples in moments(plan, 1.0, start=end + 120 if end else START):
            last, end = list(watching.feed(time, samples)), time
    second = next(told for told in watching.diagnoses if told.run == "second")
    assert [follow.helped for follow in second.followed] == [False]
    assert "workers" not in {name for verdict in second.verdicts for name in verdict.advice.arguments}
    assert any("workers is not advised again" in verdict.fix for verdict in second.verdicts)
    fixes = [s.labels for s in last if s.metric.name == catalog.TRAIN_VERDICT_FIX_INFO.name and s.labels[0] == "second"]
    assert fixes
    assert not [labels for labels in fixes if "workers=" in labels[3].partition(" is not advised again")[0]]


def test_live_remembers_the_whole_run() -> None:
    """What a run was held back by for most of its time is told when it has ended, with its share and its energy."""
    watching, _ = live(STARVED)
    (told,) = [one for one in watching.diagnoses if one.run == STARVED.run]
    assert told.state == "finished"
    assert told.verdicts == ()
    assert [verdict.name for verdict in told.whole_run] == ["loader_workers"]
    assert told.whole_run[0].share is not None
    assert 0.5 < told.whole_run[0].share <= 1.0
    assert told.whole_run[0].fix.startswith("workers=")


def test_the_energy_of_a_run_is_what_was_counted_for_it() -> None:
    """All of it, also what was drawn before this exporter was started; of both ranks, by source."""
    watching = Live()
    for time, samples in moments(replace(STARVED, ranks=2, cores=64), 1.0):
        counted = [
            Sample(catalog.TRAIN_ENERGY_JOULES_TOTAL, (STARVED.run, rank, source), 9e6 + watts * (time - START))
            for rank, source, watts in (("0", "gpu", 100.0), ("1", "gpu", 300.0), ("0", "cpu", 20.0))
        ]
        watching.feed(time, [*samples, *counted])
    assert energy(watching.diagnoses) == pytest.approx(18e6 + 400 * (time - START), abs=4000)
    assert energy(watching.diagnoses, "cpu") == pytest.approx(9e6 + 20 * (time - START), abs=200)
    assert energy([replace(one, joules={}) for one in watching.diagnoses]) is None


@pytest.mark.parametrize("every", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("prep", "told"), [(0.5, "loader_workers"), (0.01, "compute_bound")])
def test_a_run_that_was_over_at_once_is_judged_by_all_of_it(prep: float, told: str, every: float) -> None:
    """Twenty batches: before a verdict has held for long enough the training has ended."""
    watching, _ = live(Plan(epochs=1, batches=20, workers=1, prep=prep, setup=1.0, first_wait=0.01), every)
    assert [verdict.name for verdict in watching.diagnoses[0].whole_run] == [told]


def test_a_run_of_which_only_the_end_was_seen_is_not_judged_by_it() -> None:
    """An exporter that was started late knows nothing of what came before."""
    watching = Live()
    for time, samples in list(moments(replace(STARVED, batches=60), 1.0))[-24:]:
        watching.feed(time, samples)
    assert watching.diagnoses[0].whole_run == ()


def test_a_machine_that_slept_for_an_hour_has_not_stood_still() -> None:
    """No sample and no batch in that time: the pause is not what usually lies between two samples."""
    watching, told = Live(), set()
    for time, samples in moments(replace(STARVED, end="running"), 5.0):
        watching.feed(time + (3600.0 if time > START + 60 else 0.0), samples)
        told |= {verdict.name for one in watching.diagnoses for verdict in one.verdicts}
    assert "stalled" not in told


def test_another_run_under_the_same_name_begins_anew() -> None:
    """Nothing of the one before is told of it."""
    watching, last = Live(), 0.0
    for plan in (STARVED, replace(STARVED, workers=8, end="running")):
        shift = last + 5.0 - next(time for time, _ in moments(plan, 1.0)) if last else 0.0
        for time, samples in moments(plan, 1.0):
            last = time + shift
            watching.feed(last, samples)
    (told,) = [one for one in watching.diagnoses if one.run == STARVED.run]
    assert "loader_workers" not in [verdict.name for verdict in told.whole_run]
