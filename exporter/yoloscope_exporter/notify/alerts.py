"""What Alertmanager's webhook sends: a group of alerts.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, version 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIRING, RESOLVED = "firing", "resolved"


class WebhookError(ValueError):
    """The body is not what Alertmanager sends."""


@dataclass(frozen=True)
class Alert:
    """One alert of the group."""

    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """Alerts that Alertmanager grouped into one notification; `truncated` more were left out of it."""

    alerts: tuple[Alert, ...]
    truncated: int = 0
    url: str = ""


def parse(body: bytes) -> Group:
    """The group in the body of a request.

    Raises:
        WebhookError: it is not JSON, or not Alertmanager's.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookError("the body is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("alerts"), list) or not document["alerts"]:
        raise WebhookError("not a notification of Alertmanager: it has no list of alerts")
    truncated = document.get("truncatedAlerts", 0)
    return Group(
        tuple(_alert(one) for one in document["alerts"]),
        truncated if isinstance(truncated, int) else 0,
        str(document.get("externalURL", "")),
    )


def _alert(one: Any) -> Alert:  # noqa: ANN401 - JSON
    if not isinstance(one, dict) or one.get("status") not in {FIRING, RESOLVED}:
        raise WebhookError("not a notification of Alertmanager: an alert is neither firing nor resolved")
    return Alert(one["status"], _texts(one.get("labels")), _texts(one.get("annotations")))


def _texts(mapping: Any) -> dict[str, str]:  # noqa: ANN401 - JSON
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise WebhookError("not a notification of Alertmanager: labels and annotations are objects")
    return {str(name): str(value) for name, value in mapping.items()}
