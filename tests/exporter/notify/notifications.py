"""What Alertmanager sends, made from our own rules: `{{ ... }}` filled in as Prometheus would."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from deploy.prometheus import generate

LABELS = {"run": "训练/实验 1", "rank": "0", "gpu": "3", "instance": "node0001:9911", "cluster": "east"}


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert of the rules, firing, by name and severity."""
    rules = [rule for group in generate.rules()["groups"] for rule in group["rules"] if "alert" in rule]
    return {f"{rule['alert']}/{rule['labels']['severity']}": _alert(rule) for rule in rules}


def _alert(rule: dict[str, Any]) -> dict[str, Any]:
    labels = {"alertname": rule["alert"], **rule["labels"], **LABELS}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {name: _filled(text) for name, text in rule["annotations"].items()},
        "startsAt": "2026-11-27T06:00:00Z",
    }


def _filled(text: str) -> str:
    if text.startswith("{{ with printf"):
        return "loader_workers: workers=11."
    if "query" in text:
        return "loader_workers, small_batch"
    named = re.sub(r"\{\{ \$labels\.(\w+)( \| urlquery)? \}\}", lambda match: LABELS.get(match[1], match[1]), text)
    without = re.sub(r"\{\{ (with|end)[^}]*\}\}", "", named.replace("{{ . }}", LABELS["cluster"]))
    return re.sub(r"\{\{ \$value[^}]*\}\}", "23.5%", without)


def notification(*chosen: dict[str, Any], **changes: Any) -> bytes:
    """The body of a request with these alerts."""
    document = {
        "version": "4",
        "status": "firing",
        "receiver": "notify",
        "alerts": list(chosen),
        "externalURL": "http://alertmanager:9093",
        "truncatedAlerts": 0,
    }
    return json.dumps({**document, **changes}).encode()
