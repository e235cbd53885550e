"""Zero-code activation: a start-up module that waits for Ultralytics, hides nothing, and costs nothing elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from yoloscope_hooks import __main__ as hooks_command
from yoloscope_hooks.activation import AUTOLOAD, propagate

if TYPE_CHECKING:
    from pathlib import Path

BASE = "default_callbacks = {'on_train_start': [print]}\n"
LIST = (
    "import ultralytics.utils.callbacks.base as base;"
    "print(sorted(base.default_callbacks), [f.__module__ for f in base.default_callbacks['on_train_start']])"
)


@pytest.fixture
def world(tmp_path: Path) -> dict[str, str]:
    """An environment as `yoloscope run` makes it, with something that is called Ultralytics on the path."""
    package = tmp_path / "ultralytics" / "utils" / "callbacks"
    package.mkdir(parents=True)
    for folder in (package, *list(package.parents)[:2]):
        (folder / "__init__.py").touch()
    (package / "base.py").write_text(BASE)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("YOLOSCOPE", "PYTHON"))}
    environ["PYTHONPATH"] = str(tmp_path)
    propagate(environ)
    return environ


def python(environ: dict[str, str], code: str, *options: str) -> str:
    """Output of a new interpreter; whatever it complains about is part of it."""
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(
        command, env=environ, check=True, text=True, stdout=-1, stderr=subprocess.STDOUT
    ).stdout.strip()


def test_active_with_ultralytics(world: dict[str, str]) -> None:
    """Importing Ultralytics' default callbacks puts ours among them, after its own."""
    output = python(world, LIST)
    assert "on_train_batch_end" in output
    assert "['builtins', 'yoloscope_hooks.callbacks']" in output


def test_inert_elsewhere(world: dict[str, str]) -> None:
    """A Python without Ultralytics imports nothing of ours."""
    code = "import sys; print([name for name in sys.modules if name.startswith('yoloscope')])"
    assert python(world, code) == "[]"


@pytest.mark.parametrize("word", ["off", "OFF", "0", "false"])
def test_off(world: dict[str, str], word: str) -> None:
    """YOLOSCOPE=off keeps everything out."""
    assert "yoloscope" not in python(world | {"YOLOSCOPE": word}, LIST)


def test_hidden_sitecustomize_runs(world: dict[str, str], tmp_path: Path) -> None:
    """The user's own sitecustomize, which ours hides, runs as if we were not there."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = __name__, __file__\n")
    assert python(world, "import sys; print(sys.mine)") == str(("sitecustomize", str(tmp_path / "sitecustomize.py")))


def test_error_in_hidden_sitecustomize(world: dict[str, str], tmp_path: Path) -> None:
    """An error in it is reported by Python as ever, and does not keep our hooks out."""
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('mine')\n")
    output = python(world, LIST)
    assert "ValueError: mine" in output
    assert "yoloscope_hooks.callbacks" in output


def test_broken_hooks(world: dict[str, str], tmp_path: Path) -> None:
    """Hooks that cannot be imported leave Ultralytics as it is."""
    (tmp_path / "yoloscope_hooks.py").write_text("raise RuntimeError('broken')\n")
    assert python(world, LIST) == "['on_train_start'] ['builtins']"


#: Somebody's own finder of Ultralytics, whose loader takes no attributes.
FIXED = """
import importlib.util, sys
class Loader:
    __slots__ = ()
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.default_callbacks = {"on_train_start": [print]}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ultralytics.utils.callbacks.base":
            return importlib.util.spec_from_loader(name, Loader())
sys.meta_path.insert(0, Finder())
sys.meta_path.sort(key=lambda finder: "Yoloscope" not in type(finder).__name__)
"""


def test_a_loader_that_takes_no_attributes(world: dict[str, str]) -> None:
    """It loads what it would load without us."""
    assert python(world, FIXED + LIST) == "['on_train_start'] ['builtins']"


PROBE = {"YOLOSCOPE_PROBE": '{"folder": "/nowhere", "deadline": 0, "seconds": 0}'}
TRAINER = "import ultralytics.engine.trainer; print('it trains')"


#: Another version waits already, from a .pth file: what those execute comes before sitecustomize.
OLDER = """
import importlib.util, sys
class _YoloscopeWatcher:
    def find_spec(self, name, path=None, target=None):
        return None
others = [finder for finder in sys.meta_path if not type(finder).__name__.startswith("_Yoloscope")]
sys.meta_path[:] = [_YoloscopeWatcher(), *others]
spec = importlib.util.spec_from_file_location("ours", sys.modules["sitecustomize"].__file__)
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
ours.activate()
"""


@pytest.mark.parametrize("before", ["", OLDER])
def test_hooks_that_know_no_probes(world: dict[str, str], tmp_path: Path, before: str) -> None:
    """The training ends in one line that says so; where no probe was asked for, it goes on."""
    for file in ("ultralytics/engine/trainer.py", "yoloscope_hooks/__init__.py"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    # an editable installation finds the parts of a package wherever that is
    code = "import sys\nsys.meta_path[:] = [one for one in sys.meta_path if 'Editable' not in repr(one)]\n" + before
    command = [sys.executable, "-c", code + TRAINER]
    done = subprocess.run(command, env=world | PROBE, check=False, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("yoloscope: this training cannot be made a probe: the yoloscope in ")
    assert python(world, code + TRAINER) == "it trains"


def test_not_installed(world: dict[str, str]) -> None:
    """An interpreter that does not have yoloscope gets it from where `run` was started; nothing else comes along."""
    environ = world | {"PYTHONNOUSERSITE": "1"}
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p and 'trainer_hooks' not in p]\n"
        + LIST
    )
    output = python(environ, code)
    assert "yoloscope_hooks.callbacks" in output


def test_twice(world: dict[str, str]) -> None:
    """enable() in a process that was activated from outside registers nothing again."""
    output = python(
        world, "import yoloscope_hooks; yoloscope_hooks.enable();" + LIST + "; yoloscope_hooks.enable();" + LIST
    )
    first, second = output.splitlines()
    assert first == second
    assert first.count("yoloscope_hooks.callbacks") == 1


@pytest.mark.parametrize("order", ["{0}; yoloscope_hooks.enable()", "yoloscope_hooks.enable(); {0}"])
def test_enable(world: dict[str, str], tmp_path: Path, order: str) -> None:
    """enable() alone does the same, before Ultralytics is imported as after it."""
    environ = world | {"PYTHONPATH": os.pathsep.join([str(tmp_path), world["YOLOSCOPE_PATH"]])}
    code = "import yoloscope_hooks; " + order.format("import ultralytics.utils.callbacks.base") + "; " + LIST
    assert "['builtins', 'yoloscope_hooks.callbacks']" in python(environ, code)


def test_pth_file(world: dict[str, str], tmp_path: Path) -> None:
    """`python -m yoloscope_hooks enable` reaches every Python of an environment, `disable` takes it back."""
    python(world, f"import venv; venv.create({str(tmp_path / 'env')!r}, symlinks=True)")
    executable = str(tmp_path / "env" / "bin" / "python")
    packages = os.pathsep.join([str(tmp_path), world["YOLOSCOPE_PATH"]])
    environ = {key: value for key, value in world.items() if not key.startswith("YOLOSCOPE")} | {"PYTHONPATH": packages}

    def call(*arguments: str, **more: str) -> str:
        done = subprocess.run([executable, *arguments], env=environ | more, check=True, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout

    assert "not enabled" in call("-m", "yoloscope_hooks", "status")
    assert "yoloscope" not in call("-c", LIST)
    assert str(tmp_path / "env") in call("-m", "yoloscope_hooks", "enable")
    assert "yoloscope_hooks.callbacks" in call("-c", LIST)
    assert "yoloscope" not in call("-c", LIST, YOLOSCOPE="off")
    assert call("-c", "print('packages gone')", PYTHONPATH="") == "packages gone\n"
    assert "removed" in call("-m", "yoloscope_hooks", "disable")
    assert "yoloscope" not in call("-c", LIST)


def test_pth_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tools name such a file by the package; and a disk that is full leaves none, and no half of one."""
    path = tmp_path / hooks_command.NAME
    monkeypatch.setattr(hooks_command, "places", lambda: [path])
    path.write_text("/home/me/yoloscope/src\n", encoding="utf-8")
    with pytest.raises(FileExistsError):
        hooks_command.enable()
    assert (hooks_command.disable(), hooks_command.status()) == ("was not enabled", "not enabled")
    assert path.read_text(encoding="utf-8") == "/home/me/yoloscope/src\n"
    path.unlink()
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(hooks_command.Path, "with_name", lambda *_: tmp_path / "full")
    with pytest.raises(OSError, match="No space left"):
        hooks_command.enable()
    assert list(tmp_path.iterdir()) == []


def test_propagate_keeps_the_path() -> None:
    """Our folder comes first, once, and what the user had follows."""
    environ = {"PYTHONPATH": os.pathsep.join(["/a", str(AUTOLOAD), "/b"])}
    propagate(environ)
    propagate(environ)
    assert environ["PYTHONPATH"].split(os.pathsep) == [str(AUTOLOAD), "/a", "/b"]


def test_import_is_cheap_and_pure() -> None:
    """`import yoloscope_hooks` brings in nothing but the standard library, and hardly anything of that."""
    code = "import sys; before = set(sys.modules); import yoloscope_hooks; print(sorted(set(sys.modules) - before))"
    environ = {"PYTHONPATH": str(AUTOLOAD.parents[1]), "PATH": os.environ["PATH"]}
    assert python(environ, code, "-S") == "['__future__', 'yoloscope_hooks']"
