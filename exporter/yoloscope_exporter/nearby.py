"""An exporter to read from: one that runs already, or one of our own inside this process."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from yoloscope_exporter import config
from yoloscope_exporter.diagnosis import sources
from yoloscope_exporter.diagnosis.sources import SourceError
from yoloscope_exporter.sampling.exposition import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yoloscope_exporter.diagnosis.engine import Diagnosis

URL = "http://127.0.0.1:9911"


@dataclass(frozen=True)
class Exporter:
    """What can be asked of an exporter; both raise SourceError where it does not answer."""

    name: str
    read: Callable[[], str]
    """The newest exposition, in OpenMetrics."""
    diagnoses: Callable[[], tuple[Diagnosis, ...]]


@contextmanager
def exporter(url: str | None) -> Iterator[Exporter]:
    """The exporter at `url`; without one that at the usual place, and where nobody answers there, one of our own.

    Raises:
        click.ClickException: `url` was given and does not answer.
    """
    try:
        sources.scrape(url or URL)
    except SourceError as error:
        if url:
            raise click.ClickException(str(error)) from error
        click.echo(f"no exporter answers at {URL}; reading this node directly", err=True)
        with _own() as own:
            yield own
        return
    yield Exporter(url or URL, lambda: sources.scrape(url or URL), lambda: sources.exporter(url or URL))


@contextmanager
def _own() -> Iterator[Exporter]:
    from yoloscope_exporter.commands.serve import serve  # noqa: PLC0415 - all collectors come with it
    from yoloscope_exporter.service.exporter import running  # noqa: PLC0415 - the same

    settings = config.resolve(serve)
    private = replace(settings, web_listen_address=config.Address("127.0.0.1", 0), web_config_file=None)
    with running(private) as own:
        while not own.sampler.snapshot.time:
            time.sleep(0.05)
        yield Exporter(
            "this node",
            lambda: own.sampler.exposition(Form(openmetrics=True)).decode(),
            lambda: sources.exporter(own.server.url),
        )
