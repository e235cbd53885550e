"""A run-through in Chinese: no English sentence is left but code, names and what Ultralytics itself says."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console
from yoloscope_exporter import catalog, cli
from yoloscope_exporter.catalog import document as metrics
from yoloscope_exporter.commands.spoken import wrapped
from yoloscope_exporter.diagnosis import document, rules
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language import CHINESE, speaking
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports import ending, html
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.markdown import comparison_markdown, summary_markdown
from yoloscope_exporter.reports.summary import known_runs, summarize
from yoloscope_exporter.terminal import screen

from tests.exporter.language import texts
from tests.exporter.language.leftovers import english

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

RECORDINGS = Path(__file__).parents[2] / "recordings"
#: Phases, states and rows of words that are names.
KNOWN = frozenset({*catalog.PHASES, *rules.BY_NAME})


def in_html(page: str) -> str:
    """What is seen of a page."""
    return re.sub(r"<[^>]+>", "\n", re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>", "", page))


def invoke(*arguments: str) -> str:
    """What a command says in Chinese, to stdout and stderr."""
    told = CliRunner().invoke(cli.main, list(arguments), env={"YOLOSCOPE_LANGUAGE": CHINESE}, prog_name="yoloscope")
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.output


def drawn(shown: RenderableType) -> str:
    """What a terminal of 80 columns shows."""
    console = Console(width=80)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def test_the_checker_finds_sentences() -> None:
    """And lets code pass."""
    assert english("修改方法  fewer workers, no RAM cache") == ["fewer workers, no RAM cache"]
    assert english("对 worker 执行三次 py-spy dump --pid PID（锁、管道）；workers=4；`yolo train a b c`") == []


@pytest.mark.parametrize("path", [path for path, _ in texts.commands()])
def test_help(path: str) -> None:
    """Of every command."""
    told = invoke(*path.split()[1:], "--help")
    assert "用法：" in told
    assert "选项：" in told
    assert english(re.sub(r"(?m)^用法：.*$", "", told)) == []


def test_the_option_chooses_whatever_the_environment_says() -> None:
    """Before the command or behind it; the environment chooses where it is not given."""
    for arguments in (("--language", "en", "top", "--help"), ("top", "--language=en", "--help")):
        assert "Refresh interval." in invoke(*arguments)
    assert "刷新间隔。" in invoke("top", "--help")
    told = CliRunner().invoke(cli.main, ["top", "--language", "zh-CN", "--help"], env={"YOLOSCOPE_LANGUAGE": "en"})
    assert "刷新间隔。" in told.output


def test_english_is_as_ever_after_chinese() -> None:
    """Nothing of a command is changed for good."""
    before = CliRunner().invoke(cli.main, ["report", "--help"]).output
    invoke("report", "--help")
    assert CliRunner().invoke(cli.main, ["report", "--help"]).output == before


def test_help_fits_the_terminal() -> None:
    """Chinese characters take two cells."""
    from rich.cells import cell_len  # noqa: PLC0415

    told = CliRunner().invoke(cli.main, ["serve", "--help"], env={"YOLOSCOPE_LANGUAGE": CHINESE}, terminal_width=80)
    assert max(map(cell_len, told.output.splitlines())) <= 80
    assert wrapped("超出波动（97% 置信）则退出", 12) == ["超出波动", "（97% 置信）", "则退出"]  # no number is cut
    assert not [line for line in told.output.splitlines() if re.match(r"\s*[，。；：！？）、]", line)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope",), "没有命令 'nope'"),
        (("top", "--nope"), "没有选项 '--nope'"),
        (("top", "--interval"), "选项 '--interval' 需要一个值"),
        (("top", "--interval", "5y"), "无效的时长 '5y'"),
        (("top", "--interval", "500h"), "超出 0.2s 到 60s 的范围"),
        (("top", "--language", "fr"), "'fr' 不在 'en', 'zh-CN' 之中"),
        (("top", "more"), "多余的参数（more）"),
        (("demo", "--epochs", "1"), "1 不在范围 2<=x<=100 之内"),
        (("simulate", "--nodes", "x"), "'x' 不是有效的 integer range"),
        (("record",), "缺少参数"),
        (("diagnose", "--recording", "/nowhere"), "'/nowhere' 不存在"),
        (("diagnose", "--recording", str(Path(__file__))), "其中没有带时间戳的 yoloscope 样本"),
        (("diagnose", "--exporter", "http://127.0.0.1:1"), "127.0.0.1:1 没有应答：连接被拒绝"),
        (("diagnose", "--exporter", "x://y"), "无效的 URL 'x://y"),
        (("diagnose", "--exporter", "a", "--prometheus", "b"), "只能选一个"),
        (("diagnose", "--black-box", "nobody"), "本机没有任务 'nobody'"),
        (("report",), "请给出一个任务，或多个任务来比较"),
        (("report", "nobody"), "本机没有任务 'nobody'"),
        (("report", "--gate", "five", "a"), "'five' 不是百分比"),
        (("stacks", "nobody"), "没有任务 'nobody'；其中没有任何任务"),
        (("run",), "-- 之后没有命令"),
        (("run", "--", "nobody-has-this"), "不是可以运行的程序"),
        (("tune", "--", "true"), "不能确定 true 会在本机启动 Python"),
        (("check", "--config.file", "/nowhere"), "无法读取：没有该文件或目录"),
        (("serve", "--web.listen-address", "nowhere"), "无效的地址 'nowhere'"),
        (("notify", "--check"), "--check 需要 --to"),
        (("bundle", str(Path(__file__) / "site")), "不是目录"),
    ],
)
def test_errors(arguments: Sequence[str], said: str) -> None:
    """One line, in Chinese, of each kind."""
    told = invoke(*arguments)
    assert said in told
    assert english(told) == []


def recording(name: str) -> str:
    """The path of one of the corpus."""
    return str(RECORDINGS / f"{name}.om.gz")


@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", "--recording", recording("killed_oom")),
        ("diagnose", "--recording", recording("loader_io_nfs")),
        ("top", "--recording", recording("straggler")),
        ("top", "--recording", recording("stalled_dead_worker")),
        ("report", recording("worker_died_shm")),
        ("report", recording("loader_workers"), recording("healthy_single")),
        ("report", recording("loader_workers"), "--vs", recording("healthy_single"), "--gate", "5%"),
    ],
    ids=lambda arguments: " ".join(Path(one).name.partition(".")[0] for one in arguments),
)
def test_commands(arguments: Sequence[str]) -> None:
    """What they print."""
    told = invoke(*arguments)
    assert re.search(r"[一-鿿]", told)
    assert english(told) == []


def test_a_bundle(tmp_path: Path) -> None:
    """Written, up to date, and changed since."""
    site = tmp_path / "site"
    told = [invoke("bundle", str(site), "--targets", "a:1"), invoke("bundle", "--check", str(site))]
    rules_there = site / "prometheus" / "rules"
    (rules_there / "alerts.yml").write_text("groups: []\n")
    (rules_there / "recording.yml").unlink()
    told += [invoke("bundle", "--check", str(site)), invoke("bundle", str(site), "--targets", "a:1")]
    for one in told:
        assert re.search(r"[一-鿿]", one)
        assert english(re.sub(r"([A-Z][a-z]+){2,}", "", one)) == []  # but names of alerts


@pytest.mark.parametrize("name", ["loader_workers", "killed_oom", "straggler"])
def test_reports(name: str) -> None:
    """Markdown, HTML, the card and the screen of a run."""
    stores = reader.read(RECORDINGS / f"{name}.om.gz")
    summary, diagnoses = summarize(stores, known_runs(stores)[0]), diagnose_range(stores).diagnoses
    with speaking(CHINESE):
        told = [summary_markdown(summary), in_html(html.one(summary))]
        told.append("\n".join(f"{line.name} {line.text}" for line in ending.card_lines([summary], CHINESE)))
        told.append(ending.title(ending.Ended("yolo train", 1, 60.0, "node-1"), [summary], CHINESE))
        windows = screen.windows(stores[0], stores[0].last)
        happened = list(screen.changes(stores[0].last, (), diagnoses))
        told.append(drawn(screen.frame(screen.Moment(*windows, diagnoses, happened))))
    for one in told:
        assert re.search(r"[一-鿿]", one)
        assert english(one) == []


def test_comparisons() -> None:
    """Of two runs, in Markdown and HTML."""
    both = [reader.read(RECORDINGS / f"{name}.om.gz") for name in ("loader_workers", "healthy_single")]
    with speaking(CHINESE):
        comparison = compare(*([summarize(stores, known_runs(stores)[0])] for stores in both))
        told = comparison_markdown(comparison) + in_html(html.several(comparison))
    assert english(told) == []


@pytest.mark.parametrize("told", [metrics.document(CHINESE), document.document(CHINESE)], ids=["metrics", "diagnosis"])
def test_documents(told: str) -> None:
    """The generated ones."""
    assert english(told) == []
