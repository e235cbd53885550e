"""Fixes in Chinese: what the rules say in English has a translation, and its arguments stay as they are."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import diagnosis
from yoloscope_exporter.diagnosis.causes import CAUSES
from yoloscope_exporter.diagnosis.chinese import (
    BETWEEN,
    CLAUSES,
    TITLES,
    cause_in_chinese,
    in_chinese,
    is_known,
)
from yoloscope_exporter.diagnosis.rules import lifecycle
from yoloscope_exporter.diagnosis.rules.setup import STAGES
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = Path(diagnosis.__file__).parent
#: Where notes of advice are written, and under which names they are put together there.
SOURCES = (*ROOM.glob("rules/*.py"), *ROOM.glob("advice/*.py"), ROOM / "follow_up.py")
NAMES = frozenset({"note", "reasons", "each", "most", "less", "off", "by_phase"})
#: Functions that give a part of a note.
FUNCTIONS = frozenset({"_cap", "_cap_reason", "_lighter", "_normalised", "too_large_for_memory"})
#: In place of what is filled in.
NUMBER = "7"
#: Beginnings of clauses, which a function ends: CLAUSES has them whole.
PARTS = {
    "a larger batch7",
    "an epoch has 7",
    "lighten the augmentation",
    "lighten the augmentation (mosaic=0 reads a quarter of the images)",
}


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in an expression, as they are shown: with NUMBER for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else NUMBER for part in node.values)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from texts(value)
    elif isinstance(node, (ast.IfExp, ast.BinOp, ast.Call, ast.Tuple, ast.List, ast.ListComp)):
        for child in (getattr(node, "elt", None), *ast.iter_child_nodes(node)):
            if child is not None and child is not getattr(node, "test", None):
                yield from texts(child)


def notes(source: Path) -> Iterator[str]:
    """The texts of every note in a file."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in NAMES
        if named or (isinstance(node, ast.keyword) and node.arg == "note"):
            yield from texts(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS:
            for line in ast.walk(node):
                if isinstance(line, ast.Return) and line.value is not None:
                    yield from texts(line.value)


def clauses(text: str) -> list[str]:
    """Those of a note that say something: neither separators nor names of signals and functions."""
    said = (clause for clause in text.split(BETWEEN) if " " in clause.strip(" ;") and clause not in PARTS)
    return [clause if is_known(clause) else clause.removeprefix(NUMBER) for clause in said]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_note_has_a_translation(source: Path) -> None:
    """Of every clause; add what is missing to `diagnosis.chinese.CLAUSES`."""
    assert [clause for text in notes(source) for clause in clauses(text) if not is_known(clause)] == []


def test_there_are_notes() -> None:
    """The reading of the sources finds what it is for."""
    found = [text for source in SOURCES for text in notes(source)]
    assert len(found) > 50
    assert "continue from the last checkpoint" in found
    assert not is_known("a clause that nobody has translated")


def test_remedies_have_a_translation() -> None:
    """Of the causes of a failure, and of the stages of a set-up."""
    said = [one.remedy for one in (*CAUSES, *STAGES.values())]
    assert [clause for text in said for clause in text.split(BETWEEN) if not is_known(clause)] == []


def test_every_cause_of_a_death_has_a_title() -> None:
    """In the table, and in the document that explains them; a cause that is new needs both."""
    assert list(TITLES) == [cause.name for cause in CAUSES]
    page = (ROOM.parents[2] / "docs/diagnose.zh-CN.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"(?m)^\| `(\w+)` \| ([^|]*) \|", page))
    assert {name: said.get(name) for name in TITLES} == TITLES
    for cause in CAUSES:
        assert cause_in_chinese(f"{cause.name}: {cause.title}") == f"{cause.name}：{TITLES[cause.name]}"


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
def test_every_cause_that_a_card_tells_has_a_translation(rule: lifecycle.Rule) -> None:
    """Those of ends and of a standstill, in all their forms."""
    told = set()
    for known in CAUSED[rule.name]:
        numbers = {name: value for name, value in known.items() if isinstance(value, float)}
        names = {name: value for name, value in known.items() if isinstance(value, str)}
        assert not isinstance(rule.cause, str)
        told.add(rule.cause(Signals("run", "0", state=rule.name, numbers=numbers, names=names), DEFAULTS))
    assert len(told) >= len(CAUSED[rule.name]) - 2
    assert [clause for cause in told for clause in cause.split(BETWEEN) if not is_known(clause)] == []


def test_placeholders_are_the_same_in_both() -> None:
    """As many values, and Chinese punctuation between them."""
    for english, chinese in CLAUSES.items():
        assert english.count("{}") == chinese.count("{}"), english
        assert not re.search(r"[一-鿿][,;:]", chinese), english


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        ("", ""),
        ("workers=12 cache=ram", "workers=12 cache=ram"),
        (
            "cache=ram; the data set takes 3.2 GiB decoded, 20 GiB may be used",
            "cache=ram；数据集解码后占 3.2 GiB，可以使用 20 GiB",
        ),
        (
            "workers=4; Ultralytics starts at most 4: 8 CPUs over 2 visible GPUs",
            "workers=4；Ultralytics 最多启动 4 个：8 个 CPU 由 2 个可见 GPU 平分",
        ),
        ("or raise the CPU limit", "或提高 CPU 限额"),
        ("nobody has translated this", "nobody has translated this"),
        ("raise the CPU limit; nobody has {translated} this", "提高 CPU 限额；nobody has {translated} this"),
    ],
)
def test_clauses(fix: str, expected: str) -> None:
    """Arguments and unknown clauses stay; a reason inside of a clause is translated as well."""
    assert in_chinese(fix) == expected
