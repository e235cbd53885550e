"""Wrong versions of the rules: a comparison turned round, a gate left out, a threshold doubled or halved, no patience.

Every mutant is a copy beside the others under its own name, so that one promtool judges many. A mutant of a recording
rule brings copies of whatever reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.measures.thresholds import THRESHOLDS

from deploy.prometheus.generate import expression
from deploy.prometheus.rulebook import ALERTS
from deploy.prometheus.rulebook.records import RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deploy.prometheus.rulebook.model import Alert
    from deploy.prometheus.rulebook.records import Recorded

_TURNED = {"<": ">", ">": "<", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
_COMPARISON = re.compile(r"(?<=[\s)])(<=|>=|==|!=|<|>)(?= )")
#: Up to the next line that is not indented.
_GATE = re.compile(r"\n(?:and|unless) .*(?:\n[ )].*)*")
FACTOR = 2


@dataclass(frozen=True)
class Mutant:
    """One change to one rule.

    Attributes:
        number: makes its copies' names.
        kind: `direction`, `gate`, `threshold` or `patience`.
        target: name of the alert or the recorded series.
        severity: of the alert, empty for a recorded series.
        change: in words.
        expr: the changed expression.
        without: `for` or `keep_firing_for`, if that is what is left out.
    """

    number: int
    kind: str
    target: str
    severity: str
    change: str
    expr: str
    without: str = ""


def mutants() -> list[Mutant]:
    """All of them."""
    found: list[Mutant] = []
    for rule in (*ALERTS, *(record for records in RECORDS.values() for record in records)):
        severity = getattr(rule, "severity", "")
        for kind, change, expr, without in _changes(rule):
            found.append(Mutant(len(found), kind, rule.name, severity, change, expr, without))
    return found


def _changes(rule: Alert | Recorded) -> Iterator[tuple[str, str, str, str]]:
    for match in _COMPARISON.finditer(rule.expr):
        turned = rule.expr[: match.start()] + _TURNED[match[1]] + rule.expr[match.end() :]
        near = " ".join(rule.expr[max(0, match.start() - 30) : match.end() + 15].split())
        yield "direction", f"{match[1]} turned round in '{near}'", expression(turned), ""
    for match in _GATE.finditer(rule.expr):
        yield "gate", f"without '{' '.join(match[0].split())}'", expression(rule.expr.replace(match[0], "", 1)), ""
    for name in dict.fromkeys(re.findall(r"@(\w+)@", rule.expr)):
        for factor in (FACTOR, 1 / FACTOR):
            value = THRESHOLDS[name].value * factor
            changed = expression(rule.expr.replace(f"@{name}@", f"{value:f}"))
            yield "threshold", f"{name} times {factor:g}", changed, ""
    if getattr(rule, "hold", "0m") != "0m":
        yield "patience", "without for", expression(rule.expr), "for"
    if getattr(rule, "keep", ""):
        yield "patience", "without keep_firing_for", expression(rule.expr), "keep_firing_for"


def content(rules: Mapping[str, Any], chosen: Sequence[Mutant]) -> dict[str, Any]:
    """The rule file with recorded series as they are, and instead of the alerts the mutants' copies."""
    kept = [{**group, "rules": [rule for rule in group["rules"] if "record" in rule]} for group in rules["groups"]]
    for mutant in chosen:
        copies = _copies(rules, mutant)
        for group, more in zip(kept, copies, strict=True):
            group["rules"] = [*group["rules"], *more]
    return {"groups": _read(kept)}


def _read(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without recorded series that nothing here reads."""
    rules = [rule for group in groups for rule in group["rules"]]
    unread = {
        rule["record"] for rule in rules if "record" in rule and not any(_reads(r, rule["record"]) for r in rules)
    }
    if not unread:
        return groups
    return _read([{**group, "rules": [r for r in group["rules"] if r.get("record") not in unread]} for group in groups])


def _reads(rule: Mapping[str, Any], record: str) -> bool:
    return _renamed(rule["expr"], {record: ""}) != rule["expr"]


def alerts(rules: Mapping[str, Any], mutant: Mutant) -> list[tuple[str, str]]:
    """Names and severities of the alerts that the mutant changes."""
    renamed = _changed_records(rules, mutant)
    return [
        (rule["alert"], rule["labels"]["severity"])
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule and _is_changed(rule, mutant, renamed)
    ]


def _copies(rules: Mapping[str, Any], mutant: Mutant) -> list[list[dict[str, Any]]]:
    """By group: the changed rule and, of a recorded series, everything that reads it, under new names."""
    renamed = _changed_records(rules, mutant)
    return [
        [_copy(rule, mutant, renamed) for rule in group["rules"] if _is_changed(rule, mutant, renamed)]
        for group in rules["groups"]
    ]


def _changed_records(rules: Mapping[str, Any], mutant: Mutant) -> dict[str, str]:
    """Recorded series that the mutant changes, with the names of their copies; readers may stand before them."""
    records = [rule for group in rules["groups"] for rule in group["rules"] if "record" in rule]
    renamed: dict[str, str] = {}
    while found := [
        rule["record"] for rule in records if rule["record"] not in renamed and _is_changed(rule, mutant, renamed)
    ]:
        renamed |= {name: f"{name}__{mutant.number}" for name in found}
    return renamed


def _is_target(rule: Mapping[str, Any], mutant: Mutant) -> bool:
    name = rule.get("record") or rule["alert"]
    return bool(name == mutant.target and rule.get("labels", {}).get("severity", "") == mutant.severity)


def _is_changed(rule: Mapping[str, Any], mutant: Mutant, renamed: Mapping[str, str]) -> bool:
    return _is_target(rule, mutant) or _renamed(rule["expr"], renamed) != rule["expr"]


def _copy(rule: Mapping[str, Any], mutant: Mutant, renamed: Mapping[str, str]) -> dict[str, Any]:
    key = "record" if "record" in rule else "alert"
    expr = _renamed(mutant.expr if _is_target(rule, mutant) else rule["expr"], renamed)
    kept = {name: value for name, value in rule.items() if name not in ("annotations", mutant.without)}
    return {**kept, key: f"{rule[key]}__{mutant.number}", "expr": expr}


def _renamed(expr: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        expr = re.sub(rf"(?<![\w:]){re.escape(old)}(?![\w:])", new, expr)
    return expr
