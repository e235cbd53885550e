"""`yoloscope simulate`: simulated training nodes, to test dashboards and scale."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from starlette.routing import Route

from yoloscope_exporter.commands.output import write
from yoloscope_exporter.config.types import address, duration
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.language.units import counted
from yoloscope_exporter.sampling.exposition import Renderer, negotiate
from yoloscope_exporter.service.exporter import taken
from yoloscope_exporter.service.signals import present, waiting
from yoloscope_exporter.simulation import SCENARIOS, Fleet, fleet, openmetrics
from yoloscope_exporter.terminal import progress
from yoloscope_exporter.web.application import routed
from yoloscope_exporter.web.responses import as_json, exposed, header, text
from yoloscope_exporter.web.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from yoloscope_exporter.config.types import Address, UnixAddress
    from yoloscope_exporter.sampling.exposition import Exposition

_SIGNALS = present("SIGTERM", "SIGINT", "SIGBREAK")
_HELP = """Serve or write the metrics of simulated training nodes.

\b
  yoloscope simulate --nodes 20 --scenario healthy --scenario starved --targets targets/exporter-simulated.yml
  yoloscope simulate --scenario leak --write leak.om
  promtool tsdb create-blocks-from openmetrics leak.om data

Scenarios, after the onset:

\b
""" + "\n".join(f"  {scenario.name:<10} {scenario.summary}" for scenario in SCENARIOS.values())


@click.command(
    help=_HELP, short_help="Simulate training nodes, to test dashboards and alerts and to size a Prometheus."
)
@click.option("--nodes", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Number of nodes.")
@click.option("--gpus", type=click.IntRange(1, 64), default=8, show_default=True, help="GPUs per node.")
@click.option("--ranks", type=click.IntRange(1, 64), default=None, help="Ranks per node.  [default: one per GPU]")
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True, help="Loader workers per rank.")
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice(sorted(SCENARIOS)),
    multiple=True,
    default=("healthy",),
    show_default=True,
    help="Scenario of the nodes; if given several times, they take them in turn.",
)
@click.option(
    "--onset",
    type=duration(),
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="Healthy time before the scenario begins.",
)
@click.option("--epochs", type=click.IntRange(1), default=300, show_default=True, help="Epochs per run.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 1000),
    default=1.0,
    show_default=True,
    help="Factor by which epochs, onset and scenario are shorter; rates stay the same.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--web.listen-address",
    "listen",
    type=address,
    metavar="HOST:PORT",
    default="127.0.0.1:9912",
    show_default=True,
    help="Address to serve all nodes at, each under /node/<number>/metrics.",
)
@click.option(
    "--targets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the targets for Prometheus' file_sd_configs to this file while serving (http_sd_configs: at /targets).",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Do not serve: write OpenMetrics with timestamps to this file ('-': stdout), for `promtool tsdb "
    "create-blocks-from openmetrics`.",
)
@click.option(
    "--range",
    "span",
    type=duration(),
    metavar="DURATION",
    default="2h",
    show_default=True,
    help="With --write: length of the time range.",
)
@click.option(
    "--step",
    type=duration(),
    metavar="DURATION",
    default="15s",
    show_default=True,
    help="With --write: scrape interval.",
)
@click.option(
    "--end",
    type=float,
    default=None,
    help="With --write: Unix time of the last scrape.  [default: now, rounded down to --step]",
)
def simulate(write: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Serve or write, after a check of the options."""
    plan = Plan.of(options)
    if write:
        _write(plan, write, **{name: options[name] for name in ("span", "step", "end")})
    else:
        _serve(plan, options["listen"], options["targets"])


@dataclass(frozen=True)
class Plan:
    """Arguments of `simulation.fleet` but for the start time."""

    scenarios: Sequence[str]
    nodes: int
    gpus: int
    options: dict[str, Any]

    @classmethod
    def of(cls, options: dict[str, Any]) -> Plan:
        """Check what click cannot: no more ranks than GPUs."""
        ranks, gpus = options["ranks"], options["gpus"]
        if ranks is not None and ranks > gpus:
            raise click.BadParameter(
                say("{ranks} is more than --gpus {gpus}; one rank per GPU at most", ranks=ranks, gpus=gpus),
                param_hint="--ranks",
            )
        names = ("ranks", "workers", "seed", "onset", "epochs", "speed")
        return cls(options["scenarios"], options["nodes"], gpus, {name: options[name] for name in names})

    def fleet(self, start: float) -> Fleet:
        """The nodes, their trainings started at `start`."""
        return fleet(self.scenarios, self.nodes, self.gpus, start=start, **self.options)


# --- writing ---------------------------------------------------------------------------------------------------------
def _write(plan: Plan, path: Path, *, span: float, step: float, end: float | None) -> None:
    last = end if end is not None else time.time() // step * step
    scrapes = plan.fleet(last - span).range(last - span, last, step)
    if str(path) == "-":
        sys.stdout.writelines(openmetrics.lines(scrapes))
        return
    try:
        with progress.shown(say("writing {path}", path=path)):
            write(path, openmetrics.lines(scrapes))
    except OSError as error:
        raise click.BadParameter(
            say("cannot write {path}: {reason}", path=path, reason=reason(error)), param_hint="--write"
        ) from error


# --- serving ---------------------------------------------------------------------------------------------------------
def _serve(plan: Plan, address: Address | UnixAddress, targets: Path | None) -> None:
    with waiting(_SIGNALS) as received, serving(plan.fleet(time.time()), address) as server:
        groups = target_groups(server.app, server.url.partition("://")[2])
        with _announced(targets, groups) if targets else nullcontext():
            number = say(counted(plan.nodes, "node"))
            click.echo(
                say("{number} at {url}/node/0/metrics ..., targets at {url}/targets", number=number, url=server.url),
                err=True,
            )
            received()


@contextmanager
def serving(
    nodes: Fleet, address: Address | UnixAddress, wall: Callable[[], float] = time.time
) -> Iterator[SimulationServer]:
    """Serve the nodes until the block is left.

    Raises:
        click.ClickException: the address cannot be had.
    """
    try:
        server = SimulationServer(address, App(nodes, wall))
    except OSError as error:
        raise click.ClickException(taken(address, error)) from error
    try:
        server.start()
        yield server
    finally:
        server.close()


class SimulationServer(Server):
    """The exporter's own server, over simulated nodes."""

    def __init__(self, address: Address | UnixAddress, app: App) -> None:
        """Bind to `address`."""
        super().__init__(address, app)
        self.app = app


class App:
    """Each node's metrics, and the targets."""

    def __init__(self, nodes: Fleet, wall: Callable[[], float]) -> None:
        """Serve `nodes` as they are at the time `wall` tells."""
        self._nodes = nodes
        self._wall = wall
        self.instances = list(nodes.trainings)
        self._renderers = [Renderer() for _ in self.instances]

        last = len(self.instances) - 1
        routes = [
            Route("/node/{number:int}/metrics", self._metrics),
            Route("/targets", self._targets),
            Route("/-/healthy", self._healthy),
        ]
        self._elsewhere = say("nodes are at /node/0/metrics to /node/{last}/metrics", last=last)
        self._routed = routed(routes, self._elsewhere)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        await self._routed(scope, receive, send)

    async def _metrics(self, request: Request) -> Response:
        number: int = request.path_params["number"]
        if number >= len(self.instances):
            return text(HTTPStatus.NOT_FOUND, self._elsewhere)
        form = negotiate(header(request.scope, b"accept"), header(request.scope, b"accept-encoding"))
        return exposed(form, self._render(number).get(form))

    async def _targets(self, request: Request) -> Response:
        return as_json(HTTPStatus.OK, target_groups(self, header(request.scope, b"host")))

    async def _healthy(self, _request: Request) -> Response:
        return text(HTTPStatus.OK, "healthy")

    def _render(self, number: int) -> Exposition:
        return self._renderers[number].render(self._nodes.node(self.instances[number], self._wall()))


def target_groups(app: App, address: str) -> list[dict[str, Any]]:
    """Prometheus' target groups: one per node, with the instance label that its exporter would have."""
    return [
        {"targets": [address], "labels": {"__metrics_path__": f"/node/{number}/metrics", "instance": instance}}
        for number, instance in enumerate(app.instances)
    ]


@contextmanager
def _announced(path: Path, groups: list[dict[str, Any]]) -> Iterator[None]:
    """The targets' file, until the block is left: nodes that are no longer simulated would be alerted on."""
    _write_targets(path, groups)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _write_targets(path: Path, groups: list[dict[str, Any]]) -> None:
    """In one step, so that Prometheus never reads half a file."""
    try:
        write(path, [json.dumps(groups, indent=1)])
    except OSError as error:
        raise click.BadParameter(
            say("cannot write {path}: {reason}", path=path, reason=reason(error)), param_hint="--targets"
        ) from error
