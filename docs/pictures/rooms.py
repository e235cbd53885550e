"""The rooms of docs/design.md: a diagram and a table, from the edges that tests/test_packages.py allows."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

from tests.test_packages import EDGES, MODULES

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "docs" / "design.md"
_BEGIN, _END = "<!-- rooms: written by `make generate` from tests/test_packages.py -->\n", "<!-- end of rooms -->\n"


def document() -> str:
    """docs/design.md with the rooms as they are now.

    Raises:
        ValueError: the file has no place for them.
    """
    text = DESIGN.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{DESIGN} has no lines {_BEGIN!r} and {_END!r}")
    return f"{before}{_BEGIN}\n{diagram(EDGES)}\n{table(EDGES)}\n{_END}{after}"


def diagram(edges: dict[str, set[str]]) -> str:
    """The rooms in Mermaid. An import that another one implies is left out, and stands in the table."""
    lines = [f"    {room} --> {other}" for room in _order(edges) for other in sorted(_direct(room, edges))]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def table(edges: dict[str, set[str]]) -> str:
    """One row for each room, those that import nothing first: what is in it, and what it may import."""
    rows = [
        f"| `{room}` | {summary(room)} | {' '.join(f'`{other}`' for other in sorted(edges[room]))} |"
        for room in _order(edges)
    ]
    return "\n".join(["| room | what is in it | may import |", "|---|---|---|", *rows, ""])


def summary(room: str) -> str:
    """The first sentence of its docstring."""
    path = MODULES[room if room.startswith("yoloscope_") else f"yoloscope_exporter.{room}"]
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=\.)\s", text.replace("\n", " "), maxsplit=1)[0]


def _order(edges: dict[str, set[str]]) -> list[str]:
    """What is imported stands before what imports it; otherwise by name."""
    order: list[str] = []
    sorter = TopologicalSorter({room: sorted(edges[room]) for room in sorted(edges)})
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _direct(room: str, edges: dict[str, set[str]]) -> set[str]:
    """The imports of a room that do not follow from its other imports."""
    return edges[room] - {far for near in edges[room] for far in _reachable(near, edges)}


def _reachable(room: str, edges: dict[str, set[str]]) -> set[str]:
    return edges[room] | {far for near in edges[room] for far in _reachable(near, edges)}
