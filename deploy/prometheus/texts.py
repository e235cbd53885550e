"""What the alerts and the runbooks say around an alert's own texts, in the language that is spoken.

The Chinese stands with that of the alerts in `yoloscope_exporter/language/zh_cn/alerts.py`.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING, Final

from yoloscope_exporter.language import CHINESE, ENGLISH, say, speaking, spoken
from yoloscope_exporter.language.zh_cn import alerts, documents
from yoloscope_exporter.measures.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

#: The languages, each with the end of its annotations and of the labels that hold a text.
LANGUAGES: Final = {ENGLISH: "", CHINESE: "_zh"}
#: Labels of an alert, as people call them.
LABELS: Final = {"run": "run", "rank": "rank", "gpu": "GPU", "instance": "node", "cluster": "cluster"}

INTRO = """\
What each alert of `deploy/prometheus/rules/alerts.yml` means, how to verify it, what to do, and when to silence it.
Every alert links here. `critical` is a page, `warning` is a ticket, `info` is for the dashboards only and is
sent to nobody (`deploy/alertmanager/alertmanager.yml`).

Begin with three, and leave the others on the dashboards until you miss them: `GpuUtilizationDrop` (the GPU does less
than it did; the message says why), `TrainingStalled` (a run hangs and holds its GPUs) and `GpuFaulty` (what is
computed there may be wrong). In Alertmanager that is a route to your receiver with
`matchers: [alertname=~"GpuUtilizationDrop|TrainingStalled|GpuFaulty"]`, and a route of the rest to `nobody`.

The rules, this page and the PrometheusRule of the operator come from one table, `deploy/prometheus/rulebook`; its
numbers stand in `exporter/yoloscope_exporter/measures/thresholds.py`, each with its source; (J) and "ours" mark a
judgement of ours. To change one, edit it there and run
`python -m deploy.prometheus.generate --grafana-url https://grafana.example.com`, which also fills in the addresses of
dashboards; an address that is not given (`--runbook-url`) stays as it is. Durations hold for scrapes each 5 to 15 s.
"""


def in_language(language: str) -> AbstractContextManager[None]:
    """Speak it, with the words of the alerts and of the thresholds' sources."""
    return speaking(language, {**documents.TEXTS, **alerts.TEXTS})


def fill(text: str) -> str:
    """A text with thresholds filled in: `@name@` as the number, `@name%@` as per cent."""
    percent = re.sub(r"@(\w+)%@", lambda match: f"{THRESHOLDS[match[1]].value * 100:g} %", text)
    return re.sub(r"@(\w+)@", lambda match: f"{THRESHOLDS[match[1]].value:g}", percent)


def go(code: str) -> str:
    """Code of Prometheus's template language; within a value of a text its braces are not the catalogue's."""
    return f"{{{{ {code} }}}}"


def label(name: str) -> str:
    """Of labels that hold a text, the one in the language."""
    return name + LANGUAGES[spoken()]


def space() -> str:
    """What stands between two sentences."""
    return "" if spoken() == CHINESE else " "


def listed(parts: Iterable[str]) -> str:
    """With the language's comma between them."""
    return reduce(lambda one, other: say("{one}, {other}", one=one, other=other), parts)
