"""`python -m yoloscope_hooks enable`: watch every training of this Python, without `yoloscope run`.

Writes one `.pth` file beside the installed packages, which Python reads at every start: of `yolo`, of ranks, of loader
workers, whatever their environment. It waits for Ultralytics as `autoload` does, and does nothing else. Nothing enables
it but this command; `disable` takes it away again.
"""

from __future__ import annotations

import argparse
import site
import sys
import sysconfig
from pathlib import Path

NAME = "yoloscope.pth"
#: One line, as Python demands; a package that was removed since is no error.
LINE = (
    "import os; exec('try:\\n import yoloscope_hooks.autoload.sitecustomize as auto\\n auto.activate()"
    "\\nexcept Exception: pass')\n"
)


def places() -> list[Path]:
    """Where this interpreter reads `.pth` files, the environment's own place first."""
    folders = [sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [Path(folder) / NAME for folder in folders]


def enable() -> str:
    """Write the file to the first place that takes it; say where.

    Raises:
        OSError: no place takes it.
    """
    problem = OSError("this Python reads no .pth files")
    for path in places():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(LINE, encoding="utf-8")
        except OSError as error:  # noqa: PERF203 - two places at most
            problem = error
        else:
            return f"enabled for every training of {sys.executable}: {path}"
    raise problem


def disable() -> str:
    """Remove the file wherever it is."""
    removed = [path for path in places() if path.exists()]
    for path in removed:
        path.unlink()
    return "disabled: removed " + ", ".join(map(str, removed)) if removed else "was not enabled"


def status() -> str:
    """Say whether, and where."""
    return next((f"enabled: {path}" for path in places() if path.exists()), "not enabled")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m yoloscope_hooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("enable", "disable", "status"))
    action = {"enable": enable, "disable": disable, "status": status}[parser.parse_args().action]
    try:
        sys.stdout.write(f"yoloscope: {action()}\n")
    except OSError as error:
        parser.exit(2, f"yoloscope: cannot write {error.filename or ''}: {error.strerror or error}\n")


if __name__ == "__main__":
    main()
