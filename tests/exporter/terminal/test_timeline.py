"""A recording over time: what held when, what happened when."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog, colours
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis.engine import Diagnosis
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store, period
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal import timeline

from tests.recordings.cases import FOLDER

KILLED = FOLDER / "killed_oom.om.gz"


@pytest.fixture(scope="module")
def killed() -> tuple[Store, tuple[Diagnosis, ...]]:
    """A training that the OOM killer ended."""
    (store,) = reader.read(KILLED)
    return store, diagnose_range([store]).diagnoses


def test_a_verdict_holds_while_it_held(killed: tuple[Store, tuple[Diagnosis, ...]]) -> None:
    """The death at the end, not at the beginning."""
    store, diagnoses = killed
    assert "killed" not in [
        verdict.name for one in timeline.holding(diagnoses, store.first) for verdict in one.verdicts
    ]
    (last,) = timeline.holding(diagnoses, store.last)
    assert last.verdicts[0].name == "killed"


def test_events_in_their_order(killed: tuple[Store, tuple[Diagnosis, ...]]) -> None:
    """States and verdicts, each once, the death with its cause."""
    found = timeline.events(killed[0], period(killed[0].times()), killed[1])
    times = [event.time for event in found]
    assert times == sorted(times)
    told = [event.text for event in found]
    assert told.count("train/yolo11m rank 0: setup") == 1
    assert told.count("train/yolo11m rank 0: killed") == 1
    assert "train/yolo11m rank 0: killed began, out_of_memory_kill" in told
    assert not any(text.endswith("killed ended") for text in told)  # it holds to the end


def test_a_state_is_entered_again_after_a_gap() -> None:
    """A few periods without a sample are a gap; one is not. A state that is told as 0 has been left."""
    store = Store()
    for time, value in ((0, 1), (1, 1), (3, 1), (60, 1), (61, 0), (62, 1)):
        store.add(time, [Sample(catalog.TRAIN_STATE, ("a", "0", "train"), float(value))])
    assert [event.time for event in timeline.events(store, 1.0, ())] == [0, 60, 62]


def test_the_bar_shows_the_worst_and_the_moment(killed: tuple[Store, tuple[Diagnosis, ...]]) -> None:
    """As wide as it may be; red where the training was dead; the moment at its place, and at the ends within it."""
    store, diagnoses = killed
    later = store.first + 0.25 * (store.last - store.first)
    for moment, place in ((store.first, 0), (later, 10), (store.last + 99, 39)):
        bar = timeline.bar(diagnoses, store.first, store.last, moment, 40)
        assert bar.plain.index("┃") == place
        assert len(bar.plain) == 40
    colour = colours.SEVERITIES["critical"]
    marked = {
        span.start for span in timeline.bar(diagnoses, store.first, store.last, 0, 40).spans if span.style == colour
    }
    assert marked
    assert min(marked) > 20
    assert timeline.bar((), 5.0, 5.0, 5.0, 1).plain == "┃"


def test_a_nodes_diagnoses_are_those_of_its_ranks() -> None:
    """Of a recording of two nodes each shows its own."""
    one, other = Store("node-1"), Store("node-2")
    one.add(0, [Sample(catalog.TRAIN_STATE, ("a", "0", "train"), 1.0)])
    other.add(0, [Sample(catalog.TRAIN_STATE, ("a", "1", "train"), 1.0)])
    base = diagnose_range(reader.read(KILLED)).diagnoses[0]
    told = [Diagnosis("a", rank, "train", (), {}, base.signals) for rank in "01"]
    told.append(Diagnosis("", "node-2", "", (), {}, base.signals))
    assert [(d.run, d.rank) for d in timeline.of_node(told, one)] == [("a", "0")]
    assert [(d.run, d.rank) for d in timeline.of_node(told, other)] == [("a", "1"), ("", "node-2")]
