"""The hooks and the record in the training's own Python, which may be older than the exporter's: 3.8 and newer."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "trainer_hooks" / name for name in ("yoloscope_record", "yoloscope_hooks")]
#: The user's Python runs it, too.
BENCH = ROOT / "exporter" / "yoloscope_exporter" / "bench" / "worker.py"
FILES = [*sorted(path for package in PACKAGES for path in package.rglob("*.py")), BENCH]
#: Generic only since Python 3.9, so their subscripts may stand in annotations and for type checkers alone.
GENERIC_SINCE_3_9 = {
    *("tuple", "list", "dict", "set", "frozenset", "type"),
    *("Callable", "Mapping", "MutableMapping", "Sequence", "Iterable", "Iterator", "Counter", "deque", "defaultdict"),
}
#: Imports every module and runs a training's events through the hooks.
SMOKE = """
import importlib, pathlib, pkgutil, sys
import yoloscope_hooks, yoloscope_record
for package in (yoloscope_record, yoloscope_hooks):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "yoloscope_record.system.windows":
            importlib.import_module(module.name)
from loop import Loop
from yoloscope_record.reader import Reader
loop = yoloscope_hooks.attach(Loop(pathlib.Path(sys.argv[1]), epochs=2))
loop.train()
record = Reader(next(pathlib.Path(sys.argv[1]).glob("**/rank-0.rec"))).read()
values = {sample.metric.name: sample.value for sample in record.samples}
assert record.state == "finished", record
assert values["yoloscope_train_batches_total"] == 6, values
assert values["yoloscope_train_hook_errors_total"] == 0, values
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_is_python_3_8(path: Path) -> None:
    """The syntax is that of 3.8, and nothing that is evaluated is generic only since 3.9."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert [ast.unparse(node) for node in _evaluated(tree) if _is_new_generic(node)] == []


def test_new_generics_are_found() -> None:
    """The check above sees an alias that would be evaluated, and no annotation."""
    source = "if TYPE_CHECKING:\n    A = list[int]\nx: list[int]\ndef f(a: list[int]) -> list[int]: ...\n"
    assert not any(map(_is_new_generic, _evaluated(ast.parse(source))))
    assert any(map(_is_new_generic, _evaluated(ast.parse("A = list[int]"))))


def test_features_are_of_python_3_8() -> None:
    """Vermin knows in which version each function and argument of the standard library came."""
    command = [
        sys.executable,
        "-c",
        "import vermin; vermin.main()",
        "--target=3.8-",
        "--no-tips",
        *map(str, [*PACKAGES, BENCH]),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_runs_in_old_pythons(version: str, tmp_path: Path) -> None:
    """Where such a Python is at hand it imports every module and records a training."""
    python = _interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    folders = [ROOT / "trainer_hooks", ROOT / "tests" / "trainer_hooks"]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "YOLOSCOPE_DIR": str(tmp_path)}
    command = [python, "-B", "-c", SMOKE, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def _interpreter(version: str) -> str | None:
    """A Python of that version: on the PATH, or among pyenv's, whose shims answer only for what is switched on."""
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


def _evaluated(tree: ast.AST) -> list[ast.AST]:
    """Every node that is evaluated at run time: no annotation, nothing below `if TYPE_CHECKING`."""
    nodes: list[ast.AST] = [tree]
    for child in ast.iter_child_nodes(tree):
        if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING" and child in tree.body:
            continue
        if child in (getattr(tree, "annotation", None), getattr(tree, "returns", None)):
            continue
        nodes += _evaluated(child)
    return nodes


def _is_new_generic(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] in GENERIC_SINCE_3_9
