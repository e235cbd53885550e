"""A sampler, its registry and a web server, put together; and what a reload changes of them."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from yoloscope_exporter import DIAGNOSIS_PATH, registry
from yoloscope_exporter.config import merged
from yoloscope_exporter.config.types import Address, is_loopback
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.history.store import History
from yoloscope_exporter.language import Text, reason, text
from yoloscope_exporter.service import log
from yoloscope_exporter.web.api import Api
from yoloscope_exporter.web.application import application
from yoloscope_exporter.web.config import WebConfigError
from yoloscope_exporter.web.config_file import WebConfigFile
from yoloscope_exporter.web.hosts import only_named
from yoloscope_exporter.web.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp

    from yoloscope_exporter.config import Config
    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.sampling.sampler import Sampler
    from yoloscope_exporter.sampling.sources import Source, SourceFactory
    from yoloscope_exporter.web.answers import Addresses

_log = logging.getLogger(__name__)


@dataclass
class Exporter:
    """The parts of a running exporter."""

    config: Config
    sampler: Sampler
    registry: CollectorRegistry
    server: Server
    sources: Callable[[Config], list[Source]]


@contextmanager
def running(config: Config) -> Iterator[Exporter]:
    """A sampler and a server, until the block is left.

    Raises:
        click.ClickException: the address cannot be had, or the web configuration is wrong.
    """
    sampler, sources = registry.sampler_of(config)
    with ExitStack() as stack:
        documents = {DIAGNOSIS_PATH: lambda: _diagnosis(sources)}
        api = _api(config, sampler, sources)
        stack.callback(sampler.stop)
        server = _server(config, application(sampler, config.web_telemetry_path, documents, api))
        stack.callback(server.close)
        stack.callback(api.close)
        sampler.start()
        server.start()
        yield Exporter(config, sampler, registry.over(sampler), server, sources)


def _api(config: Config, sampler: Sampler, sources: SourceFactory) -> Addresses:
    """What the live page shows: a Prometheus if there is one to show, else this node, whose last hour is kept then."""
    if config.page_prometheus:
        from yoloscope_exporter.web.fleet import Fleet  # noqa: PLC0415 - a megabyte, for who shows a Prometheus
        from yoloscope_exporter.web.fleet_api import FleetApi  # noqa: PLC0415

        return FleetApi(Fleet(config.page_prometheus))
    history = History()
    sampler.watch(history)
    return Api(sampler, history, lambda: _diagnoses(sources))


def _server(config: Config, app: ASGIApp) -> Server:
    address = config.web_listen_address
    if isinstance(address, Address) and is_loopback(address.host):
        app = only_named(app, config.web_allowed_hosts)
    try:
        file = WebConfigFile(config.web_config_file) if config.web_config_file else None
        return Server(address, app, file)
    except WebConfigError as error:
        raise click.ClickException(text("--web.config.file: {error}", error=error)) from error
    except OSError as error:
        raise click.ClickException(taken(address, error)) from error


def taken(address: object, error: OSError) -> Text:
    """That the address cannot be had, and why."""
    return text(
        "--web.listen-address {address}: {why}; choose another, or port 0",
        address=address,
        why=Text(reason(error).lower()),
    )


def _diagnosis(sources: SourceFactory) -> object:
    """What the diagnosis says now, for `yoloscope diagnose` and `yoloscope top`; nothing where it is off."""
    live = sources.derived("diagnosis")
    return live.document() if isinstance(live, Live) else {"runs": [], "notes": [text("switched off")]}


def _diagnoses(sources: SourceFactory) -> Sequence[Diagnosis] | None:
    """The newest findings; None where the diagnosis is off."""
    live = sources.derived("diagnosis")
    return live.diagnoses if isinstance(live, Live) else None


def reload(exporter: Exporter, reread: Callable[[], Config]) -> None:
    """Take over what may change while running; for the rest the log says that it needs a restart.

    If `reread` raises, the settings stay as they were, and the log says why.
    """
    exporter.server.reload()
    try:
        new, fixed = merged(exporter.config, reread())
    except click.ClickException as error:
        _log.error("configuration not reloaded, the old one stays: %s", error.format_message())
        return
    except Exception:  # noqa: BLE001 - whatever is wrong with the new settings, the old ones are good
        _log.exception("configuration not reloaded, the old one stays")
        return
    for name in fixed:
        _log.warning("%s needs a restart to change", name)
    log.configure(new.log_level, new.log_format)
    exporter.sampler.reconfigure(exporter.sources(new), new.sample_interval)
    exporter.config = new
    _log.info("configuration reloaded", extra={"fields": {"collectors": ",".join(sorted(new.modules))}})
