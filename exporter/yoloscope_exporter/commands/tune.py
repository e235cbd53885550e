"""`yoloscope tune -- COMMAND`: finds the fastest setting for a training command by short probes of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
from yoloscope_record import probes

from yoloscope_exporter.commands import output
from yoloscope_exporter.commands import run as run_command
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis.cfg import written
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.service.interpreter import blind_option
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.system import KILLS_GROUPS
from yoloscope_exporter.terminal import plain
from yoloscope_exporter.tuning import search, table
from yoloscope_exporter.tuning.processes import LeftBehindError
from yoloscope_exporter.tuning.rounds import Result, tuned
from yoloscope_exporter.tuning.search import Setting
from yoloscope_exporter.tuning.session import CannotProbeError, Session, scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console


_YOLO = re.compile(r"(yolo|ultralytics)[\w.-]*")
CANNOT, INTERRUPTED = 2, 130


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
    validated or drawn, and nothing is left behind. What a script does itself before its training, and in its callbacks,
    it does in each probe. What is chosen does not change the result of the training.

    Exit code: 0 a setting was found or the command's own is best, 2 the command cannot be probed, 130 interrupted.

    \b
      yoloscope tune -- yolo detect train data=coco128.yaml model=yolo11n.pt
      yoloscope tune --run -- python train.py
      yoloscope tune --batch --allow-changes --write-cfg fast.yaml -- yolo train data=coco.yaml model=yolo11m.pt
    """  # noqa: D301 - click reads the backslash
    if not KILLS_GROUPS:
        raise click.UsageError(say("not on Windows yet: a probe could not be ended for certain; use it in WSL2"))
    program = _checked(command)
    if write_cfg and not os.access(write_cfg.parent, os.W_OK):
        raise click.UsageError(
            say(
                "--write-cfg {write_cfg}: {parent} is no directory that can be written to",
                write_cfg=write_cfg,
                parent=write_cfg.parent,
            )
        )
    onward = run_command.run.make_context("run", ["--", *command], parent=ctx) if go_on else None
    console = plain.console(stderr=True, highlight=False)
    try:
        with interruptible(), _session([program, *command[1:]], budget, console) as session:
            result = tuned(session, _printer(console), batch=batch, changes=allow_changes)
    except KeyboardInterrupt:
        click.echo(say("yoloscope: interrupted; nothing is left behind"), err=True)
        ctx.exit(INTERRUPTED)
    except LeftBehindError as error:
        click.echo(say("yoloscope: {error}", error=error), err=True)
        ctx.exit(INTERRUPTED if _is_interrupted(error) else CANNOT)
    except CannotProbeError as error:
        for line in error.output:
            click.echo(f"  | {line}", err=True)
        raise click.ClickException(
            say("cannot probe {shortened!r}: {error}", shortened=_shortened(command), error=error)
        ) from error
    except OSError as error:
        raise click.ClickException(
            say("cannot run {command}: {error}", command=command[0], error=reason(error))
        ) from error
    click.echo(_json(result) if as_json else _text(result, command), nl=False)
    if write_cfg:
        _write(write_cfg, result)
    if onward:
        _go_on(onward, result)


def _checked(command: Sequence[str]) -> str:
    """Path of the program; what is not known to load the hooks is refused, because it would really train."""
    program = run_command.check(command, "tune")
    if not run_command.is_known(command[0], program):
        raise click.UsageError(
            say(
                "{name} is not known to start Python on this machine and to pass its environment on, so "
                "that it may really train: use yolo, python, torchrun, a script of theirs or of a shell, "
                "or srun",
                name=Path(command[0]).name,
            )
        )
    if blind := blind_option(command):
        raise click.UsageError(say("{blind} keeps the hooks out: without them there are no probes", blind=blind))
    return program


def _go_on(onward: click.Context, result: Result) -> None:
    """Train with what was found, as `yoloscope run` does when it is typed: with the user's variables and locale."""
    os.environ.update(result.best.environment)
    if result.arguments:
        os.environ[probes.ARGUMENTS] = json.dumps(result.arguments)
    with onward:
        onward.command.invoke(onward)


def _is_interrupted(error: BaseException | None) -> bool:
    """Whether it came up while an interrupt was answered."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _is_interrupted(error.__context__))


# --- probes -----------------------------------------------------------------------------------------------------------


@contextmanager
def _session(command: Sequence[str], budget: float, console: Console) -> Iterator[Session]:
    environ = run_command.monitored(os.environ)
    with scratch() as (folder, records), console.status(say("starting")) as status:
        deadline = time.monotonic() + budget
        session = Session(command, environ, folder, records, deadline, budget, _progress(status.update, deadline))
        with closing(session):
            yield session


def _printer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(say(text), markup=False, soft_wrap=True)


def _progress(update: Callable[[str], None], deadline: float) -> Callable[[str], None]:
    return lambda text: update(say("{doing}; {left:.0f} s left", doing=text, left=max(deadline - time.monotonic(), 0)))


# --- what is told -----------------------------------------------------------------------------------------------------


def _shortened(command: Sequence[str]) -> str:
    return shorten(" ".join(command), 60, placeholder=" ...")


def _typed(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


def _text(result: Result, command: Sequence[str]) -> str:
    console = plain.console(highlight=False)
    with console.capture() as capture:
        console.print(table.trials_table(result.trials, result.best))
    return "\n".join([capture.get().rstrip("\n"), *_conclusion(result, command), ""])


def _conclusion(result: Result, command: Sequence[str]) -> Iterator[str]:
    promised = search.promised(result.trials, result.best)
    if result.best == Setting():
        speed = say("{low:.3g} to {high:.3g} images/s; ", low=promised.low, high=promised.high) if promised else ""
        yield say(
            "best: the command as it is; {speed}nothing that was tried is faster by more than chance", speed=speed
        )
    else:
        yield say(
            "best: {typed}; {promised}", typed=_typed(result.best.environment | result.arguments), promised=promised
        )
    if _typeable(result) or result.best.environment:
        before = "".join(f"{name}={value} " for name, value in result.best.environment.items())
        yield say("type: {before}{as_typed}", before=before, as_typed=_as_typed(_typeable(result), command))
    if result.ignored:
        yield (
            say(
                "set:  workers={workers} by a callback, as Ultralytics sets 0 on a CPU whatever is "
                'typed: model.add_callback("on_pretrain_routine_start", lambda trainer: '
                'setattr(trainer.args, "workers", {workers})); or use `yoloscope tune --run`',
                workers=result.best.workers,
            )
        )
    yield from (say("note: {note}", note=note) for note in result.notes)


def _typeable(result: Result) -> dict[str, Any]:
    """The arguments without those that change nothing when they are typed."""
    return {name: value for name, value in result.arguments.items() if name != "workers" or not result.ignored}


def _as_typed(arguments: Mapping[str, Any], command: Sequence[str]) -> str:
    if _YOLO.fullmatch(Path(command[0]).name):
        return shlex.join([*command, *(f"{name}={value}" for name, value in arguments.items())])
    inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return (
        say("{command}, with model.train(..., {inside})", command=shlex.join(command), inside=inside)
        if inside
        else shlex.join(command)
    )


def _json(result: Result) -> str:
    content = {
        "trials": [table.trial_json(trial) for trial in result.trials],
        "best": {"arguments": result.arguments, "environment": dict(result.best.environment)},
        "forecast": table.forecast_json(search.promised(result.trials, result.best)),
        "notes": list(result.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _write(path: Path, result: Result) -> None:
    arguments = _typeable(result)
    before = "".join(f"{name}={value} " for name, value in result.best.environment.items())
    head = [say("Found by yoloscope tune, for: {before}yolo train cfg=<this file> model=... data=...", before=before)]
    if result.ignored:
        head.append(
            say("workers={workers} is left out: on a CPU Ultralytics sets it to 0", workers=result.best.workers)
        )
    if not arguments:
        head.append(say("no argument to change"))
    head += [
        f"{say(search.words(result.trials, trial.setting))}: {say(table.outcome(trial))}" for trial in result.trials
    ]
    try:
        output.write(path, [written(head, arguments)])
    except OSError as error:
        raise click.ClickException(say("--write-cfg {path}: {reason}", path=path, reason=reason(error))) from error
