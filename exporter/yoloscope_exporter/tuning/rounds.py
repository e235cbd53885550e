"""The probes of a command one after the other, until a setting is chosen; what is done and why is told on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import effect_of
from yoloscope_exporter.diagnosis.advice.device_memory import memory_for_batches
from yoloscope_exporter.diagnosis.advice.settings import global_batch, number, without_cuda
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text
from yoloscope_exporter.tuning import search, table
from yoloscope_exporter.tuning.search import Setting
from yoloscope_exporter.tuning.space import space_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value
    from yoloscope_exporter.tuning.search import Plan, Trial
    from yoloscope_exporter.tuning.session import Session

    Tell = Callable[[str], None]

#: Probes that look for the batch: the second shows how memory grows, the third is the largest that fits.
BATCHES = 2


@dataclass(frozen=True)
class Result:
    """What came of the probes.

    Attributes:
        signals: of the first one.
        best: without changing the result of the training, unless that is allowed.
        beside: arguments that go with it: what keeps the optimisation with another batch.
        notes: what was not tried or is left out, and why.
    """

    trials: Sequence[Trial]
    signals: Signals
    best: Setting
    beside: Mapping[str, Value]
    notes: Sequence[str]

    @property
    def arguments(self) -> dict[str, Value]:
        """All arguments of Ultralytics."""
        return {**self.best.arguments, **self.beside}

    @property
    def ignored(self) -> bool:
        """Whether Ultralytics takes the number of workers back, however it is typed."""
        return "workers" in self.arguments and without_cuda(self.signals)


def tuned(session: Session, tell: Tell, *, batch: bool, changes: bool) -> Result:
    """Probe until nothing promises more, or the time is over."""
    trials = session.trials
    _tried(session, tell, search.Plan(Setting(), text("the command as it is")))
    s = session.facts.signals if session.facts else Signals("", "")
    tell(joined(("  ", table.machine(s)), " "))
    space = space_of(s, session.environ)
    for_batches = BATCHES if batch and session.peaks and memory_for_batches(s) is not None else 0
    while plan := search.following(trials, space):
        if not session.affords(1 + _to_confirm(trials) + for_batches):
            break
        _tried(session, tell, plan)
    _confirm(session, tell, for_batches)
    best, notes = search.chosen(trials), [*session.notes, *space.notes]
    beside: Mapping[str, Value] = {}
    if plan is not None:
        notes.append(
            text(
                "the time was over before {setting} was tried ({why}): raise --budget",
                setting=plan.setting,
                why=plan.why,
            )
        )
    if batch:
        other, beside_it, told = larger(session, tell, s, best)
        notes += told
        if other and changes:
            best, beside = other, beside_it
        elif other:
            typed = " ".join(f"{name}={value}" for name, value in {**other.arguments, **beside_it}.items())
            notes.append(
                text(
                    "{typed} is left out (--allow-changes): it changes {effect_of}",
                    typed=typed,
                    effect_of=", ".join(effect_of("batch")),
                )
            )
    return Result(tuple(trials), s, best, beside, notes)


def _to_confirm(trials: Sequence[Trial]) -> int:
    """Probes that are kept back: the best setting and the command as it is, once more each, unless it is certain."""
    return 0 if search.is_certain(trials) else 2


def _confirm(session: Session, tell: Tell, kept: int) -> None:
    """What is to be changed is measured twice, in turns with the command as it is: machines drift.

    As long as there is time for as many probes as are `kept` besides.
    """
    best = search.chosen(session.trials)
    if best != Setting():
        for setting in (best, Setting()):
            if session.affords(1 + kept):
                _tried(session, tell, search.Plan(setting, text("once more, to be sure")))


def _tried(session: Session, tell: Tell, plan: Plan) -> Trial:
    number = len(session.trials) + 1
    tell(joined((joined((str(number), search.words(session.trials, plan.setting)), "  "), plan.why), ": "))
    trial = session.probe(plan.setting, plan.why)
    tell(joined(("  ", table.outcome(trial)), " "))
    return trial


def larger(
    session: Session, tell: Tell, s: Signals, best: Setting
) -> tuple[Setting | None, Mapping[str, Value], list[str]]:
    """The batch that trains fastest within the GPU's memory, and what keeps the optimisation alike."""
    room = memory_for_batches(s)
    if room is None or not session.peaks:
        return None, {}, [text("--batch: memory is predicted for a GPU only, and there is none here: the batch stays")]
    now = int(s.batch_size)
    second = 2 * now if 2 * session.peaks[now] <= room else max(now // 2, 1)
    late: list[str] = []
    for _ in range(BATCHES):
        if second in session.peaks:
            break
        if not session.affords():
            late.append(
                text(
                    "--batch: the time was over before batch={global_batch} was tried: raise --budget",
                    global_batch=global_batch(s, second),
                )
            )
            break
        setting = replace(best, batch=global_batch(s, second))
        _tried(session, tell, search.Plan(setting, _predicted(session, second)))
        second = search.batch_for(session.peaks, room, now) or now
    speeds = search.measured(session.trials)
    found = [one for one in speeds if one.batch is not None and search.faster(speeds[one], speeds[best])]
    notes: list[str] = [text("--batch: peak of GPU memory: {peaks}", peaks=_peaks(session)), *late]
    if not found:
        is_tried = any(trial.setting.batch is not None for trial in session.trials)
        return None, {}, [*notes, *[text("--batch: no other batch trains faster")] * (is_tried or not late)]
    fastest = max(found, key=lambda one: speeds[one].images_per_second)
    beside = ultralytics.equal_optimisation(
        fastest.batch or 0, global_batch(s, now), *(number(name, s) for name in ("nbs", "weight_decay"))
    )
    if beside is None:
        notes.append(text("--batch: an optimizer step takes other images than now with this batch"))
    return fastest, beside or {}, notes


def _peaks(session: Session) -> str:
    return joined(
        (
            text("{peak:.2f} GiB with {batch} images", peak=peak / 2**30, batch=batch)
            for batch, peak in sorted(session.peaks.items())
        ),
        ", ",
    )


def _predicted(session: Session, batch: int) -> str:
    line = search.peak_line(session.peaks)
    if line is None:
        return text("a second batch, to see how memory grows")
    return text(
        "the largest that fits: predicted peak {line:.2f} GiB of GPU memory", line=(line[0] + line[1] * batch) / 2**30
    )
