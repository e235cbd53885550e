"""The advice for a run as a file for `yolo cfg=`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
