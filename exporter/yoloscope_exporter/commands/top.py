"""`yoloscope top`: a live view of the runs on a node."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from yoloscope_exporter.client.exporter import URL, Exporter, connect
from yoloscope_exporter.client.fetch import SourceError
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import snapshot_time
from yoloscope_exporter.terminal import screen

if TYPE_CHECKING:
    from rich.console import RenderableType

    from yoloscope_exporter.diagnosis.engine import Diagnosis

SHOWN_SECONDS = 60.0
#: What `--once` watches before it prints: rates need two moments.
ONCE_SECONDS = 3.0


@click.command(short_help="Live view: verdicts, step phases, loader workers, GPUs, events.")
@click.option(
    "--exporter",
    metavar="URL",
    help=f"URL of a running exporter.  [default: {URL}; if none answers, read this node directly]",
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
def top(exporter: str | None, interval: float, once: bool) -> None:  # noqa: FBT001 - click's
    """Show the runs on this node, or on the node of --exporter, with their verdicts first.

    Fits 80 columns. Stop with Ctrl-C.
    """
    console = Console()
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
        with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view.poll()
                live.update(view.frame(), refresh=True)
                time.sleep(interval)


@dataclass
class LiveView:
    """The last minute of an exporter's samples, its diagnosis and events."""

    source: Exporter
    store: Store = field(default_factory=Store)
    diagnoses: tuple[Diagnosis, ...] = ()
    events: deque[screen.Event] = field(default_factory=lambda: deque(maxlen=50))
    problem: str = ""

    def poll(self) -> None:
        """Scrape once; if the exporter does not answer, the old data stays and `problem` says so."""
        try:
            now = self._take(self.source.read())
            told = self._diagnoses()
        except SourceError as error:
            self.problem = reason(error)
            return
        self.problem = ""
        self.events.extend(screen.changes(now, self.diagnoses, told))
        self.diagnoses = told

    def _take(self, text: str) -> float:
        now = snapshot_time(text) or time.time()
        if now < self.store.last:  # the clock was set back
            self.store = Store()
        reader.feed(self.store, text, now)
        self.store.trim(now - SHOWN_SECONDS)
        return now

    def _diagnoses(self) -> tuple[Diagnosis, ...]:
        """The exporter's own diagnosis; where it makes none (switched off, simulated), that of what was seen here."""
        try:
            return self.source.diagnoses()
        except SourceError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP: no such page
                raise
            return diagnose_range([self.store]).diagnoses

    def frame(self) -> RenderableType:
        """The screen as it is now."""
        if self.problem:
            return Text(say("{problem}; trying again", problem=self.problem), style="bold red")
        return screen.frame(self.window(), self.diagnoses, self.events, self.source.name)

    def window(self) -> Window:
        """What is shown: the last minute."""
        return Window(self.store, self.store.last - SHOWN_SECONDS, self.store.last)
