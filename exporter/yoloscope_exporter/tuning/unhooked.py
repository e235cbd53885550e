"""Finds the process of a probe that would really train: the hooks, which make it a probe, are not in it.

Only a process that has loaded PyTorch counts: helpers may run without the hooks. PyTorch takes longer to be loaded than
it takes to be found here, and Ultralytics comes after it, so that nothing has been written by then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import psutil
from yoloscope_record import probes

from yoloscope_exporter.language import text
from yoloscope_exporter.service.interpreter import blind_option
from yoloscope_exporter.tuning import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LIBRARY = b"/libtorch"


def unhooked(root: int, environ: Mapping[str, str]) -> str | None:
    """What one of the processes below `root`, or with the MARK of `environ`, is and why it trains without the hooks."""
    for pid in {*processes.living(environ[processes.MARK]), root, *_below(root)}:
        with suppress(OSError):
            command = [os.fsdecode(one) for one in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
            reason = why(command, _environment(pid), environ)
            if reason and _LIBRARY in Path(f"/proc/{pid}/maps").read_bytes():
                told = shorten(" ".join(command), 60, placeholder=" ...")
                return text(
                    "{told!r} (process {pid}) trains without the hooks: {reason}", told=told, pid=pid, reason=reason
                )
    return None


def why(command: Sequence[str], found: Mapping[str, str] | None, given: Mapping[str, str]) -> str | None:
    """Why a process with this command line and environment has no hooks, and the remedy; None where it has them.

    `given` is the environment that the probe was started with: the hooks' folder is the first on its PYTHONPATH. An
    environment that is not known is not judged.
    """
    if command and (blind := blind_option(command)):
        return text("{blind} keeps them out; leave it out", blind=blind)
    if found is None:
        return None
    if found.get(probes.PROBE) != given[probes.PROBE]:
        return text("its environment is not the one it was started with; pass that on (no env -i, no sudo)")
    if fault := _fault(found.get("PYTHONPATH", ""), given["PYTHONPATH"].split(os.pathsep)[0]):
        return fault
    if found.get("YOLOSCOPE") != given["YOLOSCOPE"]:
        return text("YOLOSCOPE={value} is set on the way to it; leave it out", value=found.get("YOLOSCOPE", ""))
    return None


def _fault(path: str, hooks: str) -> str | None:
    """Why Python does not import the start-up module in the folder `hooks` with this PYTHONPATH."""
    if not path:
        return text("PYTHONPATH is emptied on the way to it; keep it")
    parts = path.split(os.pathsep)
    if hooks not in parts:
        return text(
            "PYTHONPATH is replaced on the way to it; prepend to it instead: {export}",
            export=_export(path, "$PYTHONPATH"),
        )
    before = filter(None, parts[: parts.index(hooks)])
    hiding = next((part for part in before if (Path(part) / "sitecustomize.py").exists()), None)
    return hiding and text(
        "{hiding}/sitecustomize.py hides theirs; append it: {export}",
        hiding=hiding,
        export=_export("$PYTHONPATH", hiding),
    )


def _export(*parts: str) -> str:
    """The line of a shell script: in double quotes, where folders with a blank stay one word."""
    joined = os.pathsep.join(parts)
    return (
        text('export PYTHONPATH="{joined}"', joined=joined)
        if " " in joined
        else text("export PYTHONPATH={joined}", joined=joined)
    )


def _below(pid: int) -> Iterator[int]:
    with suppress(psutil.Error):
        yield from (child.pid for child in psutil.Process(pid).children(recursive=True))


def _environment(pid: int) -> dict[str, str] | None:
    """What it was started with; None where it has written something else over it, as setproctitle does."""
    content = Path(f"/proc/{pid}/environ").read_bytes()
    pairs = (os.fsdecode(one).partition("=") for one in content.split(b"\0"))
    found = {name: value for name, sign, value in pairs if sign}
    return found if found or not content else None
