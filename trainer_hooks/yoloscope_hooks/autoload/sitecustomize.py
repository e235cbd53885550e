"""Python imports this at start-up when its folder is on PYTHONPATH: it waits for Ultralytics, and does nothing else.

It also runs in every other Python process below `yoloscope run` (launchers, loader workers, shells' helpers), so it
imports nothing but `sys` and `os`, and lets nothing be raised (but for a training that cannot be made a probe as it was
asked to be). The user's own `sitecustomize`, hidden by this one, is executed first.
"""

# ruff: noqa: ARG002, PTH100, PTH120 - finders have a fixed signature; pathlib costs more than this whole file may

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

#: What to call in `yoloscope_hooks` once a module has been imported.
_WATCHED: dict[str, tuple[tuple[str, str], ...]] = {
    "ultralytics.utils.callbacks.base": (("yoloscope_hooks.activation", "register_defaults"),),
    "torch.utils.data._utils.fetch": (("yoloscope_hooks.workers", "instrument"),),
}
if os.environ.get("YOLOSCOPE_ARGUMENTS") or os.environ.get("YOLOSCOPE_PROBE"):  # `yoloscope tune` has set them
    _WATCHED["ultralytics.engine.trainer"] = (
        ("yoloscope_hooks.overriding", "install"),
        ("yoloscope_hooks.probing", "watch_trainer"),
    )
    _WATCHED["ultralytics.data.dataset"] = (("yoloscope_hooks.probing", "watch_dataset"),)
    _WATCHED["ultralytics.utils.dist"] = (("yoloscope_hooks.probing", "watch_launcher"),)
_PACKAGES = ("yoloscope_hooks", "yoloscope_record")


class _YoloscopeWatcher:
    """Finds nothing by itself; runs our function after a watched module has been executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _WATCHED:
            return None
        spec = next(
            filter(None, (_ask(finder, name, path, target) for finder in sys.meta_path if finder is not self)), None
        )
        if spec is not None and hasattr(spec.loader, "exec_module"):
            try:
                _after(spec.loader, _WATCHED[name])
            except Exception as error:  # a loader that takes no other function
                _inactive(error)
        return spec


class _YoloscopeFallback:
    """Finds our own packages where the interpreter does not have them installed. Asked last."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _PACKAGES:
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, os.environ.get("YOLOSCOPE_PATH", "").split(os.pathsep))


def _ask(finder: Any, name: str, path: Any, target: Any) -> Any:
    find = getattr(finder, "find_spec", None)
    return find(name, path, target) if find else None


def _after(loader: Any, functions: tuple[tuple[str, str], ...]) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        for module_name, function in functions:
            _call(module_name, function, module)

    loader.exec_module = exec_module


def _call(module_name: str, function: str, module: Any) -> None:
    try:
        __import__(module_name)
        getattr(sys.modules[module_name], function)(module)
    except Exception as error:
        _inactive(error)


def _inactive(error: Exception) -> None:
    if os.environ.get("YOLOSCOPE_PROBE"):  # as a real training it would write into the user's folders
        raise SystemExit(
            f"yoloscope: this training cannot be made a probe: the yoloscope in {sys.prefix} does not fit the one "
            f"that tunes: install the same there ({error!r})"
        ) from error
    if os.environ.get("YOLOSCOPE_DEBUG"):
        sys.stderr.write(f"yoloscope: not active: {error!r}\n")


def install() -> None:
    """Start waiting, in place of whoever waits already, as of another version: two would ask each other."""
    ours = {_YoloscopeWatcher.__name__, _YoloscopeFallback.__name__}
    others = [finder for finder in sys.meta_path if type(finder).__name__ not in ours]
    sys.meta_path[:] = [_YoloscopeWatcher(), *others, _YoloscopeFallback()]


def _run_hidden() -> None:
    """Execute the `sitecustomize` that would have been found without us."""
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [part for part in sys.path if os.path.abspath(part) != here])
    if spec is not None and spec.loader is not None:
        module = type(sys)("sitecustomize")
        module.__spec__, module.__file__, module.__loader__ = spec, spec.origin, spec.loader
        spec.loader.exec_module(module)


def activate() -> None:
    """Start waiting unless the user said `YOLOSCOPE=off`."""
    if os.environ.get("YOLOSCOPE", "").lower() not in {"off", "0", "false", "no"}:
        install()


if __name__ == "sitecustomize":  # imported by `site`, not by `yoloscope_hooks.enable` or the .pth file
    try:
        _run_hidden()
    finally:
        activate()
