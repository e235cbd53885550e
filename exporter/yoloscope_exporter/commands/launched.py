"""The runs that a command of `yoloscope run` has started. Imports little: most commands have none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import paths
from yoloscope_record.catalog import PREDICTIONS
from yoloscope_record.file_format import RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.system import os

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Tells the runs of one command from all others: `yoloscope run` sets it, and the hooks record it as the fact `launch`.
VARIABLE = "YOLOSCOPE_LAUNCH"


class Run(NamedTuple):
    """A run of the command: its name, and the folder of its results, empty where it is not known."""

    name: str
    folder: str
    lives: bool = False
    """Whether any of its ranks does."""


def of_launch(records: Path, launch: str) -> list[Run]:
    """The runs of this user whose records carry the token of the launch: predictions, then trainings, the oldest first.

    What comes last is what the command was for: a training that also predicts or exports.
    """
    found: dict[str, Run] = {}
    began: dict[str, tuple[bool, float]] = {}
    for path in _records(records):
        with suppress(RecordError, OSError):
            record = Reader(path).read()
            if record.facts.get("launch") == launch and record.uid == os.geteuid():
                name = record.identity.run
                this = (record.identity.kind == "rank", record.created)
                began[name] = min(began.get(name, this), this)
                known = found.get(name, Run(name, ""))
                folder = known.folder or record.facts.get("save_dir", "")
                found[name] = Run(name, folder, known.lives or record.alive)
    return [found[name] for name in sorted(found, key=lambda name: began[name])]


def _records(records: Path) -> Iterator[Path]:
    """Of this user's runs; a folder may be cleared meanwhile."""
    with suppress(OSError):
        for run in list(paths.run_directories(records)):
            with suppress(OSError):
                if run.owner == os.geteuid():
                    for kind in ("rank", *PREDICTIONS):
                        yield from list(Path(run.path).glob(f"{kind}-*.rec"))
