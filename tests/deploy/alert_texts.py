"""What an alert says, in a language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.language import say

from deploy.prometheus.rulebook.model import TEXTS
from deploy.prometheus.texts import fill, in_language

if TYPE_CHECKING:
    from deploy.prometheus.rulebook.model import Alert


def texts_of(alert: Alert, language: str) -> dict[str, str]:
    """Every text of it with its thresholds, by its name."""
    with in_language(language):
        return {name: fill(say(getattr(alert, name))) for name in TEXTS}
