"""`yoloscope tune -- COMMAND`: finds the fastest setting for a training command by short probes of it."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from yoloscope_exporter.commands import run as run_command
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import effect_of
from yoloscope_exporter.diagnosis.advice.device_memory import memory_for_batches
from yoloscope_exporter.diagnosis.advice.settings import global_batch, number, without_cuda
from yoloscope_exporter.diagnosis.cfg import written
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.tuning import search, table
from yoloscope_exporter.tuning.search import Setting
from yoloscope_exporter.tuning.session import CannotProbeError, Session, scratch, space_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value
    from yoloscope_exporter.tuning.search import Plan, Trial

_YOLO = re.compile(r"(yolo|ultralytics)[\w.-]*")
INTERRUPTED = 130


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


@click.command(short_help="Find the fastest setting for a training command by short probes of it.")
@click.option(
    "--budget",
    type=types.duration(10.0, 3600.0),
    default="90s",
    show_default=True,
    metavar="DURATION",
    help="Time that all probes may take together.",
)
@click.option("--batch", is_flag=True, help="Also look for the batch, on a GPU: its peak of memory is predicted.")
@click.option(
    "--allow-changes",
    is_flag=True,
    help="Also choose what changes the result of the training: another batch (optimisation).",
)
@click.option(
    "--write-cfg",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the arguments as YAML for `yolo train cfg=FILE ...`; put `cfg=` first.",
)
@click.option("--run", "go_on", is_flag=True, help="Go on with the training, as `yoloscope run`, with what was found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def tune(  # noqa: PLR0913 - a command's options
    ctx: click.Context,
    command: tuple[str, ...],
    budget: float,
    write_cfg: Path | None,
    *,
    batch: bool,
    allow_changes: bool,
    go_on: bool,
    as_json: bool,
) -> None:
    """Find the fastest workers, cache and threads for a training command by short probes of it.

    Each probe is the command itself with other arguments, ended after some seconds of training: nothing is saved,
    validated or drawn, and nothing is left behind. What is chosen does not change the result of the training.

    Exit code: 0 a setting was found or the command's own is best, 2 the command cannot be probed, 130 interrupted.

    \b
      yoloscope tune -- yolo detect train data=coco8.yaml model=yolo11n.pt
      yoloscope tune --run -- python train.py
      yoloscope tune --batch --allow-changes --write-cfg fast.yaml -- yolo train data=coco.yaml model=yolo11m.pt
    """  # noqa: D301 - click reads the backslash
    program = run_command.check(command, "tune")
    if blind := run_command.blind_option(command):
        raise click.UsageError(f"{blind} keeps the hooks out: without them there are no probes")
    if write_cfg and not os.access(write_cfg.parent, os.W_OK):
        raise click.UsageError(f"--write-cfg {write_cfg}: {write_cfg.parent} is no directory that can be written to")
    console = Console(stderr=True, highlight=False)
    try:
        with interruptible(), _session([program, *command[1:]], budget, console) as session:
            result = _searched(session, console, batch=batch, changes=allow_changes)
    except KeyboardInterrupt:
        click.echo("yoloscope: interrupted; nothing is left behind", err=True)
        ctx.exit(INTERRUPTED)
    except CannotProbeError as error:
        for line in error.output:
            click.echo(f"  | {line}", err=True)
        raise click.ClickException(f"cannot probe {_shortened(command)!r}: {error}") from error
    except OSError as error:
        raise click.ClickException(f"cannot run {command[0]}: {error.strerror or error}") from error
    click.echo(_json(result) if as_json else _text(result, command), nl=False)
    if write_cfg:
        _write(write_cfg, result)
    if go_on:
        os.environ.update(result.best.environment)
        if result.arguments:
            os.environ["YOLOSCOPE_ARGUMENTS"] = json.dumps(result.arguments)
        ctx.invoke(run_command.run, command=command, name=None, urls=(), language="en", exporter=True)


# --- probes -----------------------------------------------------------------------------------------------------------


@contextmanager
def _session(command: Sequence[str], budget: float, console: Console) -> Iterator[Session]:
    environ = run_command.monitored(os.environ)
    with scratch() as (folder, records), console.status("starting") as status:
        deadline = time.monotonic() + budget
        session = Session(command, environ, folder, records, deadline, budget, _progress(status.update, deadline))
        with closing(session):
            yield session


def _progress(update: Callable[[str], None], deadline: float) -> Callable[[str], None]:
    return lambda text: update(f"{text}; {max(deadline - time.monotonic(), 0):.0f} s left")


def _searched(session: Session, console: Console, *, batch: bool, changes: bool) -> Result:
    """Probe until nothing promises more, or the time is over."""
    trials = session.trials
    _tried(session, console, search.Plan(Setting(), "the command as it is"))
    s = session.facts.signals if session.facts else Signals("", "")
    console.print(f"   {table.machine(s)}", style="dim", soft_wrap=True)
    space = space_of(s, session.environ)
    while plan := search.following(trials, space):
        if not session.affords(1 + _to_confirm(trials)):
            break
        _tried(session, console, plan)
    _confirm(session, console)
    best, notes = search.chosen(trials), [*session.notes, *space.notes]
    beside: Mapping[str, Value] = {}
    if plan is not None:
        notes.append(f"the time was over before {plan.setting} was tried ({plan.why}): raise --budget")
    if batch:
        larger, beside_it, told = _larger(session, console, s, best)
        notes += told
        if larger and changes:
            best, beside = larger, beside_it
        elif larger:
            typed = _typed(larger.arguments | dict(beside_it))
            notes.append(f"{typed} is left out (--allow-changes): it changes {', '.join(effect_of('batch'))}")
    return Result(tuple(trials), s, best, beside, notes)


def _to_confirm(trials: Sequence[Trial]) -> int:
    """Probes that are kept back: the best setting and the command as it is, once more each."""
    return 0 if search.chosen(trials) == Setting() else 2


def _confirm(session: Session, console: Console) -> None:
    """What is to be changed is measured twice, in turns with the command as it is: machines drift."""
    best = search.chosen(session.trials)
    if best != Setting():
        for setting in (best, Setting()):
            if session.affords():
                _tried(session, console, search.Plan(setting, "once more, to be sure"))


def _tried(session: Session, console: Console, plan: Plan) -> Trial:
    number = len(session.trials) + 1
    console.print(f"{number}  {search.words(session.trials, plan.setting)}: {plan.why}", markup=False, soft_wrap=True)
    trial = session.probe(plan.setting, plan.why)
    console.print(f"   {table.outcome(trial)}", markup=False, soft_wrap=True)
    return trial


def _larger(
    session: Session, console: Console, s: Signals, best: Setting
) -> tuple[Setting | None, Mapping[str, Value], list[str]]:
    """The batch that trains fastest within the GPU's memory, and what keeps the optimisation alike."""
    room = memory_for_batches(s)
    if room is None or not session.peaks:
        return None, {}, ["--batch: memory is predicted for a GPU only, and there is none here: the batch stays"]
    now = int(s.batch_size)
    second = 2 * now if 2 * session.peaks[now] <= room else max(now // 2, 1)
    for _ in range(2):
        if second in session.peaks or not session.affords():
            break
        setting = replace(best, batch=global_batch(s, second))
        _tried(session, console, search.Plan(setting, _predicted(session, second)))
        second = search.batch_for(session.peaks, room, now) or now
    speeds = search.measured(session.trials)
    found = [one for one in speeds if one.batch is not None and search.faster(speeds[one], speeds[best])]
    notes = [f"--batch: peak of GPU memory: {_peaks(session)}"]
    if not found:
        return None, {}, [*notes, "--batch: no other batch trains faster"]
    fastest = max(found, key=lambda one: speeds[one].images_per_second)
    beside = ultralytics.equal_optimisation(
        fastest.batch or 0, global_batch(s, now), *(number(name, s) for name in ("nbs", "weight_decay"))
    )
    if beside is None:
        notes.append("--batch: an optimizer step takes other images than now with this batch")
    return fastest, beside or {}, notes


def _peaks(session: Session) -> str:
    return ", ".join(f"{peak / 2**30:.2f} GiB with {batch} images" for batch, peak in sorted(session.peaks.items()))


def _predicted(session: Session, batch: int) -> str:
    line = search.peak_line(session.peaks)
    if line is None:
        return "a second batch, to see how memory grows"
    return f"the largest that fits: predicted peak {(line[0] + line[1] * batch) / 2**30:.2f} GiB of GPU memory"


# --- what is told -----------------------------------------------------------------------------------------------------


def _shortened(command: Sequence[str]) -> str:
    return shorten(" ".join(command), 60, placeholder=" ...")


def _typed(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


def _text(result: Result, command: Sequence[str]) -> str:
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table.trials_table(result.trials, result.best))
    return "\n".join([capture.get().rstrip("\n"), *_conclusion(result, command), ""])


def _conclusion(result: Result, command: Sequence[str]) -> Iterator[str]:
    promised = search.promised(result.trials, result.best)
    if result.best == Setting():
        yield "best: the command as it is; nothing that was tried is faster by more than chance"
    else:
        yield f"best: {_typed(result.best.environment | result.arguments)}; {promised}"
        before = "".join(f"{name}={value} " for name, value in result.best.environment.items())
        yield f"type: {before}{_as_typed(result, command)}"
    if result.ignored:
        yield (
            "      on a CPU Ultralytics sets workers=0 whatever is typed, and takes them from a callback of a script: "
            'model.add_callback("on_pretrain_routine_start", lambda trainer: setattr(trainer.args, "workers", '
            f"{result.best.workers})); or use `yoloscope tune --run`"
        )
    yield from (f"note: {note}" for note in result.notes)


def _as_typed(result: Result, command: Sequence[str]) -> str:
    if _YOLO.fullmatch(Path(command[0]).name):
        return " ".join([*command, *(f"{name}={value}" for name, value in result.arguments.items())])
    inside = ", ".join(f"{name}={value!r}" for name, value in result.arguments.items())
    return f"{' '.join(command)}, with model.train(..., {inside})" if inside else " ".join(command)


def _json(result: Result) -> str:
    content = {
        "trials": [table.trial_json(trial) for trial in result.trials],
        "best": {"arguments": result.arguments, "environment": dict(result.best.environment)},
        "forecast": table.forecast_json(search.promised(result.trials, result.best)),
        "notes": list(result.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _write(path: Path, result: Result) -> None:
    arguments = {name: value for name, value in result.arguments.items() if name != "workers" or not result.ignored}
    before = "".join(f"{name}={value} " for name, value in result.best.environment.items())
    head = [f"Found by yoloscope tune, for: {before}yolo train cfg=<this file> model=... data=..."]
    if result.ignored:
        head.append(f"workers={result.best.workers} is left out: on a CPU Ultralytics sets it to 0")
    if not arguments:
        head.append("no argument to change")
    head += [f"{search.words(result.trials, trial.setting)}: {table.outcome(trial)}" for trial in result.trials]
    try:
        path.write_text(written(head, arguments), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"--write-cfg {path}: {error.strerror}") from error
