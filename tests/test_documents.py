"""Every document: links lead somewhere, commands of yoloscope parse, and nobody is sent to a page that is not there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from yoloscope_exporter.catalog import BY_NAME
from yoloscope_exporter.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])


def _anchor(heading: str) -> str:
    """As GitHub makes it: lower case, spaces to hyphens, punctuation away."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file, and every anchor a heading of it."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            assert anchor in {_anchor(heading) for heading in headings}, target


def _blocks(document: Path) -> str:
    return "".join(re.findall(r"(?ms)^ *```(?:console|sh|bash)\n(.*?)^ *```$", document.read_text(encoding="utf-8")))


def _commands(document: Path) -> list[list[str]]:
    lines = _blocks(document).replace("\\\n", " ").splitlines()
    return [
        shlex.split(part, comments=True) for line in lines for part in re.findall(r"^\s*\$?\s*(yoloscope .*)$", line)
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_commands_parse(document: Path) -> None:
    """What a document tells people to type has the options that the command has."""
    for words in _commands(document):
        ends = [index for index, word in enumerate(words) if word in {"|", ">", "&", "&&", ";"} or word.endswith(";")]
        arguments = [word.rstrip(";") for word in words[1 : min(ends, default=len(words))]]
        if arguments[0] == "--version":
            continue
        assert arguments[0] in COMMANDS, words
        command = main.get_command(click.Context(main), arguments[0])
        assert command is not None
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
        used = {word.partition("=")[0] for word in given if word.startswith("--")}
        assert used - {"--help"} <= known, words


README = ("README.md", "README.zh-CN.md")


def _words(name: str) -> list[list[str]]:
    """The commands of a document, without comments; those on one line apart."""
    lines = [shlex.split(line, comments=True) for line in _blocks(ROOT / name).splitlines()]
    parts: list[list[str]] = []
    for line in filter(None, lines):
        parts.append([])
        for word in line:
            if word in {"&&", "|"}:
                parts.append([])
            else:
                parts[-1].append(word)
    return parts


def test_both_languages_say_the_same_commands() -> None:
    """Comments are translated, commands are not."""
    english, chinese = map(_words, README)
    assert english == chinese
    assert len(english) > 12


@pytest.mark.parametrize("name", README)
def test_commands_are_shell(name: str) -> None:
    """The shell parses every block."""
    subprocess.run(["bash", "-n"], input=_blocks(ROOT / name), text=True, check=True)


@pytest.mark.parametrize("name", README)
def test_commands_of_the_readme_find_what_they_name(name: str) -> None:
    """Targets of make, folders, and metrics to look for exist."""
    targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    known = {
        "make": lambda word: word in targets,
        "cd": lambda word: (ROOT / word).is_dir(),
        "grep": lambda word: any(word in metric for metric in BY_NAME),
    }
    found = [(words[0], words[1]) for words in _words(name) if words[0] in known]
    assert "make" in {program for program, _ in found}
    assert [each for each in found if not known[each[0]](each[1])] == []


#: Documents for those who change the code: a file that they name and that is gone misleads.
FOR_DEVELOPERS = ("CONTRIBUTING.md", "docs/design.md", *README)
_SUFFIXES = (".py", ".md", ".toml", ".yml", ".om.gz", ".svg", ".css", ".html", "/")
#: What is made by running something, and files of others.
_NOT_OURS = {".cache/second-try.json"}


def _paths(text: str) -> set[str]:
    """What is written as code and looks like a path in this repository."""
    top = {path.name for path in ROOT.iterdir()}
    words = set(re.findall(r"`([^`\s]+)`", re.sub(r"(?ms)^ *```.*?^ *```$", "", text)))
    likely = {word for word in words if word.partition("/")[0] in top or word.endswith(_SUFFIXES)}
    return {word for word in likely - _NOT_OURS if not word.startswith("/")}


@pytest.mark.parametrize("name", FOR_DEVELOPERS)
def test_paths_exist(name: str) -> None:
    """Every file and folder that they name is there, by its path from the root or from the exporter's package."""
    found = sorted(_paths((ROOT / name).read_text(encoding="utf-8")))
    roots = (ROOT, ROOT / "exporter" / "yoloscope_exporter")
    assert [path for path in found if not any((root / path).exists() for root in roots)] == []
    assert name.startswith("README") or len(found) > 5


def test_a_path_that_is_gone_is_seen() -> None:
    """Among words that are none: options, metrics, arguments, paths of the machine."""
    assert _paths("`docs/gone.md` `gone.py` `tests/gone` `--write` `batch=8` `yoloscope_up` `project/name`") == {
        "docs/gone.md",
        "gone.py",
        "tests/gone",
    }


#: Those that people write and those that are generated.
CHINESE = tuple(_name(path) for path in DOCUMENTS if path.name.endswith(".zh-CN.md"))
#: For maintainers and for who reads the code.
ENGLISH_ALONE = {"CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "docs/design.md", "docs/release.md"}
_HALF_WIDTH = re.compile(r"[\u4e00-\u9fff] ?[,:;?!(]|[,:;?!)] ?[\u4e00-\u9fff]")
#: Words that have another one in these documents: hooks, exporter or collector, you, batch, epoch, worker, reserved,
#: data wait, run.
_OTHER_WORDS = (
    *("钩子", "采集项", "导出器", "您", "批次", "批量", "轮次", "加载进程", "预留", "供数", "次训练任务", "运行名称"),
    *("拖后腿", "制动", "来来去去"),
)


def _half_width(text: str) -> list[str]:
    """Places where ASCII punctuation stands beside Chinese, code and the targets of links aside."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "``", prose)
    return _HALF_WIDTH.findall(prose)


def test_every_page_is_there_in_both_languages() -> None:
    """But for those that are for who works on yoloscope."""
    pages = {_name(path) for path in DOCUMENTS if not _name(path).startswith("deploy/")} - set(CHINESE)
    assert {name for name in pages if name.replace(".md", ".zh-CN.md") not in CHINESE} == ENGLISH_ALONE


@pytest.mark.parametrize("name", CHINESE)
def test_chinese_pages_lead_to_chinese_ones(name: str) -> None:
    """Where there are such; tables of measurements stand in the English pages alone."""
    links = re.findall(r"\]\(((?!https?:)[^)#\s]+\.md)", (ROOT / name).read_text(encoding="utf-8"))
    english = {((ROOT / name).parent / link).resolve() for link in links if not link.endswith(".zh-CN.md")}
    translated = {path for path in english if path.with_name(path.name.replace(".md", ".zh-CN.md")).exists()}
    itself = (ROOT / name.replace(".zh-CN.md", ".md")).resolve()
    assert {_name(path) for path in translated - {itself}} <= {"docs/benchmarks.md"}


@pytest.mark.parametrize("name", CHINESE)
def test_chinese_pages_keep_to_terms_and_punctuation(name: str) -> None:
    """Punctuation is full-width, and each thing has one name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert _half_width(text) == []
    assert [word for word in _OTHER_WORDS if word in text] == []


def test_half_width_punctuation_is_seen() -> None:
    """But not that of code, links, and English words."""
    assert _half_width("见 [文档](a.md)，运行 `a,b` 或 `c`（d, e）；English: yes") == []  # noqa: RUF001 - Chinese has it
    assert _half_width("训练,验证") == ["练,"]
    assert _half_width("显卡(GPU)") == ["卡("]
