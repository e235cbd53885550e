"""The Chinese set: the same dashboards, every word translated, nothing else changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from yoloscope_exporter.language import zh_cn
from yoloscope_exporter.language.zh_cn import documents
from yoloscope_exporter.language.zh_cn.dashboards import TEXTS as OURS

from dashboards import pages
from dashboards.languages import LANGUAGES
from dashboards.localise import UntranslatedError, localised, readable
from dashboards.views import BOARDS
from tests.dashboards.queries import DASHBOARDS, annotations, panels, targets

ENGLISH = {board.name: board.json() for board in BOARDS}
each_board = pytest.mark.parametrize("name", ENGLISH)


DOCS = Path(__file__).parents[2] / "docs"
PLACEHOLDER = re.compile(r"\{\{.*?\}\}")


class Spy(dict[str, str]):
    """A table that has everything, and remembers what it was asked."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        super().__init__()
        self.asked: set[str] = set()

    def __contains__(self, text: object) -> bool:
        self.asked.add(str(text))
        return True

    def __missing__(self, text: str) -> str:
        return text


def asked() -> set[str]:
    """Every text the dashboards and their pages have."""
    spy = Spy()
    for dashboard in ENGLISH.values():
        localised(dashboard, spy, "-zh")
    return spy.asked | set(pages.HEADS)


ASKED = asked()
TEXTS = {english: chinese for english, chinese in LANGUAGES[0].texts.items() if english in ASKED}
#: Words that mean something else here: how many ranks, how much memory; names of arguments.
OTHERWISE = {"Ranks", "Epochs", "Memory used", "GPU memory used", "format", "source"}


def test_every_text_is_translated_and_no_translation_is_left_over() -> None:
    """The table and the dashboards have the same texts."""
    assert ASKED - set(TEXTS) == set(), "add them to language/zh_cn/dashboards.py"
    assert set(OURS) - ASKED == set(), "nothing shows them any more: remove them"


def test_what_everything_else_says_is_translated_there() -> None:
    """Their file has no text of the catalogue's others, but for words that mean something else."""
    others = {**zh_cn.TEXTS, **documents.TEXTS}
    assert {english for english in OURS if english in others} == OTHERWISE
    assert [english for english in OTHERWISE if OURS[english] == others[english]] == []


def test_a_text_without_translation_is_an_error() -> None:
    """The message is the text."""
    with pytest.raises(UntranslatedError, match="yoloscope / Fleet"):
        localised(ENGLISH["fleet"], {}, "-zh")


def test_translations_keep_placeholders_and_numbers() -> None:
    """What Grafana fills in, and figures, are in both texts."""
    for english, chinese in TEXTS.items():
        placeholders = sorted(PLACEHOLDER.findall(english))
        assert sorted(PLACEHOLDER.findall(chinese)) == placeholders, english
        for number in re.findall(r"\b\d{2,}\b", english):
            assert number in chinese or number == "10", (english, number)


def test_translations_are_chinese() -> None:
    """Only names that are the same everywhere go without a Chinese character."""
    same = [english for english, chinese in TEXTS.items() if not re.search(r"[\u4e00-\u9fff]", chinese)]
    assert [english for english in same if len(re.findall(r"[A-Za-z]+", PLACEHOLDER.sub("", english))) > 2] == []


def test_translations_have_chinese_punctuation() -> None:
    """No half-width comma, colon or semicolon beside Chinese words or between two things Grafana fills in."""
    half = r"[\u4e00-\u9fff}] ?[,;:!?]|[,;:!?][\u4e00-\u9fff{]|[A-Za-z0-9][,;](?! )"
    assert [
        chinese for chinese in TEXTS.values() if re.search(r"[\u4e00-\u9fff{]", chinese) and re.search(half, chinese)
    ] == []


def test_documents_named_in_chinese_are_the_chinese_ones() -> None:
    """Where a document has a Chinese edition, that is the one to open."""
    for chinese in TEXTS.values():
        for name in re.findall(r"docs/([\w-]+)\.md", chinese):
            assert not (DOCS / f"{name}.zh-CN.md").exists(), chinese


@each_board
def test_twins_ask_the_same(name: str) -> None:
    """Queries, annotations, ids and places are equal: only words differ, and the label that has a fix in words."""
    for twin_of in (targets, annotations):
        english, chinese = twin_of(f"en/{name}"), twin_of(f"zh-CN/{name}")
        assert [place.expr for place in english] == [re.sub(r"\bfix_zh\b", "fix", place.expr) for place in chinese]
    places = [
        [(panel["id"], panel["gridPos"]) for panel in panels(DASHBOARDS[f"{each}/{name}"])] for each in _LANGUAGES
    ]
    assert places[0] == places[1]


def test_fixes_are_in_the_dashboards_language() -> None:
    """The table of verdicts asks for the label of its language, and shows it."""
    for language, label in (("en", "fix"), ("zh-CN", "fix_zh")):
        (table,) = (one for one in panels(DASHBOARDS[f"{language}/run"]) if "fix_info" in one["targets"][0]["expr"])
        assert f"max by (verdict, {label}) (" in table["targets"][0]["expr"]
        include, organize = (one["options"] for one in table["transformations"][1:3])
        assert [one for one in include["include"]["names"] if one.startswith("fix")] == [label]
        assert label in organize["renameByName"]
        assert label in organize["indexByName"]


_LANGUAGES = ("en", "zh-CN")


@each_board
def test_no_english_title_is_left(name: str) -> None:
    """Titles, heads and descriptions that have words are Chinese, or listed as the same in both."""
    for text in _shown(DASHBOARDS[f"zh-CN/{name}"]):
        assert not readable(text) or re.search(r"[\u4e00-\u9fff]", text) or text in TEXTS.values(), text


def _shown(dashboard: dict[str, Any]) -> list[str]:
    texts = [dashboard["title"], dashboard["description"]]
    for panel in [*dashboard["panels"], *panels(dashboard)]:
        texts += [panel["title"], panel.get("description", "")]
        for step in panel.get("transformations", []):
            texts += step["options"].get("renameByName", {}).values()
    return [text for text in texts if text]
