"""Runs scenarios through `promtool test rules` and reads from its answer which alert fired when.

All scenarios stand side by side in one test: each has its own nodes and runs. promtool evaluates every rule as
Prometheus would and keeps the series ALERTS; the test asks when each alert first and last fired, expects nothing, and
promtool's complaint is the answer.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from .world import World

SCRAPE_SECONDS = EVALUATION_SECONDS = 15
#: alerts in one question
TOGETHER = 10
#: A world of more than this is evaluated once a minute: its faults last for hours.
LONG_MINUTES, LONG_SECONDS = 1000, 60
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Alert(NamedTuple):
    """An alert that fired, by scenario, name and severity."""

    scenario: str
    name: str
    severity: str


class Fired(NamedTuple):
    """First and last minute at which it was firing."""

    first: float
    last: float


class Pass(NamedTuple):
    """Rules that are evaluated at one interval, in seconds."""

    seconds: float
    groups: list[dict[str, Any]]


def passes(content: Mapping[str, Any]) -> list[Pass]:
    """The rules by evaluation interval: promtool evaluates every group at one, whatever the group says.

    What the server's own pace reads from a slower group comes along into its pass, evaluated more often than it would.

    Raises:
        ValueError: a slower group reads what another group records; no pass could tell the truth about it.
    """
    own = [group for group in content["groups"] if "interval" not in group]
    shared = [rule for rule in _records(content["groups"]) if rule not in _records(own) and _reads(own, rule["record"])]
    found = [Pass(EVALUATION_SECONDS, _wise([*own, {"name": "of-slower-groups", "rules": shared}]))]
    for group in content["groups"]:
        if "interval" not in group:
            continue
        rules = [rule for rule in group["rules"] if rule not in shared]
        if not rules:
            continue
        one = [{"name": group["name"], "rules": rules}]
        for record in _records(content["groups"]):
            if record not in rules and _reads(one, record["record"]):
                raise ValueError(f"{group['name']} reads {record['record']} of another group")
        found.append(Pass(_seconds(group["interval"]), one))
    return found


def _wise(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups without their own interval, records before alerts, empty ones left out."""
    bare = [{"name": group["name"], "rules": group["rules"]} for group in groups if group["rules"]]
    return sorted(bare, key=lambda group: "record" not in group["rules"][0])


def _records(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"] if "record" in rule]


def _reads(groups: list[dict[str, Any]], record: str) -> bool:
    return any(record in rule["expr"] for group in groups for rule in group["rules"])


def _seconds(duration: str) -> float:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def only(content: Mapping[str, Any], alerts: Collection[str]) -> dict[str, Any]:
    """Of these rules the alerts with these names, and the records that they read, themselves or by way of others."""
    left = [rule for group in content["groups"] for rule in group["rules"] if rule.get("alert") in alerts]
    kept: list[dict[str, Any]] = []
    while left:
        kept.append(left.pop())
        left += [one for one in _records(content["groups"]) if one["record"] in kept[-1]["expr"] and one not in kept]
    groups = ({**group, "rules": [rule for rule in group["rules"] if rule in kept]} for group in content["groups"])
    return {"groups": [group for group in groups if group["rules"]]}


class Outcome(NamedTuple):
    """What happened: which alerts fired when, and what promtool showed of those whose texts were wanted."""

    alerts: dict[Alert, Fired]
    texts: str


def outcome(directory: Path, worlds: Sequence[World], content: Mapping[str, Any], seconds: float = 0.0) -> Outcome:
    """Every alert that fires in these worlds under these rules, which are evaluated every `seconds` at most.

    Worlds of about the same length share a promtool, `alone` ones have their own; two run at a time.

    Raises:
        RuntimeError: promtool does not like the files, with its words.
    """
    paces = [one._replace(seconds=max(one.seconds, seconds)) for one in passes(content)]
    jobs = [(one, together) for together in _combined(worlds) for one in paces]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda job: _outcome(directory, str(jobs.index(job)), *job), jobs))
    alerts = {alert: when for result in results for alert, when in result.alerts.items()}
    return Outcome(alerts, "".join(result.texts for result in results))


def _combined(worlds: Sequence[World]) -> list[list[World]]:
    lengths = (50.0, 60.0, 75.0, 90.0, 120.0, 180.0, float("inf"))
    by_length: dict[Any, list[World]] = {}
    for world in worlds:
        key = world.name if world.alone else next(length for length in lengths if world.minutes <= length)
        by_length.setdefault(key, []).append(world)
    return list(by_length.values())


def _outcome(directory: Path, name: str, one: Pass, worlds: list[World]) -> Outcome:
    minutes = round(max(world.minutes for world in worlds))
    if minutes > LONG_MINUTES:
        one = one._replace(seconds=max(one.seconds, LONG_SECONDS))
    named = set(re.findall(r"[a-zA-Z_:][\w:]*", str(one.groups)))  # in annotations, too, which ask
    bounds = {edge: _bounds(one, edge, minutes) for edge in ("min", "max")}
    test = {
        "interval": f"{SCRAPE_SECONDS}s",
        "input_series": [one for world in worlds for one in world.input_series(SCRAPE_SECONDS, named)],
        "alert_rule_test": [
            {"alertname": alert, "eval_time": f"{round(minute * 60) + 60}s"}
            for world in worlds
            for alert, minute in world.shown
            if _has(one, alert)
        ],
        "promql_expr_test": [{"expr": expr, "eval_time": f"{minutes}m"} for exprs in bounds.values() for expr in exprs],
    }
    output = _run(directory, name, one.groups, test, one.seconds)
    first, last = ({k: v for expr in bounds[edge] for k, v in _samples(output, expr).items()} for edge in bounds)
    names = {world.name for world in worlds}
    found: dict[Alert, Fired] = {}
    for labels, since in first.items():
        alert = _alert(dict(labels), names)
        before = found.get(alert, Fired(float("inf"), 0))
        found[alert] = Fired(min(before.first, since / 60), max(before.last, last[labels] / 60))
    return Outcome(found, output)


def _bounds(one: Pass, edge: str, minutes: int) -> list[str]:
    """Expressions for when alerts fired first or last, a few alerts each: promtool's engine holds 10,000 samples."""
    names = sorted({rule["alert"] for group in one.groups for rule in group["rules"] if "alert" in rule})
    few = ["|".join(names[index : index + TOGETHER]) for index in range(0, len(names), TOGETHER)]
    return [
        f"{edge} by (alertname, severity, instance, run) ({edge}_over_time("
        f'timestamp(ALERTS{{alertstate="firing",alertname=~"{each}"}})[{minutes}m:{one.seconds:g}s]))'
        for each in few
    ]


def _has(one: Pass, alert: str) -> bool:
    return any(rule.get("alert") == alert for group in one.groups for rule in group["rules"])


def _run(directory: Path, name: str, groups: list[dict[str, Any]], test: dict[str, object], evaluation: float) -> str:
    rules, path = directory / f"{name}.rules.yml", directory / f"{name}.test.yml"
    rules.write_text(yaml.dump({"groups": groups}, Dumper=_DUMPER), encoding="utf-8")
    content = {"rule_files": [str(rules)], "evaluation_interval": f"{evaluation:g}s", "tests": [test]}
    path.write_text(yaml.dump(content, Dumper=_DUMPER), encoding="utf-8")
    command = [require_binary("promtool"), "test", "rules", str(path)]
    roomy = os.environ | {"GOGC": "400"}  # a sixth less of CPU time, for looking through its memory less often
    done = subprocess.run(command, env=roomy, capture_output=True, text=True, check=False)
    if done.returncode and "got:" not in done.stdout + done.stderr:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout + done.stderr


def _samples(output: str, expr: str) -> dict[tuple[tuple[str, str], ...], float]:
    """What promtool got for an expression; nothing if it is silent about it, because nothing was expected."""
    block = re.search(re.escape(f'expr: "{_quoted(expr)}"') + r".*?got:(.*?)(?=\n\s*expr: |\Z)", output, re.DOTALL)
    if block is None:
        return {}
    pairs = re.findall(r'Labels:"\{(.*?)\}" Sample:\{?([^\s,}]+)|\{(.*?)\} ([0-9.E+]+)', block[1])
    return {_labels(a or b): float(x or y) for a, x, b, y in pairs}


def _quoted(expr: str) -> str:
    return expr.replace('"', '\\"')


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(re.findall(r'(\w+)=\\?"(.*?)\\?"', text))


def _alert(labels: dict[str, str], names: set[str]) -> Alert:
    """Runs and nodes are named after their scenario; what concerns all of Prometheus has neither."""
    where = labels.get("run") or labels.get("instance", "").removesuffix(":9911") or min(names)
    scenario = where if where in names else where.rsplit("-", 1)[0]
    return Alert(scenario, labels["alertname"], labels.get("severity", ""))
