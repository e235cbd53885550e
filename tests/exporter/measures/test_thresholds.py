"""A threshold stands in one place, with its source; verdicts, alerts and panels read it by name."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.catalog.gpu import UTILIZATION_BUCKETS
from yoloscope_exporter.measures import gpu, host, loader, memory, ranks, training
from yoloscope_exporter.measures.catalog import MEASURES
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.measure import Measure
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.measures.thresholds import MORE, THRESHOLDS, Thresholds
from yoloscope_exporter.simulation import simulate

from deploy.prometheus.rulebook import ALERTS as RULEBOOK
from deploy.prometheus.rulebook import records
from deploy.prometheus.rulebook.model import measured
from deploy.prometheus.rulebook.records import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
ROOT = Path(__file__).parents[3]
VERDICTS = sorted((ROOT / "exporter/yoloscope_exporter/diagnosis/rules").glob("*.py"))
CAUSES = ROOT / "exporter/yoloscope_exporter/diagnosis/causes.py"
ALERTS = sorted((ROOT / "deploy/prometheus/rulebook").glob("*.py"))
PANELS = sorted((ROOT / "dashboards").glob("views/*.py"))
NONE, ONE = 0, 1
#: What is compared with a number that is no threshold, and why.
NO_THRESHOLD = {
    "memory.py: gpu_idle_samples > 0.3": "wording of evidence",
    "memory.py: gpu_full_samples > 0.3": "wording of evidence",
    "health.py: share >= 0.01": "wording of evidence",
    "setup.py: still >= 60": "wording of evidence",
    "loader.py: worker_threads > 1.2": "wording of evidence",
    "loader.py: runqueue_share >= 0.05": "wording of evidence",
    "step.py: callback_calls >= OF_BATCHES": "wording of evidence",
}


#: As they are called in code.
BY_CONSTANT = {
    name: value
    for module in (training, loader, gpu, memory, host, ranks)
    for name, value in vars(module).items()
    if isinstance(value, Measure)
}
CONSTANTS = {measure.name: constant for constant, measure in BY_CONSTANT.items()}


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


@each(VERDICTS)
def test_verdicts_compare_with_names(path: Path) -> None:
    """No comparison with a number but none and one, whatever is compared, on whichever side, or under another name."""
    found = {f"{path.name}: {text}" for text in _compared(ast.parse(path.read_text(encoding="utf-8")))}
    assert found - set(NO_THRESHOLD) == set()


def _compared(tree: ast.AST) -> Iterator[str]:
    """Comparisons with a number, written or kept in a constant of the module."""
    constants = {name: value for node in ast.walk(tree) for name, value in _assigned(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            numbers = [number for side in sides if (number := _number(side, constants)) is not None]
            if any(number not in {NONE, ONE} for number in numbers):
                yield re.sub(r"s\.get\(Signals\.(\w+)(?:, [^)]+)?\)|\bs\.", r"\1", ast.unparse(node))


def _assigned(node: ast.AST) -> Iterator[tuple[str, float]]:
    """A constant of the module that is a number."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or (number := _number(node.value, {})) is None:
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    yield from ((target.id, number) for target in targets if isinstance(target, ast.Name))


def _number(node: ast.expr | None, constants: Mapping[str, float]) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand, constants)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    return constants.get(node.id) if isinstance(node, ast.Name) else None


@pytest.mark.parametrize("text", ["s.idle > 0.05", "0.05 < s.idle", "share(s) >= 3", "LEAST = 0.3\ns.idle < LEAST"])
def test_a_hidden_number_is_found(text: str) -> None:
    """What the test above is to find, it finds."""
    assert list(_compared(ast.parse(text))) != []


#: Windows over which rules read measures.
WINDOWS = ("1m", "2m", "5m", "10m", "15m", "20m")


def _asked(expr: str) -> Iterator[tuple[str, str]]:
    """Measures that an expression compares with a threshold, and the threshold."""
    for text, measure in (RECORDED_MEASURES | MEASURED).items():
        if text not in expr:
            continue
        for found in re.findall(re.escape(text) + r"\)* (?:[<>]=?) @(\w+)@(?: [<>]=? @(\w+)@)?", expr):
            yield from ((measure.name, name) for name in found if name)


MEASURED = {measured(one, window): one for one in MEASURES for window in WINDOWS}
#: Recorded series that are a measure as it is.
RECORDED_MEASURES = {record.name: MEASURED[record.expr] for record in RECORDED if record.expr in MEASURED}


def test_rules_ask_a_measure_by_its_own_thresholds() -> None:
    """The question a verdict asks is asked with the same number by the alert; a second number is a degree of it."""
    by_name = {one.name: one for one in MEASURES}
    asked = {pair for rule in (*RULEBOOK, *RECORDED) for pair in _asked(rule.expr)}
    assert len({measure for measure, _ in asked}) > 10, "the test sees the rules"
    assert {(measure, name) for measure, name in asked if name not in by_name[measure].thresholds} == set()


@each(ALERTS)
def test_alerts_compare_with_names(path: Path) -> None:
    """In PromQL nothing is compared with a number but none and one."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _is_text(node)]
    numbers = [number for text in texts for number in re.findall(r"(?:[<>]=?|==) ?(-?[\d.]+)(?![\w%])", text)]
    assert [number for number in numbers if float(number.rstrip(".")) not in {NONE, ONE}] == []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@each(PANELS)
def test_panels_colour_a_measure_by_its_own_thresholds(path: Path) -> None:
    """A figure changes its colour where the verdict and the alert begin."""
    found = list(_coloured(ast.parse(path.read_text(encoding="utf-8"))))
    assert {(one, name) for one, name in found if name not in BY_CONSTANT[one].thresholds} == set()


def _coloured(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Measures, or records of them, in a panel or column with `steps=look.above(...)`, and the names in that."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not any(key.arg == "steps" for key in node.keywords):
            continue
        steps = next(key.value for key in node.keywords if key.arg == "steps")
        names = [one.value for one in ast.walk(steps) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        others = [*node.args, *(key.value for key in node.keywords if key.arg != "steps")]
        text = " ".join(map(ast.unparse, others))
        for constant in re.findall(
            r"\b(?:\w+_measures|training|memory|loader|host|gpu)\.([A-Z_]+)\b(?!\.(?:title|help))", text
        ):
            if constant in BY_CONSTANT:
                yield from ((constant, name) for name in names)
        for constant in re.findall(r"\brecording\.([A-Z_]+)\b", text):
            if measure := RECORDED_MEASURES.get(getattr(records, constant).name):
                yield from ((CONSTANTS[measure.name], name) for name in names)


def test_a_panel_of_a_record_is_seen() -> None:
    """Tables of a fleet read records: theirs are the thresholds of the measure that is recorded."""
    written = "Column(title='Disk', expr=node(recording.NODE_DISK_BUSY), steps=look.above('busy'))"
    assert list(_coloured(ast.parse(written))) == [("DISK_BUSY", "busy")]


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


def test_a_panel_is_green_of_a_healthy_training() -> None:
    """Goodput is a share of all time: validation has its part in it, which is no fault."""
    healthy, starved = map(_goodput, ("healthy", "starved"))
    assert healthy > THRESHOLDS["goodput"].value > THRESHOLDS["goodput_low"].value > starved


def _goodput(scenario: str) -> float:
    """Of a simulated node, over ten minutes with several epochs."""
    start, seconds = 1_790_000_000, 600
    store = Store(scenario)
    for scrape in simulate([scenario], nodes=1, gpus=1, speed=4, start=start, end=start + seconds, step=15):
        for samples in scrape.samples.values():
            store.add(scrape.time, samples)
    (value,) = evaluate(training.GOODPUT.formula, [Window(store, start, start + seconds, 15)]).values()
    return value


def test_a_share_of_samples_is_counted_from_a_bound_of_their_buckets() -> None:
    """Of any other bound there is no series."""
    assert THRESHOLDS["gpu_well_used"].value in UTILIZATION_BUCKETS


def test_every_threshold_has_a_source_and_is_read() -> None:
    """No number that nobody can trace, and none that no rule, no cause and no panel reads."""
    assert all(len(threshold.source) > 3 for threshold in THRESHOLDS.values())
    text = "".join(path.read_text(encoding="utf-8") for path in [*ALERTS, *PANELS, CAUSES])
    assert {name for name in MORE if not re.search(rf'@{name}%?@|"{name}"', text)} == set()
    rules = "".join(path.read_text(encoding="utf-8") for path in VERDICTS)
    assert {one.name for one in fields(Thresholds) if f"t.{one.name}" not in rules} <= {
        "held_bytes",
        "held_seconds",
    }  # signals


def test_measures_name_thresholds_that_there_are() -> None:
    """And each measure has its own name."""
    assert {name for one in MEASURES for name in one.thresholds} <= set(THRESHOLDS)
    assert len({one.name for one in MEASURES}) == len(MEASURES)
    assert all(one.title and one.help.endswith(".") for one in MEASURES)
