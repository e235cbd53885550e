"""What is told of the end of a command: in lines for people, and as `summary.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from yoloscope_exporter.diagnosis import causes
from yoloscope_exporter.diagnosis.engine import Verdict
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports.ending import (
    FOLLOWED,
    KEYS,
    MEANT,
    Ended,
    card_lines,
    document,
    findings,
    message_lines,
)
from yoloscope_exporter.reports.figures import QUANTITIES, Figure
from yoloscope_exporter.reports.summary import Summary, summarize

ROOT = Path(__file__).parents[3]
ENDED = Ended("yolo detect train", 0, 7500.0, "node7")


@pytest.fixture(scope="module")
def starved() -> Summary:
    """A run that waited for data."""
    return summarize(reader.read(ROOT / "tests/recordings/loader_workers.om.gz"), "train/yolo11m")


def verdict(name: str, severity: str = "warning", fix: str = "type this") -> Verdict:
    """A verdict."""
    return Verdict(name, severity, "seen", "because", "check", fix, "2x")


def kinds(summaries: list[Summary], language: str = "en") -> dict[str, str]:
    """What the card tells, by kind."""
    return {line.kind: line.text for line in card_lines(summaries, language)}


def test_card_and_message_tell_the_same(starved: Summary) -> None:
    """Figures, verdict, fix and forecast are the same lines; the card adds what to type."""
    message = list(message_lines(starved, "en"))
    card = list(card_lines([starved], "en"))
    assert card[: len(message)] == message
    assert [line.kind for line in card] == ["figures", "verdict", "fix", "gain", "more"]
    assert kinds([starved])["more"] == "yoloscope report train/yolo11m"
    assert kinds([starved])["verdict"].startswith("loader_workers: ")


def test_epochs_are_those_of_the_run_and_not_of_the_record(starved: Summary) -> None:
    """A record holds the last batches: a long run began before them."""
    late = replace(starved, epochs=tuple(one._replace(number=one.number + 90) for one in starved.epochs[-2:]))
    last = starved.epochs[-1].number + 90
    assert kinds([replace(late, facts={"epochs": "300"})])["figures"].startswith(f"epochs {last}/300 · ")
    assert kinds([replace(late, facts={})], "zh-CN")["figures"].startswith(f"epoch 数 {last} · ")


@pytest.mark.parametrize(
    ("task", "name"),
    [("classify", "best accuracy"), ("semantic", "best mIoU"), ("depth", "best delta1"), ("pose", "best mAP50-95")],
)
def test_a_task_has_a_score_of_its_own(starved: Summary, task: str, name: str) -> None:
    """Not always a mAP."""
    one = replace(starved, facts={"task": task}, figures={"score": Figure(0.75)})
    assert f"{name} 0.7500" in kinds([one])["figures"]


def test_the_worst_is_told_and_the_others_are_named(starved: Summary) -> None:
    """A cause goes with the verdict about an end; what informs only is left out."""
    told = (("0", verdict("amp_off", "info")), ("0", verdict("loader_io")), ("1", verdict("failed", "critical")))
    one = kinds([replace(starved, state="failed", verdicts=told)])
    assert one["verdict"] == "failed: seen"
    assert (one["cause"], one["fix"], one["also"]) == ("because", "type this", "loader_io")
    assert one["more"] == "yoloscope report --black-box train/yolo11m"


def test_a_chinese_card_is_in_chinese(starved: Summary) -> None:
    """Cause and fix are translated; arguments and names stay."""
    lost = causes.BY_NAME["gpu_lost"]
    told = replace(verdict("failed", "critical", lost.remedy), cause=f"{lost.name}: {lost.title}")
    one = kinds([replace(starved, state="failed", verdicts=(("0", told),))], "zh-CN")
    assert one["cause"] == "gpu_lost：GPU 不再响应，或其显存损坏"  # noqa: RUF001
    assert one["fix"].startswith("dmesg | grep -i xid；")  # noqa: RUF001
    assert "排空节点" in one["fix"]
    assert "drain" not in one["fix"]


def test_what_hung_is_told_before_the_ctrl_c_that_ended_it(starved: Summary) -> None:
    """An end that somebody wanted explains nothing; one that nobody wanted comes first."""
    ended, hung = replace(verdict("failed", "critical"), cause="interrupted: Ctrl-C"), verdict("stalled", "critical")
    for cause, expected in (("interrupted: Ctrl-C", "stalled"), ("labels: a class", "failed")):
        told = (("0", replace(ended, cause=cause)), ("0", hung), ("0", verdict("loader_io")))
        assert findings(replace(starved, verdicts=told))[0].name == expected
    assert {*MEANT, *FOLLOWED} <= causes.BY_NAME.keys()


@pytest.mark.parametrize("little", ["launcher: torchrun ended it", "peer_lost: it broke", "terminated: SIGTERM"])
def test_an_end_is_told_by_the_rank_that_has_its_cause(starved: Summary, little: str) -> None:
    """Rank 0 is seldom the one; an end of another kind, too, comes before one that followed."""
    followed, first = verdict("killed", "critical"), verdict("killed", "critical")
    told = (("0", replace(followed, cause=little)), ("1", replace(first, cause="native_crash: SIGSEGV")))
    assert [one.cause for one in findings(replace(starved, verdicts=told))] == ["native_crash: SIGSEGV"]
    told = (("0", replace(followed, cause=little)), ("1", replace(first, name="failed", cause="disk_full: [Errno 28]")))
    assert [one.name for one in findings(replace(starved, verdicts=told))] == ["failed", "killed"]


def test_each_verdict_once(starved: Summary) -> None:
    """However many ranks it holds for; the first rank's words."""
    told = tuple((str(rank), replace(verdict("loader_io"), evidence=f"rank {rank}")) for rank in range(8))
    assert [one.evidence for one in findings(replace(starved, verdicts=told))] == ["rank 0"]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [((), "none: too little was seen to judge"), ((("0", verdict("compute_bound", "ok")),), "compute_bound: seen")],
)
def test_nothing_wrong(starved: Summary, verdicts: tuple[tuple[str, Verdict], ...], said: str) -> None:
    """Health is told, and that nothing is known, too; neither has a fix."""
    one = kinds([replace(starved, verdicts=verdicts)])
    assert one["verdict"] == said
    assert "fix" not in one


def test_the_last_of_several_runs(starved: Summary) -> None:
    """The others are counted; a name that a shell would divide is quoted."""
    one = kinds([starved, starved, replace(starved, run="a run")])
    assert one["others"] == "2 more of this command"
    assert one["more"] == "yoloscope report 'a run'"
    assert kinds([starved, starved], "zh-CN")["others"] == "该命令另有 1 个训练任务"


def test_summary_json(starved: Summary) -> None:
    """Flat numbers in base units, what is not known left out; every key is documented."""
    told = json.loads(json.dumps(document(ENDED, starved), allow_nan=False))
    assert told["run"] == "train/yolo11m"
    assert (told["exit_code"], told["node"], told["format"]) == (0, "node7", 1)
    assert told["metrics"]["images_per_second"] == starved.figures["throughput"].value
    assert told["metrics"]["epoch"] == starved.epochs[-1].number
    assert all(isinstance(value, (int, float)) for value in told["metrics"].values())
    assert told["verdicts"][0]["name"] == "loader_workers"
    assert set(told["verdicts"][0]["arguments"]) == {"workers"}
    assert "energy_joules" in document(ENDED, replace(starved, figures={"energy": Figure(5.0)}))["metrics"]
    for page in ("hooks.md", "hooks.zh-CN.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert [key for key in (*told, *KEYS.values()) if f"`{key}`" not in text] == []


def test_every_figure_has_a_key() -> None:
    """A figure that is new is in the file, too."""
    assert list(KEYS) == list(QUANTITIES)
