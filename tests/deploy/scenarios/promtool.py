"""Runs scenarios through `promtool test rules` and reads from its answer which alert fired when.

All scenarios stand side by side in one test: each has its own nodes and runs. promtool evaluates every rule as
Prometheus would and keeps the series ALERTS; the test asks when each alert first and last fired, expects nothing, and
promtool's complaint is the answer.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import yaml

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .world import World

SCRAPE_SECONDS = 15
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


def fired(
    directory: Path,
    worlds: Sequence[World],
    rules: Iterable[Path],
    *,
    scrape: float = SCRAPE_SECONDS,
    evaluation: float = 15,
) -> dict[Alert, Fired]:
    """Every alert that fired in these worlds, and when.

    Raises:
        RuntimeError: promtool does not like the files, with its words.
    """
    minutes = round(max(world.minutes for world in worlds))
    firing = 'timestamp(ALERTS{alertstate="firing"})'
    bounds = [
        f"{edge} by (alertname, severity, instance, run) ({edge}_over_time({firing}[{minutes}m:{evaluation:g}s]))"
        for edge in ("min", "max")
    ]
    test = {
        "interval": f"{scrape:g}s",
        "input_series": [series for world in worlds for series in world.input_series(scrape)],
        "promql_expr_test": [{"expr": expr, "eval_time": f"{minutes}m"} for expr in bounds],
    }
    output = _run(directory, rules, test, evaluation)
    first, last = (_samples(output, expr) for expr in bounds)
    names = {world.name for world in worlds}
    found: dict[Alert, Fired] = {}
    for labels, seconds in first.items():
        alert = _alert(dict(labels), names)
        before = found.get(alert, Fired(float("inf"), 0))
        found[alert] = Fired(min(before.first, seconds / 60), max(before.last, last[labels] / 60))
    return found


def messages(directory: Path, world: World, rules: Iterable[Path], when: Mapping[str, float]) -> str:
    """What promtool shows of the alerts firing at these minutes: labels and rendered annotations."""
    test = {
        "interval": f"{SCRAPE_SECONDS}s",
        "input_series": list(world.input_series(SCRAPE_SECONDS)),
        "alert_rule_test": [{"alertname": name, "eval_time": f"{round(at * 60)}s"} for name, at in when.items()],
    }
    return _run(directory, rules, test, 15)


def _run(directory: Path, rules: Iterable[Path], test: dict[str, object], evaluation: float) -> str:
    content = {
        "rule_files": [str(path) for path in rules],
        "evaluation_interval": f"{evaluation:g}s",
        "tests": [test],
    }
    path = directory / "test.yml"
    path.write_text(yaml.dump(content, Dumper=_DUMPER), encoding="utf-8")
    done = subprocess.run(
        [require_binary("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
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
