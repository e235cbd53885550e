"""The diagnosis' verdicts for panels: how severe each is, in which colour, in which words. From its own table."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis.rules import PREDICTION_RULES, RULES

from dashboards import look

LEVELS: Final = look.mapping(
    {
        "1": ("healthy", look.OK),
        "2": ("note", look.NEUTRAL),
        "3": ("slows the run", look.WARNING),
        "4": ("failed", look.CRITICAL),
    }
)
STEPS: Final[look.Steps] = (
    (None, look.NEUTRAL),
    (1, look.OK),
    (2, look.NEUTRAL),
    (3, look.WARNING),
    (4, look.CRITICAL),
)
#: For columns that show the verdict's name, on trainings and on predictions.
TITLES, PREDICTION_TITLES = (
    look.mapping({rule.name: (rule.title, colours.VERDICTS[rule.name]) for rule in table})
    for table in (RULES, PREDICTION_RULES)
)
