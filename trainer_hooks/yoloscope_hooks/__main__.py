"""`python -m yoloscope_hooks enable`: monitor every run of this Python environment, without `yoloscope run`.

Writes one `.pth` file beside the installed packages, which every Python process of this environment reads when it
starts: `yolo`, ranks, loader workers. The file waits until Ultralytics is imported, and does nothing else. `disable`
removes the file, `status` says whether there is one.
"""

from __future__ import annotations

import argparse
import errno
import os
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
    """Paths of the `.pth` file, the environment's own site-packages first, then the user's."""
    folders = [sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [Path(folder) / NAME for folder in folders]


def enable() -> str:
    """Write the file to the first writable place; the message says where.

    Raises:
        OSError: no place is writable.
    """
    problem = OSError("this Python reads no .pth files")
    for path in places():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path)
        except OSError as error:  # noqa: PERF203 - two places at most
            problem = error
        else:
            return f"enabled for every run of {sys.executable}: {path}"
    raise problem


def _write(path: Path) -> None:
    """All of it or nothing: every Python of this environment complains about half a line when it starts.

    Raises:
        OSError: it cannot be written, or there is one of that name that is not ours.
    """
    if path.exists() and not _is_ours(path):
        raise FileExistsError(errno.EEXIST, "it is there and is not yoloscope's", str(path))
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(LINE, encoding="utf-8")
        new.replace(path)
    except OSError:
        if new.exists():
            new.unlink()
        raise


def disable() -> str:
    """Remove the file from all places; the message says from where."""
    removed = [path for path in places() if _is_ours(path)]
    for path in removed:
        path.unlink()
    return "disabled: removed " + ", ".join(map(str, removed)) if removed else "was not enabled"


def status() -> str:
    """The message that says whether there is a file, and where."""
    return next((f"enabled: {path}" for path in places() if _is_ours(path)), "not enabled")


def _is_ours(path: Path) -> bool:
    """Whether this command has written it, of whatever version."""
    try:
        return "yoloscope_hooks" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m yoloscope_hooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("enable", "disable", "status"))
    action = {"enable": enable, "disable": disable, "status": status}[parser.parse_args().action]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a folder's name may have what the console lacks
    try:
        sys.stdout.write(f"yoloscope: {action()}\n")
    except OSError as error:
        parser.exit(2, f"yoloscope: cannot write {error.filename or ''}: {error.strerror or error}\n")


if __name__ == "__main__":
    main()
