"""Texts in two languages, and which of them is spoken."""

from __future__ import annotations

import re
from string import Formatter

import pytest
from yoloscope_exporter.notebook.words import WORDS, Words, language_of

_HALF_WIDTH = re.compile(r"[\u4e00-\u9fff] ?[,:;?!(]|[,:;?!)] ?[\u4e00-\u9fff]")


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_both_languages_say_the_same(words: Words) -> None:
    """The same values, neither empty, Chinese punctuation in Chinese."""
    fields = [[(name, spec) for _, name, spec, _ in Formatter().parse(text)] for text in words]
    assert [name for name, _ in fields[0]].count("") == [name for name, _ in fields[1]].count("")
    assert all(words)
    assert not _HALF_WIDTH.search(words.zh)


@pytest.mark.parametrize(
    ("chosen", "environ", "language"),
    [
        ("zh-CN", {"YOLOSCOPE_LANGUAGE": "en"}, "zh-CN"),
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"YOLOSCOPE_LANGUAGE": "zh-CN", "LC_ALL": "en_US.UTF-8"}, "zh-CN"),
        (None, {"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh-CN"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {}, "en"),
    ],
)
def test_language(chosen: str | None, environ: dict[str, str], language: str) -> None:
    """The argument, else YOLOSCOPE_LANGUAGE, else the locale."""
    assert language_of(chosen, environ) == language


@pytest.mark.parametrize("wrong", ["fr", "", "zh", "EN"])
def test_a_language_that_there_is_not(wrong: str) -> None:
    """Names the argument and what it may be."""
    with pytest.raises(ValueError, match=re.escape(f"language={wrong!r}: choose one of en, zh-CN")):
        language_of(wrong, {})
