"""The catalogue is complete: every text has its Chinese, with the same placeholders, and nothing in it is unused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from yoloscope_exporter import cli
from yoloscope_exporter.language import BETWEEN, CHINESE, finished, speaking, translated
from yoloscope_exporter.language.translation import _fixed, _pattern, has_words, is_known, placeholders
from yoloscope_exporter.language.zh_cn import FILES, TEXTS, alerts, documents

from tests.exporter.language import texts

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What programs say, and what only generated files say, by the file of the catalogue.
SAID, WRITTEN = texts.said(), texts.written()
BY_FILE = {"documents": documents.TEXTS, "alerts": alerts.TEXTS}
#: Files of the catalogue whose texts come from elsewhere: click's own, and the system's reasons of errors.
FROM_ELSEWHERE = frozenset({*texts.of_click(), *texts.of_the_system()})
EVERY_TEXT = [item for table in (TEXTS, *BY_FILE.values()) for item in table.items()]
of_each_kind = pytest.mark.parametrize(
    ("wanted", "also"),
    [
        pytest.param(SAID, {}, id="programs"),
        pytest.param(WRITTEN["documents"], documents.TEXTS, id="documents"),
        pytest.param(WRITTEN["alerts"], {**documents.TEXTS, **alerts.TEXTS}, id="alerts"),
    ],
)


def clauses(text: str, known: Mapping[str, str]) -> list[str]:
    """The parts of a text that need a translation: itself if there is one, else its clauses that say something."""
    if text in known:
        return [text]
    parts = [part for part in text.split(BETWEEN) if part.strip()]
    return [part for part in parts if "{" not in part or has_words(_fixed(part))]


def needs_none(part: str) -> bool:
    """Units, numbers and code, which are the same in any language."""
    return (
        part.startswith(("```", "    "))
        or not re.search(r"[A-Za-z]{2}", part)
        or re.fullmatch(r"\{scheme\}\+unix://\{path\}", part) is not None
    )


def is_told(part: str) -> bool:
    """Whether a pattern translates it, and not only a word or two of it."""
    return is_known(part) and not re.search(r"([A-Za-z]{2,} ){2}[A-Za-z]{2,}", translated(finished(part), CHINESE))


@of_each_kind
def test_every_text_has_a_translation(wanted: dict[str, str], also: dict[str, str]) -> None:
    """Add what is missing to its file in `language/zh_cn`."""
    known = {**TEXTS, **also}
    with speaking(CHINESE, also):
        missing = {
            part: where
            for text, where in wanted.items()
            for part in clauses(text, known)
            if part not in known and not is_told(part) and not needs_none(part)
        }
    assert missing == {}


@pytest.mark.parametrize(
    ("wanted", "table"),
    [
        pytest.param(
            {**SAID, **WRITTEN["documents"]}, TEXTS, id="programs"
        ),  # what is told of a verdict stays together
        *(pytest.param(WRITTEN[name], table, id=name) for name, table in BY_FILE.items()),
    ],
)
def test_nothing_is_translated_that_nobody_says(wanted: dict[str, str], table: Mapping[str, str]) -> None:
    """Remove what is left over, or mend what has changed in the source."""
    said = {part for text in wanted for part in (text, *text.split(BETWEEN))} | FROM_ELSEWHERE
    left = [text for text in table if text not in said]
    assert [text for text in left if not any(_pattern(text).fullmatch(one) for one in wanted)] == []


def test_the_collection_finds_what_it_is_for() -> None:
    """Texts of each kind."""
    wanted = {**SAID, **WRITTEN["documents"], **WRITTEN["alerts"]}
    assert len(wanted) > 1800
    for text in (
        "{bound}{data_wait_share:.0%} of training time waits for data",  # evidence
        "Too few loader workers",  # a title
        "fewer workers, no RAM cache, or a higher limit (--mem, resources.limits.memory)",  # a cause's remedy
        "Diagnose the last window of a running exporter. [default: http://127.0.0.1:9911]",  # an option
        "Summarise a run, compare runs, or show the last batches before a crash.",  # a command
        "Where the time went",  # HTML
        "{number:.0f} worker",  # a number and its noun
        "training batches in the window",  # a document
        "Last hour",  # the live page
        "epoch {epoch} of {epochs}",  # its script
        "writing a checkpoint",  # what it calls a state
        "No epoch has begun yet.",  # the notebook
        "Waiting for data",  # a measure
        "the GPU is faulty: {{ $labels.fault }}",  # an alert
        "a reset of the GPU takes some seconds",  # why it waits
        "{value} samples",  # a threshold of one
    ):
        assert text in wanted, text


def test_placeholders_are_the_same() -> None:
    """Their names, however often and in whatever order; what click fills in may be English, and is left out."""
    for english, chinese in EVERY_TEXT:
        ours, theirs = set(placeholders(english)), set(placeholders(chinese))
        assert ours == theirs or (english in FROM_ELSEWHERE and theirs < ours), english


def test_prometheus_fills_in_the_same() -> None:
    """What stands in double braces, in a summary and its Chinese."""
    for english, chinese in alerts.TEXTS.items():
        ours, theirs = (set(re.findall(r"\{\{.*?\}\}|@\w+%?@", told)) for told in (english, chinese))
        assert ours == theirs, english


def test_no_text_is_translated_twice() -> None:
    """In two files."""
    files = [*(file.TEXTS for file in FILES), *BY_FILE.values()]
    assert sum(map(len, files)) == len({english for file in files for english in file})


def test_chinese_stands_in_the_catalogue_alone() -> None:
    """In no other source, but for what the language is called in itself."""
    places = ("exporter", "trainer_hooks", "dashboards", "deploy", "docs")
    found = {
        line.strip()
        for place in places
        for path in (texts.ROOT / place).rglob("*.py")
        if path.parent.name != "zh_cn"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"[一-鿿]", line)
    }
    assert found == {'NAMES: Final = {ENGLISH: "English", CHINESE: "中文"}'}


def test_punctuation_is_chinese() -> None:
    """Full width beside Chinese characters."""
    wrong = [chinese for _, chinese in EVERY_TEXT if re.search(r"[一-鿿][,;:!?(]|[,;:!?)][一-鿿]", chinese)]
    assert wrong == []


@pytest.mark.parametrize(
    "avoided", ["采集项", "训练运行", "批次", "批量", "轮次", "钩子", "供数", "预留显存", "进程序号", "作业名", "您"]
)
def test_terms(avoided: str) -> None:
    """One term for one thing, by the project's list."""
    assert [chinese for _, chinese in EVERY_TEXT if avoided in chinese] == []


def test_every_command_and_option_is_described() -> None:
    """There is something to translate."""
    for path, command in texts.commands():
        assert command.help, path
        assert all(option.help for option in command.params if isinstance(option, click.Option)), path
    assert Path(cli.__file__).exists()
