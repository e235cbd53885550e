"""The end of a run in words: state, figures, verdicts and fixes, in both languages."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from yoloscope_exporter.notify.ended import message
from yoloscope_exporter.notify.messages import FAILURE, GOOD, fitted
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports.ending import Ended
from yoloscope_exporter.reports.summary import summarize

RECORDINGS = Path(__file__).parents[2] / "recordings"


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["epochs ", "images/s ", "waiting for data ", "Verdict: loader_workers", "Fix: workers="]),
        ("zh-CN", ["epoch 数 ", "图像/秒 ", "等待数据 ", "诊断结论：loader_workers", "修改方法：workers="]),  # noqa: RUF001
    ],
)
def test_a_run_with_a_problem(language: str, expected: list[str]) -> None:
    """What held it back, and what to type."""
    summary = summarize(reader.read(RECORDINGS / "loader_workers.om.gz"), "train/yolo11m")
    told = message(Ended("yolo detect train", 0, 7500.0, "node"), [summary], language, 0.0)
    body = fitted(told, 10_000, 0.0, markdown=True)
    assert told.title.startswith("train/yolo11m ")
    assert "2:05:00" in told.title
    assert told.kind == GOOD
    for text in expected:
        assert text in body


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "failed with exit code 1 after"),
        (255, "failed with exit code 255 after"),
        (128 + signal.SIGKILL, "was killed by SIGKILL after"),
    ],
)
def test_how_it_ended(code: int, said: str) -> None:
    """By the exit code."""
    told = message(Ended("python train.py", code, 5.0, "node"), [], "en", 0.0)
    assert told.title.startswith(f"python train.py {said} 5.0 s on ")
    assert told.kind == FAILURE
    assert fitted(told, 1000, 0.0, markdown=False) == told.title


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_was_stopped(number: signal.Signals) -> None:
    """Is no failure; a training that somebody ends by the same signal is."""
    trained = summarize(reader.read(RECORDINGS / "loader_workers.om.gz"), "train/yolo11m")
    stopped = replace(trained, state="stopped", kind="predict")
    for last, kind, said in ((stopped, GOOD, "was stopped by"), (trained, FAILURE, "was killed by")):
        told = message(Ended("python camera.py", 128 + number, 5.0, "node"), [last], "en", 0.0)
        assert f" {said} {number.name} after " in told.title
        assert told.kind == kind
    assert message(Ended("python camera.py", 1, 5.0, "node"), [stopped], "en", 0.0).kind == FAILURE


def test_several_runs() -> None:
    """Each is a section; the title names three."""
    summary = summarize(reader.read(RECORDINGS / "loader_workers.om.gz"), "train/yolo11m")
    told = message(Ended("python tune.py", 0, 5.0, "node"), [summary] * 12, "en", 0.0)
    assert told.title.startswith("train/yolo11m, train/yolo11m, train/yolo11m (+9) finished")
    assert (len(told.sections), told.omitted) == (10, 2)
    assert told.sections[0].heading == "train/yolo11m"
