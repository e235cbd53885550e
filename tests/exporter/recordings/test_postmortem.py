"""The flight recorder of a dead run, read without an exporter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import postmortem
from yoloscope_exporter.reports.summary import summarize
from yoloscope_exporter.terminal.last_batches import last_batches
from yoloscope_record import paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer

from tests.users import ALICE, MALLORY, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = "runs/train 7"
KEY = (RUN, "0")
START = 1_790_000_000.0
WAIT, STEP = 0.3, 0.1


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """The record of a run that waited for data in 50 batches of two epochs and then vanished."""
    identity = Identity(RUN)
    writer = Writer(paths.run_directory(tmp_path, RUN) / identity.filename, identity, {"workers": "2"})
    slots = {metric: writer.slot(metric, *KEY) for metric in (catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_IMAGES_TOTAL)}
    gauges = {
        catalog.TRAIN_START_TIMESTAMP_SECONDS: START,
        catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS: START + 5 + 50 * (WAIT + STEP),
        catalog.TRAIN_BATCH_SIZE: 16.0,
        catalog.TRAIN_EPOCHS: 9.0,
        catalog.TRAIN_EPOCH: 2.0,
    }
    phases = {"data_wait": 50 * WAIT, "forward": 50 * STEP * 0.4, "backward": 50 * STEP * 0.6, "setup": 5.0}
    slots_of_phases = {phase: writer.slot(catalog.TRAIN_PHASE_SECONDS_TOTAL, *KEY, phase) for phase in phases}
    slots_of_gauges = {metric: writer.slot(metric, *KEY) for metric in gauges}
    writer.begin()
    writer.set_state("train")
    for batch in range(50):
        end = START + 5 + (batch + 1) * (WAIT + STEP)
        writer.append((end, WAIT, STEP, 3e9, 4e9, batch % 2, 0, 1 + batch // 25))
    writer.count()
    for metric, slot in slots.items():
        writer.values[slot] = 50.0 if metric == catalog.TRAIN_BATCHES_TOTAL else 800.0
    for phase, slot in slots_of_phases.items():
        writer.values[slot] = phases[phase]
    for metric, slot in slots_of_gauges.items():
        writer.values[slot] = gauges[metric]
    writer.end(START + 25)
    writer.close()  # gives up the lock without an end: killed
    return tmp_path


def test_the_ring_becomes_series(base: Path) -> None:
    """As if the run had been sampled after each batch: totals at the end, history before it."""
    found = postmortem.read(base, RUN)
    batches = found.store.series[catalog.TRAIN_BATCHES_TOTAL.name][KEY]
    assert list(batches.values[:3]) == [0, 1, 2]
    assert batches.values[-1] == 50
    waits = found.store.series[catalog.TRAIN_PHASE_SECONDS_TOTAL.name][(*KEY, "data_wait")]
    assert waits.values[10] - waits.values[9] == pytest.approx(WAIT)
    forward = found.store.series[catalog.TRAIN_PHASE_SECONDS_TOTAL.name][(*KEY, "forward")]
    assert forward.values[20] == pytest.approx(20 * STEP * 0.4)
    assert found.store.skipped == {}


def test_a_dead_run_is_diagnosed_from_it(base: Path) -> None:
    """Killed, and starved before that, with nothing but the record."""
    found = postmortem.read(base, RUN)
    (diagnosis,) = diagnose_range([found.store]).diagnoses
    names = [verdict.name for verdict in diagnosis.verdicts]
    assert names == ["killed"]  # it waited for data, too, but there is no worker's record to say why
    assert "epoch 2 of 9" in diagnosis.verdicts[0].evidence
    figures = summarize([found.store], RUN).figures
    assert figures["data_wait"].value == pytest.approx(0.75, abs=0.01)
    assert figures["throughput"].value == pytest.approx(16 / (WAIT + STEP), rel=0.01)


def test_runs_are_listed_and_missing_ones_refused(base: Path) -> None:
    """By name, the newest first."""
    assert postmortem.runs(base) == [RUN]
    with pytest.raises(KeyError):
        postmortem.read(base, "other")


def test_a_folder_of_the_runs_name_does_not_hide_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`project=. name=exp` and `--name exp`: what the card says is to be typed is found."""
    (base / "elsewhere" / RUN).mkdir(parents=True)
    monkeypatch.chdir(base / "elsewhere")
    assert postmortem.find(base, RUN) == (base, RUN)


def written(base: Path, identity: Identity, **facts: str) -> None:
    """The record of a run with these facts."""
    writer = Writer(paths.run_directory(base, identity.run) / identity.filename, identity, facts)
    writer.begin()
    writer.set_state(identity.kind)
    writer.end(START)
    writer.close()


def test_a_run_is_found_by_where_its_results_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction by its folder, there or not, the latest of several; an export by its file, and the file's folder."""
    base, results = tmp_path / "records", tmp_path / "runs" / "predict"
    results.mkdir(parents=True)
    model = results.parent / "best.onnx"
    model.touch()
    for run in ("first", "second"):
        written(base, Identity(run, "0", "predict"), save_dir=str(results))
    written(base, Identity("nothing-saved", "0", "validate"), save_dir=str(tmp_path / "not-made"))
    written(base, Identity("exported", "0", "export"), exported=str(model))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(results)
    for wanted, run in (
        ("runs/predict", "second"),
        ("runs/predict/", "second"),
        (str(results), "second"),
        ("link", "second"),
        ("first", "first"),
        ("not-made", "nothing-saved"),
        ("runs/best.onnx", "exported"),
        ("runs", "exported"),
    ):
        assert postmortem.find(base, wanted) == (base, run), wanted
    for nothing in ("", ".", "runs/best.pt"):
        with pytest.raises(KeyError):
            postmortem.find(base, nothing)


@needs_root
def test_runs_of_two_users_with_one_name_are_not_mixed(tmp_path: Path) -> None:
    """Root has none of them: totals and last batches are of the same one, whichever was written to last."""
    for number, user in enumerate((ALICE, MALLORY)):
        own, identity = tmp_path / f"yoloscope-{user}", Identity("exp")
        writer = Writer(paths.run_directory(own, "exp") / identity.filename, identity, slots=8, ring=128)
        writer.append((START + number, 0.1, float(user), 0, 0, 0, 0, 1))
        writer.count()
        writer.end(START + number)
        writer.close()
        for path in (own, *own.rglob("*")):
            os.chown(path, user, user)
        os.utime(own / "exp", (START + number, START + number))
    for label, user in (("exp", ALICE), (f"exp@{MALLORY}", MALLORY)):
        assert postmortem.place(tmp_path, label) == tmp_path / f"yoloscope-{user}" / "exp"
        (row,) = postmortem.read(tmp_path, label).rows["0"]
        assert row.step_seconds == user


@needs_root
def test_nobody_elses_run_is_taken_for_what_lies_in_a_folder(tmp_path: Path) -> None:
    """A record may say that its results lie anywhere; the folder's owner, and who asks, are believed."""
    base, results = tmp_path / "records", tmp_path / "results"
    results.mkdir()
    for user in (ALICE, MALLORY):
        own = base / f"yoloscope-{user}"
        written(own, Identity(f"of-{user}", "0", "predict"), save_dir=str(results))
        for path in (own, *own.rglob("*")):
            os.chown(path, user, user)
    assert postmortem.of_results(base, str(results)) == []
    os.chown(results, ALICE, ALICE)
    assert postmortem.of_results(base, str(results)) == [f"of-{ALICE}"]
    written(base / "yoloscope-0", Identity("of-root", "0", "predict"), save_dir=str(results))
    assert postmortem.of_results(base, str(results)) == ["of-root", f"of-{ALICE}"]


@pytest.mark.parametrize("wanted", ["/nonexistent/dir", "a*b/c[", "**/x"])
def test_what_is_typed_is_no_pattern(base: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for as it is, and not found."""
    monkeypatch.chdir(base)
    with pytest.raises(KeyError):
        postmortem.find(base, wanted)


def test_the_last_minutes_in_print(base: Path) -> None:
    """A line per quantity, then the last batches."""
    text = last_batches("0", postmortem.read(base, RUN).rows["0"])
    assert "the last 50 batches, 20 s" in text
    assert "data wait" in text
    assert "300.0     100.0" in text
    assert len(text.splitlines()) < 24
    assert max(map(len, text.splitlines())) <= 100
    assert "no batch was recorded" in last_batches("0", [])
