"""The diagnosis' verdicts for panels: how severe each is, in which colour, in which words. From its own table."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter.diagnosis.rules import CRITICAL, INFO, OK, RULES, WARNING

from dashboards import look

_COLOURS: Final = {OK: look.OK, INFO: look.NEUTRAL, WARNING: look.WARNING, CRITICAL: look.CRITICAL}

LEVELS: Final = look.mapping(
    {
        "1": ("healthy", look.OK),
        "2": ("to note", look.NEUTRAL),
        "3": ("holds it back", look.WARNING),
        "4": ("broken", look.CRITICAL),
    }
)
STEPS: Final[look.Steps] = (
    (None, look.NEUTRAL),
    (1, look.OK),
    (2, look.NEUTRAL),
    (3, look.WARNING),
    (4, look.CRITICAL),
)
#: For columns that show the verdict's name.
TITLES: Final = look.mapping({rule.name: (rule.title, _COLOURS[rule.severity]) for rule in RULES})
