"""The slowest files of a run, in words and in JSON."""

from __future__ import annotations

import json

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import slow_files
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.diagnosis.serialize import from_json, to_json
from yoloscope_exporter.diagnosis.slow_files import SlowFile
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.reports import html
from yoloscope_exporter.reports.markdown import summary_markdown
from yoloscope_exporter.reports.summary import summarize
from yoloscope_exporter.terminal.diagnosis import to_markdown, to_text

from tests.recordings.model import Plan, moments, play

HUGE = SlowFile("/data/huge.png", "0", 2.5, 2.0, 325_000_000, 12000, 9000, "PNG", "nfs4")
REPAIRED = SlowFile("/data/a|b.jpg", "0", 0.8, 0.1, None, None, None, "JPEG", "", repaired=True)
BARE = SlowFile("/data/old.jpg", "1", 0.5)


def _samples(file: SlowFile, run: str) -> list[Sample]:
    labels = (run, file.rank, file.path)
    about = (
        str(file.width or ""),
        str(file.height or ""),
        file.format,
        file.filesystem,
        "true" if file.repaired else "",
    )
    numbers = {
        catalog.TRAIN_SLOW_FILE_SECONDS: file.seconds,
        catalog.TRAIN_SLOW_FILE_CPU_SECONDS: file.computing,
        catalog.TRAIN_SLOW_FILE_BYTES: file.size,
    }
    told = [Sample(metric, labels, float(value)) for metric, value in numbers.items() if value is not None]
    return told + ([Sample(catalog.TRAIN_SLOW_FILE_INFO, (*labels, *about), 1.0)] if any(about) else [])


def _store(*files: SlowFile, run: str = "here") -> Store:
    store = play(Plan(run=run, workers=1, epochs=2, batches=60))
    for file in files:
        for sample in _samples(file, run):
            for time in store.times()[10:]:
                store.add_one(time, sample)
    return store


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (HUGE, "2.5 s, 80.0% computing: /data/huge.png; 12000 x 9000 px, PNG, 310 MiB, on nfs4"),
        (
            REPAIRED,
            "800 ms, 12.5% computing: /data/a|b.jpg; JPEG, quality 100, as Ultralytics rewrites a corrupt JPEG",
        ),
        (BARE, "500 ms: /data/old.jpg"),
        (SlowFile("/" + "x" * 200 + "/a.jpg", "0", 0.5), f"500 ms: ...{'x' * 91}/a.jpg"),
    ],
)
def test_a_file_in_words(file: SlowFile, line: str) -> None:
    """What it cost and what it is; what is not known is not told."""
    assert str(file) == line


def test_of_a_run_and_of_a_rank() -> None:
    """The slowest first, with all that is known of each; another run's are not among them."""
    store = _store(BARE, HUGE, REPAIRED)
    for sample in _samples(HUGE._replace(seconds=9.0), "another"):
        store.add_one(store.last, sample)
    window = Window(store, store.first, store.last, 1.0)
    assert slow_files.of([window], "here") == (HUGE, REPAIRED, BARE)
    assert slow_files.of([window], "here", "1") == (BARE,)


def test_the_list_is_that_of_the_end() -> None:
    """A file that slower ones have driven out is no longer told; five are told, each once."""
    store = _store(*(SlowFile(f"/{number}", "0", 1.0 + number) for number in range(7)))
    for sample in _samples(SlowFile("/gone", "0", 50.0), "here"):
        store.add_one(store.times()[5], sample)
    window = Window(store, store.first, store.last, 1.0)
    files = slow_files.of([window, window], "here")
    assert [file.path for file in files] == ["/6", "/5", "/4", "/3", "/2"]


def test_json_and_back() -> None:
    """What an exporter says is what a client reads; what is not known is not there; a newer field is no trouble."""
    course = diagnose_range([_store(HUGE, REPAIRED)])
    told = json.loads(json.dumps(to_json(course.diagnoses)))
    assert told["runs"][0]["slow_files"][1] == {
        "path": "/data/a|b.jpg",
        "rank": "0",
        "seconds": 0.8,
        "computing": 0.1,
        "format": "JPEG",
        "repaired": True,
    }
    told["runs"][0]["slow_files"][0]["newer"] = 1
    assert from_json(told)[0].slow_files == (HUGE, REPAIRED)


def test_a_running_exporter_tells_them() -> None:
    """With what it says of the rank now."""
    live = Live()
    for time, samples in moments(Plan(run="here", workers=1, epochs=1, batches=60)):
        live.feed(time, [*samples, *_samples(HUGE, "here"), *_samples(BARE, "here")])
    (diagnosis,) = live.diagnoses
    assert diagnosis.slow_files == (HUGE,)  # the other one is of rank 1
    assert from_json(live.document())[0].slow_files == (HUGE,)


def test_diagnose_tells_them_with_verbose_only() -> None:
    """In text and Markdown."""
    (diagnosis,) = diagnose_range([_store(HUGE, REPAIRED)]).diagnoses
    assert str(HUGE) in to_text([diagnosis], verbose=True)
    assert "huge.png" not in to_text([diagnosis])
    markdown = to_markdown([diagnosis], verbose=True)
    assert "| /data/huge.png | 2.5 s | 80.0% | 12000 x 9000 px, PNG, 310 MiB, on nfs4 |" in markdown
    assert "/data/a\\|b.jpg" in markdown
    assert "huge.png" not in to_markdown([diagnosis])


def test_reports_tell_them() -> None:
    """As Markdown and as HTML; without any there is no heading."""
    summary = summarize([_store(HUGE, SlowFile("/<b>.jpg", "0", 0.1))], "here")
    assert "| /data/huge.png | 2.5 s | 80.0% | 12000 x 9000 px, PNG, 310 MiB, on nfs4 |" in summary_markdown(summary)
    page = html.one(summary)
    assert "<td>/data/huge.png</td><td>2.5 s</td><td>80.0%</td>" in page
    assert "/&lt;b&gt;.jpg" in page
    without = summarize([_store()], "here")
    assert "Slowest files" not in summary_markdown(without) + html.one(without)
