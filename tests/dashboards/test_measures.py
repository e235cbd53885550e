"""Panels ask for measures: what is divided, subtracted or multiplied in a view is no quantity of a training."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEWS = sorted((Path(__file__).parents[2] / "dashboards/views").glob("*.py"))
#: Arithmetic that is none of a quantity, by the view and the function or constant in it.
ALLOWED = {
    "common.began": "seconds as the milliseconds that annotations want",
    "common._ended": "seconds as the milliseconds that annotations want",
    "compare.change": "run B over run A",
    "compare.duration": "from the first sample to the last",
    "ranks.apart": "batches of one rank and of another",
    "compare.FIGURES": "the energy of a run over its epochs",
    "fleet.USE": "a mean over GPUs of the means of nodes",
    "fleet.hours": "minutes as hours",
    "fleet.energy": "watt-hours as kilowatt-hours",
    "fleet.wasted_energy": "watt-hours as kilowatt-hours",
}
OPERATORS = ast.Div | ast.Sub | ast.Mult


def _arithmetic(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The function or constant, and the expression, of each quotient, difference or product."""
    for part in tree.body:
        name = part.name if isinstance(part, ast.FunctionDef) else ast.unparse(part).split(" ", 1)[0]
        for node in ast.walk(part):
            if isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
                yield name, ast.unparse(node)


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)
def test_no_panel_computes_a_quantity_of_its_own(path: Path) -> None:
    """It is a measure, which verdicts, alerts and reports read as well."""
    found = list(_arithmetic(ast.parse(path.read_text(encoding="utf-8"))))
    assert [(name, text) for name, text in found if f"{path.stem}.{name}" not in ALLOWED] == []


def test_a_quantity_of_its_own_is_found() -> None:
    """In a function as in a table."""
    written = "def share():\n    return total('sum', used) / total('sum', all)\nROW = lines(Query(1 - share()))"
    assert [name for name, _ in _arithmetic(ast.parse(written))] == ["share", "ROW"]
