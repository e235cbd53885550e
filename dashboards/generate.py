"""Every generated file: dashboards, and the lower part of the pages about the dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dashboards import pages
from dashboards.languages import LANGUAGES
from dashboards.localise import localised
from dashboards.views import BOARDS

ROOT = Path(__file__).parents[1]


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
    made: dict[str, str] = {}
    for name, dashboard in dashboards().items():
        page = pages.path(*name.split("/"))
        made[f"dashboards/generated/{name}.json"] = _text(dashboard)
        made[page] = pages.page(_written(page), dashboard, name.split("/")[0])
    return made


def _written(page: str) -> str:
    """The page as it is now: its upper part is written by hand."""
    path = ROOT / page
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _text(dashboard: dict[str, Any]) -> str:
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
