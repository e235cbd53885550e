"""Ultralytics' arguments from the environment, in place of those of a command or a script: only for `yoloscope tune`.

`YOLOSCOPE_ARGUMENTS` is a JSON object of them. They are set where Ultralytics has just made its own of what it was
given, before it opens a folder or looks for a device; ranks, which are given the arguments of their parent, set them
again. On a CPU Ultralytics takes workers back to 0 whatever is typed: those are set once more, as a callback of the
user's would.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from yoloscope_record import log
from yoloscope_record.probes import ARGUMENTS, PROBE

_ALWAYS = ("save_dir",)  # no argument of older versions, and looked at by all


def install(module: Any) -> None:
    """After `ultralytics.engine.trainer` was executed. Raises SystemExit for a probe that cannot have them."""
    try:
        arguments = dict(json.loads(os.environ.get(ARGUMENTS) or "{}"))
        if arguments:
            _override(module.BaseTrainer, arguments)
    except Exception as error:
        if os.environ.get(PROBE):  # it would write into the user's folders
            raise SystemExit(f"yoloscope: {ARGUMENTS} cannot be used: {error!r}") from error
        log.warning("yoloscope: %s is not used: %r", ARGUMENTS, error)


def _override(trainer_class: Any, arguments: dict[str, Any]) -> None:
    """Let each new trainer of the class have `arguments`."""
    check, begin = trainer_class.check_resume, trainer_class.__init__

    @functools.wraps(check)
    def check_resume(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = check(self, *args, **kwargs)
        for name, value in arguments.items():
            if hasattr(self.args, name) or name in _ALWAYS:
                setattr(self.args, name, value)
        return result

    @functools.wraps(begin)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        if "workers" in arguments:
            self.args.workers = arguments["workers"]

    trainer_class.check_resume, trainer_class.__init__ = check_resume, init
