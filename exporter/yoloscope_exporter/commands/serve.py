"""`yoloscope serve`: the exporter."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from yoloscope_exporter import collectors, log
from yoloscope_exporter.collectors import Collector, Context, Roster
from yoloscope_exporter.config import Config, Rereadable, merged, reread, settings
from yoloscope_exporter.diagnosis.live import DIAGNOSIS_PATH, Live
from yoloscope_exporter.sampler import Rejections, Sampler, Source
from yoloscope_exporter.sigmask import blocked
from yoloscope_exporter.web.application import application
from yoloscope_exporter.web.config import WebConfigError, WebConfigFile
from yoloscope_exporter.web.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starlette.types import ASGIApp

    from yoloscope_exporter.catalog import Sample

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Objects made and not yet dropped that set off a search for garbage. A cycle replaces thousands, none of them garbage;
#: with Python's 700 each cycle is searched, which took 6 % of the exporter's time.
GARBAGE_THRESHOLD = 20_000
#: Seconds for which a thread may hold the interpreter while another waits. A scrape that meets a cycle waits so long
#: after each system call, at Python's 5 ms for longer than it takes (p99 at 1 ms and at this: 3.2 and 1.7 ms).
SWITCH_SECONDS = 0.0002


@click.command(cls=Rereadable, short_help="The exporter: hardware and trainings of this node, for Prometheus.")
@settings
def serve(config: Config) -> None:
    """Serve what the GPUs, the CPU, memory, disks, network and the trainings of this node do, for Prometheus.

    Every flag can also be given as YOLOSCOPE_<FLAG> in the environment (YOLOSCOPE_WEB_LISTEN_ADDRESS) or in the YAML
    file. SIGHUP rereads the configuration; a bad file keeps the old one.
    """
    log.configure(config.log_level, config.log_format)
    context = click.get_current_context()
    with blocked(_SIGNALS), running(config) as exporter:
        gc.collect()
        gc.freeze()  # what is there by now stays: no need to look through it again and again
        gc.set_threshold(GARBAGE_THRESHOLD)
        sys.setswitchinterval(SWITCH_SECONDS)
        _log.info("listening", extra={"fields": {"url": exporter.server.url, "records": str(config.path_records)}})
        while signal.sigwait(_SIGNALS) == signal.SIGHUP:
            _reload(exporter, context)
        _log.info("ending")


@dataclass
class Exporter:
    """The parts of a running exporter."""

    config: Config
    sampler: Sampler
    server: Server
    options: dict[str, object]
    sources: Callable[[Config], list[Source]]


@contextmanager
def running(config: Config) -> Iterator[Exporter]:
    """A sampler and a server, until the block is left.

    Raises:
        click.ClickException: the address cannot be had, or the web configuration is wrong.
    """
    reject, options = Rejections(), _options(config)
    factory = _Factory(config, reject, options)
    sampler = Sampler(factory(config), interval=config.sample_interval, reject=reject)
    factory.latest = lambda: sampler.snapshot
    with ExitStack() as stack:
        stack.callback(sampler.stop)
        app = application(sampler, config.web_telemetry_path, {DIAGNOSIS_PATH: factory.diagnosis})
        server = _server(config, app)
        stack.callback(server.close)
        sampler.start()
        server.start()
        yield Exporter(config, sampler, server, options, factory)


def _server(config: Config, app: ASGIApp) -> Server:
    address = config.web_listen_address
    try:
        file = WebConfigFile(config.web_config_file) if config.web_config_file else None
        return Server(address, app, file)
    except WebConfigError as error:
        raise click.ClickException(f"--web.config.file: {error}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.ClickException(f"--web.listen-address {address}: {reason}; choose another, or port 0") from error


def _options(config: Config) -> dict[str, object]:
    return {
        "runs.keep": config.runs_keep,
        "runs.keep-killed": config.runs_keep_killed,
        "runs.remove-after": config.runs_remove_after,
        "path.rootfs": config.path_rootfs,
        "diagnosis.window": config.diagnosis_window,
        "diagnosis.thresholds": config.diagnosis_thresholds,
    }


class _Factory:
    """Builds sources, and hands out the same ones again after a reload, so that their counters go on."""

    def __init__(self, config: Config, reject: Rejections, options: dict[str, object]) -> None:
        self.latest: Callable[[], Iterable[Sample]] = tuple
        self._context = Context(
            procfs=config.path_procfs,
            sysfs=config.path_sysfs,
            records=config.path_records,
            clock=time.monotonic,
            wall=time.time,
            reject=reject,
            trainers=Roster(),
            latest=self._last,
            options=options,
        )
        self._built: dict[str, list[Source]] = {}

    def __call__(self, config: Config) -> list[Source]:
        wanted = [name for name in collectors.names() if name in config.modules]
        self._built = {name: self._built.get(name) or self._build(name) for name in wanted}
        return [source for sources in self._built.values() for source in sources]

    def _last(self) -> Iterable[Sample]:
        return self.latest()

    def diagnosis(self) -> object:
        """What the diagnosis says now, for `yoloscope diagnose` and `yoloscope top`; nothing where it is off."""
        stages = [source.derived for source in self._built.get("diagnosis", ())]
        return (
            stages[0].document() if stages and isinstance(stages[0], Live) else {"runs": [], "notes": ["switched off"]}
        )

    def _build(self, name: str) -> list[Source]:
        if name in collectors.DERIVED:
            return [Source(name, Collector(name, tuple), collectors.derive(name, self._context))]
        built = collectors.build(name, self._context)
        return [Source(name, collector, first=name == collectors.FIRST) for collector in built]


def _reload(exporter: Exporter, context: click.Context) -> None:
    """Take over what may change while running; the rest wants a restart, and that is said."""
    exporter.server.reload()
    try:
        new, fixed = merged(exporter.config, reread(context))
    except click.ClickException as error:
        _log.error("the configuration stays as it was: %s", error.format_message())
        return
    except Exception:  # noqa: BLE001 - whatever is wrong with the new settings, the old ones are good
        _log.exception("the configuration stays as it was")
        return
    for name in fixed:
        _log.warning("%s changes only with a restart", name)
    log.configure(new.log_level, new.log_format)
    exporter.options.update(_options(new))
    exporter.sampler.reconfigure(exporter.sources(new), new.sample_interval)
    exporter.config = new
    _log.info("configuration reread", extra={"fields": {"collectors": ",".join(sorted(new.modules))}})
