"""Apprise's plugins for DingTalk, Feishu and WeCom with what they lack.

The three answer a message they refuse (a wrong signature, too many messages) with status 200 and an error code, which
Apprise 2.3 takes for success with two of them: the message would be lost. Its Feishu does not sign, its WeCom knows no
Markdown, and their limits are bytes, not characters.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import requests
from apprise.common import NotifyFormat, NotifyType
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot

from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Robot(NotifyBase):
    """A chat robot behind a webhook that takes JSON and answers with an error code."""

    #: Each robot takes 20 messages a minute (DingTalk, WeCom) or more.
    request_rate_per_sec = 3.1

    def post(self, url: str, payload: Mapping[str, Any], params: Mapping[str, str] | None = None) -> bool:
        """Whether the robot took the message; if not, the log says why."""
        self.throttle()  # type: ignore[no-untyped-call]
        try:
            answer = requests.post(
                url,
                params=params,
                data=json.dumps(payload, ensure_ascii=False).encode(),
                headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": self.app_id},
                verify=self.verify_certificate,
                timeout=self.request_timeout,
                allow_redirects=self.redirects,
            )
        except requests.RequestException as error:
            # Not the error's text: it repeats the address, with the token in it.
            name = type(error).__name__
            self._say(text("{service} does not answer ({error})", service=self.service_name, error=name))
            return False
        refusal = refused(answer.status_code, answer.content)
        if refusal:
            self._say(text("{service} refused the message: {refusal}", service=self.service_name, refusal=refusal))
        return not refusal

    def _say(self, why: str) -> None:
        """To Apprise's log, from which `services` takes it as it is, for people of any language."""
        self.logger.warning(why)


def refused(status: int, body: bytes) -> str:
    """Why a robot did not take the message: status, or code and text of its answer. Empty if it did."""
    if status != requests.codes.ok:
        return text("status {status}", status=status)
    try:
        answer = json.loads(body)
        code = answer.get("errcode", answer.get("code", answer.get("StatusCode")))
    except (ValueError, AttributeError):
        return text("its answer is not JSON")
    why = answer.get("errmsg") or answer.get("msg") or answer.get("StatusMessage") or text("no reason given")
    return "" if code == 0 else text("code {code}, {why}", code=code, why=str(why)[:200])


class DingTalk(_Robot, NotifyDingTalk):
    """A DingTalk robot: https://open.dingtalk.com/document/orgapp/custom-robot-access."""

    #: Bytes; a request may have 20000.
    body_maxlen = 18_000

    def send(  # type: ignore[override] # keyword arguments, as Apprise calls it
        self, body: str, title: str = "", body_format: NotifyFormat | None = None, **_: object
    ) -> bool:
        """Send Markdown, or plain text."""
        at = {"atMobiles": self.targets, "isAtAll": False}
        if body_format == NotifyFormat.MARKDOWN:
            said = {"title": title or self.app_desc, "text": f"### {title}\n\n{body}" if title else body}
            payload = {"msgtype": "markdown", "markdown": said, "at": at}
        else:
            payload = {"msgtype": "text", "text": {"content": f"{title}\n{body}" if title else body}, "at": at}
        params = {}
        if self.secret:
            now = round(time.time() * 1000)
            params = {"timestamp": str(now), "sign": dingtalk_signature(self.secret, now)}
        return self.post(self.notify_url.format(token=self.token), payload, params)


def dingtalk_signature(secret: str, milliseconds: int) -> str:
    """DingTalk's signature of a moment, in Unix milliseconds: the secret is key and part of the text."""
    return _hmac(secret, f"{milliseconds}\n{secret}")


class Feishu(_Robot, NotifyFeishu):
    """A Feishu robot: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot; the secret stands before @."""

    #: Bytes; a request may have 20 kB.
    body_maxlen = 18_000
    notify_url = "https://open.feishu.cn/open-apis/bot/v2/hook/{token}"

    def __init__(self, token: str, secret: str = "", **options: Any) -> None:  # noqa: ANN401 - Apprise's
        """`secret` signs the messages, if the robot asks for it."""
        super().__init__(token, **options)  # type: ignore[no-untyped-call]
        self.secret = secret or getattr(self, "user", None) or ""

    def send(
        self,
        body: str,
        title: str = "",
        notify_type: NotifyType = NotifyType.INFO,
        body_format: NotifyFormat | None = None,
        **_: object,
    ) -> bool:
        """Send a card for Markdown, or plain text."""
        payload: dict[str, Any] = {"msg_type": "text", "content": {"text": f"{title}\n{body}" if title else body}}
        if body_format == NotifyFormat.MARKDOWN:
            head = {
                "title": {"tag": "plain_text", "content": title or self.app_desc},
                "template": self.card_colors[notify_type],
            }
            text = {"tag": "div", "text": {"tag": "lark_md", "content": body}}
            payload = {"msg_type": "interactive", "card": {"header": head, "elements": [text]}}
        if self.secret:
            now = round(time.time())
            payload |= {"timestamp": str(now), "sign": feishu_signature(self.secret, now)}
        return self.post(self.notify_url.format(token=self.token), payload)


def feishu_signature(secret: str, seconds: int) -> str:
    """Feishu's signature of a moment, in Unix seconds: moment and secret are the key, and the text is empty."""
    return _hmac(f"{seconds}\n{secret}", "")


def _hmac(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


class WeCom(_Robot, NotifyWeComBot):
    """A WeCom robot: https://developer.work.weixin.qq.com/document/path/91770."""

    #: Bytes of a Markdown message.
    body_maxlen = 4096
    notify_format = (NotifyFormat.TEXT, NotifyFormat.MARKDOWN)  # type: ignore[assignment] # as its other plugins have it

    def send(  # type: ignore[override] # keyword arguments, as Apprise calls it
        self, body: str, title: str = "", **_: object
    ) -> bool:
        """Send it as Markdown, which may be twice as long as plain text."""
        text = f"### {title}\n{body}" if title else body
        return self.post(self.api_url, {"msgtype": "markdown", "markdown": {"content": text}})


#: By the schema of their addresses.
ROBOTS: Mapping[str, type[_Robot]] = {"dingtalk": DingTalk, "feishu": Feishu, "wecombot": WeCom}
#: Host, parameter or last part of the path that holds the token, and schema: robots' own addresses, as they are shown
#: where the robot is made.
_NATIVE = {
    "oapi.dingtalk.com": ("access_token", "dingtalk"),
    "open.feishu.cn": ("", "feishu"),
    "qyapi.weixin.qq.com": ("key", "wecombot"),
}


def schemed(url: str) -> str:
    """A robot's own https address in Apprise's notation, `schema://secret@token`; any other address as it is.

    The secret of DingTalk's and Feishu's robots is written behind it: `&secret=...`.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname not in _NATIVE:
        return url
    parameter, schema = _NATIVE[parts.hostname]
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    token = query.get(parameter, "") if parameter else parts.path.rstrip("/").rpartition("/")[2]
    secret = query.get("secret", "")
    return f"{schema}://{secret}@{token}" if secret else f"{schema}://{token}"
