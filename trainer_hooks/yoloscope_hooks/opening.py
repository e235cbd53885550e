"""Opens the record of the training this process is about to do, and clears up what earlier ones left."""

from __future__ import annotations

import logging
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog, clearing, keeping, paths
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.system import os
from yoloscope_record.writer import Writer

from yoloscope_hooks import facts, leftovers, naming
from yoloscope_hooks.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Trainer = Any  # duck-typed

KEPT_AT_ONCE = 8  # runs that died and are looked at, the newest first
_log = logging.getLogger("yoloscope")
_counted: set[int] = set()  # processes whose start counts for a training already; a fork is another process


def open_for(trainer: Trainer) -> Recorder:
    """Open the record of the training this process is about to do.

    Raises:
        RecordError: there is no directory for it, or no room.
    """
    now = time.time()
    rank = naming.rank(os.environ)
    run = naming.run(trainer, os.environ, now)
    base = paths.make_directory(paths.directory())
    own = paths.make_own(base)
    path, identity = naming.free(own, Identity(run, rank))
    with suppress(OSError):
        clearing.remove_workers(path)  # of an earlier training under the same name
    kept = keeping.place(str(getattr(trainer, "save_dir", "") or ""), os.environ)
    told = {} if kept is None else {keeping.FACT: str(kept)}
    writer = Writer(path, identity, {**facts.gather(trainer, os.environ), **told})
    try:
        recorder = Recorder(writer, (identity.run, rank), _begun(now))
    except Exception:
        writer.discard()
        raise
    _say_if_hidden((own, path.parent))
    recorder.answer(path.parent)
    if kept is not None:
        recorder.keep(kept)
    recorder.finalizer = weakref.finalize(trainer, recorder.abandoned)  # older versions say nothing when they crash
    runs = leftovers.own_runs(base, path.parent)
    if kept is not None:
        with suppress(Exception):
            _keep_dead([directory for _, directory in runs[:KEPT_AT_ONCE]], kept)
    leftovers.clear(runs, now)
    return recorder


def _say_if_hidden(directories: Iterable[Path]) -> None:
    """Warn of a umask, or a mode, by which an exporter of another user sees nothing of this training."""
    closed = None
    with suppress(OSError):
        closed = next((path for path in directories if not paths.is_readable_to_all(path)), None)
    if closed is not None:
        _log.warning(
            "yoloscope: an exporter of another user cannot see this training, others may not read %s: "
            "umask 022 before the next one, chmod 755 for this one",
            closed,
        )


def _begun(now: float) -> float:
    """Seconds this training has been going on. A rank's process exists for its first, and has loaded much by now."""
    process = os.getpid()
    if "LOCAL_RANK" not in os.environ or process in _counted:
        return 0.0
    _counted.add(process)
    return max(now - (naming.process_start(process) or now), 0.0)


def _keep_dead(directories: Iterable[Path], ours: Path) -> None:
    """Copy what is left of this user's own runs that were killed, to where it outlives a reboot.

    Only of those with results beside `ours`: a mount that does not answer any more must not hold up this training.
    """
    for path in [path for directory in directories for path in sorted(directory.glob("rank-*.rec"))]:
        try:
            if "-worker-" in path.name:
                continue
            record = Reader(path).read()
            base = keeping.place_of(record.facts)
            killed = not record.alive and record.state not in catalog.FINAL and record.uid == os.geteuid()
            if killed and base is not None and base.parent.parent == ours.parent.parent:
                keeping.keep(path, record, base, {}, os.geteuid())
        except (RecordError, OSError) as error:
            _log.info("yoloscope: the end of %s is not kept: %s", path, error)
