"""Every alert reaches every service: signed, within its limits, in both languages."""

from __future__ import annotations

import time

import pytest
from yoloscope_exporter.language import LANGUAGES
from yoloscope_exporter.notify.alerts import parse
from yoloscope_exporter.notify.messages import of_group
from yoloscope_exporter.notify.services import AddressError, DeliveryError, Service

from tests.exporter.notify.notifications import alerts, notification
from tests.exporter.notify.services import LIMITS, Services

NAMES = list(LIMITS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_taken(services: Services, name: str, language: str) -> None:
    """Alone, with summary and fix in the language."""
    service = Service(services.urls[name])
    suffix = "_zh" if language == "zh-CN" else ""
    for one in alerts().values():
        service.send(of_group(parse(notification(one)), language, time.time()))
        got = services.of(name)[-1]
        shown = _plain(got.title + got.text)
        assert _plain(one["annotations"][f"summary{suffix}"])[:40] in shown
        assert _plain(one["annotations"][f"fix{suffix}"])[:40] in shown
    assert services.refused == []
    assert len(services.got) == len(alerts())


def _plain(text: str) -> str:
    """Without what Markdown, Slack's dialect and HTML write in another way."""
    for written, meant in (("&amp;", "&"), ("&gt;", ">"), ("&lt;", "<"), ("<code>", "`"), ("</code>", "`"), ("*", "")):
        text = text.replace(written, meant)
    return "".join(text.split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_all_alerts_at_once_fit(services: Services, name: str, language: str) -> None:
    """One message, and it says how many are missing."""
    message = of_group(parse(notification(*alerts().values(), truncatedAlerts=100)), language, time.time())
    Service(services.urls[name]).send(message)
    assert services.refused == []
    (got,) = services.of(name)
    assert str(len(alerts())) in got.title + got.text.splitlines()[0]
    assert str(len(alerts()) + 100 - 10)[:2] in got.text


def test_a_title_that_is_cut_is_whole_in_the_text(services: Services) -> None:
    """Names of runs may be long, and the node stands at the end."""
    one = alerts()["DataBound/warning"]
    long = {**one, "annotations": {**one["annotations"], "summary": f"{'训练' * 90} node0001"}}
    Service(services.urls["feishu"]).send(of_group(parse(notification(long)), "en", time.time()))
    (got,) = services.got
    assert got.title.endswith("…")
    assert "node0001" in got.text


def test_a_wrong_secret_is_no_delivery(services: Services) -> None:
    """Though the answer has status 200."""
    message = of_group(parse(notification(alerts()["DataBound/warning"])), "en", time.time())
    for url, said in (
        ("dingtalk://SECwrong@0123456789abcdef", "sign not match"),
        ("feishu://wrong@01234567", "sign match fail"),
    ):
        with pytest.raises(DeliveryError, match=said):
            Service(url).send(message)
    assert services.got == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_is_away_is_named_without_its_secrets(services: Services, name: str) -> None:
    """The reason has neither token nor secret in it."""
    services.away = True
    url = services.urls[name]
    with pytest.raises(DeliveryError) as failed:
        Service(url).send(of_group(parse(notification(alerts()["DataBound/warning"])), "en", time.time()))
    assert "no reason" not in str(failed.value)
    for secret in ("0123456789abcdef", "01234567-89ab-cdef", "SECofdingtalk", "TIiajkdnlazkcOXrIdevi7FQ"):
        assert secret not in str(failed.value)
        assert secret not in str(Service(url))


@pytest.mark.parametrize(
    "url", ["", "nonsense", "xyz://abc", "dingtalk://", "feishu://", "slack://T1/B2", "mailto://", "dingtalk://a b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """With examples, and without the rest of the address, which may hold a secret."""
    with pytest.raises(AddressError, match=r"is no address of a service: use dingtalk://SECRET@TOKEN") as refused:
        Service(url)
    assert "abc" not in str(refused.value)


def test_the_same_address_is_the_same_service() -> None:
    """Its key names the folder of its queue, over restarts."""
    assert Service("wecombot://abc").key == Service("wecombot://abc").key != Service("wecombot://abd").key
