"""What the page says of runs, verdicts and events, without a server."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.history.events import Event
from yoloscope_exporter.history.store import History
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import documents

from tests.exporter.language.leftovers import english

if TYPE_CHECKING:
    from collections.abc import Sequence

ADVICE = Advice(
    {"workers": 12, "cache": "ram"}, {"OMP_NUM_THREADS": 1}, note="put the data set on a local SSD or NVMe disk"
)
STARVED = Verdict("loader_workers", "warning", "54% waits", "too few", "htop", str(ADVICE), "1.8x", advice=ADVICE)
HEALTHY = Verdict("compute_bound", "ok", "97% computes", "none", "top", "", None)
KILLED = Verdict(
    "killed", "critical", "SIGHUP", "hangup: its terminal or its ssh session was closed", "journalctl", "nohup", None
)


def view(states: dict[tuple[str, str], str], *diagnoses: Diagnosis, extra: Sequence[Sample] = ()) -> documents.View:
    """Of a snapshot of runs in these states; those that train are alive."""
    found = [Sample(catalog.TRAIN_STATE, (*key, state), 1.0) for key, state in states.items()]
    found += [Sample(catalog.TRAIN_UP, key, float(state == "train")) for key, state in states.items()]
    return documents.View(Snapshot(1.0, {"runs": (*found, *extra)}), diagnoses)


def said(run: str, rank: str, *verdicts: Verdict, state: str = "train") -> Diagnosis:
    """A diagnosis of a rank."""
    return Diagnosis(run, rank, state, verdicts, {}, Signals(run, rank, state, facts={}, numbers={}, names={}))


def test_runs_that_live_come_first_then_the_most_severe() -> None:
    """However they are called; one that nobody judged counts as healthy."""
    states = {
        ("a", "0"): "finished",
        ("b", "0"): "train",
        ("c", "0"): "train",
        ("d", "0"): "killed",
        ("e", "0"): "train",
    }
    seen = view(states, said("c", "0", STARVED), said("d", "0", KILLED, state="killed"), said("e", "0", HEALTHY))
    told = documents.runs(seen, History(), "en")
    assert [run["run"] for run in told["runs"]] == ["c", "b", "e", "d", "a"]
    assert [run["alive"] for run in told["runs"]] == [True, True, True, False, False]
    assert (told["runs"][0]["severity"], told["runs"][2]["severity"]) == ("warning", "ok")
    assert "severity" not in told["runs"][1]


def test_a_run_is_as_its_living_ranks_are() -> None:
    """One that died does not hide that the others train; ranks are in the order of numbers."""
    states = {("a", rank): "train" for rank in ("10", "2", "1")} | {("a", "0"): "killed"}
    told = documents.run(view(states), History(), "a", "en")
    assert told is not None
    assert (told["state"], told["alive"]) == ("train", True)
    assert [rank["rank"] for rank in told["rank"]] == ["0", "1", "2", "10"]
    assert documents.run(view(states), History(), "b", "en") is None


def test_a_verdict_of_several_ranks_is_told_once() -> None:
    """With all of them, and what one types."""
    told = documents.verdicts([said("a", "10", STARVED), said("a", "2", STARVED, KILLED)], "en")
    assert [(one["name"], one["ranks"]) for one in told] == [("killed", ["2"]), ("loader_workers", ["2", "10"])]
    assert told[1]["copy"] == "OMP_NUM_THREADS=1 workers=12 cache=ram"
    assert told[1]["fix"] == str(ADVICE)
    assert told[1]["effect"] == ["nothing of the result"]
    assert told[0]["copy"] == "nohup"
    assert told[0]["effect"] == []


def test_what_is_healthy_has_nothing_to_fix() -> None:
    """No cause, no fix, nothing to verify."""
    (told,) = documents.verdicts([said("a", "0", HEALTHY)], "en")
    assert [told[name] for name in ("cause", "fix", "copy", "verify")] == [""] * 4
    assert told["severity_text"] == "healthy"


def test_verdicts_in_chinese() -> None:
    """As far as there is a translation; what is typed stays."""
    told = documents.verdicts([said("a", "0", STARVED, KILLED)], "zh-CN")
    assert told[0]["cause"].endswith("被关闭")
    assert "本地 SSD" in told[1]["fix"]
    assert told[1]["copy"] == "OMP_NUM_THREADS=1 workers=12 cache=ram"
    assert told[1]["severity_text"] == "警告"
    assert "54% waits" in told[1]["evidence"]


@pytest.mark.parametrize("name", rules.BY_NAME)
def test_how_to_verify_is_told_in_chinese(name: str) -> None:
    """Of every verdict; commands stay."""
    rule = rules.BY_NAME[name]
    verdict = replace(STARVED, name=name, severity=rule.severity, verify=rule.verify)
    (told,) = documents.verdicts([said("a", "0", verdict)], "zh-CN")
    assert english(told["verify"]) == []
    assert english(told["title"]) == []


def test_effects_are_in_words() -> None:
    """What an argument changes of the result."""
    changed = replace(STARVED, advice=Advice({"imgsz": 512, "val": False}))
    (told,) = documents.verdicts([said("a", "0", changed)], "zh-CN")
    assert told["effect"] == ["准确率", "best.pt", "早停"]


def test_a_state_of_whatever_kind() -> None:
    """Every metric with a run, a rank and a state is one; a state nobody knows is shown as it is."""
    seen = view({("a", "0"): "dreaming"})
    told = documents.runs(seen, History(), "zh-CN")["runs"][0]
    assert (told["state"], told["state_text"]) == ("dreaming", "dreaming")


def test_set_up_and_hang() -> None:
    """The stage with how much of it is done; where a run stands still."""
    hang = ("1", "worker 2", "47", "open() of /nfs/a.jpg", "imread", "/x/patches.py", "61", "")
    extra = [
        Sample(catalog.TRAIN_SETUP_STAGE, ("a", "0", "cache"), 1.0),
        Sample(catalog.TRAIN_SETUP_PROGRESS_RATIO, ("a", "0"), 0.4),
        Sample(catalog.TRAIN_HANG_INFO, ("a", "0", *hang), 1.0),
    ]
    told = documents.run(view({("a", "0"): "setup"}, extra=extra), History(), "a", "en")
    assert told is not None
    assert (told["rank"][0]["setup_stage"], told["rank"][0]["setup_progress"]) == ("cache", 0.4)
    assert "/nfs/a.jpg" in told["hang"]
    words = catalog.hang_in_words(dict(zip(catalog.HANG_FACTS, hang, strict=True)))
    (event,) = documents.events([Event(1, 0.0, "hang", "a", "0", "", words)], "zh-CN")
    assert event["text"].startswith("卡住：")
    assert english(event["text"].replace("/nfs/a.jpg", "")) == []


def test_a_lost_gpu_keeps_its_name() -> None:
    """It does not answer, and that is what is said."""
    extra = [
        Sample(catalog.GPU_INFO, ("10", "GPU-1", "H100", "580", "13", "00:1"), 1.0),
        Sample(catalog.GPU_UP, ("10",), 0.0),
        Sample(catalog.GPU_INFO, ("2", "GPU-2", "H100", "580", "13", "00:2"), 1.0),
        Sample(catalog.GPU_THROTTLED, ("2", "sw_power_cap"), 1.0),
        Sample(catalog.GPU_THROTTLED, ("2", "hw_slowdown"), 0.0),
    ]
    two, ten = documents.gpus(view({}, extra=extra), History(), "zh-CN")
    assert (two["gpu"], two["up"], two["throttled"]) == ("2", True, ["功率上限"])
    assert (ten["gpu"], ten["up"], ten["name"]) == ("10", False, "H100")


@pytest.mark.parametrize(
    ("event", "language", "text", "severity"),
    [
        (("state", "a", "0", "", "killed"), "en", "killed", rules.CRITICAL),
        (("state", "a", "0", "", "validate"), "zh-CN", "验证中", rules.INFO),
        (("began", "a", "0", "straggler", ""), "en", "straggler began", rules.WARNING),
        (("ended", "a", "0", "straggler", ""), "zh-CN", "straggler 结束", rules.INFO),
        (("xid", "", "", "3", "79"), "en", "GPU 3: Xid 79", rules.CRITICAL),
        (("hang", "a", "0", "", "{value} {x}"), "en", "hangs: {value} {x}", rules.CRITICAL),
    ],
)
def test_events_in_words(event: Any, language: str, text: str, severity: str) -> None:
    """With the severity of what they tell of; braces in them are nothing special."""
    (told,) = documents.events([Event(1, 5.0, *event)], language)
    assert (told["text"], told["severity"], told["time"]) == (text, severity, 5.0)
