"""What Alertmanager sends, made from our own rules: `{{ ... }}` filled in as Prometheus would."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from yoloscope_exporter.diagnosis.live import FIX_LENGTH, in_labels

from deploy.prometheus import generate
from deploy.prometheus.rulebook.records import RUN_OWNER

#: What stands before an alert's own fix, for where the diagnosis has computed none.
ELSE = "{{ else }}"
_FIXES = in_labels("workers=11; put the data set on a local SSD or NVMe disk; " + "x" * FIX_LENGTH)
COMPUTED = {"fix": f"loader_workers: {_FIXES[0]}.", "fix_zh": f"loader_workers：{_FIXES[1]}。"}  # noqa: RUF001
LOCATED = " rank 3, worker 1, read() of /data/a.jpg: load_image (/usr/lib/python3/site-packages/cv2/__init__.py:12)"
LABELS = {"run": "训练/实验 1", "rank": "0", "gpu": "3", "instance": "node0001:9911", "cluster": "east"}


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert of the rules, firing, by name and severity; twice where the diagnosis may have computed a fix."""
    rules = [rule for group in generate.rules()["groups"] for rule in group["rules"] if "alert" in rule]
    made = {f"{rule['alert']}/{rule['labels']['severity']}": _alert(rule, computed=False) for rule in rules}
    asked = [rule for rule in rules if ELSE in rule["annotations"]["fix"]]
    return made | {
        f"{rule['alert']}/{rule['labels']['severity']}/computed": _alert(rule, computed=True) for rule in asked
    }


def _alert(rule: dict[str, Any], *, computed: bool) -> dict[str, Any]:
    labels = {"alertname": rule["alert"], **rule["labels"], **LABELS}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {name: _filled(text, computed=computed) for name, text in rule["annotations"].items()},
        "startsAt": "2026-11-27T06:00:00Z",
    }


def _filled(text: str, *, computed: bool) -> str:
    """As Prometheus fills it in; what it asks is answered by COMPUTED and LOCATED."""
    if text.startswith("{{ range"):
        return "loader_workers, small_batch"
    if RUN_OWNER.name in text:
        return "lili, 17"
    text, asks, rest = text.partition("{{ with printf")
    if ELSE in rest:
        own = rest.partition(ELSE)[2].removesuffix("{{ end }}")
        text = COMPUTED["fix_zh" if "fix_zh" in rest else "fix"] if computed else own
    elif asks:
        text += LOCATED
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
