"""What the pictures show: GPUs' lines, the heatmap of loader workers, memory by epoch."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures import gpu
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.notebook import panels as drawn
from yoloscope_exporter.notebook.panels import Known, panels
from yoloscope_exporter.sampling.exposition import Form, Renderer

from tests.recordings.model import GIB, Plan, moments, play

RUN = "here"


def _play(**plan: object) -> Store:
    return play(Plan(run=RUN, epochs=3, batches=60, **plan), every=2.0)  # type: ignore[arg-type]


def test_a_gpu_has_a_point_for_every_two_seconds() -> None:
    """Utilization, memory and temperature, each as the measure says it between two samples."""
    store = _play()
    found = panels([store], RUN).gpus
    assert list(found) == [gpu.BUSY, gpu.MEMORY_USED, gpu.HEAT_CELSIUS]
    (line,) = found[gpu.BUSY]
    times = [time for time, _ in line.points]
    assert {round(later - earlier) for earlier, later in pairwise(times)} == {2}
    start, end = times[20], times[21]
    assert line.points[21][1] == Reading(Window(store, start, end, 2.0)).one(gpu.BUSY, gpu="0")
    assert 0.5 < median(value for _, value in line.points) <= 1.0
    (memory,) = found[gpu.MEMORY_USED]
    assert memory.points[21][1] == pytest.approx(38 / 80, abs=0.05)


def test_only_the_gpus_of_the_run() -> None:
    """Of a node with eight GPUs those that the run trains on; all of them before there is a run."""
    store = _play(ranks=2)
    for number in range(8):
        store.add_one(store.last, Sample(catalog.GPU_TEMPERATURE_CELSIUS, (str(number), "core"), 40.0))
    assert [line.gpu for line in panels([store], RUN).gpus[gpu.HEAT_CELSIUS]] == ["0", "1"]
    store.add(store.last + 2, [Sample(catalog.GPU_TEMPERATURE_CELSIUS, (str(n), "core"), 41.0) for n in range(8)])
    assert len(panels([store], "").gpus[gpu.HEAT_CELSIUS]) == 8


@pytest.mark.parametrize("gpus", [1, 8])
def test_a_long_time_is_coarser(gpus: int) -> None:
    """However long is watched, the points stay within bounds, and the last one is the last sample."""
    store = Store()
    for step in range(9001):
        store.add(
            1e9 + 2 * step, [Sample(catalog.GPU_TEMPERATURE_CELSIUS, (str(n), "core"), 40.0) for n in range(gpus)]
        )
    lines = panels([store], "").gpus[gpu.HEAT_CELSIUS]
    most = max(drawn.FEWEST, drawn.POINTS // (3 * gpus))
    assert all(most / 2 <= len(line.points) <= most + 2 for line in lines)
    assert all(line.points[-1][0] == store.last for line in lines)


def test_what_is_known_is_not_calculated_again() -> None:
    """The same pictures, and nothing is kept of stretches that are no longer drawn."""
    store, known = _play(), Known()
    before = panels([store], RUN, known)
    poisoned = {key: {"0": (0.25, None, None)} for key in known}
    again = panels([store], RUN, dict(known))
    assert again == before
    assert {value for _, value in panels([store], RUN, poisoned).gpus[gpu.BUSY][0].points} == {0.25}
    store.trim(store.last - 20)
    panels([store], RUN, known)
    assert len(known) <= 11


def test_the_heatmap_shows_the_slow_worker() -> None:
    """One of four takes four times as long; in every column that is known it is the slowest."""
    store = _play(workers=4, prep=lambda at: 2.0 if at.worker == 2 else 0.5)
    heat = panels([store], RUN).heat
    assert heat is not None
    assert [row.worker for row in heat.rows] == ["0", "1", "2", "3"]
    assert 40 < len(heat.edges) <= drawn.COLUMNS + 1
    assert {len(row.seconds) for row in heat.rows} == {len(heat.edges) - 1}
    typical = [median(value for value in row.seconds if value is not None) for row in heat.rows]
    assert typical == pytest.approx([0.5, 0.5, 2.0, 0.5], rel=0.15)


def test_rows_are_in_the_order_of_numbers() -> None:
    """Worker 2 stands before worker 10, rank by rank."""
    heat = panels([_play(workers=12, ranks=2)], RUN).heat
    assert heat is not None
    assert [(row.rank, row.worker) for row in heat.rows] == [(str(r), str(w)) for r in range(2) for w in range(12)]


def test_without_workers_the_process_itself_is_shown() -> None:
    """Its wait for each batch, which is the time to prepare one."""
    heat = panels([_play(workers=0, prep=0.5)], RUN).heat
    assert heat is not None
    (row,) = heat.rows
    assert (row.rank, row.worker) == ("0", "")
    assert median(value for value in row.seconds if value is not None) == pytest.approx(0.5, rel=0.1)


def test_memory_grows_by_epoch() -> None:
    """A gibibyte with each epoch; on the CPU there is no device memory."""
    leak = panels([_play(resident=lambda at: (6 + at.epoch) * GIB, gpu=False, workers=0)], RUN)
    assert [(epoch.number, epoch.device) for epoch in leak.memory] == [(1, None), (2, None), (3, None)]
    sizes = [epoch.process or 0.0 for epoch in leak.memory]
    assert [round((size - sizes[0]) / GIB) for size in sizes] == [0, 1, 2]
    assert leak.gpus == {}
    on_gpu = panels([_play(allocated=22 * GIB)], RUN)
    assert [epoch.device for epoch in on_gpu.memory] == [22 * GIB] * 3


def test_nothing_is_nothing() -> None:
    """No store, a run that is not there, a run in its set-up."""
    assert panels([], "") == drawn.Panels({}, None, ())
    assert panels([_play()], "another").heat is None
    setup = panels([play(Plan(run=RUN, epochs=0, setup=30.0, gpu=False, end="running"), every=2.0)], RUN)
    assert setup.memory == ()


def test_only_what_is_drawn_is_kept_of_an_exposition() -> None:
    """It is enough for the same pictures, and much less than all."""
    samples = list(moments(Plan(run=RUN, epochs=1, batches=30)))[-1][1]
    text = Renderer().render(list(samples)).get(Form(openmetrics=True)).decode()
    kept = drawn.drawn_only(text)
    names = {line.replace("{", " ", 1).split(" ", 1)[0] for line in kept.splitlines()}
    assert names <= drawn.DRAWN
    assert catalog.TRAIN_UP.name in names
    assert 0 < len(kept) < len(text) / 3
