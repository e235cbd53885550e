"""Real Prometheus, real Alertmanager and a webhook, on free ports of the loopback, for as long as a `with` lasts.

    with Webhook() as webhook, alertmanager(tmp_path, webhook.url) as am, \
            prometheus(tmp_path, [exporter_address], alertmanager=am, speed=15) as server:
        wait_for(lambda: query(server, "up") == [({"instance": exporter_address, "job": "yoloscope"}, 1.0)])
        alert = webhook.wait("GpuUtilizationDrop", timeout=60)

They run on the shipped configuration: `deploy/prometheus/prometheus.yml` with its rules and
`deploy/alertmanager/alertmanager.yml` with its routes, only addresses and intervals differ. `speed` shortens every
duration of the alert rules, so that what takes an hour in life takes minutes here; the thresholds stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import yaml

from deploy.prometheus import generate
from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

Process = TypeVar("Process", bound="subprocess.Popen[Any]")
DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def killed_with_its_group(process: Process) -> Iterator[Process]:
    """A process that leads a session, until the block is left: then it and all below it are killed."""
    try:
        yield process
    finally:
        kill_with_all_below(process)


def kill_with_all_below(process: subprocess.Popen[Any]) -> None:
    """Its session, and sessions that were begun below it, as torchrun's ranks do."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def wait_for(condition: Callable[[], Any], *, timeout: float = 30, every: float = 0.2, what: str = "") -> Any:
    """Ask until the answer is true; return it. A connection that is refused counts as no.

    Raises:
        TimeoutError: after `timeout` seconds, with the last answer.
    """
    end, answer = time.monotonic() + timeout, None
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            answer = condition()
            if answer:
                return answer
        time.sleep(every)
    raise TimeoutError(f"{what or condition} did not come true within {timeout} s; last answer: {answer!r}")


def get(url: str, timeout: float = 5) -> str:
    """Body of a GET request."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return str(answer.read().decode())


def query(url: str, expr: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
    """Instant query: label sets (without the name) and values."""
    parameters = {"query": expr} | ({"time": str(at)} if at is not None else {})
    answer = json.loads(get(f"{url}/api/v1/query?{urllib.parse.urlencode(parameters)}"))
    found = answer["data"]["result"]
    return [(_without_name(series["metric"]), float(series["value"][1])) for series in found]


def _without_name(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "__name__"}


def alerts(url: str) -> dict[str, str]:
    """Alerts that are pending or firing in a Prometheus, by name."""
    found = json.loads(get(f"{url}/api/v1/alerts"))["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert["state"] for alert in found}


@contextlib.contextmanager
def prometheus(
    directory: Path,
    targets: Sequence[str],
    *,
    alertmanager: str | None = None,
    scrape_interval: str = "1s",
    speed: float = 1.0,
) -> Iterator[str]:
    """Run Prometheus on the shipped configuration and rules; the value is its address.

    Args:
        directory: for configuration, data and log (`prometheus.log`).
        targets: `host:port` of exporters; write `directory/prometheus/targets/exporter*.yml` to change them later.
        alertmanager: address as `alertmanager()` gives it; without it alerts go nowhere.
        scrape_interval: Prometheus' own spelling.
        speed: durations of alert rules, and the time between two evaluations, are divided by it.
    """
    command, url = prometheus_command(
        directory, targets, alertmanager=alertmanager, scrape_interval=scrape_interval, speed=speed
    )
    with running(command, directory / "prometheus.log", url):
        yield url


def prometheus_command(
    directory: Path,
    targets: Sequence[str],
    *,
    alertmanager: str | None = None,
    scrape_interval: str = "1s",
    speed: float = 1.0,
) -> tuple[list[str], str]:
    """Write what `prometheus` runs on; returns its command, which may be run again, and its address."""
    home = directory / "prometheus"
    _write_prometheus(home, targets, alertmanager, scrape_interval, speed)
    port = free_port()
    command = [
        require_binary("prometheus"),
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    return command, f"http://127.0.0.1:{port}"


def _write_prometheus(
    home: Path, targets: Sequence[str], alertmanager: str | None, scrape_interval: str, speed: float
) -> None:
    shutil.copytree(DEPLOY / "prometheus/rules", home / "rules")
    (home / "targets").mkdir()
    if speed != 1:
        hastened = generate.rules(generate.Settings(speed=speed))
        (home / "rules/alerts.yml").write_text(generate.to_yaml(hastened))
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    pace = {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval}
    config["global"] |= pace | {"evaluation_interval": f"{max(500, round(15_000 / speed))}ms"}
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    _write_targets(home / "targets/exporter.yml", targets)
    _write_targets(home / "targets/alertmanager.yml", [alertmanager.removeprefix("http://")] if alertmanager else [])


def _write_targets(path: Path, targets: Sequence[str]) -> None:
    path.write_text(json.dumps([{"targets": list(targets)}]))  # JSON is YAML


@contextlib.contextmanager
def alertmanager(directory: Path, webhook: str = "") -> Iterator[str]:
    """Run Alertmanager on the shipped configuration; the value is its address.

    With a `webhook` that is told instead of `yoloscope notify` on its own port. Waiting times of groups are cut to a
    second, repetition stays.
    """
    home = directory / "alertmanager"
    shutil.copytree(DEPLOY / "alertmanager", home)
    config = yaml.safe_load((home / "alertmanager.yml").read_text())
    if webhook:
        (receiver,) = (one for one in config["receivers"] if one["name"] == config["route"]["receiver"])
        receiver["webhook_configs"][0]["url"] = webhook
    _hasten(config["route"])
    (home / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        require_binary("prometheus-alertmanager"),
        f"--config.file={home}/alertmanager.yml",
        f"--storage.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running(command, directory / "alertmanager.log", f"http://127.0.0.1:{port}") as url:
        yield url


def _hasten(route: dict[str, Any]) -> None:
    route |= {key: "1s" for key in ("group_wait", "group_interval") if key in route}
    for child in route.get("routes", []):
        _hasten(child)


def post_alert(url: str, **labels: str) -> None:
    """Hand an alert to an Alertmanager, as Prometheus does."""
    body = json.dumps([{"labels": labels}]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5):
        pass


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, url: str) -> Iterator[str]:
    """A server that answers `/-/ready`; terminated, then killed, when the block ends.

    Raises:
        TimeoutError: it does not come up, with its log.
    """
    with log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        try:
            wait_for(lambda: process.poll() is not None or get(f"{url}/-/ready"), what=command[0])
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{log.read_text()}") from None
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Received:
    """One alert of one message: when it came (Unix seconds), the group it came in, and the alert as sent."""

    time: float
    group: dict[str, str]
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Webhook:
    """A receiver of Alertmanager's messages.

    Attributes:
        url: where to send them.
        received: every alert so far, in order of arrival.
    """

    def __init__(self) -> None:
        """Bind a free port; `with` starts it."""
        self.received: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def _take(self, body: bytes) -> None:
        message, now = json.loads(body), time.time()
        for alert in message["alerts"]:
            self.received.append(
                Received(now, message["groupLabels"], alert["status"], alert["labels"], alert["annotations"])
            )

    def seen(self, name: str, status: str = "firing", **labels: str) -> Received | None:
        """The first alert received with this name, status and these labels."""
        for alert in list(self.received):
            if alert.status == status and labels.items() | {("alertname", name)} <= alert.labels.items():
                return alert
        return None

    def wait(self, name: str, status: str = "firing", *, timeout: float = 60, **labels: str) -> Received:
        """Wait for it.

        Raises:
            TimeoutError: it did not come; says what came instead.
        """
        try:
            found: Received = wait_for(lambda: self.seen(name, status, **labels), timeout=timeout, what=name)
        except TimeoutError as error:
            came = sorted({f"{alert.labels['alertname']} {alert.status}" for alert in self.received})
            raise TimeoutError(f"{error}; received: {', '.join(came) or 'nothing'}") from None
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
