"""What Grafana makes of the variables in a query before Prometheus sees it.

The rules are those of grafana/scenes (variables/interpolation: `formatRegistry.ts`, `sceneInterpolator.ts`), of
`escapeRegex` in grafana/grafana (packages/grafana-data), and for a variable without a format those of its data source
for Prometheus (packages/grafana-prometheus/src/escaping.ts; the feature toggle `prometheusSpecialCharsInLabelValues` is
off, as it is by default).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = "$__all"
_VARIABLE = re.compile(r"\$(?P<plain>\w+)|\$\{(?P<braced>\w+)(?::(?P<format>[^}]+))?\}")
_REGEX = re.compile(r"[\\^$*+?.()|\[\]{}/]")
_PROMETHEUS_REGEX = re.compile(r"[$^*{}\[\]+?.()|]")


def interpolate(text: str, variables: Mapping[str, dict[str, Any]], chosen: Mapping[str, str | list[str]]) -> str:
    """Put in what is `chosen`; `variables` are those of the dashboard, as in its JSON. Other names stay."""

    def replaced(match: re.Match[str]) -> str:
        name = match["plain"] or match["braced"]
        if name not in chosen:
            return match[0]
        variable, value = variables.get(name, {}), chosen[name]
        if value == ALL:
            return str(variable["allValue"])  # one that is written down is never escaped
        return _formatted(value, match["format"], variable)

    return _VARIABLE.sub(replaced, text)


def _formatted(value: str | list[str], how: str | None, variable: dict[str, Any]) -> str:
    if how == "regex":
        return _alternatives(value, lambda each: _REGEX.sub(r"\\\g<0>", each))
    assert how is None, f"the tests know no format {how}"
    if variable.get("multi") or variable.get("includeAll"):
        return _alternatives(value, _escaped_for_regex_in_quotes)
    assert isinstance(value, str)
    return value.replace("\\", "\\\\").replace("'", "\\\\'")


def _alternatives(value: str | list[str], escape: Any) -> str:
    if isinstance(value, str):
        return str(escape(value))
    escaped = [escape(each) for each in value]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _escaped_for_regex_in_quotes(value: str) -> str:
    return _PROMETHEUS_REGEX.sub(r"\\\\\g<0>", value.replace("\\", r"\\\\"))
