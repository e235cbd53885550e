"""Every text that people are told, in English: what the source, the templates and the tables say.

What programs say is `said`, what only generated files say `written`; the dashboards' texts are looked up when they are
written (tests/dashboards/test_languages.py).
"""

from __future__ import annotations

import ast
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yoloscope_exporter
from yoloscope_exporter import catalog, cli
from yoloscope_exporter.bundle import readme
from yoloscope_exporter.catalog import document as metrics_document
from yoloscope_exporter.collectors.stacks import finding, process
from yoloscope_exporter.commands import demo, spoken
from yoloscope_exporter.diagnosis import document as diagnosis_document
from yoloscope_exporter.diagnosis import rules, signals, ultralytics_arguments
from yoloscope_exporter.diagnosis.causes import CAUSES
from yoloscope_exporter.diagnosis.rules.setup import STAGES
from yoloscope_exporter.language import paragraphs
from yoloscope_exporter.measures.catalog import MEASURES
from yoloscope_exporter.measures.thresholds import THRESHOLDS
from yoloscope_exporter.reports import comparison
from yoloscope_exporter.reports.figures import QUANTITIES
from yoloscope_exporter.terminal import diagnosis as terminal_diagnosis
from yoloscope_exporter.terminal import last_batches
from yoloscope_exporter.web import page

from deploy.prometheus import generate as alerts
from deploy.prometheus import runbooks
from deploy.prometheus import texts as alert_texts
from deploy.prometheus.rulebook import ALERTS, CATEGORIES
from deploy.prometheus.rulebook.model import TEXTS as OF_AN_ALERT
from deploy.prometheus.rulebook.records import RECORDS
from docs import commands as commands_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[3]
ROOM = Path(yoloscope_exporter.__file__).parent
#: Who only writes documents.
WRITERS = [Path(module.__file__) for module in (metrics_document, diagnosis_document, commands_document)]
#: Functions whose first argument is a text, and those all of whose arguments are.
FIRST, ALL = frozenset({"text", "say", "plural", "passed_over", "_head"}), frozenset({"heads", "_row"})


def of_the_source() -> Iterator[tuple[str, str]]:
    """Each text of a program with the place where it stands."""
    for path in sorted(ROOM.rglob("*.py")):
        if not path.is_relative_to(ROOM / "language") and path not in WRITERS:
            yield from _of_file(path)


def _of_file(path: Path) -> Iterator[tuple[str, str]]:
    where = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield from ((text, where) for text in _of_call(node))
        elif isinstance(node, ast.For):
            yield from ((text, where) for text in _of_loop(node))


def _of_call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ALL:
        for argument in node.args:
            yield from constants(argument)
    elif name in FIRST and node.args:
        yield from constants(node.args[0])
    elif name == "counted" and len(node.args) > 1:
        yield from (f"{{number:.0f}} {noun}" for noun in constants(node.args[1]))


def _of_loop(node: ast.For) -> Iterator[str]:
    """The texts of `for name in ("one", "two"): say(name)`."""
    calls = (call for line in node.body for call in ast.walk(line) if isinstance(call, ast.Call) and call.args)
    said = {ast.unparse(call.args[0]) for call in calls if getattr(call.func, "id", "") in FIRST}
    if ast.unparse(node.target) in said and isinstance(node.iter, ast.Tuple):
        for element in node.iter.elts:
            yield from constants(element)


def constants(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from constants(value)


def of_the_templates() -> Iterator[tuple[str, str]]:
    """What HTML says."""
    for path in sorted(ROOM.rglob("templates/*.html")):
        content = path.read_text(encoding="utf-8")
        yield from ((text, path.name) for text in re.findall(r'say\("([^"]+)"[,)]', content))
        for names in re.findall(r"for head in \(([^)]*)\)[^%]*%}[^%]*say\(head\)", content):
            yield from ((text, path.name) for text in re.findall(r'"([^"]+)"', names))


def of_the_script() -> Iterator[tuple[str, str]]:
    """What the script of the live page says."""
    yield from ((text, "page.js") for text in page.said_by_the_script())


def commands(command: click.Command = cli.main, path: str = "yoloscope") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def of_the_help() -> Iterator[tuple[str, str]]:
    """What `--help` says, paragraph by paragraph."""
    for path, command in commands():
        for text in spoken.paragraphs(command.help or ""):
            yield text if text.startswith("\b") else spoken.unfolded(text), path
        yield from ((text, path) for text in (command.short_help, command.epilog) if text)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                shown = parameter.show_default if isinstance(parameter.show_default, str) else ""
                yield from ((spoken.unfolded(text), path) for text in (parameter.help, shown) if text)


def of_the_tables() -> Iterator[tuple[str, str]]:
    """What tables say: of rules, causes, stages, figures, calls that hang."""
    tables: dict[str, Iterable[str]] = {
        "rules": (
            text
            for rule in rules.BY_NAME.values()
            for text in (rule.title, rule.verify, diagnosis_document.cause(rule))
        ),
        "causes": (text for cause in CAUSES for text in (cause.title, cause.remedy)),
        "stages": (text for stage in STAGES.values() for text in (stage.does, stage.remedy)),
        "severities": rules.SEVERITIES,
        "figures": (quantity.title for quantity in QUANTITIES.values()),
        "comparison": (getattr(comparison, name) for name in ("SAME", "BEYOND", "TOO_SHORT", "DOUBTFUL", "ONE_EACH")),
        "states": catalog.STATES,
        "named": (name for rule in rules.BY_NAME.values() for name in rule.confused_with if name not in rules.BY_NAME),
        "calls": (one.words for one in (*finding._WAITS, *finding._STAGES)),
        "system calls": process._WORDS.values(),
        "measures": (text for measure in MEASURES for text in (measure.title, measure.help)),
        "effects": (text for texts in ultralytics_arguments.EFFECTS.values() for text in texts),
        "demo": (demo.NO_ADVICE,),
        "bundle": (text for page in (readme.README, readme.SCRAPE_JOB) for text in paragraphs(page)),
        "heads": (*terminal_diagnosis._HEADS, *(name for name, _ in last_batches._HEADS)),
        "plots": (text for title, _, _, unit in last_batches._PLOTS for text in (title, unit)),
    }
    yield from ((text, name) for name, texts in tables.items() for text in texts)


def of_the_documents() -> Iterator[tuple[str, str]]:
    """What the generated documents say beyond that."""
    tables: dict[str, Iterable[str]] = {
        "rules": (
            text
            for rule in rules.BY_NAME.values()
            for text in (rule.remedy, rule.requires, *rule.confused_with.values())
        ),
        "signals": (signal.meaning for signal in signals.SIGNALS.values()),
        "thresholds": (one.source for one in THRESHOLDS.values()),
        "recording rules": (record.help for group in RECORDS.values() for record in group),
        "metrics": (metric.help for metric in catalog.METRICS),
        "sections": metrics_document.SECTIONS,
        "heads": (
            text
            for page in (
                metrics_document.HEAD,
                diagnosis_document.HEAD,
                commands_document.TITLE,
                commands_document.INTRO,
            )
            for text in paragraphs(page)
        ),
    }
    yield from ((text, name) for name, texts in tables.items() for text in texts)
    for path in WRITERS:
        yield from _of_file(path)


def of_the_alerts() -> Iterator[tuple[str, str]]:
    """What alerts and their runbooks say."""
    named = {name for alert in ALERTS for name in re.findall(r"@(\w+)@", alert.expr)}
    tables: dict[str, Iterable[str]] = {
        "categories": (category.title for category in CATEGORIES),
        "alerts": (getattr(alert, name) for alert in ALERTS for name in OF_AN_ALERT),
        "labels": alert_texts.LABELS.values(),
        "sections": runbooks.SECTIONS,
        "units": (f"{{value}} {THRESHOLDS[name].unit}" for name in named if THRESHOLDS[name].unit not in UNITS),
        "introduction": paragraphs(alert_texts.INTRO),
    }
    yield from ((text, name) for name, texts in tables.items() for text in texts)
    for path in sorted(Path(alerts.__file__).parent.glob("*.py")):
        yield from _of_file(path)


#: Of thresholds: without a word.
UNITS = ("ratio", "bytes")


def said() -> dict[str, str]:
    """Every text of a program with the first place where it stands."""
    return _first(of_the_source, of_the_templates, of_the_script, of_the_help, of_the_tables)


def written() -> dict[str, dict[str, str]]:
    """The same of what only generated files say, by the file of the catalogue."""
    return {"documents": _first(of_the_documents), "alerts": _first(of_the_alerts)}


def _first(*parts: Callable[[], Iterator[tuple[str, str]]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        for text, where in part():
            found.setdefault(text, where)
    return {text: where for text, where in found.items() if text}


def of_click() -> Iterator[str]:
    """What click itself may say."""
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"_", "ngettext"}:
                for argument in node.args[:2]:
                    yield from constants(argument)
    yield from ("required", "No such option: {name}", "Show this message and exit.")


def of_the_system() -> Iterator[str]:
    """Reasons of failed system calls, as they are and in lower case."""
    for text in (os.strerror(number) for number in errno.errorcode):
        yield from (text, text.lower())
    yield from ("timed out", "Name or service not known", "Temporary failure in name resolution")
