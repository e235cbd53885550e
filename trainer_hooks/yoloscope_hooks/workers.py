"""Loader workers: what each of them does, measured inside it, and how far they are ahead, seen from the trainer.

A worker measures `fetch`, the call that turns indexes into a collated batch: it is wrapped in the class that torch's
workers use, before a worker is forked; a worker that is spawned imports torch anew and gets it wrapped by `autoload`.
The worker then looks for the record of its parent, and writes its own beside it, continuing what an earlier worker of
that number left there.

Metrics are those of training: a worker of the validation loader keeps still.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import re
import weakref
from contextlib import suppress
from signal import SIGTERM, Signals, strsignal
from time import perf_counter, thread_time, time
from typing import TYPE_CHECKING, Any

from yoloscope_record.system import major_faults, os

from yoloscope_hooks.opt_out import disabled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from yoloscope_record.file_format import Identity
    from yoloscope_record.writer import Writer

    from yoloscope_hooks.decoding import Decoding

    Fetch = Callable[[Any, Any], Any]

_STATE = "_yoloscope"
_KILLED = re.compile(r"DataLoader worker \(pid \d+\) is killed by signal: ([^.]+)\.")  # torch's words
#: A worker may be forked, and fill its part of the queue, before its trainer's record is there (ranks above 0 of older
#: versions). It prepares no more until the trainer has taken a batch; so it looks with each of its first batches, which
#: are more than any queue takes, and finds the record in the shortest epoch.
SEARCH_EAGERLY = 16
SEARCH_PERIOD = 1.0  # seconds, after that
SEARCH_LIMIT = 60
FACTS_PERIOD = 2.0  # seconds between two changes of a worker's facts
HEADER_BYTES = 1 << 15  # two halves; five paths, escaped in JSON, are up to 8 KiB

# --- inside a worker ------------------------------------------------------------------------------------------------


def instrument(module: Any) -> None:
    """Measure every `fetch` of `module`, which is torch.utils.data._utils.fetch.

    Harmless when called twice. Never raises: in a torch that keeps its fetching elsewhere, workers are not measured.
    """
    if disabled():
        return
    try:
        fetcher = module._MapDatasetFetcher  # noqa: SLF001 - torch has no public place for it
        if not hasattr(fetcher.fetch, _STATE):
            fetcher.fetch = _measured(fetcher.fetch)
    except Exception as error:
        logging.getLogger("yoloscope").warning("yoloscope does not measure loader workers: %r", error)


def _measured(fetch: Fetch) -> Fetch:
    def measured(fetcher: Any, index: Any) -> Any:
        try:
            tally = fetcher._yoloscope  # noqa: SLF001 - ours
        except AttributeError:
            tally = fetcher._yoloscope = _tally(fetcher)  # noqa: SLF001
        if tally is None:
            return fetch(fetcher, index)
        began, cpu = perf_counter(), thread_time()
        batch = fetch(fetcher, index)
        tally.add(perf_counter() - began, thread_time() - cpu)
        return batch

    setattr(measured, _STATE, True)
    return measured


def _tally(fetcher: Any) -> _Tally | None:
    """A tally if this is a worker of a training loader; nothing in the trainer itself, nor in validation."""
    with suppress(Exception):
        from torch.utils.data import get_worker_info  # torch is there: it calls us

        worker = get_worker_info()
        if worker is None:
            return None
        training = trains(fetcher.dataset)
        _answer(str(worker.id), "training" if training else "validation")
        if training:
            return _Tally(str(worker.id), _decoding(fetcher.dataset))
    return None


def _answer(worker: str, loader: str, found: tuple[Path, Identity] | None = None) -> None:
    """Let this worker tell what it does when somebody asks. One that was forked does so already, and says who it is."""
    with suppress(Exception):
        from yoloscope_hooks import stacks

        if not stacks.answers():
            found = found or _trainers_record()
            if found is None:
                return
            stacks.arm_child(found[0], found[1].run, found[1].rank)
        stacks.note(f"worker {worker} {loader}")


def _decoding(dataset: Any) -> Decoding | None:
    """How the data set reads images, measured, where that can be had."""
    with suppress(Exception):
        from yoloscope_hooks import decoding

        return decoding.instrument(dataset)
    return None


def trains(dataset: Any) -> bool:
    """Whether a data set is for training: Ultralytics augments only then, or calls it so; a strange one is."""
    augment = getattr(dataset, "augment", None)
    if isinstance(augment, bool):
        return augment
    prefix = str(getattr(dataset, "prefix", "train"))
    return "train" in prefix or not any(word in prefix for word in ("val", "test"))


class _Tally:
    """Sums of one worker, from its first batch; in its record as soon as there is one."""

    def __init__(self, worker: str, decoding: Decoding | None = None) -> None:
        self._worker, self._decoding = worker, decoding
        self._book: _Book | None = None
        self._waiting: list[tuple[float, float]] = []
        self._searches, self._next_search = 0, 0.0
        self._faults = major_faults()

    def add(self, wall: float, cpu: float) -> None:
        """Count one batch. Never raises; after an error, or without a trainer that records, the tally is over."""
        try:
            if self._book is None and self._searches < SEARCH_LIMIT:
                self._waiting.append((wall, cpu))
                self._search()
            elif self._book is not None:
                self._book.enter([(wall, cpu)], self._new_faults())
        except Exception:
            self._book, self._searches = None, SEARCH_LIMIT

    def _search(self) -> None:
        now = perf_counter()
        if self._searches >= SEARCH_EAGERLY and now < self._next_search:
            return
        self._searches, self._next_search = self._searches + 1, now + SEARCH_PERIOD
        self._book = _open(self._worker, self._decoding)
        if self._book is not None:
            self._book.enter(self._waiting, self._new_faults())
            self._waiting = []

    def _new_faults(self) -> int:
        """Major faults since the last time; 0 where nobody counts them."""
        before, self._faults = self._faults, major_faults()
        return self._faults - before if self._faults is not None and before is not None else 0


def _open(worker: str, decoding: Decoding | None) -> _Book | None:
    """The worker's own record beside that of its trainer, None as long as there is none."""
    from yoloscope_record.file_format import Identity, RecordError
    from yoloscope_record.loader_facts import slow_files
    from yoloscope_record.writer import Writer

    found = _trainers_record()
    if found is None:
        return None
    directory, trainer = found
    book = _Book.of_process
    if book is not None and book.goes_on(directory, decoding):
        return book
    _answer(worker, "training", found)  # a worker that began before its trainer's record was there
    identity = Identity(trainer.run, trainer.rank, "worker", worker)
    with suppress(RecordError):  # the worker before us is about to end
        path = directory / identity.filename
        if decoding is not None:
            decoding.merge(slow_files(_left_facts(path)))
        writer = Writer(path, identity, slots=64, header=HEADER_BYTES, ring=0, resume=True)
        return _Book(writer, identity, decoding)
    return None


def _left_facts(path: Path) -> Mapping[str, str]:
    """Facts that an earlier worker of this number has left."""
    from yoloscope_record.file_format import RecordError
    from yoloscope_record.reader import Reader

    with suppress(RecordError):
        seen = Reader(path).read()
        if seen.uid == os.getuid():
            return seen.facts
    return {}


def _trainers_record() -> tuple[Path, Identity] | None:
    """Directory and identity of the living record that this worker's parent writes, among those of its user."""
    from yoloscope_record import paths
    from yoloscope_record.file_format import Identity, RecordError
    from yoloscope_record.reader import Reader

    from yoloscope_hooks import naming

    parent = multiprocessing.parent_process()
    pid = os.getppid() if parent is None else parent.pid
    name = Identity("", naming.rank(os.environ)).filename
    for own in paths.own(paths.directory()):
        for path in own.glob(f"*/{name}"):
            with suppress(RecordError):
                seen = Reader(path).read()
                if seen.alive and seen.pid == pid and seen.uid == os.getuid():
                    return path.parent, seen.identity
    return None


class _Book:
    """A worker's record.

    Attributes:
        of_process: the last one of this process: workers that stay have a fetcher, and a tally, for each epoch.
    """

    of_process: _Book | None = None

    def __init__(self, writer: Writer, who: Identity, decoding: Decoding | None = None) -> None:
        from yoloscope_record import catalog

        labels = self._labels = (who.run, who.rank, who.worker)
        self._writer, self._decoding = writer, decoding
        self._began, self._told = perf_counter(), -math.inf  # when the slowest files were last told
        if decoding is not None:
            self._decoded = writer.slot(catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL, *labels)
        self._batches = writer.slot(catalog.TRAIN_WORKER_BATCHES_TOTAL, *labels)
        self._seconds = writer.slot(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, *labels)
        self._cpu = writer.slot(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, *labels)
        self._faults = None if major_faults() is None else writer.slot(catalog.TRAIN_WORKER_MAJOR_FAULTS_TOTAL, *labels)
        self._histogram = writer.histogram(catalog.TRAIN_LOADER_BATCH_SECONDS, who.run, who.rank)
        self._buckets = catalog.STEP_BUCKETS
        writer.begin()
        writer.set_state("train")
        writer.end(time())
        _Book.of_process = self

    def goes_on(self, directory: Path, decoding: Decoding | None) -> bool:
        """Whether this is still the record beside that of the trainer; then it takes what is decoded from now on."""
        from yoloscope_record import catalog
        from yoloscope_record.loader_facts import slow_files

        if not self._writer.is_open or self._writer.path.parent != directory:
            return False
        if decoding is not None and decoding is not self._decoding:
            decoding.merge(slow_files(self._writer.facts))
            self._decoded = self._writer.slot(catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL, *self._labels)
            self._decoding = decoding
        return True

    def enter(self, batches: list[tuple[float, float]], faults: int) -> None:
        """Add batches of (wall seconds, CPU seconds) and the major faults meanwhile."""
        values = self._writer.values
        self._writer.begin()
        for wall, cpu in batches:
            values[self._batches] += 1.0
            values[self._seconds] += wall
            values[self._cpu] += cpu
            self._writer.observe(self._histogram, self._buckets, wall)
        if self._faults is not None:
            values[self._faults] += faults
        if self._decoding is not None:
            values[self._decoded] += self._decoding.seconds
            self._decoding.seconds = 0.0
        self._writer.end(time())
        if self._decoding is not None and self._decoding.changed and self._tells_again(perf_counter()):
            self._tell(self._decoding)

    def _tells_again(self, now: float) -> bool:
        """Soon at first: a worker is not asked before it is ended, and that of a short training not long after."""
        return now - self._told >= min(FACTS_PERIOD, (now - self._began) / 2)

    def _tell(self, decoding: Decoding) -> None:
        """Store the slowest files; where there is no room for them they are left out."""
        from yoloscope_record.file_format import RecordError
        from yoloscope_record.loader_facts import slow_file_facts

        self._told, decoding.changed = perf_counter(), False
        with suppress(RecordError):
            self._writer.set_facts(slow_file_facts(decoding.longest))


# --- in the trainer -------------------------------------------------------------------------------------------------


class Queue:
    """The queue between the workers and the trainer, read once per batch from torch's own book-keeping.

    Also which processes the loaders have, and how they ended.
    """

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        from yoloscope_record import catalog

        self._writer, self._values, self._who = writer, writer.values, who
        self._facts: dict[str, str] = {}
        self._validation = writer.slot(catalog.TRAIN_VAL_WORKERS, *who)
        self._depth = writer.slot(catalog.TRAIN_QUEUE_DEPTH, *who)
        self._capacity = writer.slot(catalog.TRAIN_QUEUE_CAPACITY, *who)
        self._dwell = writer.slot(catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL, *who)
        self._restarts = writer.slot(catalog.TRAIN_WORKER_RESTARTS_TOTAL, *who)
        self._deaths = writer.slot(catalog.TRAIN_WORKER_DEATHS_TOTAL, *who)
        self._processes: list[Any] = []
        self._last = (0.0, 0.0)  # moment and depth of the last batch that is in the record
        self._instrumented: Callable[[], Any] = _nobody
        self.fetched: float | None = None
        """Seconds the loader took to hand out the batches since this was last set to 0; None if that is not known."""
        self.worker = self.depth = math.nan
        """Who made the batch that was taken last, and how many were ready before; NaN where that is not known."""
        self.seconds = 0.0
        """What we took to find that out, so far."""
        self._places, self._free_places = _places(None)  # of the queue
        self.failed: Callable[[Exception], None] = _nobody_listens
        """Called when it could not be found out."""
        self.looks = False
        """Whether it is looked for: there are workers."""

    def look(self, trainer: Any) -> None:
        """Find the workers that there are. Only a weak reference stays: an iterator that is let go ends its workers."""
        loader: Any = getattr(trainer, "train_loader", None)
        iterator = _iterator(loader)
        self._instrument(iterator)
        processes = _processes(iterator)
        known = {process.pid for process in self._processes}
        new = [process for process in processes if process.pid not in known]
        if known and new:
            self.count_deaths()
            self._values[self._restarts] += len(new)
        if new:  # where there are none at all, the old ones have yet to be asked how they ended
            self._processes, self._last = processes, (0.0, 0.0)
        if processes:
            self._values[self._capacity] = len(processes) * loader.prefetch_factor
        self._tell(loader, _validation_loader(trainer))

    def _tell(self, training: Any, validation: Any) -> None:
        """Store which processes the loaders have, if that has changed; not where the record has no room for it."""
        from yoloscope_record.file_format import RecordError
        from yoloscope_record.loader_facts import LOADER_PIDS, VAL_LOADER_PIDS, pid_facts

        own, others = _pids(training), _pids(validation)
        facts = {**pid_facts(LOADER_PIDS, own), **pid_facts(VAL_LOADER_PIDS, others)}
        if facts != self._facts:
            with suppress(RecordError):
                self._writer.set_facts({**dict.fromkeys(self._facts, ""), **facts})
            self._facts = facts
        if validation is not None:
            self._values[self._validation] = len(others or ())

    def end(self, trainer: Any) -> None:
        """The training is over: find also the workers that died before their first batch, or in a validation."""
        if not self._processes:
            self.look(trainer)
        self._processes += _processes(_iterator(_validation_loader(trainer)))

    def _instrument(self, iterator: Any) -> None:
        """Time the loader's own fetch of a batch, on this iterator alone, where it is one of torch's.

        What hangs on the iterator must not refer to it: it would live on when it is let go, and its workers with it.
        """
        if iterator is not None and self._instrumented() is iterator:
            return  # in an earlier epoch
        self._forget()
        fetch = getattr(type(iterator), "_next_data", None)  # what torch's iterators call for each batch
        if fetch is None or "_next_data" in vars(iterator):
            return
        this = weakref.ref(iterator)

        def next_data() -> Any:
            iterator, began = this(), perf_counter()
            if self.looks:
                try:
                    self.batch(iterator)
                except Exception as error:
                    self.worker = self.depth = math.nan
                    self.failed(error)
                now, began = began, perf_counter()
                self.seconds += began - now
            batch = fetch(iterator)
            if self.fetched is not None:
                self.fetched += perf_counter() - began
            return batch

        iterator._next_data = next_data  # noqa: SLF001 - torch has no public place for it
        self._instrumented, self.fetched, self.looks = this, 0.0, bool(_processes(iterator))
        self._places, self._free_places = _places(getattr(iterator, "_data_queue", None))

    def _forget(self) -> None:
        self._instrumented, self.fetched, self.worker, self.depth = _nobody, None, math.nan, math.nan
        self._places, self._free_places = _places(None)  # a queue between threads holds batches

    def let_go(self) -> None:
        """Leave the iterator as it was."""
        iterator = self._instrumented()
        if iterator is not None:
            del iterator._next_data  # noqa: SLF001
        self._forget()

    def count_deaths(self, said: str = "") -> None:
        """Count workers that ended otherwise than asked to; Ultralytics asks with SIGTERM.

        `said` is what the training failed with: it may have done so before these workers were found.
        """
        from yoloscope_record import catalog

        codes = [one.exitcode for one in self._processes if one.exitcode not in (None, 0, -SIGTERM)]
        self._processes = []
        for code in codes or _codes_said(said):
            self._values[self._deaths] += 1.0
            slot = self._writer.slot(catalog.TRAIN_WORKER_DEATH_SIGNAL_TOTAL, *self._who, _cause(code))
            self._values[slot] += 1.0

    def batch(self, iterator: Any) -> None:
        """A batch is about to be taken: note who made it, and how many are ready.

        What is looked at here torch looks at next, so it costs less than at the end of a step, when no cache has it.
        """
        tasks = iterator._task_info  # noqa: SLF001 - torch has no public place for these
        task = tasks.get(iterator._rcvd_idx)  # noqa: SLF001
        self.worker = task[0] if task else math.nan
        early = len(tasks) - iterator._tasks_outstanding  # noqa: SLF001 - arrived before their turn
        self.depth = self._places - self._free_places() + early

    def store(self, depths: Iterable[tuple[float, float]]) -> None:
        """Put moments and depths of the batches since the last time into the record.

        Dwell is the integral of the depth (Little's law: mean number = rate x mean time): after a batch was taken the
        queue fills up from one less than it was to what it is.
        """
        for now, depth in depths:
            if math.isnan(depth):
                continue
            moment, before = self._last
            if moment:
                self._values[self._dwell] += (max(before - 1.0, 0.0) + depth) / 2.0 * (now - moment)
            self._values[self._depth] = depth
            self._last = (now, depth)


def _places(queue: Any) -> tuple[float, Callable[[], float]]:
    """How many batches a queue has room for, and what tells how many more; what is not known makes the difference NaN.

    A queue between processes asks the semaphore that counts its free places: so do we, without the frames in between.
    """
    try:
        free = queue._sem._semlock._get_value  # noqa: SLF001
        free()
    except AttributeError:  # a queue between threads, of a loader that pins memory
        return 0.0, lambda: -queue.qsize()
    except NotImplementedError:  # on macOS
        return math.nan, lambda: 0.0
    return float(queue._maxsize), free  # noqa: SLF001


def _nobody() -> None:
    return None


def _nobody_listens(_: Exception) -> None:
    return None


def _iterator(loader: Any) -> Any:
    """The loader's iterator, None before it is needed: of Ultralytics' loader, or torch's."""
    return getattr(loader, "iterator", getattr(loader, "_iterator", None))


def _processes(iterator: Any) -> list[Any]:
    return list(getattr(iterator, "_workers", ()))


def _pids(loader: Any) -> list[int] | None:
    """The pids of a loader's workers; None as long as they are to come, or where there is no loader."""
    processes = _processes(_iterator(loader))
    return [process.pid for process in processes] if processes or getattr(loader, "num_workers", None) == 0 else None


def _validation_loader(trainer: Any) -> Any:
    """The loader that the trainer validates with; None on a rank that has none."""
    loader = getattr(trainer, "test_loader", None)
    return getattr(getattr(trainer, "validator", None), "dataloader", None) if loader is None else loader


def _codes_said(text: str) -> list[int]:
    """The exit code that torch tells of the worker that died, where it does."""
    found = _KILLED.match(text)
    return [-number for number in Signals if found and strsignal(number) == found.group(1)]


def _cause(code: int) -> str:
    """What a process ended by: a signal's name, or its exit code."""
    with suppress(ValueError):
        return Signals(-code).name
    return str(code)
