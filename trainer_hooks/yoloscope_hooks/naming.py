"""Which run a process trains for, and which rank of it: the ranks of one run must agree without talking."""

from __future__ import annotations

import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_record import paths
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.reader import is_written
from yoloscope_record.system import launcher, os

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: What tells one launch over several nodes from another, and is the same on all of them.
_LAUNCH_KEYS = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")


def rank(environ: Mapping[str, str]) -> str:
    """`0` for a single process, else the rank torchrun gave; Ultralytics trusts it only with a LOCAL_RANK."""
    return (environ.get("RANK", "").strip() or "0") if "LOCAL_RANK" in environ else "0"


def spans_nodes(environ: Mapping[str, str]) -> bool:
    """Whether torchrun started ranks of this run on other nodes as well."""
    return "LOCAL_RANK" in environ and environ.get("WORLD_SIZE") != environ.get("LOCAL_WORLD_SIZE")


def _given(owner: Any, environ: Mapping[str, str]) -> str:
    """The name that the user has given; empty if none."""
    told = getattr(owner, "_yoloscope_run", "") or environ.get("YOLOSCOPE_RUN", "")
    if not told and "LOCAL_RANK" in environ:
        told = environ.get("YOLOSCOPE_RANKS_RUN", "")
    return str(told).strip()  # blanks alone name nothing


#: How Ultralytics calls the folder of each kind where it is not told another name.
_FOLDERS = {"predict": ("predict", "track"), "validate": ("val",), "export": ("export",)}


def prediction(owner: Any, kind: str, environ: Mapping[str, str], now: float) -> str:
    """The same of what predicts, validates or exports; the kind is part of it, for one process may do all of them."""
    if told := _given(owner, environ):
        return _printable(f"{told[:180]}-{kind}")
    folder = Path(str(getattr(owner, "save_dir", "") or kind)).absolute()
    name = folder.name if folder.name.startswith(_FOLDERS[kind]) else f"{folder.name}-{kind}"
    return _printable(f"{folder.parent.name[:90]}/{name[:90]}-{_stamp(now)}")


def run(trainer: Any, environ: Mapping[str, str], now: float) -> str:
    """Name of the run at Unix time `now`: told by the user, else Ultralytics' `project/name` and the start time."""
    if told := _given(trainer, environ):
        return _printable(told)
    folder = Path(str(getattr(trainer, "save_dir", "") or "run")).absolute()
    name = folder.name
    if "LOCAL_RANK" in environ and not _launched_by_ultralytics():
        name = _asked_for(folder)
    return _printable(f"{folder.parent.name[:90]}/{name[:90]}-{_launch(environ, now)}")


def free(base: Path, wanted: Identity) -> tuple[Path, Identity]:
    """Where a record is written in `base`: under its run's name, or with a number if a living process has that.

    Raises:
        RecordError: a hundred have it.
    """
    run = wanted.run
    for count in range(1, 100):
        identity = replace(wanted, run=run if count == 1 else f"{run}-{count}")
        path = paths.run_directory(base, identity.run) / identity.filename
        if not is_written(path):
            return path, identity
    raise RecordError("exists", f"a hundred living processes are called {run}; set YOLOSCOPE_RUN")


def _asked_for(folder: Path) -> str:
    """The folder's name without the number that Ultralytics has added because folders of that name were there.

    Under torchrun it adds one in rank 0 only. It takes the first number from 2 that is free, so a number is one of its
    own if the name without it and with every smaller number is taken; `yolo11` and `exp-640` stay what they are.
    """
    for name, separator, number in _numbered(folder.name):
        smaller = (f"{name}{separator}{count}" for count in range(2, number))
        if all(folder.with_name(taken).exists() for taken in (name, *smaller)):
            return _asked_for(folder.with_name(name))
    return folder.name


def _numbered(name: str) -> Iterator[tuple[str, str, int]]:
    """Ways in which `name` may be another with a number: `train2`, or `train-2` as Ultralytics makes it since 8.4."""
    digits = len(name) - len(name.rstrip("0123456789"))
    for length in range(1, min(digits, 4) + 1):  # it counts up to 9999
        rest, number = name[:-length], int(name[-length:])
        if number > 1 and name[-length] != "0":
            yield from ((plain, separator, number) for plain, separator in _separated(rest) if plain)


def _separated(text: str) -> tuple[tuple[str, str], ...]:
    return ((text, ""), (text[:-1], "-")) if text.endswith("-") else ((text, ""),)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def _launched_by_ultralytics() -> bool:
    return Path(sys.argv[0]).name.startswith("_temp_")


def _launch(environ: Mapping[str, str], now: float) -> str:
    """What all processes of one launch have in common and other launches have not."""
    if "LOCAL_RANK" not in environ:
        return _stamp(now)
    if spans_nodes(environ):  # no common process, no common clock
        told = _told(environ)
        if environ.get("SLURM_STEP_NUM_NODES", "1") != "1":  # else each node of the launch has a step of its own
            told += "|" + environ.get("SLURM_STEP_ID", "")
        return f"{zlib.crc32(told.encode()):08x}"
    began = process_start(os.getppid())
    return f"{zlib.crc32(f'{_told(environ)}|{launcher()}'.encode()):08x}" if began is None else _stamp(began)


def _told(environ: Mapping[str, str]) -> str:
    return "|".join(environ.get(key, "") for key in _LAUNCH_KEYS)


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))


def process_start(pid: int) -> float | None:
    """Unix time at which a process began, the same whoever asks; proc(5): `stat` field 22 after `btime`."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return None
