"""What happened between two snapshots."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.history import events
from yoloscope_exporter.history.events import changes, facts
from yoloscope_exporter.history.store import MOST_EVENTS, History

RANK = ("a", "0")
STATE = Sample(catalog.TRAIN_STATE, (*RANK, "train"), 1.0)
VERDICT = Sample(catalog.TRAIN_VERDICT, (*RANK, "straggler"), 1.0)
HANG = Sample(
    catalog.TRAIN_HANG_INFO,
    (*RANK, *("1", "worker 2", "47", "open() of /nfs/a.jpg", "imread", "/x/patches.py", "61", "")),
    1.0,
)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param([], [STATE], ("state", *RANK, "", "train"), id="state"),
        pytest.param([STATE], [STATE], None, id="nothing"),
        pytest.param(
            [Sample(catalog.TRAIN_EPOCH, RANK, 1.0)],
            [Sample(catalog.TRAIN_EPOCH, RANK, 2.0), Sample(catalog.TRAIN_EPOCH, ("a", "1"), 2.0)],
            ("epoch", "a", "", "", "2"),
            id="epoch, once for all ranks",
        ),
        pytest.param([STATE], [STATE, VERDICT], ("began", *RANK, "straggler", ""), id="began"),
        pytest.param([STATE, VERDICT], [STATE], ("ended", *RANK, "straggler", ""), id="ended"),
        pytest.param([STATE, VERDICT], [], None, id="the run went with it"),
        pytest.param(
            [Sample(catalog.TRAIN_VERDICT, ("", "", "held_idle"), 1.0)],
            [],
            ("ended", "", "", "held_idle", ""),
            id="the node's ended",
        ),
        pytest.param(
            [Sample(catalog.TRAIN_WORKER_DEATHS_TOTAL, RANK, 1.0)],
            [Sample(catalog.TRAIN_WORKER_DEATHS_TOTAL, RANK, 3.0)],
            ("worker_died", *RANK, "", "2"),
            id="workers died",
        ),
        pytest.param([], [Sample(catalog.TRAIN_WORKER_DEATHS_TOTAL, RANK, 0.0)], None, id="no worker died"),
        pytest.param(
            [],
            [HANG],
            ("hang", *RANK, "", "rank 1, worker 2 (pid 47), open() of /nfs/a.jpg: imread (/x/patches.py:61)"),
            id="hang",
        ),
        pytest.param(
            [Sample(catalog.GPU_UP, ("3",), 1.0)],
            [Sample(catalog.GPU_UP, ("3",), 0.0)],
            ("gpu_lost", "", "", "3", ""),
            id="lost",
        ),
        pytest.param(
            [Sample(catalog.GPU_UP, ("3",), 0.0)],
            [Sample(catalog.GPU_UP, ("3",), 1.0)],
            ("gpu_back", "", "", "3", ""),
            id="back",
        ),
        pytest.param([], [Sample(catalog.GPU_UP, ("3",), 1.0)], None, id="a GPU that is there"),
        pytest.param(
            [], [Sample(catalog.GPU_XID_ERRORS_TOTAL, ("3", "79"), 1.0)], ("xid", "", "", "3", "79"), id="xid"
        ),
    ],
)
def test_changes(before: list[Sample], after: list[Sample], told: tuple[str, ...] | None) -> None:
    """One event, or none."""
    known = facts(before)
    assert list(changes(known, facts(after, known))) == ([told] if told else [])


GPU = [Sample(catalog.GPU_UP, ("0",), 1.0), Sample(catalog.GPU_XID_ERRORS_TOTAL, ("0", "79"), 1.0)]
RUN = [
    STATE,
    VERDICT,
    HANG,
    Sample(catalog.TRAIN_EPOCH, RANK, 7.0),
    Sample(catalog.TRAIN_WORKER_DEATHS_TOTAL, RANK, 4.0),
]


@pytest.mark.parametrize("there", [[], GPU, RUN], ids=["no collector", "no runs", "no GPUs"])
def test_what_a_collector_did_not_tell_has_not_happened_again(there: list[Sample]) -> None:
    """It failed for a cycle, and then says what it said before."""
    history = History()
    for cycle, samples in enumerate([[*GPU, *RUN], there, [*GPU, *RUN]]):
        history.feed(2.0 * cycle, samples)
    assert history.events() == []


def test_what_changed_while_a_collector_failed_is_told() -> None:
    """Once, as soon as it answers again."""
    history = History()
    for cycle, samples in enumerate([RUN, [], [STATE, Sample(catalog.TRAIN_EPOCH, RANK, 9.0)]]):
        history.feed(2.0 * cycle, samples)
    assert [(event.kind, event.value) for event in history.events()] == [("epoch", "9"), ("ended", "")]


def test_a_number_of_an_exporter_that_ran_before_leaves_nothing_out() -> None:
    """Numbers begin at 1 again."""
    history = History()
    for cycle in range(3):
        history.feed(2.0 * cycle, [Sample(catalog.TRAIN_EPOCH, RANK, float(cycle))])
    assert [event.number for event in history.events(since=400)] == [1, 2]
    assert history.events(since=2) == []


def test_only_changes_are_events() -> None:
    """What the first snapshot says has not happened; numbers grow, and only the last ones are kept."""
    history = History()
    for second in range(2 * MOST_EVENTS):
        history.feed(2.0 * second, [STATE, Sample(catalog.TRAIN_EPOCH, RANK, float(second))])
    found = history.events()
    assert len(found) == MOST_EVENTS
    assert [event.number for event in found] == list(range(MOST_EVENTS, 2 * MOST_EVENTS))
    assert found[-1][1:] == (2.0 * (2 * MOST_EVENTS - 1), "epoch", "a", "", "", str(2 * MOST_EVENTS - 1))
    assert history.events(since=found[-2].number) == found[-1:]


def test_what_happens_to_one_user_pushes_nothing_of_another_out() -> None:
    """A thousand changes of somebody else's run leave the few of this one."""

    def of(user: str, run: str, epoch: float) -> list[Sample]:
        names = catalog.TRAIN_RUN_INFO.labels
        about = tuple({"run": run, "rank": "0", "user": user}.get(name, "") for name in names)
        return [Sample(catalog.TRAIN_RUN_INFO, about, 1.0), Sample(catalog.TRAIN_EPOCH, (run, "0"), epoch)]

    history = History()
    for second in range(3 * MOST_EVENTS):
        mine = of("alice", "mine", min(second, 10.0))
        history.feed(2.0 * second, [*of("mallory", f"many {second % 7}", float(second)), *mine])
    found = history.events()
    assert len(found) == MOST_EVENTS
    assert [event.value for event in found if event.run == "mine"] == [str(epoch) for epoch in range(1, 11)]
    assert [event.number for event in found] == sorted(event.number for event in found)


def test_every_state_of_the_catalogue_is_watched() -> None:
    """A gauge with the labels of a state is one, whatever it is of."""
    assert catalog.TRAIN_STATE in events.STATES
    assert set(events.KINDS) >= {"state", "epoch", "began", "ended"}
