"""`yoloscope top`: a live view of the runs on a node, or of a recording."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
from rich.live import Live

from yoloscope_exporter.client.exporter import URL, Exporter, connect
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import joined, reason, say
from yoloscope_exporter.measures.series import Store, Window, period
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import snapshot_time
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.system import keyboard
from yoloscope_exporter.terminal import browser, keys, navigation, overview, plain, screen, timeline
from yoloscope_exporter.terminal.navigation import Scene, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from yoloscope_exporter.diagnosis.engine import Diagnosis

#: What is kept of the past, to look back at: seconds, and the distance of two diagnoses that are kept.
KEPT_SECONDS, DIAGNOSES_SECONDS = 900.0, 5.0
#: What `--once` watches before it prints: rates need two moments.
ONCE_SECONDS = 3.0


@click.command(short_help="Live view: verdicts, step phases, loader workers, GPUs, events.")
@click.option(
    "--exporter",
    metavar="URL",
    help=f"URL of a running exporter.  [default: {URL}; if none answers, read this node directly]",
)
@click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Replay a file of `yoloscope record`, or any OpenMetrics file with timestamps (.gz too).",
)
@click.option(
    "--interval",
    type=types.duration(0.2, 60.0),
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="Refresh interval.",
)
@click.option("--once", is_flag=True, help="Print one frame and exit (the default when stdout is not a terminal).")
def top(exporter: str | None, recording: Path | None, interval: float, once: bool) -> None:  # noqa: FBT001 - click's
    """Show the runs on this node, or on the node of --exporter, or in a recording, with their verdicts first.

    Where there are several runs or ranks, a table lists them, and the arrow keys or a click choose whose details are
    shown below it; s sorts them. The space key freezes the view, and the arrows to the left and right move through the
    last 15 minutes, or through the recording, which + and - make faster and slower. ? shows all keys, q leaves.

    Times are local ones, the offset from UTC at the top. Fits 80 columns.

    \b
      yoloscope top
      yoloscope top --exporter http://gpu-node-7:9911
      yoloscope top --recording night.om.gz
    """  # noqa: D301 - click reads the backslash
    if exporter and recording:
        raise click.UsageError(say("choose one of --exporter and --recording"))
    console = plain.console()
    if recording:
        replayed = _replay(recording)
        if once or not console.is_terminal:
            console.print(screen.frame(replayed.at(View(moment=replayed.stores[0].last))))
            return
        _browse(console, replayed, interval)
        return
    with connect(exporter) as source:
        view = LiveView(source)
        if once or not console.is_terminal:
            for _ in range(max(2, round(ONCE_SECONDS / interval) + 1)):
                time.sleep(0 if not view.store.series else interval)
                view.poll()
            if view.problem:
                raise click.ClickException(view.problem)
            console.print(view.frame())
            return
        _browse(console, view, interval)


class Source(Protocol):
    """Where what is shown comes from."""

    problem: str
    """Why nothing newer is known; empty if nothing is wrong."""

    def poll(self) -> None:
        """See what is new."""

    def at(self, view: View) -> screen.Moment:
        """What is known at the moment that is looked at."""

    def scene(self, view: View) -> Scene:
        """What there is to look at, but for the ranks."""

    def spans(self, view: View) -> Sequence[Diagnosis]:
        """Of a recording, the diagnosis of all of it."""


def _browse(console: Console, source: Source, interval: float) -> None:
    """Show it, and do what the keys say, until somebody leaves."""
    source.poll()
    view, polled = navigation.begun(source.scene(View())), time.monotonic()
    with (
        suppress(KeyboardInterrupt),
        interruptible(),
        keyboard() as pressed,
        _mouse(console),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not view.over:
            moment = source.at(view)
            rows = overview.ordered(overview.rows(moment), view.order)
            scene = source.scene(view)._replace(ranks=[row.key for row in rows])
            shown = browser.browsed(
                moment, rows, view, scene, spans=source.spans(view), problem=source.problem, width=console.width
            )
            live.update(shown, refresh=True)
            for key in keys.named(pressed(max(polled + interval - time.monotonic(), 0.0))):
                if isinstance(key, keys.Click):
                    view = shown.clicked(console, view, key, scene)
                else:
                    view = navigation.pressed(view, key, scene)
            view = navigation.passed(view, 0.0, source.scene(view))
            if view.scrolled:
                view = replace(view, scrolled=min(view.scrolled, shown.hidden(console)))
            now = time.monotonic()
            if now - polled >= interval:
                source.poll()
                view = navigation.passed(view, now - polled, source.scene(view))
                polled = now


@contextmanager
def _mouse(console: Console) -> Iterator[None]:
    """Let the terminal tell of clicks and of the wheel, where it can."""
    try:
        console.file.write(keys.MOUSE_ON)
        console.file.flush()
        yield
    finally:
        console.file.write(keys.MOUSE_OFF)
        console.file.flush()


# --- live -----------------------------------------------------------------------------------------------------------


@dataclass
class LiveView:
    """The last minutes of an exporter's samples, its diagnoses and events."""

    source: Exporter
    store: Store = field(default_factory=Store)
    diagnoses: tuple[Diagnosis, ...] = ()
    events: deque[screen.Event] = field(default_factory=lambda: deque(maxlen=50))
    problem: str = ""
    past: deque[tuple[float, tuple[Diagnosis, ...]]] = field(default_factory=deque)
    """Diagnoses with their times, a few seconds apart."""
    recent: Store = field(default_factory=Store)
    """The last minute, for a diagnosis of what was seen here."""
    moments: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    """When the newest samples were taken."""

    def poll(self) -> None:
        """Scrape once; if the exporter does not answer, the old data stays and `problem` says so."""
        try:
            exposition = self.source.read()
            now = self._take(exposition)
            told = self._diagnoses(exposition, now)
        except SourceError as error:
            self.problem = reason(error)
            return
        self.problem = ""
        self.events.extend(screen.changes(now, self.diagnoses, told))
        self.diagnoses = told
        self._keep(now)

    def _take(self, text: str) -> float:
        now = snapshot_time(text) or time.time()
        if now < self.store.last:  # the clock was set back
            self.store, self.recent = Store(), Store()
            self.past.clear()
            self.moments.clear()
        if now > self.store.last:
            self.moments.append(now)
        reader.feed(self.store, text, now)
        self.store.trim(now - KEPT_SECONDS)
        return now

    def _keep(self, now: float) -> None:
        if not self.past or now - self.past[-1][0] >= DIAGNOSES_SECONDS:
            self.past.append((now, self.diagnoses))
        while self.past[0][0] < now - KEPT_SECONDS:
            self.past.popleft()

    def _diagnoses(self, exposition: str, now: float) -> tuple[Diagnosis, ...]:
        """The exporter's own diagnosis; where it makes none (switched off, simulated), that of what was seen here."""
        try:
            return self.source.diagnoses()
        except SourceError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP: no such page
                raise
            reader.feed(self.recent, exposition, now)
            self.recent.trim(now - screen.SHOWN_SECONDS)
            return diagnose_range([self.recent]).diagnoses

    def frame(self) -> RenderableType:
        """All of it as it is now."""
        if self.problem:
            return browser.waiting(self.problem)
        return screen.frame(self.at(View()))

    def window(self) -> Window:
        """What figures are calculated over now: the last minute."""
        return self._windows(self.store.last)[0]

    def _windows(self, now: float) -> tuple[Window, Window]:
        return screen.windows(self.store, now, period(list(self.moments)))

    def at(self, view: View) -> screen.Moment:
        """What is known at the moment that is looked at."""
        now = max(self.store.last, 0.0) if view.moment is None else view.moment
        told = self.diagnoses if view.moment is None else self._told(now)
        happened = [event for event in self.events if event.time <= now]
        return screen.Moment(*self._windows(now), told, happened, self.source.name)

    def _told(self, now: float) -> tuple[Diagnosis, ...]:
        place = bisect_right(self.past, now, key=lambda kept: kept[0])
        return self.past[max(place - 1, 0)][1] if self.past else ()

    def scene(self, view: View) -> Scene:  # noqa: ARG002 - as of a recording
        """What there is to look at."""
        end = max(self.store.last, 0.0)
        return Scene(start=min(self.store.first, end), end=end, events=[one.time for one in self.events])

    def spans(self, view: View) -> Sequence[Diagnosis]:  # noqa: ARG002 - as of a recording
        """None: it goes on."""
        return ()


# --- a recording ----------------------------------------------------------------------------------------------------


@dataclass
class Replay:
    """A recording: its nodes one by one, with what was diagnosed and what happened over all of it."""

    name: str
    stores: Sequence[Store]
    problem: str = ""
    _usual: list[float] = field(init=False)
    _told: list[list[Diagnosis]] = field(init=False)
    _events: list[list[screen.Event]] = field(init=False)

    def __post_init__(self) -> None:
        """Diagnose all of it."""
        diagnoses = diagnose_range(self.stores).diagnoses
        self._usual = [period(store.times()) for store in self.stores]
        self._told = [timeline.of_node(diagnoses, store) for store in self.stores]
        nodes = zip(self.stores, self._usual, self._told, strict=True)
        self._events = [timeline.events(*node) for node in nodes]

    def poll(self) -> None:
        """Nothing is new."""

    def at(self, view: View) -> screen.Moment:
        """What is known at the moment that is looked at."""
        store, now = self.stores[view.node], view.moment or 0.0
        happened = [event for event in self._events[view.node] if event.time <= now]
        told = timeline.holding(self._told[view.node], now)
        source = joined((self.name, store.name), "  ")
        return screen.Moment(*screen.windows(store, now, self._usual[view.node]), told, happened, source)

    def scene(self, view: View) -> Scene:
        """What there is to look at."""
        store = self.stores[view.node]
        times = [event.time for event in self._events[view.node]]
        return Scene((), store.first, store.last, times, len(self.stores), recorded=True)

    def spans(self, view: View) -> Sequence[Diagnosis]:
        """The diagnosis of the node's whole time."""
        return self._told[view.node]


def _replay(path: Path) -> Replay:
    """A recording to look at.

    Raises:
        click.ClickException: it cannot be read, or holds nothing of yoloscope.
    """
    try:
        return Replay(path.name, [store for store in reader.read(path) if store.series])
    except (OSError, ValueError) as error:
        raise click.ClickException(joined((str(path), reason(error)), ": ")) from error
