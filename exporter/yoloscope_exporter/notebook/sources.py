"""Where the pictures come from: an exporter whose words are remembered, a recording, a Prometheus."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

import click

from yoloscope_exporter.catalog import BY_NAME, Sample
from yoloscope_exporter.client.exporter import connect
from yoloscope_exporter.client.prometheus import read_prometheus
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.fetching import SourceError, masked
from yoloscope_exporter.language import reason, text
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.notebook.panels import drawn_only
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import snapshot_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from yoloscope_exporter.client.exporter import Exporter
    from yoloscope_exporter.diagnosis.engine import Diagnosis

#: Moments that are remembered of an exporter: three hours of one every two seconds. Then every second one is forgotten.
MOMENTS = 5400
#: A Prometheus is asked again after so long, in seconds: that is how often one scrapes.
PROMETHEUS_SECONDS = 15.0
#: Looks at an exporter that does not answer before another one is looked for: to be restarted takes less.
PATIENCE = 5


class Where(NamedTuple):
    """Which source is meant; without any of the first three an exporter of this node.

    Attributes:
        exporter, prometheus: URLs.
        recording: a file.
        since: how far back a Prometheus is asked, in seconds.
        run, cluster: what it is asked for; all where they are empty.
    """

    exporter: str = ""
    recording: str = ""
    prometheus: str = ""
    since: float = 0.0
    run: str = ""
    cluster: str = ""


class Seen(NamedTuple):
    """What a source has told so far; `problem` is why it tells no more, where it does not."""

    source: str
    stores: Sequence[Store]
    diagnoses: tuple[Diagnosis, ...]
    problem: str = ""
    diagnosed: bool = True


class Source(Protocol):
    """A source: `poll` looks what is new, `seen` holds still what was seen meanwhile."""

    #: Whether more may come that is not there yet.
    grows: bool

    def poll(self) -> None:
        """Look what is new."""

    def seen(self) -> AbstractContextManager[Seen]:
        """What was seen.

        Raises:
            SourceError, OSError, ValueError: it cannot be read.
        """


@contextmanager
def opened(where: Where) -> Iterator[Source]:
    """The source, until the block is left.

    Raises:
        click.ClickException: the exporter does not answer.
    """
    if where.recording:
        path = Path(where.recording)
        yield Reread(path.name, lambda: reader.read(path), lambda: (path.stat().st_mtime_ns, path.stat().st_size))
    elif where.prometheus:
        yield Reread(
            masked(where.prometheus),
            lambda: read_prometheus(where.prometheus, where.since, where.run, where.cluster),
            lambda: time.monotonic() // PROMETHEUS_SECONDS,
        )
    else:
        with ExitStack() as connected:

            def anew() -> Exporter:
                connected.close()
                return connected.enter_context(connect(where.exporter or None))

            yield Remembered(anew(), None if where.exporter else anew)


class Remembered:
    """What an exporter has told since it was first asked, and the one that took its place."""

    grows = True

    def __init__(self, exporter: Exporter, anew: Callable[[], Exporter] | None = None) -> None:
        """Nothing was told yet; `anew` finds another exporter of this node, which may raise as `connect`."""
        self._exporter, self._anew = exporter, anew
        self._silent = 0
        self._store = Store()
        self._moments = 0
        self._diagnoses: tuple[Diagnosis, ...] = ()
        self._problem = ""
        self._diagnosed = True
        self._lock = Lock()

    def poll(self) -> None:
        """Ask once; where it does not answer, what it said before stays."""
        try:
            text = self._exporter.read()
            diagnoses = self._asked()
        except SourceError as error:
            self._problem = str(error)
            self._silent += 1
            if self._anew and self._silent % PATIENCE == 0:
                self._look_for_another(self._anew)
            return
        with self._lock:
            self._take(text)
            self._diagnoses, self._problem, self._silent = diagnoses, "", 0

    def _look_for_another(self, anew: Callable[[], Exporter]) -> None:
        """It is asked from the next look on."""
        try:
            exporter = anew()
        except (click.ClickException, OSError) as error:
            self._problem = words(error)
            return
        with self._lock:
            self._exporter = exporter

    def _asked(self) -> tuple[Diagnosis, ...]:
        try:
            diagnoses = self._exporter.diagnoses()
        except SourceError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP: no such page
                raise
            self._diagnosed = False
            return ()
        self._diagnosed = True
        return diagnoses

    def _take(self, text: str) -> None:
        now = snapshot_time(text) or time.time()
        if now < self._store.last:  # the clock was set back
            self._store, self._moments = Store(), 0
        if now == self._store.last:
            return
        reader.feed(self._store, drawn_only(text), now)
        self._moments += 1
        if self._moments > MOMENTS:
            self._store, self._moments = thinned(self._store), self._moments // 2

    @contextmanager
    def seen(self) -> Iterator[Seen]:
        """What was told."""
        with self._lock:
            stores = [self._store] if self._moments else []
            yield Seen(self._exporter.name, stores, self._diagnoses, self._problem, self._diagnosed)


def thinned(store: Store) -> Store:
    """Every second point of each series, the last one among them; of gauges and counters."""
    fresh = Store(store.name, store.cluster, store.job)
    for name, family in store.series.items():
        for labels, series in family.items():
            for index in range((len(series.times) - 1) % 2, len(series.times), 2):
                fresh.add_one(series.times[index], Sample(BY_NAME[name], labels, series.values[index]))
            fresh.series[name][labels].born = series.born
    fresh.first, fresh.last = store.first, store.last
    return fresh


class Reread:
    """What is read as a whole, and again when it has changed."""

    grows = False

    def __init__(self, name: str, read: Callable[[], list[Store]], state: Callable[[], object]) -> None:
        """Nothing was read yet; `state` is another one when there may be more to read."""
        self._name, self._read, self._state = name, read, state
        self._known: object = None
        self._seen = Seen(name, (), ())

    def poll(self) -> None:
        """It is read when it is asked for."""

    @contextmanager
    def seen(self) -> Iterator[Seen]:
        """What it holds now."""
        state = self._state()
        if state != self._known:
            stores = self._read()
            self._seen = Seen(self._name, stores, diagnose_range(stores).diagnoses)
            self._known = state
        yield self._seen


def words(error: BaseException) -> str:
    """What is said of an error of a source, in English; it may be told in other languages."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename:
        return text("{file}: {why}", file=error.filename, why=reason(error))
    return str(error)
