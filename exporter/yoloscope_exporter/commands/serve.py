"""`yoloscope serve`: the exporter."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.config import ReloadableCommand, reread, settings
from yoloscope_exporter.service import log
from yoloscope_exporter.service.exporter import reload, running
from yoloscope_exporter.service.signals import INTERRUPTS, waiting
from yoloscope_exporter.system import return_memory

if TYPE_CHECKING:
    from yoloscope_exporter.config import Config

_log = logging.getLogger(__name__)
_RELOAD = getattr(signal, "SIGHUP", None)  # Windows has no such signal
#: Objects made and not yet dropped that set off a search for garbage. A cycle replaces thousands, none of them garbage;
#: with Python's 700 each cycle is searched, which took 6 % of the exporter's time.
GARBAGE_THRESHOLD = 20_000
#: Seconds for which a thread may hold the interpreter while another waits. A scrape that meets a cycle waits so long
#: after each system call, at Python's 5 ms for longer than it takes (p99 at 1 ms and at this: 3.2 and 1.7 ms).
SWITCH_SECONDS = 0.0002


@click.command(
    cls=ReloadableCommand, short_help="Run the exporter: hardware and training metrics of this node, for Prometheus."
)
@settings
def serve(config: Config) -> None:
    """Serve the metrics of this node's hardware and training runs for Prometheus.

    Each flag can also be an environment variable (YOLOSCOPE_WEB_LISTEN_ADDRESS) or a key of the YAML file. SIGHUP
    reloads the configuration, where the system has that signal; if the new one is invalid the old one stays.
    """
    return_memory()
    log.configure(config.log_level, config.log_format)
    context = click.get_current_context()
    with waiting(INTERRUPTS) as received, running(config) as exporter:
        gc.collect()
        gc.freeze()  # what is there by now stays: no need to look through it again and again
        gc.set_threshold(GARBAGE_THRESHOLD)
        sys.setswitchinterval(SWITCH_SECONDS)
        _log.info("listening", extra={"fields": {"url": exporter.server.url, "records": str(config.path_records)}})
        while received() == _RELOAD:
            reload(exporter, partial(reread, context))
        _log.info("shutting down")
