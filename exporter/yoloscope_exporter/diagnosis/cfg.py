"""The advice for a run as a file for `yolo cfg=`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from yoloscope_exporter.diagnosis.advice import effect_of
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict, worst_first
from yoloscope_exporter.language import joined, say, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TRAIN = "train"
#: What only calls in Python take: `yolo` refuses it in a file, and streams whatever is said.
_OF_CALLS = frozenset({"stream"})


def _leading(diagnoses: Sequence[Diagnosis]) -> Iterator[tuple[Verdict, dict[str, Any]]]:
    """Each verdict, the worst first, with those of its arguments that none before it has."""
    known: set[str] = set()
    for verdict in worst_first(verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts):
        yield verdict, {name: value for name, value in verdict.advice.arguments.items() if name not in known}
        known |= verdict.advice.arguments.keys()


def advised(diagnoses: Sequence[Diagnosis], *, changes: bool = False) -> dict[str, Any]:
    """The arguments advised for one run; where verdicts differ, the worst leads.

    Those that change the result only with `changes`.
    """
    predicts = _mode(diagnoses) != TRAIN
    arguments = {name: value for _, new in _leading(diagnoses) for name, value in new.items() if name not in _OF_CALLS}
    return {name: value for name, value in arguments.items() if changes or not effect_of(name, predicts)}


def _mode(diagnoses: Sequence[Diagnosis]) -> str:
    """Ultralytics' mode of the run: an argument of `predict` is another one than that of `train` with its name."""
    modes = (one.signals.facts.get("mode") for one in diagnoses if one.signals.predicts)
    return next(("track" if mode == "track" else "predict" for mode in modes), TRAIN)


def to_cfg(diagnoses: Sequence[Diagnosis], *, changes: bool = False) -> str:
    """The arguments advised for one run, as a YAML that `yolo cfg=` accepts; where verdicts differ, the worst leads.

    Those that change the result are written only with `changes`, each with a comment; without, they are named in one.
    The file names the mode, because Ultralytics before 8.4.190 forgets with `cfg=` whatever stands before it, `train`
    too.
    """
    mode = _mode(diagnoses)
    arguments, everything = advised(diagnoses, changes=changes), advised(diagnoses, changes=True)
    environment: dict[str, str] = {}
    reasons: list[str] = []
    for verdict, new in _leading(diagnoses):
        environment |= verdict.advice.environment
        if new or verdict.advice.environment:
            reasons.append(say(joined((verdict.name, verdict.evidence), ": ")))
    left_out = [
        say(
            "{name}={value} is left out (--allow-changes): {changes}",
            name=name,
            value=value,
            changes=_changes(name, mode),
        )
        for name, value in everything.items()
        if name not in arguments
    ]
    if not arguments:
        if not left_out:
            return _commented([say("Advice of yoloscope: no argument of Ultralytics to change")])
        head = say("Advice of yoloscope: no argument of Ultralytics to change without changing the result")
        return _commented([head, *left_out])
    before = "".join(f"{name}={value} " for name, value in environment.items())
    head = say(
        "Advice of yoloscope, for: {before}yolo {mode} cfg=<this file> model=... {of}=...",
        before=before,
        mode=mode,
        of="data" if mode == TRAIN else "source",
    )
    return written([head, *dict.fromkeys(reasons), *left_out], arguments, mode)


def written(head: Sequence[str], arguments: Mapping[str, Any], mode: str = TRAIN) -> str:
    """A file for `yolo cfg=`: the lines of `head` as comments, then the arguments, each with what it changes."""
    return _commented(head) + "".join(_lines(arguments, mode))


def _changes(name: str, mode: str) -> str:
    """What an argument changes of the result; empty for nothing."""
    effects = joined(map(text, effect_of(name, mode != TRAIN)), ", ")
    return say("it changes {effects}", effects=effects) if effects else ""


def _commented(lines: Sequence[str]) -> str:
    """Each as a comment of one line, whatever YAML takes for the end of one."""
    return "".join(f"# {' '.join(line.splitlines())}\n" for line in lines)


def _lines(arguments: Mapping[str, Any], mode: str) -> Iterator[str]:
    yield f"mode: {mode}\n"
    for name, value in arguments.items():
        changes = _changes(name, mode)
        yield yaml.safe_dump({name: value}).rstrip("\n") + (f"  # {changes}" if changes else "") + "\n"
