"""A threshold stands in one place, with its source; verdicts, alerts and panels read it by name."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.measures.catalog import MEASURES
from yoloscope_exporter.measures.thresholds import MORE, THRESHOLDS, Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
VERDICTS = sorted((ROOT / "exporter/yoloscope_exporter/diagnosis/rules").glob("*.py"))
ALERTS = sorted((ROOT / "deploy/prometheus/rulebook").glob("*.py"))
PANELS = sorted((ROOT / "dashboards").glob("views/*.py"))
NONE, ONE = 0, 1
#: What is compared with a number that is no threshold, and why.
NO_THRESHOLD = {
    "memory.py: gpu_idle_samples > 0.3": "wording of evidence",
    "memory.py: gpu_full_samples > 0.3": "wording of evidence",
    "loader.py: worker_threads > 1.2": "wording of evidence",
    "loader.py: runqueue_share >= 0.05": "wording of evidence",
}


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


@each(VERDICTS)
def test_verdicts_compare_with_names(path: Path) -> None:
    """No comparison of a signal with a number but none and one."""
    found = {f"{path.name}: {text}" for text in _compared(ast.parse(path.read_text(encoding="utf-8")))}
    assert found - set(NO_THRESHOLD) == set()


def _compared(tree: ast.AST) -> Iterator[str]:
    """Comparisons of `s.signal` or `s.get(Signals.signal)` with a number."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            values = [n.value for n in node.comparators if isinstance(n, ast.Constant) and not isinstance(n.value, str)]
            name = re.search(r"\bs\.(?:get\(Signals\.)?(\w+)", ast.unparse(node.left))
            if name and any(value not in {NONE, ONE} for value in values):
                yield f"{name[1]} {ast.unparse(node).split(' ', 1)[1].split(') ')[-1]}"


@each(ALERTS)
def test_alerts_compare_with_names(path: Path) -> None:
    """In PromQL nothing is compared with a number but none and one."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _is_text(node)]
    numbers = [number for text in texts for number in re.findall(r"(?:[<>]=?|==) ?(-?[\d.]+)(?![\w%])", text)]
    assert [number for number in numbers if float(number.rstrip(".")) not in {NONE, ONE}] == []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@each(PANELS)
def test_panels_are_coloured_by_names(path: Path) -> None:
    """`look.above` and `look.below` take names; a number of things is none or one."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _colours(node)]
    given = [argument for call in calls for argument in call.args]
    assert [ast.unparse(one) for one in given if not _named(one)] == []


def _colours(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"look.above", "look.below"}


def _named(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) and (argument.value in THRESHOLDS or argument.value in {NONE, ONE})


def test_every_threshold_has_a_source_and_is_read() -> None:
    """No number that nobody can trace, and none that no rule and no panel reads."""
    assert all(len(threshold.source) > 3 for threshold in THRESHOLDS.values())
    text = "".join(path.read_text(encoding="utf-8") for path in [*ALERTS, *PANELS])
    assert {name for name in MORE if not re.search(rf'@{name}%?@|"{name}"', text)} == set()
    rules = "".join(path.read_text(encoding="utf-8") for path in VERDICTS)
    assert {one.name for one in fields(Thresholds) if f"t.{one.name}" not in rules} <= {"held_bytes"}  # a signal asks


def test_measures_name_thresholds_that_there_are() -> None:
    """And each measure has its own name."""
    assert {name for one in MEASURES for name in one.thresholds} <= set(THRESHOLDS)
    assert len({one.name for one in MEASURES}) == len(MEASURES)
    assert all(one.title and one.title_zh and one.help.endswith(".") and one.help_zh.endswith("。") for one in MEASURES)
