"""Finished English is recognised: labels, the JSON of an exporter, recordings."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yoloscope_exporter import diagnosis
from yoloscope_exporter.diagnosis.causes import CAUSES
from yoloscope_exporter.diagnosis.rules import lifecycle
from yoloscope_exporter.diagnosis.rules.setup import STAGES
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.language import BETWEEN, CHINESE, finished, text, translated
from yoloscope_exporter.language.translation import is_known
from yoloscope_exporter.language.zh_cn import TEXTS

DOCS = Path(diagnosis.__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("", ""),
        ("workers=12 cache=ram", "workers=12 cache=ram"),
        (
            "cache=ram; the data set takes 3.2 GiB decoded, 20 GiB may be used",
            "cache=ram；数据集解码后占 3.2 GiB，可以使用 20 GiB",
        ),
        ("raise the CPU limit from 2 to about 6 CPUs", "把 CPU 限额从 2 提高到约 6 个 CPU"),
        ("nobody has translated this", "nobody has translated this"),
        ("raise the CPU limit; nobody has {translated} this", "提高 CPU 限额；nobody has {translated} this"),
        ("open() of /data/a b.jpg", "open() 打开 /data/a b.jpg"),
        ("cuda_out_of_memory: the GPU's memory is used up", "cuda_out_of_memory：显存用完"),
    ],
)
def test_clauses(english: str, expected: str) -> None:
    """Arguments and unknown clauses stay; a text within a text is translated as well."""
    assert translated(finished(english), CHINESE) == expected


def test_a_name_within_is_no_text() -> None:
    """A run may be called like a word of the catalogue."""
    assert "memory" in TEXTS
    assert translated(finished("rank 0's memory"), CHINESE) == "rank 0 的 memory"
    assert translated(text("{run}: no such file", run="memory"), CHINESE) == "memory：没有这个文件"


def test_what_is_said_already_is_left_alone() -> None:
    """A plain string may be Chinese with a name in it that looks like an English text."""
    assert translated("采集器 runs", CHINESE) == "采集器 runs"


def test_a_plain_string_is_told_by_its_clauses() -> None:
    """If each has a translation; nothing is half translated."""
    assert translated("Too few loader workers; Storage is too slow", CHINESE) == "数据加载 worker 太少；存储太慢"
    half = "Too few loader workers; nobody has translated this"
    assert translated(half, CHINESE) == half


def test_remedies_have_a_translation() -> None:
    """Of the causes of a failure, and of the stages of a set-up."""
    said = [one.remedy for one in (*CAUSES, *STAGES.values())]
    assert [clause for told in said for clause in told.split(BETWEEN) if not is_known(clause)] == []
    assert not is_known("a clause that nobody has translated")


def test_every_cause_of_a_death_has_a_title() -> None:
    """The same as in the document that explains them; a cause that is new needs both."""
    page = (DOCS / "diagnose.zh-CN.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"(?m)^\| `(\w+)` \| ([^|]*) \|", page))
    assert {cause.name: said.get(cause.name) for cause in CAUSES} == {one.name: TEXTS[one.title] for one in CAUSES}


#: Of runs that ended or stand still, by the verdict that tells it: numbers and names of which the cause follows.
CAUSED = {
    "failed": ({}, {"worker_deaths": 1.0}, {"setup_stage": "labels"}),
    "killed": ({},),
    "stalled": (
        {},
        {"world_size": 2.0},
        {"workers": 4.0, "workers_alive": 3.0},
        *(
            {"hang_culprit": "1", "hang_process": process, "hang_doing": doing}
            for process in ("main process", "loader worker 0")
            for doing in ("stopped (T)", "gone", "read() of /mnt/a")
        ),
    ),
    "worker_died": ({}, {"oom_kills": 1.0}, {"death_signals": "SIGBUS"}, {"death_signals": "SIGKILL"}),
}


@pytest.mark.parametrize("rule", [rule for rule in lifecycle.RULES if rule.name in CAUSED], ids=lambda rule: rule.name)
def test_every_cause_is_told_alike_by_template_and_recognised(rule: lifecycle.Rule) -> None:
    """Those of ends and of a standstill, in all their forms: as this process knows them, and as JSON brings them."""
    told = set()
    for known in CAUSED[rule.name]:
        numbers = {name: value for name, value in known.items() if isinstance(value, float)}
        names = {name: value for name, value in known.items() if isinstance(value, str)}
        assert not isinstance(rule.cause, str)
        cause = rule.cause(Signals("run", "0", state=rule.name, numbers=numbers, names=names), DEFAULTS)
        assert re.search(r"[一-鿿]", translated(cause, CHINESE)), cause
        assert translated(cause, CHINESE) == translated(finished("".join(cause)), CHINESE)
        told.add(cause)
    assert len(told) >= len(CAUSED[rule.name]) - 2


@pytest.mark.parametrize("unit", ["a: ", "a, ", "a s, ", "a: b; ", "1 of 2 ", "(a "])
@pytest.mark.parametrize("length", [400, 3900, 2_000_000])
def test_what_an_exporter_tells_is_not_recognised_for_ever(unit: str, length: int) -> None:
    """Whoever answers in its place may say anything: no recursion without end, and no pattern over a megabyte."""
    told = (unit * length)[:length]
    assert len(translated(finished(told), CHINESE)) >= length / 2
