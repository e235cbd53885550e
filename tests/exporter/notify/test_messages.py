"""Messages: what they say in both languages, and that they fit whatever the limit is."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter.language import LANGUAGES
from yoloscope_exporter.notify.alerts import parse
from yoloscope_exporter.notify.messages import (
    FAILURE,
    GOOD,
    MOST_SECTIONS,
    WARNING,
    Message,
    Section,
    fitted,
    from_json,
    of_group,
    to_json,
)

from tests.exporter.notify.notifications import alerts, notification

NOW = 1_795_000_000.0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", alerts())
def test_every_alert_says_what_where_and_what_to_do(name: str, language: str) -> None:
    """Summary, culprit, whose run it is, description, fix and links, all in the language."""
    one = alerts()[name]
    message = of_group(parse(notification(one)), language, NOW)
    body = fitted(message, 12_000, NOW, markdown=True)
    suffix = "_zh" if language == "zh-CN" else ""
    assert one["annotations"][f"summary{suffix}"] in message.title
    for text in (one["annotations"][f"description{suffix}"], one["annotations"][f"fix{suffix}"]):
        assert text in body
    page = "alerts.zh-CN.md" if suffix else "alerts.md"
    assert f"]({one['annotations']['runbook_url'].replace('alerts.md', page)})" in body
    board = one["annotations"]["dashboard_url"]
    twin = re.sub(r"/d/[^?]+", r"\g<0>-zh", board) if suffix else board
    assert f"]({twin})".replace(" ", "%20") in body
    assert ("loader_workers" in body) or "verdict" not in one["annotations"]
    owner = "归属：lili, 17" if suffix else "Owner: lili, 17"  # noqa: RUF001
    assert (owner in body) == ("owner" in one["annotations"])
    assert not re.search(r"\{\{|<no value>", message.title + body)


def test_a_group_is_one_message() -> None:
    """Those that fire first, the worst first; at most ten are listed, and the rest is counted."""
    chosen = list(alerts().values())[:20]
    resolved = [{**one, "status": "resolved"} for one in chosen[:2]]
    message = of_group(parse(notification(*resolved, *chosen[2:], truncatedAlerts=5)), "en", NOW)
    severities = [re.match(r"\[(\w+)\]", section.heading)[1] for section in message.sections]
    assert severities == sorted(severities, key=("critical", "warning", "info").index)
    assert message.title.startswith("[critical 18] ")
    assert (len(message.sections), message.omitted) == (MOST_SECTIONS, 15)
    assert fitted(message, 10**6, NOW, markdown=False).endswith("... and 15 more")


def test_kinds() -> None:
    """By which services choose colours: the worst that fires, and green once nothing does."""
    critical, warning = alerts()["TrainingKilled/critical"], alerts()["DataBound/warning"]
    kinds = [
        of_group(parse(notification(*chosen)), "en", NOW).kind
        for chosen in ([warning, critical], [warning], [{**critical, "status": "resolved"}, warning])
    ]
    assert kinds == [FAILURE, WARNING, WARNING]
    over = of_group(parse(notification({**critical, "status": "resolved"})), "zh-CN", NOW)
    assert (over.kind, over.title[:6]) == (GOOD, "[已恢复] ")


def test_alerts_of_others_are_told_too() -> None:
    """Without our annotations: name and labels."""
    message = of_group(
        parse(notification({"status": "firing", "labels": {"alertname": "Watchdog", "job": "a"}})), "en", NOW
    )
    assert message.title == "[FIRING] Watchdog (job=a)"
    assert fitted(message, 1000, NOW, markdown=True) == message.title


def test_names_of_runs_are_no_markup() -> None:
    """What HTML or Slack would take for a tag is none, and nothing breaks the line."""
    labels = {"alertname": "a", "run": "<img src=x>\n<!channel> a < b"}
    message = of_group(parse(notification({"status": "firing", "labels": labels})), "en", NOW)
    assert "<" not in message.title.replace("a < b", "")
    assert "\n" not in message.title
    labels["run"] = "![x](http://evil/p.png) [update](http://evil)"
    message = of_group(parse(notification({"status": "firing", "labels": labels})), "en", NOW)
    assert "](" not in message.title + fitted(message, 1000, NOW, markdown=True)


def test_a_late_message_says_so() -> None:
    """After an outage nobody takes old news for new."""
    message = Message("t", (Section("h"),), GOOD, NOW, "zh-CN")
    assert fitted(message, 1000, NOW + 60, markdown=False) == "h"
    assert fitted(message, 1000, NOW + 1200, markdown=False) == "h\n\n延迟 20 分钟：通知服务没有应答。"  # noqa: RUF001 - Chinese


texts = st.text(st.characters(exclude_categories=("C",)), max_size=200)
sections = st.builds(
    Section,
    texts,
    st.lists(texts, max_size=4).map(tuple),
    st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)
messages = st.builds(
    Message,
    texts.filter(str.strip),
    st.lists(sections, max_size=12).map(tuple),
    st.just(GOOD),
    st.just(NOW),
    st.sampled_from(LANGUAGES),
    st.integers(0, 50),
)


@given(message=messages, limit=st.integers(100, 5000), late=st.integers(0, 10**5), markdown=st.booleans())
def test_no_message_is_longer_than_the_limit(message: Message, limit: int, late: int, *, markdown: bool) -> None:
    """In bytes of UTF-8, whatever it is made of; and there is always something to read."""
    text = fitted(message, limit, NOW + late, markdown=markdown)
    assert 0 < len(text.encode()) <= limit


@given(message=messages)
def test_the_queue_changes_nothing(message: Message) -> None:
    """A message comes back from JSON as it was."""
    assert from_json(json.loads(json.dumps(to_json(message)))) == message


def test_the_fix_goes_last() -> None:
    """What does not fit is left out: the description first, then the verdict; the heading stays."""
    section = Section("heading", ("description " * 20, "Verdict: v", "Fix: f"), (("Runbook", "http://r"),))
    message = Message("t", (section,), GOOD, NOW)
    assert fitted(message, 200, NOW, markdown=False) == "heading\nVerdict: v\nFix: f\nRunbook: http://r"
    assert fitted(message, 62, NOW, markdown=False) == "heading\nFix: f\nRunbook: http://r"
