"""Exports: how long each took, and how large what it wrote is."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog

from yoloscope_hooks import accounts, facts, inference
from yoloscope_hooks.binding import SESSION

if TYPE_CHECKING:
    Exporter = Any  # duck-typed

MOST_FILES = 10_000  # beside the model, and in a folder that was exported


def start(exporter: Exporter, now: float) -> None:
    """An export begins."""
    accounts.elsewhere()
    recording = inference.recording_for(exporter, "export")
    if recording is None:
        return
    earlier = getattr(exporter, SESSION, None)
    if earlier is not None:
        earlier[2]()  # it has failed
    setattr(exporter, SESSION, (now, time.time(), inference.under_way(exporter, recording)))
    recording.describe(exporter, "export", now)


def end(exporter: Exporter, now: float) -> None:
    """The file is written."""
    accounts.elsewhere()
    recording, began = inference.current("export"), getattr(exporter, SESSION, None)
    if recording is None or began is None:
        return
    delattr(exporter, SESSION)
    kind = str(getattr(exporter.args, "format", "") or "unknown")
    recording.set(catalog.EXPORT_SECONDS, now - began[0], kind)
    written = _written(Path(str(exporter.file)), kind, began[1])
    if written is not None:
        size = sum(one.stat().st_size for one in _files(written))
        recording.set(catalog.EXPORT_ARTEFACT_BYTES, float(size), kind)
        recording.tell(facts.known([partial(facts.path, "exported", written)]))
    recording.store({}, began=now)
    began[2]()


def _written(model: Path, kind: str, since: float) -> Path | None:
    """The newest file or folder that was written beside the model under its name, its format's first."""
    found = []
    for path in islice(model.absolute().parent.iterdir(), MOST_FILES):
        if path.name.startswith(model.stem) and path.name != model.name:
            changed = max(one.stat().st_mtime for one in _files(path) or [path])
            if changed >= since - 1.0:  # clocks of file systems are coarse
                found.append((kind in path.name, changed, path))
    return max(found)[2] if found else None


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [one for one in islice(path.rglob("*"), MOST_FILES) if one.is_file()]
