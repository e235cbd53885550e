"""`yoloscope notify`: takes Alertmanager's webhook and sends messages to people."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.checks.finding import FAIL, OK
from yoloscope_exporter.commands import options
from yoloscope_exporter.config import types
from yoloscope_exporter.language import Text, reason, say
from yoloscope_exporter.notify.messages import test_message
from yoloscope_exporter.notify.queue import SIZE, Queue, default_directory
from yoloscope_exporter.notify.services import DeliveryError, addressed
from yoloscope_exporter.terminal import progress
from yoloscope_exporter.terminal.cells import padded

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from starlette.types import ASGIApp

    from yoloscope_exporter.config.types import Address, UnixAddress
    from yoloscope_exporter.notify.services import Service

#: As deploy/alertmanager/alertmanager.yml has it; `simulate` listens on 9912.
ADDRESS = "127.0.0.1:9913"

_log = logging.getLogger(__name__)


@click.command(short_help="Send alerts to DingTalk, Feishu, WeCom, Slack, mail and others, for Alertmanager.")
@click.option(
    "--listen",
    type=types.address,
    default=ADDRESS,
    show_default=True,
    envvar="YOLOSCOPE_NOTIFY_LISTEN",
    metavar="HOST:PORT",
    help="Address for Alertmanager's webhook, http://HOST:PORT/alerts.",
)
@click.option(
    "--to",
    "urls",
    multiple=True,
    envvar="YOLOSCOPE_NOTIFY_TO",
    metavar="URL",
    help="Service to send to, in Apprise's notation or a robot's own https address; repeat it for several. The "
    "environment variable YOLOSCOPE_NOTIFY_TO (separated by spaces) keeps secrets out of the process list.",
)
@options.language
@click.option(
    "--queue",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="YOLOSCOPE_NOTIFY_QUEUE",
    metavar="DIR",
    help="Where messages wait while a service is away.  [default: ~/.local/state/yoloscope/notify]",
)
@click.option(
    "--queue-size",
    type=click.IntRange(1, 1_000_000),
    default=SIZE,
    show_default=True,
    help="Messages that may wait for one service; then Alertmanager is asked to try again later.",
)
@click.option("--check", is_flag=True, help="Send a test message to every --to and exit: 0 if all took it, 1 if not.")
@click.pass_context
def notify(  # noqa: PLR0913, PLR0917 - a command's options
    context: click.Context,
    listen: Address | UnixAddress,
    urls: tuple[str, ...],
    language: str,
    directory: Path | None,
    queue_size: int,
    check: bool,  # noqa: FBT001 - click's
) -> None:
    """Take Alertmanager's webhook and send messages: what is wrong, where, the fix, and links.

    Messages wait on disk until their service has taken them, also over a restart; one that fails is tried again after
    1 s, 2 s, 4 s, up to 5 minutes, for a day. Without --to alerts are written to the log only.

    \b
      yoloscope notify --check --to dingtalk://SECRET@TOKEN
      yoloscope notify --language zh-CN --to 'https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN?secret=SECRET'
      yoloscope notify --to wecombot://KEY --to slack://A/B/C
      yoloscope notify --to 'mailto://USER:PASSWORD@smtp.example.com?to=team@example.com'
      YOLOSCOPE_NOTIFY_TO="ntfy://TOPIC tgram://TOKEN/CHAT" yoloscope notify

    All services and their addresses: https://appriseit.com/services/
    """  # noqa: D301 - click reads the backslash
    services = addressed(urls, "--to")
    if check:
        context.exit(_check(services, language))
    from yoloscope_exporter.service import log  # noqa: PLC0415 - the exporter's collectors come with it

    log.configure("info", "logfmt")
    _serve(listen, Queue(directory or default_directory(), queue_size), services, language)


def _check(services: Sequence[Service], language: str) -> int:
    if not services:
        raise click.UsageError(say("--check needs --to: there is no service to send a test message to"))
    with progress.shown(say("sending test messages")):
        refusals = {service: _refusal(service, language) for service in services}
    for service, refusal in refusals.items():
        mark = click.style(padded(say(FAIL if refusal else OK), 4), "red" if refusal else "green")
        click.echo(f"{mark}  {service}: {say(refusal or 'a test message was sent')}")
    return int(any(refusals.values()))


def _refusal(service: Service, language: str) -> str:
    """Why the service did not take a test message; empty if it did."""
    try:
        service.send(test_message(language, time.time()))
    except DeliveryError as error:
        return str(error)
    return ""


def _serve(listen: Address | UnixAddress, queue: Queue, services: Sequence[Service], language: str) -> None:
    from yoloscope_exporter.notify.receiver import Inbox, application  # noqa: PLC0415 - `--help` needs no server
    from yoloscope_exporter.notify.sender import Sender  # noqa: PLC0415
    from yoloscope_exporter.web.hosts import only_named  # noqa: PLC0415
    from yoloscope_exporter.web.server import bound, release  # noqa: PLC0415

    try:
        queue.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            say(
                "--queue {directory}: {reason}; choose a writable directory",
                directory=queue.directory,
                reason=reason(error),
            )
        ) from error
    try:
        listening = bound(listen)
    except OSError as error:
        raise click.UsageError(
            say("--listen {listen}: {why}; choose another, or port 0", listen=listen, why=Text(reason(error).lower()))
        ) from error
    listening.listen()
    senders = [Sender(service, queue) for service in services]
    if not senders:
        _log.warning("no --to: alerts are written to this log only")
    with ExitStack() as stack:
        stack.callback(release, listening)
        for sender in senders:
            sender.start()
            stack.callback(sender.close)
        url = (
            listen._replace(port=listening.getsockname()[1]).url()
            if isinstance(listen, types.Address)
            else listen.url()
        )
        fields = {"url": f"{url}/alerts", "to": ",".join(map(str, services)), "queue": str(queue.directory)}
        _log.info("listening", extra={"fields": fields})
        app = application(Inbox(queue, senders, language))
        loopback = isinstance(listen, types.Address) and types.is_loopback(listen.host)
        _run(only_named(app) if loopback else app, listening)


def _run(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvicorn  # noqa: PLC0415

    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", limit_concurrency=64, timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets=[listening])
