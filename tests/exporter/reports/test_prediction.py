"""Reports on predictions, exports and validations: from recordings and from what the process has left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.cli import main
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.reports import html, runs
from yoloscope_exporter.reports.comparison import chance_of_slowdown, compare
from yoloscope_exporter.reports.ending import Ended, card_lines, document
from yoloscope_exporter.reports.markdown import comparison_markdown, summary_markdown

from tests.exporter.diagnosis.test_predictions import BASE, CUDA, FACTS, RUN, predicted, recorded, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.measures.series import Series
    from yoloscope_exporter.reports.summary import Summary

ROOT = Path(__file__).parents[3]
EXPORT = ("detect/export-1", "0")


def exported(seconds: float = 94.0, size: float = 22.4e6, name: str = "engine") -> Store:
    """An export, of which the exporter showed the end alone."""
    facts = {**FACTS, "mode": "export", "format": name}
    store = Store()
    store.add(2000.0, [
        Sample(c.PREDICT_RUN_INFO, (*EXPORT, *(facts.get(fact, "") for fact in c.PREDICT_FACTS)), 1.0),
        Sample(c.PREDICT_UP, EXPORT, 0.0),
        *(Sample(c.PREDICT_STATE, (*EXPORT, one), float(one == "finished")) for one in c.PREDICT_STATES),
        Sample(c.PREDICT_START_TIMESTAMP_SECONDS, EXPORT, 1900.0),
        Sample(c.PREDICT_END_TIMESTAMP_SECONDS, EXPORT, 1900.0 + seconds),
        Sample(c.PREDICT_CALLS_TOTAL, EXPORT, 1.0),
        Sample(c.EXPORT_SECONDS, (*EXPORT, name), seconds),
        Sample(c.EXPORT_ARTEFACT_BYTES, (*EXPORT, name), size),
    ])  # fmt: skip
    return store


def of(store: Store, run: str = RUN[0]) -> Summary:
    """The summary of a run."""
    return runs.summarize([store], run)


def test_report() -> None:
    """Figures of the whole run, where its time went, its verdict with the fix."""
    store, _ = predicted({"source": 0.016, "idle": 0.01}, source="video")
    assert runs.known([store]) == ([], [RUN[0]])
    text = summary_markdown(of(store))
    assert text.startswith(f"# {RUN[0]}\n\npredict; ")
    assert "| source | video |" in text
    assert "| images per second | 25 " in text
    assert "| waiting for the source | 40.0%" in text
    assert "| your own code, callbacks, saving | 0.0% |" in text
    assert "| source | 12.5 s | 32.0% |" in text
    assert "**source_bound** (warning): 40% of the time" in text
    assert "latency of an image, 99th percentile" in text
    assert "Epochs" not in text


def test_what_has_ended_is_judged_too() -> None:
    """A report is read afterwards; a running exporter says nothing of what has ended."""
    text = summary_markdown(of(recorded({"user": 0.03}, state="finished")))
    assert "\nfinished; " in text
    assert "user_code_bound" in text


def test_what_tracks_predicts() -> None:
    """Its mode is another, its verdicts are the same."""
    summary = of(recorded({"callbacks": 0.03}, state="finished", mode="track"))
    assert (summary.kind, [verdict.name for _, verdict in summary.verdicts]) == ("predict", ["user_code_bound"])


def test_a_page() -> None:
    """Bar, curves and verdict, nothing from elsewhere; each phase in a colour that the page has."""
    page = html.one(of(predicted({"source": 0.016}, source="video")[0]))
    for part in ("source_bound", "inference 19.5 s", "<figure data-chart=", "latency of an image (s)", "source=video"):
        assert part in page
    assert "<script" not in page[page.index("<body>") :]


def test_an_export_has_a_table_and_no_verdict() -> None:
    """Time and size by format; nothing is said of verdicts, on the card neither."""
    summary = of(exported(), EXPORT[0])
    text = summary_markdown(summary)
    assert "| engine | 94.0 s | 21.4 MiB |" in text
    assert "Verdicts" not in text
    assert "Where the time went" not in text
    assert "<td>engine</td>" in html.one(summary)
    told = {line.kind: line.text for line in card_lines([summary], "en")}
    assert told == {"figures": "exported in 94.0 s · size 21.4 MiB", "more": "yoloscope report detect/export-1"}
    assert document(Ended("yolo export", 0, 95.0, "node7"), summary)["metrics"] == {
        "calls": 1.0,
        "export_seconds": 94.0,
        "export_bytes": 22.4e6,
        "duration_seconds": 94.0,
    }


def test_the_card_of_predictions() -> None:
    """Images, speed, latency, the verdict with its fix; in Chinese too."""
    summary = of(predicted({"source": 0.016}, source="video")[0])
    told = {line.kind: line.text for line in card_lines([summary], "en")}
    assert told["figures"].startswith("images 975 · images/s 25 · 99% of the images within ")
    assert told["figures"].endswith(" · in the model 50.0%")
    assert told["verdict"].startswith("source_bound: 40% of the time")
    assert told["fix"].startswith("vid_stride=2")
    assert told["more"] == "yoloscope report detect/predict-1"
    chinese = {line.kind: line.text for line in card_lines([summary], "zh-CN")}
    assert chinese["figures"].startswith("图像数 975 · 图像/秒 25 · 99% 的图像延迟不超过 ")
    few = of(recorded({"inference": 30.0}))
    assert [line.text for line in card_lines([few], "en") if line.kind == "verdict"] == [
        "none: too little was seen to judge"
    ]


def noisy(phases: dict[str, float], *, noise: float = 0.02, **how: object) -> Store:
    """Predictions whose speed varies from second to second."""
    store, done = Store(), 0.0
    for second in range(240):
        done += 1.0 + noise * ((7 * second) % 11 - 5) / 5
        store.add(1000.0 + second, samples(done, {**BASE, **phases}, **how))  # type: ignore[arg-type]
    return store


def test_two_runs_are_compared() -> None:
    """By images per second, latency and shares, with how sure that is, and by what was configured otherwise."""
    slow, fast = of(noisy({"source": 0.02}, source="video")), of(noisy({}, source="files", conf="0.25"))
    comparison = compare([slow], [fast])
    text = comparison_markdown(comparison)
    assert "| source | video | files |" in text
    rows = {row.name: row for row in comparison.rows}
    assert rows["source"].cells[1].change == "-45.5 points"
    assert rows["verdicts"].cells[1].text == "inference_bound"
    assert chance_of_slowdown(comparison, 0.05) is not None
    assert "detect/predict-1" in html.several(comparison)


def run(*arguments: str | Path) -> Result:
    """`yoloscope ...`."""
    return CliRunner().invoke(main, [*map(str, arguments)])


def recording(path: Path, store: Store) -> Path:
    """The file of `yoloscope record` with what is in a store."""
    writer = Writer(path)
    for time in store.times():
        writer.samples(time, [
            Sample(c.BY_NAME[name], labels, value)
            for name, family in store.series.items()
            for labels, series in family.items()
            for value in _at(series, time)
        ])  # fmt: skip
    writer.close()
    return path


def _at(series: Series, time: float) -> Iterator[float | HistogramValue]:
    if time in series.times:
        place = series.times.index(time)
        parts = series.histograms[place] if series.histograms else ()
        yield HistogramValue(parts[:-1], parts[-1]) if parts else series.values[place]


def test_recordings(tmp_path: Path) -> None:
    """One, two with a gate and a page, two groups; what is of another kind is refused in one line."""
    slow = recording(tmp_path / "slow.om", noisy({"source": 0.02}, source="video"))
    fast, export = recording(tmp_path / "fast.om", noisy({})), recording(tmp_path / "export.om", exported())
    one = run("report", slow)
    assert one.exit_code == 0, one.output
    assert "source_bound" in one.output
    both = run("report", fast, slow, "--gate", "5%", "--html", tmp_path / "c.html")
    assert both.exit_code == 1, both.output
    assert "| images per second | 41.67 ± " in both.output
    assert "<figure data-chart=" in (tmp_path / "c.html").read_text()
    assert run("report", slow, fast, "--gate", "5%").exit_code == 0
    groups = run("report", slow, slow, "--vs", fast, fast)
    assert " | significant (n=2+2) |" in groups.output
    mixed = run("report", slow, export)
    assert mixed.exit_code == 2
    assert "only runs of one kind are compared, and these differ: detect/predict-1 (predict), " in mixed.output
    diagnosed = run("diagnose", "--recording", slow)
    assert (diagnosed.exit_code, "source_bound" in diagnosed.output) == (1, True)


def test_verdicts_that_need_a_gpu(tmp_path: Path) -> None:
    """Of a recording that is modelled, as no GPU is here: the same in `diagnose` and in `report`."""
    small = recording(tmp_path / "small.om", recorded({}, **CUDA, busy=0.2, stream="False"))
    full = recording(tmp_path / "full.om", recorded({}, **{**CUDA, "precision": "fp32"}, busy=0.9, batch=16))
    for path, name, fix in ((small, "small_inference_batch", "batch=8 stream=True"), (full, "precision", "half=True")):
        for command in (("diagnose", "--recording", path), ("report", path)):
            told = run(*command).output
            assert name in told
            assert fix in told


RECORD = """
import pathlib, sys, yoloscope_hooks
from tests.trainer_hooks.predictor import Predictor
predictor = yoloscope_hooks.attach(Predictor(pathlib.Path(sys.argv[1]), wait=0.01), run="night")
for _ in range(3):
    predictor([1] * 10)
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a process has left that predicted for a second, and waited for its source."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "trainer_hooks")))}
    subprocess.run([sys.executable, "-c", RECORD, str(tmp_path)], env=environment, check=True)
    return tmp_path


def test_from_the_record(record: Path) -> None:
    """Read by its name, by the beginning of it, or as the newest here; judged though it was over within a second."""
    told = [run("report", *name, "--records", record) for name in (("night-predict",), ("night",), ())]
    assert [one.exit_code for one in told] == [0, 0, 0], told[0].output
    assert told[0].output == told[1].output == told[2].output
    for part in ("| calls | 3 |", "| images | 30 |", "\nfinished; ", "**source_bound** (warning)"):
        assert part in told[0].output
    diagnosed = run("diagnose", "--black-box", "night-predict", "--records", record)
    assert (diagnosed.exit_code, "source_bound" in diagnosed.output) == (1, True)


def test_a_record_of_predictions_is_no_black_box(record: Path) -> None:
    """One line says so, and what there is instead; none is taken for the newest training."""
    refused = run("report", "--black-box", "night-predict", "--records", record)
    assert refused.exit_code == 2
    assert "night-predict is no training: its record has totals and no batches; see `yoloscope report" in refused.output
    assert "no runs in " in run("report", "--black-box", "--records", record).output


def test_two_records_differ_without_certainty(record: Path) -> None:
    """They have totals alone: a difference is told, and that nothing is known of its spread."""
    told = run("report", "night-predict", "night-predict", "--records", record)
    assert "| images per second | " in told.output
    assert "too short to tell" not in told.output
    gate = run("report", "night-predict", "night-predict", "--records", record, "--gate", "5%")
    assert "too little was seen" in gate.output
