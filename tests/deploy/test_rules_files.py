"""The committed rules: generated from the rulebook, valid for Prometheus 2.42, complete, no value in a label."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import yaml
from yoloscope_exporter.diagnosis.rules import BY_NAME
from yoloscope_exporter.language import CHINESE, ENGLISH, LANGUAGES, say

from deploy.prometheus import generate, rulebook
from deploy.prometheus.rulebook import ALERTS
from deploy.prometheus.runbooks import SECTIONS
from deploy.prometheus.texts import in_language
from tests.conftest import require_binary
from tests.deploy.alert_texts import texts_of

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
_NAMES = re.compile(r"@(\w+)@").findall
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))


def _alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules(PROMETHEUS / "rules/alerts.yml") if "alert" in rule]


def _rules(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def _promtool(*arguments: object) -> None:
    done = subprocess.run(
        [require_binary("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_left_out() -> None:
    """Each that is written is in its category's list."""
    files = [import_module(f"{rulebook.__name__}.{found.name}") for found in iter_modules(rulebook.__path__)]
    written = [value for file in files for value in vars(file).values() if isinstance(value, rulebook.Alert)]
    assert [alert.name for alert in written if alert not in ALERTS] == []


def test_committed_files_are_current() -> None:
    """What is committed is what the rulebook renders: run `python -m deploy.prometheus.generate`."""
    for path, text in generate.outputs(generate.Settings()).items():
        assert path.read_text(encoding="utf-8") == text, path


def test_promtool_accepts_the_configuration() -> None:
    """Prometheus 2.42 takes the configuration and every rule, without a lint."""
    _promtool("check", "config", PROMETHEUS / "prometheus.yml")
    _promtool("check", "rules", "--lint-fatal", *RULES)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_threshold_is_left_open(alert: generate.Alert) -> None:
    """Every placeholder has a threshold, and no number stands in a text beside it."""
    texts = [text for language in LANGUAGES for text in texts_of(alert, language).values()]
    rendered = generate.expression(alert.expr) + "".join(texts)
    assert not re.search(r"@\w+%?@", rendered)


def test_a_threshold_is_read_from_one_side() -> None:
    """What is too little for one alert is not too much for another; severities of one alert share a bound."""
    sides: dict[str, dict[str, set[str]]] = {}
    for alert in ALERTS:
        for relation, name in re.findall(r"([<>])=? @(\w+)@", alert.expr):
            sides.setdefault(name, {}).setdefault(alert.name, set()).add(relation)
    assert {name: by for name, by in sides.items() if {"<"} in by.values() and {">"} in by.values()} == {}


#: ASCII punctuation behind Chinese or before it, before a space, a value or the end; file:line and English are none.
_HALF_WIDTH = re.compile(r"[\u4e00-\u9fff] ?[,;:?!(]|(?!(?<=\0):\0)[,;:?!)](?=[\s\0\u4e00-\u9fff]|$)")


def _half_width(text: str) -> list[str]:
    """Places with ASCII punctuation in Chinese; of a template only what it says is text, of code nothing."""
    said = re.sub(r"\{\{.*?\}\}", "\0", text)
    return _HALF_WIDTH.findall(re.sub(r"`[^`]*`", "\0", said))


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_chinese_messages_have_full_width_punctuation(alert: dict[str, Any]) -> None:
    """As the runbooks, which say the same."""
    texts = {name: text for name, text in alert["annotations"].items() if name.endswith("_zh")}
    assert len(texts) == 3
    assert {name: found for name, text in texts.items() if (found := _half_width(text))} == {}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_chinese_runbooks_have_full_width_punctuation(alert: generate.Alert) -> None:
    """Every text of them, beside code and values as well."""
    assert [found for text in texts_of(alert, CHINESE).values() for found in _half_width(text)] == []


def test_half_width_punctuation_is_seen() -> None:
    """Beside Chinese, code and values; that of code, paths, times and English is none."""
    right = "`a, b`；{{ .Labels.file }}:{{ .Labels.line }}，http://a:1，wait(x)。"  # noqa: RUF001 - Chinese has it
    assert _half_width(right) == []
    for wrong in ("显示 0 %;`py-spy`", "{{ $value }}, {{ $value }}", "显卡(GPU)", "训练,验证", "{{ .Labels.a }}: b"):
        assert _half_width(wrong), wrong


#: Arguments that mean one thing whatever the training: switches, Ultralytics' own defaults, a device of an example.
NO_GUESS = {"workers=0", "batch=-1", "nbs=64", "OMP_NUM_THREADS=1", "save_period=-1", "save_period=1", "device=0"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_text_guesses_a_number(alert: generate.Alert) -> None:
    """How many workers, which batch and how many watts is the diagnosis' to compute, whose fix comes first."""
    texts = [text for language in LANGUAGES for text in texts_of(alert, language).values()]
    found = [given for text in texts for given in re.findall(r"[\w-]*\w=-?[\d.]*\d", text)]
    assert [given for given in found if given.lstrip("-") not in NO_GUESS] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_verdicts_that_fix_an_alert_are_verdicts_with_a_fix(alert: generate.Alert) -> None:
    """A name that the diagnosis does not know would never bring one."""
    assert set(alert.fixed_by) <= set(BY_NAME) - set(generate.NO_CAUSE)


def test_a_verdict_about_something_else_fixes_no_alert() -> None:
    """More workers, for a run that waits for data, are no fix of its container's memory."""
    fixed = {alert.name: alert.fixed_by for alert in ALERTS}
    assert "loader_workers" in fixed["DataBound"]
    assert "loader_workers" not in fixed["CgroupOomKill"]


def test_no_rule_depends_on_the_name_of_a_job() -> None:
    """Whoever scrapes calls the job as he likes."""
    for path in RULES:
        assert not re.search(r"\bjob\s*(?:=|!=)", path.read_text(encoding="utf-8")), path


def test_labels_hold_no_values() -> None:
    """An alert's labels are constants: a number in a label makes a new alert at every evaluation."""
    for group in yaml.safe_load(RULES[0].read_text())["groups"]:
        for rule in group["rules"]:
            assert "{{" not in str(rule.get("labels", "")), rule


def test_speed_shortens_durations_only() -> None:
    """A rehearsal divides windows, offsets and seconds, and leaves ratios alone."""
    text = generate.expression("avg_over_time(x[1h] offset 5m) < @drop_to@", speed=60)
    assert text == "avg_over_time(x[60000ms] offset 5000ms) < 0.6"


@pytest.mark.parametrize("page", ["alerts.md", "alerts.zh-CN.md"])
def test_every_runbook_url_leads_to_a_section(page: str) -> None:
    """The anchor in each alert's runbook_url is a heading of the page, with meaning, verify, fix and silence."""
    text = (PROMETHEUS.parents[1] / "docs" / page).read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0].lower(): part for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]}
    with in_language(CHINESE if "zh" in page else ENGLISH):
        heads = [say("**{head}.**", head=say(head)) for head in SECTIONS]
    for group in generate.rules()["groups"]:
        for rule in (rule for rule in group["rules"] if "alert" in rule):
            section = sections[rule["annotations"]["runbook_url"].split("#")[1]]
            assert all(head in section for head in heads)
            assert "{{" not in section
            assert "amtool silence add" in section


def test_the_operator_gets_the_same_rules() -> None:
    """The PrometheusRule holds exactly the groups of the rule file."""
    resource = yaml.safe_load((PROMETHEUS.parent / "prometheus-operator/alerts.yaml").read_text(encoding="utf-8"))
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text(encoding="utf-8"))


def test_check_names_the_file_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`generate --check` fails and writes nothing when a committed file is stale."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 1
    assert list(tmp_path.iterdir()) == []


def test_every_recorded_series_is_read() -> None:
    """By an alert, a dashboard or another rule: what nobody reads costs a series for each run on each node."""
    recorded = [rule for path in RULES for rule in _rules(path) if "record" in rule]
    panels = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dashboards/generated/en").glob("*.json"))
    asked = panels + "".join(rule["expr"] for path in RULES for rule in _rules(path))
    unread = {rule["record"] for rule in recorded if not re.search(rf"{rule['record']}(?![\w:])", asked)}
    assert unread == set()
