"""Every generated file: its path below the root of the repository and its text."""

from __future__ import annotations

import json
from typing import Any

from dashboards import recording
from dashboards.languages import LANGUAGES
from dashboards.localise import localised
from dashboards.views import BOARDS

RULES = "deploy/prometheus/rules/recording.yml"


def dashboards() -> dict[str, dict[str, Any]]:
    """`language/name` -> the dashboard's JSON.

    Raises:
        UntranslatedError: for a text that a language lacks.
    """
    english = {board.name: board.json() for board in BOARDS}
    made = {f"en/{name}": dashboard for name, dashboard in english.items()}
    for language in LANGUAGES:
        twins = {name: localised(dashboard, language.texts, language.suffix) for name, dashboard in english.items()}
        made |= {f"{language.folder}/{name}": dashboard for name, dashboard in twins.items()}
    return made


def files() -> dict[str, str]:
    """Path -> text, of all of them."""
    boards = {f"dashboards/generated/{name}.json": _text(dashboard) for name, dashboard in dashboards().items()}
    return {**boards, RULES: recording.text()}


def _text(dashboard: dict[str, Any]) -> str:
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
