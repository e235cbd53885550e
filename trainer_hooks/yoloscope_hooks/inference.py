"""What a process predicts, validates or exports: one record for each of the three, whatever number of calls there are.

Ultralytics keeps a predictor from being used by two threads at once, but two predictors are not kept from each other.
So what is stored takes a lock, for some microseconds; all threads are counted.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import weakref
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog, paths
from yoloscope_record.catalog import IMAGE_BUCKETS
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.system import os
from yoloscope_record.writer import Writer

from yoloscope_hooks import accounts, endings, inference_facts, leftovers, naming, stacks
from yoloscope_hooks.opt_out import disabled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SLOTS = 256  # a tenth of it is used; an export has two for each format
WRITE_SECONDS = 0.05  # of a call that is under way; its end is always written
MEMORY_SECONDS = 1.0  # between two looks at CUDA's memory
FACTS_REST = 100.0  # times the CPU time that the facts took, before they are gathered again: 1 % of it at most
MOST_KEYS = 64  # whoever makes a predictor for each image has a new one each time
_log = logging.getLogger("yoloscope")


class Recording:
    """What this process does of one kind.

    Attributes:
        on: whether it is written; once it is not, it stays so.
        predictors: how many have predicted.
    """

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        self.on, self.predictors = True, 0
        self.path = writer.path
        self._doubtful = 0  # generators that look as if they were dropped, and are not counted yet
        self._lock = threading.RLock()
        self._writer, self._who, self._values = writer, who, writer.values
        self._process = os.getpid()
        self._exception = sys.exc_info()[1]
        self._slots: dict[tuple[str, ...], int] = {}
        self._latency = -1
        self._looked = self._due = self._written = 0.0  # `_due`: when facts may be gathered again
        self._facts: Mapping[str, str] = {}
        self._key: object = None  # the latest that was described
        self._described: set[object] = set()  # keys whose facts those are
        self._earlier: set[object] = set()  # keys that were ever described
        self.set(catalog.PREDICT_START_TIMESTAMP_SECONDS, time.time())
        self.set(catalog.PREDICT_UNDER_WAY, 0.0)

    def _slot(self, metric: Any, *labels: str) -> int:
        key = (metric.name, *labels)
        if key not in self._slots:
            self._slots[key] = self._writer.slot(metric, *self._who, *labels)
        return self._slots[key]

    def set(self, metric: Any, value: float, *labels: str) -> None:
        """Set a gauge; it is in the file after the next `store`."""
        self._values[self._slot(metric, *labels)] = value

    def store(  # noqa: PLR0913 - what a batch consists of
        self,
        seconds: Mapping[str, float],
        *,
        calls: int = 0,
        batches: int = 0,
        images: int = 0,
        detections: int | None = None,
        latency: float | None = None,
        under_way: int = 0,
        abandoned: int = 0,
        doubtful: int = 0,
        began: float = 0.0,
        soon: bool = True,
    ) -> None:
        """Add what was done since the last time, and write it.

        Args:
            seconds: by phase.
            calls: that began.
            batches: that are done.
            images: in them.
            detections: in them; None where they are not counted.
            latency: seconds in which these images were answered; None for those that warmed up.
            under_way: by how much the calls under way have changed.
            abandoned: generators that were dropped.
            doubtful: by how much those have changed that look so, and are believed at the end at the latest.
            began: `perf_counter` when our own work for this began; 0 if that is not to be counted.
            soon: whether it has to be in the file now; else it may come with what follows within WRITE_SECONDS.
        """
        with self._lock:
            values, slot = self._values, self._slot
            self._writer.begin()
            for phase, length in seconds.items():
                values[slot(catalog.PREDICT_PHASE_SECONDS_TOTAL, phase)] += length
            values[slot(catalog.PREDICT_CALLS_TOTAL)] += calls
            place = slot(catalog.PREDICT_UNDER_WAY)
            values[place] = max(values[place] + under_way, 0.0)
            self._doubtful += doubtful
            if abandoned:
                values[slot(catalog.PREDICT_ABANDONED_TOTAL)] += abandoned
            now = time.time()
            if batches:
                values[slot(catalog.PREDICT_BATCHES_TOTAL)] += batches
                values[slot(catalog.PREDICT_IMAGES_TOTAL)] += images
                values[slot(catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS)] = now
                values[slot(catalog.PREDICT_BATCH_SIZE)] = images / batches
                if detections is not None:
                    values[slot(catalog.PREDICT_DETECTIONS_TOTAL)] += detections
                if latency is not None:
                    self._observe(latency, images)
            if began:
                values[slot(catalog.PREDICT_HOOK_SECONDS_TOTAL)] += max(time.perf_counter() - began, 0.0)
            if soon or not 0.0 <= now - self._written < WRITE_SECONDS:
                self._written = now
                self._writer.end(now)

    def _observe(self, latency: float, images: int) -> None:
        if self._latency < 0:
            self._latency = self._writer.histogram(catalog.PREDICT_IMAGE_SECONDS, *self._who)
        self._values[self._latency + bisect_left(IMAGE_BUCKETS, latency)] += images
        self._values[self._latency + len(IMAGE_BUCKETS) + 1] += latency * images

    def look_at_memory(self, device: Any, now: float) -> None:
        """Once a second, what PyTorch's allocator says: it is asked, not waited for, and nothing of it is reset."""
        if now - self._looked < MEMORY_SECONDS or getattr(device, "type", "") != "cuda":
            return
        self._looked = now
        torch = sys.modules.get("torch")
        if torch is None:
            return
        stats = torch.cuda.memory_stats_as_nested_dict(device)
        with self._lock:
            for kind in ("allocated", "reserved"):
                both = stats[f"{kind}_bytes"]["all"]
                self.set(catalog.PREDICT_CUDA_MEMORY_BYTES, both["current"], kind)
                self.set(catalog.PREDICT_CUDA_MEMORY_BYTES, both["peak"], f"peak_{kind}")

    def tell(self, facts: Mapping[str, str]) -> None:
        """Store more facts, until others are described."""
        with self._lock:
            self._facts = {**self._facts, **facts}
            self._writer.set_facts(facts)

    def describe(self, owner: Any, kind: str, now: float) -> bool:
        """Store the facts of `owner` if its key says that they may be others; False if it is too early for that.

        Of what takes turns, or is called while another call is under way, only that is stored in which they agree, and
        all sources: so are the figures those of both.
        """
        key = inference_facts.key(owner)
        if key == self._key or key in self._described:  # to compare costs less than to hash
            return True
        if now < self._due:
            return False
        began = time.thread_time()  # not what others took meanwhile
        facts = inference_facts.gather(owner, kind, os.environ)
        with self._lock:
            beside = self._values[self._slot(catalog.PREDICT_UNDER_WAY)] > 1
            if beside or key in self._earlier:
                self._described |= {key}
                told, facts = facts, dict(self._facts.items() & facts.items())
                facts["mode"] = told["mode"]  # by which records of predictions are known
                if sources := _sources(self._facts) | _sources(told):  # a camera sets the pace also of the others
                    facts["source"] = ",".join(sorted(sources))
            else:
                self._described = {key}
            self._earlier = (self._earlier if len(self._earlier) < MOST_KEYS else set()) | {key}
            gone = dict.fromkeys(self._facts.keys() - facts.keys(), "")
            self._key, self._facts = key, facts
            self._writer.set_facts({**gone, **facts})
            self._due = time.perf_counter() + FACTS_REST * (time.thread_time() - began)
        return True

    @property
    def own(self) -> bool:
        """Whether it is this process' own, no forked child's copy."""
        return self._process == os.getpid()

    def close(self) -> None:
        """The process ends: store how, and give the file up. A forked child's copy does nothing."""
        if not self.on or not self.own:
            return
        self.on = False
        with suppress(Exception), self._lock:
            exception = None if interactive() else getattr(sys, "last_value", None)
            if isinstance(exception, SystemExit) or exception is self._exception:
                exception = None
            self.store({}, abandoned=self._doubtful, under_way=-SLOTS)
            if exception is not None:
                self._writer.set_facts({"exception": type(exception).__name__})
                with suppress(RecordError):
                    self._writer.set_facts(endings.facts_of(exception))
            self.set(catalog.PREDICT_END_TIMESTAMP_SECONDS, time.time())
            self._writer.begin()
            self._writer.set_state(_end(exception))
            self._writer.end(time.time())
        with suppress(Exception):
            stacks.withdraw_word(self.path.parent)  # how it ended is told
        with suppress(Exception):
            self._writer.close()

    def discard(self) -> None:
        """Remove the record: without new batches it would look like a hang."""
        self.on = False
        with suppress(Exception):
            stacks.withdraw_word(self.path.parent)
        with suppress(Exception), self._lock:
            self._writer.discard()


class _Process:
    """The recordings of this process by kind; None for one that is off. A forked child has its own."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):  # not on Windows, where nobody forks
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Nothing is recorded yet."""
        accounts.renew()
        self.lock = threading.RLock()
        self.open: dict[str, Recording | None] = {}
        self.said: set[str] = set()  # kinds whose end was told


#: The one thing that is global here: what is recorded is what the process does.
_process = _Process()


def current(kind: str) -> Recording | None:
    """The recording of this process, if there is one and it is on."""
    recording = _process.open.get(kind)
    return recording if recording is not None and recording.on else None


def recording_for(owner: Any, kind: str) -> Recording | None:
    """The same; opened for `owner`, which is the first of its kind to do something. None where it cannot be had."""
    if kind not in _process.open:
        with _process.lock:
            if kind not in _process.open:  # other threads wait here until it is open
                opened = None
                try:
                    opened = None if disabled() else _open(owner, kind)
                finally:
                    _process.open[kind] = opened  # none, for good, if it is not wanted or cannot be had
    return current(kind)


def give_up(kind: str, error: Exception) -> None:
    """Record nothing of this kind any more, after one warning."""
    recording, _process.open[kind] = _process.open.get(kind), None
    if recording is not None:
        recording.discard()
    if kind in _process.said:
        return
    _process.said.add(kind)
    what = str(error) if isinstance(error, RecordError) else repr(error)
    _log.warning("yoloscope: recording of %s is off, everything else goes on: %s", kind, what)


def _end(exception: BaseException | None) -> str:
    """The state in which a process ends; who presses Ctrl-C has what was wanted, as most streams end."""
    if exception is None:
        return "finished"
    return catalog.STOPPED if isinstance(exception, KeyboardInterrupt) else "failed"


def interactive() -> bool:
    """Whether this is a shell or a notebook: there an error ends a line or a cell, and its frames stay."""
    return hasattr(sys, "ps1") or "IPython" in sys.modules


def _sources(facts: Mapping[str, str]) -> set[str]:
    return set(filter(None, facts.get("source", "").split(",")))


def under_way(owner: Any, recording: Recording) -> Callable[[], object]:
    """A call begins, which is over when what this returns is called, or `owner` is gone because it has failed."""
    recording.store({}, calls=1, under_way=1)
    over = weakref.finalize(owner, _over, recording)
    over.atexit = False
    return over


def _over(recording: Recording) -> None:
    with suppress(Exception):  # in a finalizer
        if recording.on and recording.own:
            recording.store({}, under_way=-1)


def held() -> frozenset[Path]:
    """Directories with records that this process writes: to open one of those here would give up its lock."""
    return frozenset(one.path.parent for one in _process.open.values() if one is not None)


def _open(owner: Any, kind: str) -> Recording:
    """Open the record.

    Raises:
        RecordError: there is no directory for it, or no room.
    """
    now, rank = time.time(), naming.rank(os.environ)
    base = paths.make_directory(paths.directory())
    run = naming.prediction(owner, kind, os.environ, now)
    path, identity = naming.free(paths.make_own(base), Identity(run, rank, kind))
    writer = Writer(path, identity, inference_facts.gather(owner, kind, os.environ), slots=SLOTS, ring=0)
    try:
        writer.begin()
        writer.set_state(kind)
        recording = Recording(writer, (identity.run, rank))
        writer.end(time.time())
    except Exception:
        writer.discard()
        raise
    _at_exit(recording.close)
    with suppress(OSError):  # then a SIGTERM is told as any other kill
        stacks.leave_word(path.parent, identity.run, rank)
    if "yoloscope_hooks.recorder" not in sys.modules:  # a training's record lies open in this process
        with suppress(Exception):
            leftovers.clear(leftovers.own_runs(base, path.parent), now)
    return recording


def _at_exit(close: Callable[[], None]) -> None:
    """Call `close` when Python ends; a child of multiprocessing ends without `atexit`."""
    atexit.register(close)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, close, exitpriority=0)
