"""DingTalk's, Feishu's and WeCom's robots: signed, and believed only if they say that they took it."""

from __future__ import annotations

import pytest
from yoloscope_exporter.notify import robots


def test_signatures() -> None:
    """As `openssl dgst -sha256 -hmac KEY -binary | base64` gives them for the text that the services document."""
    assert robots.dingtalk_signature("SECabc", 1_700_000_000_000) == "jcUpW0QmtKduN03n4JqQ0PBosVjqnM8gU7fIIvsDmCM="
    assert robots.feishu_signature("abc", 1_700_000_000) == "VIS10b0EBvzzSdFnuk4tznEmK5wHaruvf/WnViv2yR4="


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b'{"errcode":0,"errmsg":"ok"}', ""),
        (200, b'{"code":0,"msg":"success"}', ""),
        (200, b'{"StatusCode":0}', ""),
        (200, b'{"errcode":310000,"errmsg":"sign not match"}', "code 310000, sign not match"),
        (200, b'{"code":19021,"msg":"sign match fail"}', "code 19021, sign match fail"),
        (200, b'{"errcode":45009}', "code 45009, no reason given"),
        (200, b"{}", "code None, no reason given"),
        (200, b"<html>", "its answer is not JSON"),
        (200, b"[]", "its answer is not JSON"),
        (502, b"", "status 502"),
    ],
)
def test_refusals(status: int, body: bytes, why: str) -> None:
    """They come with status 200, and a code that is not 0."""
    assert robots.refused(status, body) == why


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://oapi.dingtalk.com/robot/send?access_token=0a1b&secret=SECx", "dingtalk://SECx@0a1b"),
        ("https://oapi.dingtalk.com/robot/send?access_token=0a1b", "dingtalk://0a1b"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/0a-1b/?secret=x", "feishu://x@0a-1b"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0a-1b", "wecombot://0a-1b"),
        ("https://hooks.slack.com/services/A/B/C", "https://hooks.slack.com/services/A/B/C"),
        ("mailto://a:b@c", "mailto://a:b@c"),
    ],
)
def test_addresses_as_they_are_shown(url: str, expected: str) -> None:
    """The robot's own address will do."""
    assert robots.schemed(url) == expected
