"""How the packages hang together: who imports whom, and what each brings in by itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = {"yoloscope_record": "trainer_hooks", "yoloscope_hooks": "trainer_hooks", "yoloscope_exporter": "exporter"}

#: The rooms of the exporter, and the other packages, each with those it may import. docs/design.md draws them.
EDGES: dict[str, set[str]] = {
    "yoloscope_record": set(),
    "yoloscope_hooks": {"yoloscope_record"},
    "language": set(),
    "sharing": set(),
    "charts": {"language"},
    "fetching": {"config", "language"},
    "system": {"language", "yoloscope_record"},
    "yaml_files": {"language", "system"},
    "catalog": {"language", "yoloscope_record"},
    "collectors": {"catalog", "language", "sharing", "system", "yoloscope_record"},
    "measures": {"catalog"},
    "diagnosis": {"catalog", "language", "measures", "yaml_files"},
    "colours": {"diagnosis"},
    "config": {"collectors", "diagnosis", "language", "yaml_files", "yoloscope_record"},
    "sampling": {"catalog", "collectors"},
    "registry": {"collectors", "config", "sampling", "system"},
    "history": {"catalog", "language", "measures", "sharing"},
    "web": {
        "catalog",
        "charts",
        "colours",
        "config",
        "diagnosis",
        "fetching",
        "history",
        "language",
        "measures",
        "sampling",
        "system",
        "yaml_files",
    },
    "service": {"config", "diagnosis", "history", "language", "registry", "web"},
    "notify": {"language", "reports", "system", "web"},
    "recordings": {"catalog", "collectors", "config", "language", "measures", "sampling", "system", "yoloscope_record"},
    "reports": {"catalog", "charts", "colours", "diagnosis", "language", "measures"},
    "terminal": {"catalog", "colours", "diagnosis", "language", "measures"},
    "client": {
        "catalog",
        "config",
        "diagnosis",
        "fetching",
        "language",
        "recordings",
        "sampling",
        "service",
        "system",
    },
    "simulation": {"catalog", "collectors", "diagnosis", "language"},
    "demo": {"fetching", "language", "system"},
    "checks": {
        "catalog",
        "collectors",
        "diagnosis",
        "fetching",
        "language",
        "measures",
        "sampling",
        "system",
        "web",
        "yoloscope_record",
    },
    "notebook": {
        "catalog",
        "client",
        "colours",
        "config",
        "diagnosis",
        "fetching",
        "language",
        "measures",
        "recordings",
        "reports",
        "terminal",
    },
    "bundle": {"language", "system"},
    "bench": {"diagnosis", "language", "reports", "service", "tuning"},
    "tuning": {
        "catalog",
        "config",
        "diagnosis",
        "language",
        "measures",
        "registry",
        "reports",
        "service",
        "system",
        "yoloscope_record",
    },
}
#: What a user calls stands above all rooms.
ON_TOP = {"cli", "commands"}
#: The one function of the hooks that a command needs: it puts them into another command's environment.
HOOKS_FOR_COMMANDS = ("yoloscope_exporter.commands.run", "yoloscope_hooks.activation")


def modules() -> dict[str, Path]:
    """Every module of the three packages by its name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder / package).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(node: ast.AST) -> Iterator[str]:
    """What a module imports at run time, wherever in it, as far as it is one of ours."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in MODULES)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "imports are absolute"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield from (name for name in (whole, child.module or "") if name in MODULES)
        else:
            yield from imported(child)


def graph() -> dict[str, set[str]]:
    """Modules with those they import. A module's own package does not count: that it is imported first is a rule."""
    return {
        name: {other for other in imported(ast.parse(path.read_text(encoding="utf-8"))) if not _contains(other, name)}
        for name, path in MODULES.items()
    }


def _contains(package: str, module: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def room(module: str) -> str:
    """The room of the exporter that a module is in, or another package; empty for the exporter's version."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "yoloscope_exporter" else package


def test_no_module_imports_itself() -> None:
    """Neither directly nor by way of others, imports within functions included."""
    TopologicalSorter(graph()).prepare()


def test_rooms_import_what_the_design_says() -> None:
    """Each edge between two rooms is one of the table's, and the table has no other."""
    seen: dict[str, set[str]] = {name: set() for name in EDGES}
    for module, others in graph().items():
        for other in others:
            here, there = room(module), room(other)
            if here in ON_TOP or not there or here == there:
                continue
            seen.setdefault(here, set()).add(there)
    assert seen == EDGES
    TopologicalSorter(EDGES).prepare()


def test_nobody_imports_the_commands_and_only_one_of_them_the_hooks() -> None:
    """What is on top is called by users alone; the exporter needs nothing of what runs inside a training."""
    edges = [(module, other) for module, others in graph().items() for other in others]
    assert [edge for edge in edges if room(edge[1]) in ON_TOP and room(edge[0]) not in ON_TOP] == []
    into_hooks = [edge for edge in edges if edge[1].startswith("yoloscope_hooks") and edge[0].startswith("yoloscope_e")]
    assert {(module, other) for module, other in into_hooks if other != "yoloscope_hooks"} == {HOOKS_FOR_COMMANDS}


def test_ultralytics_is_imported_by_processes_of_their_own_alone() -> None:
    """It is AGPL-3.0: the demo's training and the script of `bench` are run, and imported by nobody."""
    importing = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if f"{getattr(node, 'module', None) or ''}.{alias.name}".lstrip(".").split(".")[0] == "ultralytics"
    }
    assert importing == {"yoloscope_exporter.demo.training", "yoloscope_exporter.bench.worker"}
    assert [name for name, others in graph().items() if others & importing] == []


def test_no_loose_modules() -> None:
    """Beside the command line and the registry, everything of the exporter is in a room."""
    loose = {path.stem for path in (ROOT / "exporter" / "yoloscope_exporter").glob("*.py")}
    assert loose == {"__init__", "cli", "registry"}


BROUGHT_IN = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(("sitecustomize", "__main__", "system.windows")):
        importlib.import_module(module.name)
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


@pytest.mark.parametrize("package", ["yoloscope_record", "yoloscope_hooks"])
def test_a_training_gets_the_standard_library_alone(package: str) -> None:
    """All modules of what runs inside a training bring in Python's own, and nothing of the exporter."""
    path = ROOT / "trainer_hooks"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{BROUGHT_IN}", package]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = {package, *EDGES[package]}
    assert {name for name in json.loads(result.stdout) if name.lstrip("_") not in _STANDARD} - ours == set()


#: Names of the standard library; some modules are C ones with an underscore in front.
_STANDARD = {name.lstrip("_") for name in (*sys.stdlib_module_names, "__mp_main__")}


def test_the_exporter_brings_in_no_torch() -> None:
    """A node exporter starts without what only trainings need."""
    code = (
        "import sys, yoloscope_exporter.service.exporter, yoloscope_exporter.commands.serve\n"
        "print([name for name in ('torch', 'ultralytics', 'numpy', 'cv2', 'yoloscope_hooks') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
