"""Exporters: one that runs already, or one of our own inside this process."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from yoloscope_exporter import ADDRESS, DIAGNOSIS_PATH, config
from yoloscope_exporter.client.owner import owner
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis.serialize import from_json
from yoloscope_exporter.fetching import TIMEOUT_SECONDS, SourceError, fetch, masked, parsed, printable
from yoloscope_exporter.language import say, text
from yoloscope_exporter.sampling.exposition import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yoloscope_exporter.diagnosis.engine import Diagnosis

URL = f"http://{ADDRESS}"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(url: str) -> str:
    """The metrics of the exporter at `url`, in OpenMetrics.

    Raises:
        SourceError: as `fetch`.
    """
    parts = types.url_parts(url)
    where = parts._replace(path=parts.path if parts.path.strip("/") else "/metrics").geturl()
    return fetch(where if parts.hostname else url, accept=_OPENMETRICS).decode(errors="replace")


def diagnoses(url: str, timeout: float = TIMEOUT_SECONDS) -> tuple[Diagnosis, ...]:
    """What the exporter at `url` has found in its last window.

    Raises:
        SourceError: as `fetch`, or it is no exporter that diagnoses.
    """
    parts = types.url_parts(url)
    where = parts._replace(path=DIAGNOSIS_PATH, query="", fragment="").geturl()
    body = fetch(where if parts.hostname else url, timeout=timeout)
    try:
        return from_json(_printable(parsed(body)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(text("{url} answers, but is not a yoloscope exporter", url=masked(url))) from error


def _printable(content: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, list):
        return [_printable(item) for item in content]
    if isinstance(content, dict):
        return {printable(key): _printable(value) for key, value in content.items()}
    return content


def named(url: str) -> str:
    """Which exporter it is, and who runs it where that can be seen: on this machine anybody may listen."""
    user = owner(url)
    return text("{url} (user {user})", url=printable(masked(url)), user=user) if user else printable(masked(url))


@dataclass(frozen=True)
class Exporter:
    """What can be asked of an exporter; both raise SourceError where it does not answer."""

    name: str
    read: Callable[[], str]
    """The newest exposition, in OpenMetrics."""
    diagnoses: Callable[[], tuple[Diagnosis, ...]]


@contextmanager
def connect(url: str | None) -> Iterator[Exporter]:
    """The exporter at `url`, or at URL without one; where nobody answers there, one inside this process.

    Raises:
        click.ClickException: `url` was given and does not answer.
    """
    try:
        scrape(url or URL)
    except SourceError as error:
        if url:
            raise click.ClickException(str(error)) from error
        click.echo(say("no exporter answers at {url}; reading this node directly", url=URL), err=True)
        with _private() as private:
            yield private
        return
    yield Exporter(named(url or URL), lambda: scrape(url or URL), lambda: diagnoses(url or URL))


@contextmanager
def _private() -> Iterator[Exporter]:
    from yoloscope_exporter.service.exporter import running  # noqa: PLC0415 - all collectors come with it

    settings = replace(
        config.from_environment(), web_listen_address=types.Address("127.0.0.1", 0), web_config_file=None
    )
    with running(settings) as own:
        while not own.sampler.snapshot.time:
            time.sleep(0.05)
        yield Exporter(
            text("this node"),
            lambda: own.sampler.exposition(Form(openmetrics=True)).decode(),
            lambda: diagnoses(own.server.url),
        )
