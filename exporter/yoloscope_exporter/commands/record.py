"""`yoloscope record`: appends the exporter's metrics to a file."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.client.exporter import URL, connect
from yoloscope_exporter.commands import output
from yoloscope_exporter.config import types
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.recordings.timestamps import snapshot_time
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.service.signals import handled, present, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command(short_help="Record the exporter's metrics to a file, without a Prometheus.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--exporter",
    metavar="URL",
    help=f"URL of a running exporter.  [default: {URL}; if none answers, read this node directly]",
)
@click.option(
    "--interval",
    type=types.duration(0.1, 3600.0),
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="Recording interval.",
)
@click.option(
    "--duration", type=types.duration(), metavar="DURATION", help="Stop after this time.  [default: on Ctrl-C]"
)
def record(file: Path, exporter: str | None, interval: float, duration: float | None) -> None:
    """Append the exporter's metrics to FILE as OpenMetrics with timestamps; FILE.gz is compressed.

    The file is valid after every append, also after a crash, and is continued if it exists. Read it with `yoloscope
    diagnose` or `yoloscope report`, or load it into a Prometheus:

    \b
      yoloscope record night.om --interval 15s
      promtool tsdb create-blocks-from openmetrics night.om /var/lib/prometheus
      yoloscope diagnose --recording night.om
    """  # noqa: D301 - click reads the backslash
    with ExitStack() as stack:
        stop = stack.enter_context(_stopping())
        source = stack.enter_context(connect(exporter))
        writer = _open(file)
        stack.callback(writer.close)
        click.echo(
            say("recording to {file} every {interval:g} s; stop with Ctrl-C", file=file, interval=interval), err=True
        )
        count = follow(source.read, writer, stop, interval, duration)
    click.echo(say("{count} snapshots written to {file}", count=count, file=file), err=True)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set (and Ctrl-Break on Windows), so that an append is never cut in two."""
    stop = threading.Event()
    with handled(present("SIGINT", "SIGTERM", "SIGBREAK"), lambda *_: stop.set()):
        yield stop


def _open(file: Path) -> Writer:
    try:
        output.target(file)  # is it ours to write to?
        return Writer(file)
    except OSError as error:
        raise click.ClickException(
            say("{file}: {reason}; choose a writable file", file=file, reason=reason(error))
        ) from error
    except ValueError as error:
        raise click.ClickException(
            say("{file} exists and is not a recording: {error}", file=file, error=error)
        ) from error


def follow(
    read: Callable[[], str], writer: Writer, stop: threading.Event, interval: float, duration: float | None = None
) -> int:
    """Append until `stop` is set or `duration` seconds have passed; return how many moments were recorded.

    Raises:
        click.ClickException: the file can no longer be written.
    """
    begin = time.monotonic()
    last, count, silent = 0.0, 0, False
    while not stop.is_set() and (duration is None or time.monotonic() - begin < duration):
        try:
            text = read()
            silent = False
        except SourceError as error:
            text = ""
            if not silent:
                click.echo(say("{error}; waiting for it", error=error), err=True)
            silent = True
        moment = snapshot_time(text) or 0.0
        if moment > last:  # a snapshot that was there before says nothing new, and a clock set back is waited out
            _append(writer, moment, text)
            last, count = moment, count + 1
        passed = (time.monotonic() - begin) // interval + 1
        wait(stop, begin + passed * interval - time.monotonic())
    return count


def _append(writer: Writer, moment: float, text: str) -> None:
    try:
        writer.exposition(moment, text)
    except OSError as error:
        raise click.ClickException(
            say("cannot write: {reason}; what was written before is complete", reason=reason(error))
        ) from error
