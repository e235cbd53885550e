"""The hooks, which run inside the training process: standard library only, torch only if it is already imported.

    import yoloscope_hooks
    from ultralytics import YOLO

    model = yoloscope_hooks.attach(YOLO("yolo11n.pt"))
    model.train(data="coco128.yaml")

Or, without touching code: `yoloscope run -- yolo detect train ...`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` would be most of the cost of importing this
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Model = TypeVar("Model", bound=Any)

__all__ = ["attach", "enable"]


def attach(model: Model, run: str | None = None) -> Model:
    """Monitor the runs of `model` (an `ultralytics.YOLO` or a trainer) and return it.

    May be called twice. Nothing is raised: for an unsupported `model` there is one warning. `YOLOSCOPE=off` in the
    environment makes this a no-op.

    Args:
        model: anything with Ultralytics' `callbacks` (a dict of lists by event).
        run: name of the run; default `$YOLOSCOPE_RUN`, else Ultralytics' `project/name` and the start time.
    """
    try:
        from yoloscope_hooks import activation  # importing this package must cost nothing

        activation.attach(model, run)
    except Exception as error:  # too many open files, say
        _warn(error)
    return model


def enable() -> None:
    """Monitor every run of this process and of its children: ranks, loader workers, tuner runs.

    For programs that build trainers themselves. Models created before the call are included if they train afterwards
    with a new trainer that has the default callbacks; for an existing model use `attach`. Nothing is raised.
    """
    try:
        from yoloscope_hooks import activation

        activation.enable()
    except Exception as error:
        _warn(error)


def _warn(error: Exception) -> None:
    """Warn that the hooks are not active; on stderr if logging does not work."""
    message = f"yoloscope is not active, training goes on: {error!r}"
    try:
        import logging

        logging.getLogger("yoloscope").warning("%s", message)
    except Exception:
        import sys

        try:
            sys.stderr.write(f"{message}\n")
        except Exception:  # there is none, or it was closed
            return
