"""The receiver of Alertmanager's webhook. A notification is answered with 200 once it is safe on disk."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from yoloscope_exporter.notify.alerts import WebhookError, parse
from yoloscope_exporter.notify.messages import of_group
from yoloscope_exporter.notify.queue import QueueFullError
from yoloscope_exporter.web.responses import header, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from yoloscope_exporter.notify.queue import Queue
    from yoloscope_exporter.notify.sender import Sender

#: An alert of ours has 3 kB; Alertmanager sends a whole group at once.
MOST_BYTES = 4 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inbox:
    """Where notifications go: into the queue of every sender, in a language."""

    queue: Queue
    senders: Sequence[Sender]
    language: str

    def take(self, body: bytes) -> None:
        """Render the notification and queue it.

        Raises:
            WebhookError: it is not Alertmanager's.
            QueueFullError, OSError: it cannot be kept.
        """
        message = of_group(parse(body), self.language, time.time())
        _log.info("%s", message.title)
        self.queue.put([sender.service.key for sender in self.senders], message)
        for sender in self.senders:
            sender.wake()


def application(inbox: Inbox) -> Starlette:
    """POST to `/alerts` takes a notification; `/-/healthy` and `/-/ready` answer."""
    return Starlette(
        routes=[
            Route("/alerts", partial(_alerts, inbox), methods=["POST"]),
            Route("/-/healthy", _healthy),
            Route("/-/ready", _healthy),
        ]
    )


async def _healthy(_request: Request) -> Response:
    return text(HTTPStatus.OK, "healthy")


async def _alerts(inbox: Inbox, request: Request) -> Response:
    # Any web page may have a browser on this machine send text or a form to it; of JSON the browser asks before.
    if header(request.scope, b"content-type").partition(";")[0].strip().lower() != "application/json":
        return text(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only application/json, as Alertmanager sends it")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES} bytes; set max_alerts")
    try:
        inbox.take(bytes(body))
    except WebhookError as error:
        return text(HTTPStatus.BAD_REQUEST, str(error))
    except (QueueFullError, OSError) as error:  # Alertmanager keeps it and tries again, and its own metric counts that
        _log.error("a notification is refused: %s", error)
        return text(HTTPStatus.SERVICE_UNAVAILABLE, f"cannot be kept: {error}")
    return text(HTTPStatus.OK, "queued")
