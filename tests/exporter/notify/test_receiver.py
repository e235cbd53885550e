"""The receiver: 200 once a notification is on disk, otherwise a status at which Alertmanager does the right thing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest
from yoloscope_exporter.notify import receiver
from yoloscope_exporter.notify.queue import Queue
from yoloscope_exporter.notify.receiver import Inbox, application
from yoloscope_exporter.notify.sender import Sender
from yoloscope_exporter.notify.services import Service

from tests.exporter.notify.notifications import alerts, notification

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from pathlib import Path
    from typing import Any

    Ask = Callable[..., "Answer"]


class Answer(NamedTuple):
    """Of a request."""

    status: int
    text: str


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """A receiver for two services, with room for two messages each; nothing is sent."""
    queue = Queue(tmp_path, size=2)
    senders = [Sender(Service(url), queue) for url in ("wecombot://abc", "feishu://abc")]
    app = application(Inbox(queue, senders, "zh-CN"))

    def asked(path: str, body: bytes = b"", method: str = "POST", media: str = "application/json") -> Answer:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", media.encode())] if media else [],
            "http_version": "1.1",
        }
        pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)] or [b""]
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        return Answer(sent[0]["status"], b"".join(one.get("body", b"") for one in sent).decode())

    return asked


def test_a_notification_is_kept_for_every_service(ask: Ask, tmp_path: Path) -> None:
    """Rendered in the language."""
    answer = ask("/alerts", notification(alerts()["DataBound/warning"]))
    assert answer == (200, "queued\n")
    files = list(tmp_path.glob("*/*.json"))
    assert len(files) == 2
    assert all("[warning] " in path.read_text(encoding="utf-8") for path in files)


def test_a_full_queue_asks_to_try_again(ask: Ask) -> None:
    """503: Alertmanager keeps the notification, and counts it among its failures."""
    body = notification(alerts()["DataBound/warning"])
    assert [ask("/alerts", body).status for _ in range(3)] == [200, 200, 503]


@pytest.mark.parametrize(
    "media", ["", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_any_web_page_can_have_sent_is_refused(ask: Ask, tmp_path: Path, media: str) -> None:
    """A browser on the machine sends these without asking; it would be a message in the operator's name."""
    body = notification(alerts()["DataBound/warning"])
    assert ask("/alerts", body, media=media).status == 415
    assert not list(tmp_path.glob("*/*.json"))
    assert ask("/alerts", body, media="Application/JSON; charset=utf-8").status == 200


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b"x", 400), (b"[" * 6_000_000, 413)])
def test_anything_else_is_refused(ask: Ask, tmp_path: Path, body: bytes, status: int) -> None:
    """And nothing is kept."""
    answer = ask("/alerts", body)
    assert answer.status == status
    assert len(answer.text.splitlines()) == 1
    assert list(tmp_path.glob("*/*.json")) == []


def test_a_disk_that_is_full(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is 503 as well."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(receiver.Inbox, "take", full)
    assert ask("/alerts", notification(alerts()["DataBound/warning"])).status == 503


def test_other_requests(ask: Ask) -> None:
    """It is healthy, and a GET is no notification."""
    assert ask("/-/healthy", method="GET") == (200, "healthy\n")
    assert ask("/alerts", method="GET").status == 405
    assert ask("/", method="GET").status == 404
