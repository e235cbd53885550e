"""What Python's standard library has on which system, by the type stubs that mypy brings along (typeshed)."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Modules that are there on every system, with other content.
DIFFERENT = ("_ctypes", "os", "select", "signal", "socket", "time")
NAMES = {"windows": "win32", "macos": "darwin", "linux": "linux"}


@cache
def attributes(module: str, system: str) -> frozenset[str]:
    """Names of a module on a system; none if it is not there."""
    stubs = _stubs()
    path = stubs / f"{module}.pyi"
    tree = ast.parse((path if path.exists() else stubs / module / "__init__.pyi").read_text(encoding="utf-8"))
    return frozenset(_defined(tree.body, NAMES[system]))


def missing(module: str, system: str) -> frozenset[str]:
    """What a module has on Linux and not on that system."""
    return attributes(module, "linux") - attributes(module, system)


@cache
def missing_modules(system: str) -> frozenset[str]:
    """Modules of Linux that are not there, by their top name."""
    return frozenset(
        path.stem
        for path in _stubs().glob("*.pyi")
        if _content(path.stem, "linux") and not _content(path.stem, system) and path.stem in sys.stdlib_module_names
    )


def _content(module: str, system: str) -> frozenset[str]:
    """What is in it beside what it imports for its own annotations."""
    return frozenset(name for name in attributes(module, system) if not name.startswith("_"))


def _stubs() -> Path:
    return Path(pytest.importorskip("mypy").__file__).parent / "typeshed" / "stdlib"


def _defined(body: Iterable[ast.stmt], platform: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _defined(node.body if _holds(node.test, platform) else node.orelse, platform)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom):  # `import X as X` is one of the module's names
            yield from (alias.asname for alias in node.names if alias.asname == alias.name)


def _holds(test: ast.expr, platform: str) -> bool:
    """Whether a condition on platform and version does; stubs have no others."""
    names = {"sys.platform": repr(platform), "sys.version_info": repr(tuple(sys.version_info[:2]))}
    text = ast.unparse(test)
    for name, value in names.items():
        text = text.replace(name, value)
    return bool(eval(text, {"__builtins__": {}, "TYPE_CHECKING": False}))
