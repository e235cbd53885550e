"""Alertmanager's webhook: read as far as it is one."""

from __future__ import annotations

import pytest
from yoloscope_exporter.notify.alerts import Alert, WebhookError, parse

from tests.exporter.notify.notifications import alerts, notification


def test_a_group_is_read() -> None:
    """Labels, annotations, and how many alerts were left out."""
    one = alerts()["TrainingKilled/critical"]
    group = parse(notification(one, {"status": "resolved", "labels": {"alertname": "a"}}, truncatedAlerts=3))
    assert group.alerts == (
        Alert("firing", one["labels"], one["annotations"]),
        Alert("resolved", {"alertname": "a"}, {}),
    )
    assert group.truncated == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of alerts"),
        (b"{}", "no list of alerts"),
        (b'{"alerts": []}', "no list of alerts"),
        (b'{"alerts": [1]}', "neither firing nor resolved"),
        (b'{"alerts": [{"status": "burning"}]}', "neither firing nor resolved"),
        (b'{"alerts": [{"status": "firing", "labels": ["a"]}]}', "are objects"),
    ],
)
def test_anything_else_is_refused(body: bytes, said: str) -> None:
    """With the reason."""
    with pytest.raises(WebhookError, match=said):
        parse(body)
