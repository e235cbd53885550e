"""The texts of the page: complete, used, and Chinese where they say they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import colours, rules, ultralytics_arguments
from yoloscope_exporter.history.events import KINDS
from yoloscope_exporter.web import page, texts

WEB = Path(page.__file__).parent
SCRIPT = (WEB / "static/page.js").read_text(encoding="utf-8")
TEMPLATE = (WEB / "templates/page.html").read_text(encoding="utf-8")
TABLES = (texts.PAGE, texts.CHARTS, texts.STATES, texts.SEVERITIES, texts.EVENTS, texts.THROTTLE_REASONS, texts.EFFECTS)
ALL = [(name, text) for table in TABLES for name, text in table.items()]
#: Words that are the same in both languages.
SAME = re.compile(
    r"yoloscope exporter|JSON|rank|rank \{\}|worker|GPU|epoch \{value\}|Epoch|best\.pt|\{value\}|epoch \{\} / \{\}"
    r"|\{\}.rank \{\}|GPU \{name\}.Xid \{value\}"
)


def test_the_page_uses_every_text_and_has_every_text_it_uses() -> None:
    """Of the template and of the script."""
    of_template = set(re.findall(r"words\.(\w+)", TEMPLATE)) | set(re.findall(r'words\["(\w+)"\]', TEMPLATE))
    links = {"metrics", "api", "ready", "healthy"}
    states = {"stale", "lost", "password", "crowded", "unreachable"}
    of_script = set(re.findall(r"words\.(\w+)", SCRIPT)) | {name for name in states if f"'{name}'" in SCRIPT}
    of_ranges = {word for _, word in page.RANGES}
    assert of_template | of_script | of_ranges | links == set(texts.PAGE)


def test_every_value_that_is_shown_has_a_text() -> None:
    """States, severities, kinds of events, reasons of throttling, effects of advice, charts."""
    assert set(colours.STATES) <= set(texts.STATES)
    assert set(catalog.STATES) <= set(texts.STATES)
    assert set(texts.SEVERITIES) == set(rules.SEVERITIES)
    assert set(texts.EVENTS) == set(KINDS)
    assert set(texts.THROTTLE_REASONS) == set(catalog.THROTTLE_REASONS)
    known = {effect for effects in ultralytics_arguments.EFFECTS.values() for effect in effects}
    assert set(texts.EFFECTS) == {"", *known, *ultralytics_arguments.UNKNOWN_EFFECT}


@pytest.mark.parametrize(("name", "text"), ALL)
def test_texts_are_in_both_languages(name: str, text: texts.Text) -> None:
    """None is empty, places are the same, Chinese is Chinese with its own punctuation."""
    assert text.en
    assert text.zh
    for place in (r"\{\}", r"\{\w+\}"):
        assert sorted(re.findall(place, text.en)) == sorted(re.findall(place, text.zh))
    if name == "other_language":
        assert (text.en, text.zh) == ("中文", "English")
        return
    assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text.en)
    assert SAME.fullmatch(text.zh) or re.search(r"[\u4e00-\u9fff]", text.zh)
    assert not re.search(r"[\u4e00-\u9fff] ?[,;:!?]|[,;:!?][\u4e00-\u9fff]|\.\.\.", text.zh)


def test_terms_are_those_of_the_project() -> None:
    """One term for one thing."""
    chinese = "\n".join(text.zh for _, text in ALL)
    english = "\n".join(text.en for _, text in ALL)
    for wrong in ("批次", "批量", "轮次", "钩子", "进程序号", "供数", "内核", "导出器", "预留", "您"):
        assert wrong not in chinese
    for wrong in ("utilisation", "stethoscope", "training run"):
        assert wrong not in english


@pytest.mark.parametrize(
    ("asked", "accepted", "expected"),
    [
        ("", "", "en"),
        ("", "fr", "en"),
        ("", "zh-TW", "zh"),
        ("", "fr, zh;q=0.5, en;q=0.4", "zh"),
        ("", "en-GB,zh", "en"),
        ("zh", "en", "zh"),
        ("fr", "zh", "zh"),
        ("x" * 9000, ";;,,=", "en"),
    ],
)
def test_language(asked: str, accepted: str, expected: str) -> None:
    """What was asked for, else the first of the two that the browser names."""
    assert texts.language(asked, accepted) == expected


def test_a_state_nobody_has_heard_of_is_shown_as_it_is() -> None:
    """A newer record may have one."""
    assert texts.told(texts.STATES, "dreaming", "zh") == "dreaming"
