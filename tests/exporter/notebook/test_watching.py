"""Arguments of `watch()`: each that cannot be is named, with what it may be."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import pip_install
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.notebook import watch, watching
from yoloscope_exporter.notebook.sources import Where
from yoloscope_exporter.notebook.watching import Helper, language_of

from tests.live import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("plotly", reason="needs the extra notebook")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"language": "fr"}, "language='fr': choose one of en, zh-CN"),
        ({"recording": "/nowhere.om"}, "recording='/nowhere.om': no such file; use one of `yoloscope record`"),
        ({"prometheus": "http://a", "since": "ages"}, "since='ages': invalid duration 'ages': use for example 500ms"),
        ({"prometheus": "http://a", "since": "1s"}, "since='1s': 1s is outside 10s to"),
        ({"exporter": "http://a", "prometheus": "http://b"}, "choose one of exporter=, recording=, prometheus="),
        ({"exporter": 9911}, "exporter=9911: use a URL such as http://127.0.0.1:9911"),
        ({"exporter": ""}, "exporter='': use a URL such as"),
        ({"prometheus": "ftp://a"}, "prometheus='ftp://a': use a URL such as"),
        ({"cluster": "a"}, "cluster='a': only with prometheus="),
        ({"background": "yes"}, "background='yes': use True or False"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], said: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=re.escape(said)):
        watch(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"recording": "/nowhere.om"}, "recording='/nowhere.om'：没有这个文件；请用 `yoloscope record` 写的文件"),
        ({"prometheus": "http://a", "since": "ages"}, "since='ages'：无效的时长 'ages'"),
        ({"exporter": "http://a", "prometheus": "http://b"}, "exporter=、recording=、prometheus= 只能选一个"),
        ({"exporter": 9911}, "exporter=9911：请用 URL，例如 http://127.0.0.1:9911"),
        ({"cluster": "a"}, "cluster='a'：只能与 prometheus= 一起使用"),
        ({"background": "yes"}, "background='yes'：请用 True 或 False"),
    ],
)
def test_arguments_that_cannot_be_in_chinese(arguments: dict[str, Any], said: str) -> None:
    """As everything else."""
    with pytest.raises(ValueError, match=re.escape(said)):
        watch(**arguments, language="zh-CN")


def test_errors_of_a_source_in_chinese(tmp_path: Path) -> None:
    """What the second process says is told in the language of the cell, whoever found it."""
    helper = Helper(Where(exporter=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(SourceError, match="没有应答：连接被拒绝"):
        helper.ask({"run": "", "language": "zh-CN"})
    path = tmp_path / "night.om"
    path.write_text("nothing\n")
    helper = Helper(Where(recording=str(path)))
    with pytest.raises(SourceError, match="没有带时间戳的 yoloscope 样本"):
        helper.ask({"run": "", "language": "zh-CN"})
    helper.end()


def test_without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=re.escape(pip_install("notebook"))):
        watch()


def test_an_exporter_that_is_not_there() -> None:
    """In the words of the other commands."""
    helper = Helper(Where(exporter=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(SourceError, match="does not answer: Connection refused"):
        helper.ask({"run": "", "language": "en"})


def test_a_cell_that_is_run_again_takes_over() -> None:
    """Else each run would leave a thread behind; another run or language is another picture."""
    helper, events = Helper(Where()), [threading.Event() for _ in range(3)]
    helper.taken_over({"run": "", "language": "en"}, events[0])
    helper.taken_over({"run": "", "language": "zh-CN"}, events[1])
    assert not any(event.is_set() for event in events)
    helper.taken_over({"run": "", "language": "en"}, events[2])
    assert [event.is_set() for event in events] == [True, False, False]


def test_second_processes_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each source, and the one that was not asked for longest ends; what is drawn all the time goes on."""
    monkeypatch.setattr(watching, "PROCESSES", 1)
    monkeypatch.setattr(watching, "_asked", [])
    helpers = [Helper(Where(recording=str(tmp_path / f"{name}.om"))) for name in "ab"]
    over = threading.Event()

    def ask(helper: Helper) -> None:
        with pytest.raises(SourceError, match="No such file"):
            helper.ask({"run": "", "language": "en"})

    def alive() -> list[bool]:
        return [one._process is not None and one._process.poll() is None for one in helpers]

    helpers[0].taken_over({"run": "", "language": "en"}, over)
    for helper in helpers:
        ask(helper)
    assert alive() == [True, True]
    over.set()
    ask(helpers[1])
    assert alive() == [False, True]
    for helper in helpers:
        helper.end()
    assert not any(alive())


def test_a_file_that_is_no_recording(tmp_path: Path) -> None:
    """Said when it is read, and the second process lives on."""
    path = tmp_path / "night.om"
    path.write_text("nothing\n")
    helper = Helper(Where(recording=str(path)))
    for _ in range(2):
        with pytest.raises(SourceError, match="no samples of yoloscope"):
            helper.ask({"run": "", "language": "en"})
    helper.end()


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
