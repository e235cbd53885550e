"""A diagnosis as JSON, text and Markdown, and its advice as a file for `yolo cfg=`."""

from __future__ import annotations

from datetime import datetime, timezone
from math import isfinite
from typing import TYPE_CHECKING, Any

import yaml

from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.engine import Course, Diagnosis, Verdict, worst_first
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEALTHY, FINDINGS, NO_DATA = 0, 1, 2


def exit_code(diagnoses: Sequence[Diagnosis]) -> int:
    """0 if nothing is worse than `ok`, 1 with findings, 2 if nothing could be judged."""
    verdicts = [verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts]
    known = [verdict for verdict in verdicts if verdict.name != "insufficient_data"]
    if not diagnoses or (verdicts and not known):
        return NO_DATA
    return FINDINGS if any(verdict.severity != rules.OK for verdict in verdicts) else HEALTHY


# --- JSON -----------------------------------------------------------------------------------------------------------


def to_json(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, with_signals: bool = False) -> dict[str, Any]:
    """The interface others build on: runs with their verdicts, and what was skipped."""
    return {"runs": [_rank(diagnosis, with_signals=with_signals) for diagnosis in diagnoses], "notes": list(notes)}


def _rank(diagnosis: Diagnosis, *, with_signals: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "run": diagnosis.run,
        "rank": diagnosis.rank,
        "state": diagnosis.state,
        "verdicts": [_verdict(verdict) for verdict in diagnosis.verdicts],
        "abstained": {name: list(gone) for name, gone in diagnosis.abstained.items()},
    }
    if with_signals:
        content["signals"] = {name: value for name, value in diagnosis.signals.numbers.items() if isfinite(value)}
        content["names"] = dict(diagnosis.signals.names)
        content["facts"] = dict(diagnosis.signals.facts)
    return content


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "severity": verdict.severity,
        "evidence": verdict.evidence,
        "cause": verdict.cause,
        "verify": verdict.verify,
        "fix": verdict.fix,
        "gain": verdict.gain,
        "share": verdict.share,
        "when": [[when(start), when(end)] for start, end in verdict.spans],
        "arguments": dict(verdict.advice.arguments),
        "environment": dict(verdict.advice.environment),
    }


def from_json(content: Mapping[str, Any]) -> tuple[Diagnosis, ...]:
    """What an exporter said with `to_json`; times are left out.

    Raises:
        KeyError, TypeError: it is something else.
    """
    return tuple(_parse_rank(item) for item in content["runs"])


def _parse_rank(item: Mapping[str, Any]) -> Diagnosis:
    signals = Signals(
        item["run"],
        item["rank"],
        item["state"],
        facts=item.get("facts", {}),
        numbers=item.get("signals", {}),
        names=item.get("names", {}),
    )
    abstained = {name: tuple(gone) for name, gone in item.get("abstained", {}).items()}
    verdicts = tuple(_parse_verdict(verdict) for verdict in item["verdicts"] if verdict["name"] in rules.BY_NAME)
    return Diagnosis(item["run"], item["rank"], item["state"], verdicts, abstained, signals)


def _parse_verdict(item: Mapping[str, Any]) -> Verdict:
    texts = {key: item[key] for key in ("name", "severity", "evidence", "cause", "verify", "fix", "gain")}
    return Verdict(**texts, advice=Advice(item.get("arguments", {}), item.get("environment", {})))


def when(time: float) -> str:
    """A moment as ISO 8601 in UTC, in whole seconds."""
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- text -----------------------------------------------------------------------------------------------------------

MARKS = {rules.OK: "ok", rules.INFO: "note", rules.WARNING: "warning", rules.CRITICAL: "CRITICAL"}


def to_text(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a terminal: the worst first, each verdict with evidence, cause, remedy and what to expect."""
    blocks = [_text_rank(diagnosis, verbose=verbose) for diagnosis in diagnoses]
    blocks += [[f"note: {note}" for note in notes]] if notes else []
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _text_rank(diagnosis: Diagnosis, *, verbose: bool) -> list[str]:
    lines = [heading(diagnosis)]
    for verdict in diagnosis.verdicts:
        lines += ["", f"  {MARKS[verdict.severity]:<9} {verdict.name}: {verdict.title}{_share(verdict)}"]
        lines += [f"    {name:<9} {text}" for name, text in _fields(verdict) if text]
    if not diagnosis.verdicts:
        lines += ["", "  nothing stands out"]
    if verbose and diagnosis.abstained:
        lines += ["", "  not judged, for want of these signals:"]
        lines += [f"    {name:<20} {', '.join(gone)}" for name, gone in diagnosis.abstained.items()]
    return lines


def heading(diagnosis: Diagnosis) -> str:
    """Who is spoken of."""
    if not diagnosis.run:
        return f"node {diagnosis.rank}" if diagnosis.rank else "this node"
    return f"{diagnosis.run}, rank {diagnosis.rank} ({diagnosis.state or 'state unknown'})"


def _fields(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "evidence", verdict.evidence
    yield "when", _when(verdict)
    if verdict.severity != rules.OK:
        yield "cause", verdict.cause
        yield "verify", verdict.verify
        yield "fix", verdict.fix
        yield "gain", verdict.gain or ""


def _share(verdict: Verdict) -> str:
    return f" ({verdict.share:.0%} of the training time)" if verdict.share is not None else ""


def _when(verdict: Verdict, most: int = 4) -> str:
    spans = [f"{when(start)[11:19]} to {when(end)[11:19]}" for start, end in verdict.spans]
    more = f" and {len(spans) - most} times more" if len(spans) > most else ""
    return ", ".join(spans[:most]) + more + (" UTC" if spans else "")


# --- Markdown -------------------------------------------------------------------------------------------------------


def to_markdown(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = ()) -> str:
    """For a ticket or a wiki: one table per rank."""
    parts = ["# Diagnosis\n"]
    for diagnosis in diagnoses:
        parts.append(f"## {heading(diagnosis)}\n")
        parts.append(_table(diagnosis.verdicts) if diagnosis.verdicts else "Nothing stands out.\n")
    parts += [f"- {note}" for note in notes]
    return "\n".join(parts) + "\n"


def _table(verdicts: Sequence[Verdict]) -> str:
    lines = ["| verdict | severity | evidence | cause | verify | fix | gain |", "|---|---|---|---|---|---|---|"]
    for v in verdicts:
        cells = (v.name + _share(v), v.severity, v.evidence, v.cause, f"`{v.verify}`", v.fix, v.gain or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


# --- for Ultralytics ------------------------------------------------------------------------------------------------


def _leading(diagnoses: Sequence[Diagnosis]) -> Iterator[tuple[Verdict, dict[str, Any]]]:
    """Each verdict, the worst first, with those of its arguments that none before it has."""
    known: set[str] = set()
    for verdict in worst_first(verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts):
        yield verdict, {name: value for name, value in verdict.advice.arguments.items() if name not in known}
        known |= verdict.advice.arguments.keys()


def advised(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """The arguments advised for one run; where verdicts differ, the worst leads."""
    return {name: value for _, new in _leading(diagnoses) for name, value in new.items()}


def to_cfg(diagnoses: Sequence[Diagnosis]) -> str:
    """The arguments advised for one run, as a YAML that `yolo cfg=` accepts; where verdicts differ, the worst leads.

    It names the mode, because Ultralytics before 8.4.190 forgets with `cfg=` whatever stands before it, `train` too.
    """
    arguments = advised(diagnoses)
    environment: dict[str, str] = {}
    reasons: list[str] = []
    for verdict, new in _leading(diagnoses):
        environment |= verdict.advice.environment
        if new or verdict.advice.environment:
            reasons.append(f"{verdict.name}: {verdict.evidence}")
    before = "".join(f"{name}={value} " for name, value in environment.items())
    head = [f"Advice of yoloscope, for: {before}yolo train cfg=<this file> model=... data=...", *dict.fromkeys(reasons)]
    if not arguments:
        return "# Advice of yoloscope: no argument of Ultralytics to change\n"
    content = yaml.safe_dump({"mode": "train", **arguments}, sort_keys=False)
    return "".join(f"# {line}\n" for line in head) + content


def course_json(course: Course) -> dict[str, Any]:
    """`to_json` of a stretch of time, with its ends."""
    return to_json(course.diagnoses, course.notes) | {"from": when(course.start), "to": when(course.end)}
