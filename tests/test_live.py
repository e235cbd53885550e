"""The servers of live.py: they start on the shipped configuration, pass an alert on, and leave nothing behind."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests import live

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def target() -> Iterator[str]:
    """An address that answers every scrape with one sample."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"answer 42\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_scrapes_and_answers(tmp_path: Path, target: str) -> None:
    """A target's sample can be queried within seconds, with the shipped job name."""
    with live.prometheus(tmp_path, [target]) as server:
        found = live.wait_for(lambda: live.query(server, "answer"))
        assert found == [({"instance": target, "job": "yoloscope"}, 42.0)]


def test_ends_with_the_block(tmp_path: Path) -> None:
    """After the block nobody answers, also when the block failed."""
    stack = contextlib.ExitStack()
    url = stack.enter_context(live.prometheus(tmp_path, []))
    stack.__exit__(RuntimeError, RuntimeError("stop"), None)
    with pytest.raises(OSError, match="refused"):
        live.get(f"{url}/-/ready")


def test_failing_start_shows_the_log(tmp_path: Path) -> None:
    """A server that does not start says why."""
    command = [live.require_binary("prometheus"), "--config.file=/nonexistent.yml", "--log.level=warn"]
    with pytest.raises(RuntimeError, match=r"nonexistent\.yml"), live.running(command, tmp_path / "log", "http://x"):
        pass


def test_alert_reaches_the_webhook(tmp_path: Path) -> None:
    """An alert handed to Alertmanager arrives at the webhook, in the group of its run."""
    with live.Webhook() as webhook, live.alertmanager(tmp_path, webhook.url) as server:
        live.post_alert(server, alertname="Test", severity="warning", run="a/train 1")
        received = webhook.wait("Test", run="a/train 1")
        assert received.group == {"run": "a/train 1"}
        with pytest.raises(TimeoutError, match="received: Test firing"):
            webhook.wait("Other", timeout=0.1)
