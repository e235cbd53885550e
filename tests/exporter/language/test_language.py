"""Texts: English to everything that takes a string, and told in another language later."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import copy
import json
import threading

import pytest
from yoloscope_exporter.language import (
    CHINESE,
    ENGLISH,
    finished,
    joined,
    of_the_environment,
    plural,
    preferred,
    reason,
    say,
    say_page,
    speaking,
    spoken,
    text,
    translated,
)

DEATHS = plural(2, "{number:.0f} loader worker", "{number:.0f} loader workers")


def test_a_text_is_english() -> None:
    """For JSON, labels, comparisons and f-strings."""
    told = text("GPU busy {gpu_busy:.0%}", gpu_busy=0.42)
    assert told == "GPU busy 42%"
    assert json.dumps({"evidence": told}) == '{"evidence": "GPU busy 42%"}'
    assert f"{told}!" == "GPU busy 42%!"


def test_it_is_told_in_chinese_with_the_same_values() -> None:
    """Numbers in the format of the template."""
    told = text("GPU busy {gpu_busy:.0%}", gpu_busy=0.42)
    assert translated(told, CHINESE) == "GPU 忙 42%"
    assert translated(told, ENGLISH) == told


@pytest.mark.parametrize(
    ("number", "shown"), [(0.01234, "0.0123"), (12.34, "12.3"), (999.6, "1000"), (1234.5, "1234"), (-12345, "-12345")]
)
def test_large_numbers_are_written_out(number: float, shown: str) -> None:
    """A card trains thousands of images a second: nobody reads 1.23e+03, in no language."""
    told = text("{rate:.3g} images/s", rate=number)
    assert told == say("{rate:.3g} images/s", rate=number) == f"{shown} images/s"
    assert translated(told, CHINESE).split(" ")[0] == shown


def test_texts_within_texts_are_told_too() -> None:
    """By whatever they were put together."""
    inner = text("in epoch {epoch:.0f}", epoch=3)
    assert translated(text("{counted} died{how}{oom_kills}{shared_memory}", counted=DEATHS, how="", oom_kills="",
                           shared_memory=""), CHINESE) == "2 个数据加载 worker异常退出"  # fmt: skip
    both = text("storage is not seen to be busy") + text(" (GPU busy {gpu_busy:.0%})", gpu_busy=0.5)
    assert both == "storage is not seen to be busy (GPU busy 50%)"
    assert translated(both, CHINESE) == "没有看到存储繁忙（GPU 忙 50%）"
    assert str(joined((inner, "", "x"))) == "in epoch 3; x"


def test_joined_lists_have_chinese_punctuation() -> None:
    """Clauses, and names."""
    waiting = text("waiting for its loader")
    assert translated(joined((waiting, text("computing"))), CHINESE) == "在等它的 loader；计算中"
    assert translated(joined((waiting, text("computing")), ", "), CHINESE) == "在等它的 loader，计算中"
    assert translated(joined(("train", "validate"), ", "), CHINESE) == "train、validate"


def test_a_text_survives_str_copies_and_errors() -> None:
    """It keeps what it knows."""
    told = text("no run {run!r} here", run="a {b}")
    for kept in (str(told), copy.deepcopy(told), reason(ValueError(told)), finished(told)):
        assert kept == "no run 'a {b}' here"
        assert translated(kept, CHINESE) == "这里没有任务 'a {b}'"


def test_without_values_braces_stand_for_themselves() -> None:
    """As in names and messages of other people."""
    assert text("{nobody}") == "{nobody}"
    with speaking(CHINESE):
        assert say("{nobody}") == "{nobody}"


def test_plurals_are_one_text() -> None:
    """The Chinese has no number."""
    assert (str(DEATHS), plural(1, "{number:.0f} loader worker", "")) == ("2 loader workers", "1 loader worker")
    assert translated(DEATHS, CHINESE) == "2 个数据加载 worker"


def test_the_language_is_that_of_the_call() -> None:
    """And English in a thread that nobody told otherwise."""
    seen: list[str] = []
    with speaking(CHINESE):
        assert say("worker {name}", name="3") == "worker 3"
        assert say("no verdict") == "没有结论"
        thread = threading.Thread(target=lambda: seen.append(say("no verdict")))
        thread.start()
        thread.join()
        with speaking(ENGLISH):
            assert say("no verdict") == "no verdict"
    assert (seen, spoken()) == (["no verdict"], ENGLISH)


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, ENGLISH),
        ({"LANG": "zh_CN.UTF-8"}, CHINESE),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, ENGLISH),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, CHINESE),
        ({"LANG": "zh_CN.UTF-8", "YOLOSCOPE_LANGUAGE": "en"}, ENGLISH),
        ({"LANG": "C", "YOLOSCOPE_LANGUAGE": "zh-CN"}, CHINESE),
        ({"YOLOSCOPE_LANGUAGE": ""}, ENGLISH),
        ({"LANG": "de_DE.UTF-8"}, ENGLISH),
        ({"LANG": "zh_TW"}, CHINESE),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, CHINESE),
    ],
)
def test_language_of_the_environment(environ: dict[str, str], language: str) -> None:
    """YOLOSCOPE_LANGUAGE, else the locale, as other programs read it."""
    assert of_the_environment(environ) == language


@pytest.mark.parametrize(
    ("named", "language"),
    [
        ("", ENGLISH),
        ("fr", ENGLISH),
        ("zh-TW", CHINESE),
        ("fr, zh;q=0.5, en;q=0.4", CHINESE),
        ("en-GB,zh", ENGLISH),
        ("x" * 9000 + ";;,,=", ENGLISH),
    ],
)
def test_language_of_a_browser(named: str, language: str) -> None:
    """The first of the two that it names."""
    assert preferred(named) == language


def test_what_only_generated_files_say_is_brought_along() -> None:
    """Whole, as a template and clause by clause, beside what everybody says; afterwards it is not known any more."""
    also = {"Only {who} says this.": "只有{who}这样说。", "nobody else": "没有别人"}
    with speaking(CHINESE, also):
        assert say("Only {who} says this.", who="x") == "只有x这样说。"
        assert say("nobody else; healthy") == "没有别人；健康"
        assert say("healthy") == "健康"
        with speaking(CHINESE):
            assert say("nobody else") == "nobody else"
    assert translated("nobody else", CHINESE) == "nobody else"


def test_a_page_is_told_paragraph_by_paragraph() -> None:
    """With its values; code and what is not known stay."""
    page = "# Title\n\n{name} of\ntwo lines\n\n```console\nls\n```\n"
    assert say_page(page, name="x") == page.format(name="x")
    with speaking(CHINESE, {"# Title": "# 标题", "{name} of\ntwo lines": "两行的\n{name}"}):
        assert say_page(page, name="x") == "# 标题\n\n两行的\nx\n\n```console\nls\n```\n"
