"""Chat services and a mail server on this machine, as strict as the real ones: signatures, codes, limits in bytes."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import socketserver
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from apprise.plugins.base import NotifyBase
from apprise.plugins.slack import NotifySlack
from yoloscope_exporter.notify import robots

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

#: Secrets of the robots.
SECRETS = {"dingtalk": "SECofdingtalk", "feishu": "oflark"}
#: Bytes of a request, or of the text where the service counts that.
LIMITS = {"dingtalk": 20_000, "feishu": 20 * 1024, "wecom": 4096, "slack": 40_000, "mail": 10 << 20}


@dataclass
class Got:
    """A message that a service took."""

    service: str
    title: str
    text: str


@dataclass
class Services:
    """What the services have taken, and whether they are away."""

    got: list[Got] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    away: bool = False
    http: str = ""
    mail: str = ""

    @property
    def urls(self) -> dict[str, str]:
        """An address of each service, in Apprise's notation."""
        return {
            "dingtalk": f"dingtalk://{SECRETS['dingtalk']}@0123456789abcdef",
            "feishu": f"feishu://{SECRETS['feishu']}@01234567-89ab-cdef",
            "wecom": "wecombot://01234567-89ab-cdef",
            "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
            "mail": f"mailto://{self.mail}?from=yoloscope@localhost&to=team@localhost&mode=insecure",
        }

    def of(self, service: str) -> list[Got]:
        """The messages that one service has taken."""
        return [one for one in self.got if one.service == service]


@contextmanager
def running(patch: pytest.MonkeyPatch) -> Iterator[Services]:
    """All of them, in place of the real ones."""
    services = Services()
    web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(services))
    mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _mail_handler(services))
    mail.daemon_threads = True
    services.http = f"http://127.0.0.1:{web.server_port}"
    services.mail = f"127.0.0.1:{mail.server_address[1]}"
    patch.setattr(robots.DingTalk, "notify_url", f"{services.http}/dingtalk?access_token={{token}}")
    patch.setattr(robots.Feishu, "notify_url", f"{services.http}/feishu/{{token}}")
    patch.setattr(robots.WeCom, "notify_url", f"{services.http}/wecom?key={{key}}")
    patch.setattr(NotifySlack, "webhook_url", f"{services.http}/slack")
    for kind in (NotifyBase, NotifySlack, *robots.ROBOTS.values()):
        patch.setattr(kind, "request_rate_per_sec", 0)
    threads = [threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True) for one in (web, mail)]
    for thread in threads:
        thread.start()
    try:
        yield services
    finally:
        for one in (web, mail):
            one.shutdown()
            one.server_close()
        for thread in threads:
            thread.join()


def _handler(services: Services) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            url = urlsplit(self.path)
            service = url.path.split("/")[1]
            if services.away:
                self._answer(503, {"error": "away"})
                return
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            try:
                services.got.append(_CHECKS[service](body, query))
            except _RefusedError as error:
                services.refused.append(f"{service}: {error}")
                self._answer(200, {"errcode": 310000, "code": 19021, "errmsg": str(error), "msg": str(error)})
                return
            self._answer(200, {"errcode": 0, "code": 0, "errmsg": "ok"}, raw=b"ok" if service == "slack" else b"")

        def _answer(self, status: int, document: dict[str, Any], raw: bytes = b"") -> None:
            text = raw or json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _RefusedError(Exception):
    """The service's reason."""


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise _RefusedError(reason)


def _dingtalk(body: bytes, query: dict[str, str]) -> Got:
    """https://open.dingtalk.com/document/orgapp/customize-robot-security-settings."""
    now = int(query["timestamp"])
    _require(abs(time.time() * 1000 - now) < 3600_000, "old timestamp")
    secret = SECRETS["dingtalk"]
    expected = hmac.new(secret.encode(), f"{now}\n{secret}".encode(), digestmod=hashlib.sha256).digest()
    _require(query["sign"] == base64.b64encode(expected).decode(), "sign not match")
    _require(len(body) <= LIMITS["dingtalk"], f"{len(body)} bytes")
    document = json.loads(body)
    _require(document["msgtype"] == "markdown", "type")
    return Got("dingtalk", document["markdown"]["title"], document["markdown"]["text"])


def _feishu(body: bytes, _query: dict[str, str]) -> Got:
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot."""
    document = json.loads(body)
    now = int(document["timestamp"])
    _require(abs(time.time() - now) < 3600, "old timestamp")
    expected = hmac.new(f"{now}\n{SECRETS['feishu']}".encode(), digestmod=hashlib.sha256).digest()
    _require(document["sign"] == base64.b64encode(expected).decode(), "sign match fail")
    _require(len(body) <= LIMITS["feishu"], f"{len(body)} bytes")
    card = document["card"]
    return Got("feishu", card["header"]["title"]["content"], card["elements"][0]["text"]["content"])


def _wecom(body: bytes, _query: dict[str, str]) -> Got:
    """https://developer.work.weixin.qq.com/document/path/91770."""
    text = json.loads(body)["markdown"]["content"]
    _require(len(text.encode()) <= LIMITS["wecom"], f"{len(text.encode())} bytes")
    return Got("wecom", text.splitlines()[0], text)


def _slack(body: bytes, _query: dict[str, str]) -> Got:
    _require(len(body) <= LIMITS["slack"], f"{len(body)} bytes")
    attachment = json.loads(body)["attachments"][0]
    return Got("slack", attachment.get("title", ""), json.dumps(attachment, ensure_ascii=False))


_CHECKS = {"dingtalk": _dingtalk, "feishu": _feishu, "wecom": _wecom, "slack": _slack}


def _mail_handler(services: Services) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        """As much of SMTP as a client needs (RFC 5321)."""

        def handle(self) -> None:
            if services.away:
                return
            self._say("220 localhost")
            while line := self.rfile.readline():
                command = line.strip().upper()
                if command == b"DATA":
                    self._say("354 go on")
                    self._take()
                elif command == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 localhost" if command.startswith((b"EHLO", b"HELO")) else "250 ok")

        def _take(self) -> None:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                lines.append(line)
            message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            part = message.get_body(("html", "plain"))
            services.got.append(Got("mail", str(message["Subject"]), part.get_content() if part else ""))
            self._say("250 taken")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    return Handler
