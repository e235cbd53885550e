"""Registers the callbacks: for one model, for every run of the process, and for its child processes."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_hooks.opt_out import disabled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    Callbacks = MutableMapping[str, list[Callable[[Any], None]]]

#: Ultralytics keeps the callbacks every new model, trainer and validator starts with in this module.
DEFAULTS_MODULE = "ultralytics.utils.callbacks.base"
#: Torch's loader workers make their batches in this one.
FETCH_MODULE = "torch.utils.data._utils.fetch"
AUTOLOAD = Path(__file__).parent / "autoload"
_log = logging.getLogger("yoloscope")


def attach(model: Any, run: str | None) -> None:
    """See `yoloscope_hooks.attach`."""
    if disabled():
        return
    try:
        from yoloscope_hooks import callbacks

        first = register(model.callbacks, _ours())
        if run:
            callbacks.name_run(model.callbacks, run)
            os.environ["YOLOSCOPE_RANKS_RUN"] = run  # for the ranks of Ultralytics before 8.4.140: they lose callbacks
        else:
            os.environ.pop("YOLOSCOPE_RANKS_RUN", None)
    except Exception as error:  # the training matters more
        _log.warning("yoloscope: cannot monitor %r, pass a YOLO model or a trainer: %r", type(model).__name__, error)
        return
    _call_each(lambda: propagate(os.environ), tap_workers)
    with suppress(TypeError):  # a model that cannot be referred to weakly
        if first:
            atexit.register(warn_if_dropped, weakref.ref(model))


def warn_if_dropped(reference: Callable[[], Any]) -> None:
    """At interpreter exit, warn once if the model's trainer did not take its callbacks."""
    with suppress(Exception):
        from yoloscope_hooks import callbacks

        trainer = getattr(reference(), "trainer", None)
        listed = getattr(trainer, "callbacks", None)
        if isinstance(listed, dict) and callbacks.on_train_start not in listed.get("on_train_start", ()):
            _log.warning(
                "yoloscope: nothing was recorded: %s dropped the callbacks of its model; pass `_callbacks` on to "
                "its base class, or use `yoloscope run` or yoloscope_hooks.enable()",
                type(trainer).__name__,
            )


def enable() -> None:
    """See `yoloscope_hooks.enable`."""
    if disabled():
        return
    _call_each(lambda: propagate(os.environ), tap_workers, _register_now_or_later)


def _register_now_or_later() -> None:
    module = sys.modules.get(DEFAULTS_MODULE)
    if module is not None:
        register_defaults(module)
        return
    from yoloscope_hooks.autoload import sitecustomize

    sitecustomize.install()


def _call_each(*parts: Callable[[], None]) -> None:
    """Call each part; errors do not stop the others, and one warning shows the first."""
    errors = []
    for part in parts:
        try:
            part()
        except Exception as error:  # noqa: PERF203 - three parts
            errors.append(error)
    if errors:
        _log.warning("yoloscope: some hooks are missing, training goes on: %r", errors[0])


def _ours() -> Mapping[str, Callable[[Any], None]]:
    """Our callbacks of trainings, predictions, validations and exports."""
    from yoloscope_hooks import callbacks, inference_callbacks

    return {**callbacks.CALLBACKS, **inference_callbacks.CALLBACKS}


def register(listed: Callbacks, ours: Mapping[str, Callable[[Any], None]]) -> bool:
    """Append each of our callbacks to its event's list if it is missing: all or none. False if none was missing.

    Raises:
        TypeError: the callbacks of an event are not a list.
    """
    lists = {event: listed.setdefault(event, []) for event in ours}
    for event, functions in lists.items():
        if not isinstance(functions, list):
            raise TypeError(f"the callbacks of {event} are {type(functions).__name__}, not a list")
    missing = [event for event, functions in lists.items() if ours[event] not in functions]
    for event in missing:
        lists[event].append(ours[event])
    return bool(missing)


def register_defaults(module: Any) -> None:
    """Add the callbacks to the defaults of every model and trainer of this process. Never raises."""
    try:
        register(module.default_callbacks, _ours())
    except Exception as error:
        _log.warning("yoloscope: recording is off, this Ultralytics is not supported: %r", error)


def tap_workers() -> None:
    """Measure the loader workers that this process will fork."""
    module = sys.modules.get(FETCH_MODULE)
    if module is not None:
        from yoloscope_hooks import workers

        workers.instrument(module)


def propagate(environ: MutableMapping[str, str]) -> None:
    """Make Python processes started with `environ` load the hooks once they import Ultralytics."""
    environ["YOLOSCOPE_PATH"] = str(Path(__file__).parents[1])  # `yoloscope_record` lies there too
    before = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(AUTOLOAD)]
    environ["PYTHONPATH"] = os.pathsep.join([str(AUTOLOAD), *before])
