"""A diagnosis as JSON: the interface others build on, and what an exporter answers."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any, get_args

from yoloscope_exporter.diagnosis import rules, slow_files
from yoloscope_exporter.diagnosis.advice import VARIABLES, Advice
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.follow_up import FollowUp
from yoloscope_exporter.diagnosis.forecast import Forecast, Unit
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.ultralytics_arguments import ADVISED
from yoloscope_exporter.language import CHINESE, finished, translated
from yoloscope_exporter.language.units import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


#: What of a verdict is told to people.
TOLD = ("evidence", "cause", "verify", "fix", "gain")
#: What of a rank has figures in it, beside its verdicts.
_FIGURES = ("images_per_second", "followed", "slow_files", "joules")
#: Values of arguments that are no file, no address and nothing to a shell.
_SAFE = re.compile(r"[\w:,+-]*", re.ASCII)


def to_json(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, with_signals: bool = False) -> dict[str, Any]:
    """The interface others build on: runs with their verdicts, and what was skipped."""
    return {"runs": [_rank(diagnosis, with_signals=with_signals) for diagnosis in diagnoses], "notes": list(notes)}


def _rank(diagnosis: Diagnosis, *, with_signals: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "cluster": diagnosis.cluster,
        "run": diagnosis.run,
        "rank": diagnosis.rank,
        "state": diagnosis.state,
        "verdicts": [verdict_json(verdict) for verdict in diagnosis.verdicts],
        "images_per_second": diagnosis.images_per_second,
        "followed": [_follow_up(one) for one in diagnosis.followed],
        "abstained": {name: list(gone) for name, gone in diagnosis.abstained.items()},
        "slow_files": slow_files.to_json(diagnosis.slow_files),
    }
    if with_signals:
        content["verdicts"] = [verdict_json(verdict) | _chinese(verdict) for verdict in diagnosis.verdicts]
        content["signals"] = {name: value for name, value in diagnosis.signals.numbers.items() if isfinite(value)}
        content["names"] = dict(diagnosis.signals.names)
        content["facts"] = dict(diagnosis.signals.facts)
        content["whole_run"] = [verdict_json(verdict) | _chinese(verdict) for verdict in diagnosis.whole_run]
        content["joules"] = dict(diagnosis.joules)
    figures: dict[str, Any] = _finite({name: content[name] for name in _FIGURES if name in content})
    return content | figures


def _follow_up(one: FollowUp) -> dict[str, Any]:
    return asdict(one) | {"delivered": one.delivered, "helped": one.helped, "text": str(one)}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """One verdict."""
    content = {
        "name": verdict.name,
        "severity": verdict.severity,
        "evidence": verdict.evidence,
        "cause": verdict.cause,
        "verify": verdict.verify,
        "fix": verdict.fix,
        "gain": verdict.gain,
        "share": verdict.share,
        "when": [[utc(start), utc(end)] for start, end in verdict.spans],
        "after": verdict.after,
        "effect": list(verdict.advice.effect),
        "forecast": asdict(verdict.advice.forecast) if verdict.advice.forecast else None,
        "checks": list(verdict.advice.checks),
        "arguments": dict(verdict.advice.arguments),
        "environment": dict(verdict.advice.environment),
    }
    finite: dict[str, Any] = _finite(content)
    return finite


def _finite(content: Any) -> Any:  # noqa: ANN401 - JSON
    """The same with nothing in place of what is no number: JSON has none, and one run's is not to cost the others'."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def _chinese(verdict: Verdict) -> dict[str, dict[str, str]]:
    """Its texts in Chinese, for commands: what is a sentence already cannot be translated as exactly."""
    told = {name: getattr(verdict, name) for name in TOLD}
    return {"zh": {name: translated(text, CHINESE) for name, text in told.items() if text}}


def range_json(course: RangeDiagnosis) -> dict[str, Any]:
    """`to_json` of a time range, with its ends; null for a running exporter, which tells its last window."""
    ends = {"from": course.start, "to": course.end}
    return to_json(course.diagnoses, course.notes) | {name: utc(time) if time else None for name, time in ends.items()}


def from_json(content: Mapping[str, Any]) -> tuple[Diagnosis, ...]:
    """What an exporter said with `to_json`; times are left out. Anybody may have answered in its place.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return tuple(_parse_rank(item) for item in content["runs"])


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is something else")
    return value


def _words(mapping: Mapping[str, object]) -> dict[str, str]:
    return {_word(name): _word(value) for name, value in mapping.items()}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("a number is something else")
    return value


def _number_or_none(value: object) -> float | None:
    return None if value is None else _number(value)


def _numbers(mapping: Mapping[str, object]) -> dict[str, float]:
    return {_word(name): _number(value) for name, value in mapping.items()}


def _parse_rank(item: Mapping[str, Any]) -> Diagnosis:
    run, rank, state = (_word(item[name]) for name in ("run", "rank", "state"))
    facts = _words(item.get("facts", {}))
    signals = Signals(
        run,
        rank,
        state,
        facts=facts,
        numbers=_numbers(item.get("signals", {})),
        names=_words(item.get("names", {})),
        predicts="mode" in facts or state in ("predict", "export"),
    )
    abstained = {_word(name): tuple(map(_word, gone)) for name, gone in item.get("abstained", {}).items()}
    return Diagnosis(
        run,
        rank,
        state,
        _parse_verdicts(item["verdicts"]),
        abstained,
        signals,
        _word(item.get("cluster", "")),
        _number_or_none(item.get("images_per_second")),
        tuple(map(_parse_follow_up, item.get("followed", ()))),
        _parse_verdicts(item.get("whole_run", ())),
        _numbers(item.get("joules", {})),
        slow_files.from_json(item.get("slow_files", ())),
    )


def _parse_follow_up(item: Mapping[str, Any]) -> FollowUp:
    return FollowUp(
        _word(item["run"]),
        _word(item["verdict"]),
        _parse_arguments(item["arguments"]),
        _parse_forecast(item["promised"]),
        _number_or_none(item["before"]),
        _number_or_none(item["after"]),
        tuple(map(_word, item["also"])),
    )


def _parse_verdicts(items: Iterable[Mapping[str, Any]]) -> tuple[Verdict, ...]:
    """Those that this version knows."""
    return tuple(_parse_verdict(item) for item in items if item["name"] in rules.BY_NAME)


def _parse_verdict(item: Mapping[str, Any]) -> Verdict:
    chinese = _words(item.get("zh", {}))
    told: dict[str, Any] = {
        name: None if name == "gain" and item[name] is None else finished(_word(item[name]), chinese.get(name, ""))
        for name in TOLD
    }
    if item["severity"] not in rules.SEVERITIES:
        raise ValueError("no such severity")
    return Verdict(
        item["name"],
        item["severity"],
        **told,
        share=_number_or_none(item.get("share")),
        advice=_parse_advice(item, predicts=item["name"] in rules.OF_PREDICTIONS),
    )


def _parse_advice(item: Mapping[str, Any], *, predicts: bool) -> Advice:
    """Its note stands in the verdict's fix."""
    return Advice(
        _parse_arguments(item.get("arguments", {})),
        _parse_environment(item.get("environment", {})),
        forecast=_parse_forecast(item.get("forecast")),
        checks=tuple(map(_word, item.get("checks", ()))),
        predicts=predicts,
    )


def _parse_arguments(mapping: Mapping[str, object]) -> dict[str, Value]:
    """Those that are ever advised, with values that lead nowhere: what is advised is typed, or given to `yolo cfg=`."""
    found: dict[str, Value] = {}
    for name, value in mapping.items():
        if name in ADVISED and isinstance(value, int | float | str):
            harmless = _SAFE.fullmatch(value) if isinstance(value, str) else isfinite(value)
            found |= {name: value} if harmless else {}
    return found


def _parse_environment(mapping: Mapping[str, object]) -> dict[str, str]:
    """The same of variables."""
    told = _words(mapping)
    return {name: value for name, value in told.items() if name in VARIABLES and _SAFE.fullmatch(value)}


def _parse_forecast(promised: Mapping[str, Any] | None) -> Forecast | None:
    if not promised:
        return None
    if promised["unit"] not in get_args(Unit):
        raise ValueError("no such unit")
    today = _number_or_none(promised.get("today"))
    return Forecast(promised["unit"], _number(promised["low"]), _number(promised["high"]), today)
