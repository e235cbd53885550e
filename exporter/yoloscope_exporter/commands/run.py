"""`yoloscope run -- COMMAND`: runs a training command with monitoring."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

import click
from yoloscope_hooks.activation import propagate
from yoloscope_record import paths

from yoloscope_exporter import ADDRESS
from yoloscope_exporter.commands import launched, options, shared_exporter
from yoloscope_exporter.language import reason, say, text
from yoloscope_exporter.notify.queue import Queue, default_directory
from yoloscope_exporter.notify.sender import send_now
from yoloscope_exporter.notify.services import addressed
from yoloscope_exporter.service.interpreter import blind_option
from yoloscope_exporter.service.signals import LOOK_SECONDS, blocked, handled, present
from yoloscope_exporter.system import exit_code, is_in_foreground, os

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from yoloscope_exporter.notify.services import Service
    from yoloscope_exporter.reports.ending import Ended
    from yoloscope_exporter.reports.summary import Summary

ANSWER_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # before it is looked for a run that hangs
MOST_COMMAND = 120  # characters of it that are told
NOTIFY_SECONDS = 20.0  # that sending the message at the end may take

#: Programs that are Python, or that pass their environment on to the Python they start.
_PYTHON = re.compile(r"(python|pypy|yolo|ultralytics|torchrun|accelerate|ipython|jupyter|pytest)[\w.-]*")
_LAUNCHERS = frozenset(
    [
        "bash",
        "chrt",
        "cmd",
        "conda",
        "dash",
        "deepspeed",
        "direnv",
        "env",
        "fish",
        "flock",
        "hatch",
        "ionice",
        "make",
        "mamba",
        "micromamba",
        "mpiexec",
        "mpirun",
        "nice",
        "ncu",
        "nohup",
        "nsys",
        "numactl",
        "pixi",
        "poetry",
        "powershell",
        "pwsh",
        "setsid",
        "sh",
        "srun",
        "stdbuf",
        "strace",
        "taskset",
        "time",
        "timeout",
        "uv",
        "zsh",
    ]
)
_FORWARDED = present("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGBREAK")
#: What a terminal sends to all of its foreground processes by itself.
_OF_THE_TERMINAL = present("SIGINT", "SIGQUIT", "SIGBREAK")
_FROM_THE_KERNEL = 0x80  # SI_KERNEL of <siginfo.h>: a terminal's Ctrl-C, which the training gets by itself


@click.command(
    short_help="Run a training command with monitoring.",
)
@click.option(
    "--exporter/--no-exporter",
    default=True,
    help=f"Start an exporter for the duration of the run if none answers on {ADDRESS}.",
)
@click.option(
    "--name", metavar="NAME", help="Name of the run, as YOLOSCOPE_RUN.  [default: project/name and start time]"
)
@click.option(
    "--notify",
    "urls",
    multiple=True,
    envvar="YOLOSCOPE_NOTIFY",
    metavar="URL",
    help="Send a message at the end of the run: how it ended, how far it came, the verdict and the fix. Addresses as "
    "of `yoloscope notify --to`; repeat it for several.",
)
@click.option(
    "--summary/--no-summary",
    default=None,
    help="Show at the end what the run came to, the verdict and the fix.  [default: where stdout is a terminal]",
)
@options.language
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(  # noqa: PLR0913 - a command's options
    context: click.Context,
    command: tuple[str, ...],
    name: str | None,
    urls: tuple[str, ...],
    language: str,
    *,
    exporter: bool,
    summary: bool | None,
) -> None:
    """Run a training command with monitoring.

    PYTHONPATH loads the hooks into every Python process of COMMAND that trains with Ultralytics, DDP ranks, torchrun,
    loader workers and the tuner's runs included. Code, output and exit code of the training do not change. Python's
    options that ignore the environment (-I, -E, -S), sudo and `srun --export=NONE` keep the hooks out.

    \b
      yoloscope run -- yolo detect train data=coco128.yaml model=yolo11n.pt
      yoloscope run -- python train.py
      yoloscope run -- torchrun --nproc_per_node 2 train.py
      yoloscope run --notify dingtalk://SECRET@TOKEN -- yolo detect train data=coco.yaml epochs=300
    """  # noqa: D301 - click reads the backslash
    program = check(command, "run")
    if not is_known(command[0], program):
        _aside(
            say(
                "yoloscope: {name} is monitored only if it starts Python on this machine and passes its environment on",
                name=Path(command[0]).name,
            )
        )
    services = addressed(urls, "--notify") if _is_first(os.environ) else []
    if blind := blind_option(command):
        _aside(say("yoloscope: {blind} keeps the hooks out: this run will not be monitored", blind=blind))
    environ = monitored(os.environ)
    if name:
        environ["YOLOSCOPE_RUN"] = name
    begun = time.monotonic()
    environ[launched.VARIABLE] = launch = f"{os.getpid()}-{time.time_ns()}"
    with _exporter() if exporter else nullcontext(False) as own:
        code = _supervise([program, *command[1:]], environ, nullcontext() if own else _watched(launch))
        if _is_first(os.environ):
            ended = _Ended(
                shorten(" ".join(command[:3]), MOST_COMMAND, placeholder="..."), code, time.monotonic() - begun, launch
            )
            with suppress(KeyboardInterrupt):  # whoever presses Ctrl-C again wants no more than the end
                _tell(ended, services, language, card=_on_a_terminal() if summary is None else summary)
    context.exit(code)


class _Ended(NamedTuple):
    """A command that has ended: with an exit code, after so many seconds; `launch` names it in the records."""

    command: str
    code: int
    seconds: float
    launch: str


def monitored(environ: Mapping[str, str]) -> dict[str, str]:
    """The same environment with the hooks in it."""
    with_hooks = dict(environ)
    propagate(with_hooks)
    return with_hooks


def _is_first(environ: Mapping[str, str]) -> bool:
    """Whether this is the first task of its job: all of them run this command, and one of them tells the end."""
    return all(environ.get(name, "0") == "0" for name in ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"))


def _tell(end: _Ended, services: Sequence[Service], language: str, *, card: bool) -> None:
    """Show the card, write `summary.json`, send the message; the exit code of the training matters more than these."""
    runs = [run for run in launched.of_launch(paths.directory(), end.launch) if not run.lives]  # one may go on without
    if not runs and not services:
        return
    ended_at = time.monotonic()
    from yoloscope_exporter.commands import ending  # noqa: PLC0415 - reports and diagnosis come with it
    from yoloscope_exporter.reports.ending import Ended  # noqa: PLC0415

    ended = Ended(end.command, end.code, end.seconds, socket.gethostname())
    told: list[tuple[launched.Run, Summary]] = []
    with _said(say("no summary")):
        if runs:
            told = ending.summaries(paths.directory(), runs)
            until = ended_at + ending.GRACE_SECONDS if end.code else 0.0
            told = ending.with_seen(told, ending.seen_by(f"http://{ADDRESS}", runs, until))
    with _said(say("no cost")):
        told = ending.with_prices(told)
    for run, summary in told:
        with _said(say("no {summary_file} in {folder}", summary_file=ending.SUMMARY_FILE, folder=run.folder)):
            ending.write(ended, run, summary)
    summaries = [summary for _, summary in told]
    if card and summaries:
        with _said(say("no card")):
            ending.show(ended, summaries, language)
    if services:
        with _said(say("--notify: no message was sent")):
            _send(services, ended, summaries, language)


def _on_a_terminal() -> bool:
    """Whether there is a standard output, and somebody looks at it."""
    return sys.stdout is not None and sys.stdout.isatty()


def _aside(told: str) -> None:
    """Say it on stderr, if that can be written: the training goes on all the same, and its exit code is what counts."""
    try:
        click.echo(told, err=True)
    except (OSError, ValueError):
        sys.stderr = None  # Python would end with 120 for what is left in the buffer


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Say in one line what could not be done."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the exit code of the training matters more
        _aside(say("yoloscope: {what}: {error!r}", what=what, error=error))


def _send(services: Sequence[Service], ended: Ended, summaries: Sequence[Summary], language: str) -> None:
    """Send a message about the end; one that is not taken in time waits on disk."""
    from yoloscope_exporter.notify.ended import message  # noqa: PLC0415 - reports and diagnosis come with it

    queue = Queue(default_directory())
    queue.put([service.key for service in services], message(ended, summaries, language, time.time()))
    for service in send_now(services, queue, NOTIFY_SECONDS):
        remedy = say(
            "the message waits in {directory} for the next run, or for `yoloscope notify`", directory=queue.directory
        )
        _aside(say("yoloscope: {service} has not taken it: {remedy}", service=service, remedy=remedy))


def check(command: Sequence[str], name: str) -> str:
    """Path of the program to run; `name` is what yoloscope's command is called.

    Raises:
        click.UsageError: there is none.
    """
    if not command:
        raise click.UsageError(
            say(
                "no command after --; use for example: yoloscope {name} -- yolo detect train data=coco128.yaml",
                name=name,
            )
        )
    target = command[0]
    program = shutil.which(target)
    if program is None:
        other = text("a program on the PATH, like yolo or python")
        remedy = f"python {target}" if target.endswith(".py") else other
        raise click.UsageError(
            say("{target!r} is not a program that can be run: use {remedy}", target=target, remedy=remedy)
        )
    return program


def is_known(target: str, program: str) -> bool:
    """Whether it is Python, a script, or a launcher that starts Python here and passes its environment on."""
    base = re.sub(r"(?i)\.(exe|bat|cmd|com)$", "", Path(target).name)  # as Windows has them
    return bool(_PYTHON.fullmatch(base)) or base in _LAUNCHERS or _is_script(Path(program))


def _is_script(program: Path) -> bool:
    """Whether the first line of the file names Python or a shell."""
    try:
        with program.open("rb") as file:
            first = file.readline(256)
    except OSError:
        return False
    return first.startswith(b"#!") and any(word in first for word in (b"python", b"sh"))


def _supervise(command: Sequence[str], environ: dict[str, str], watched: AbstractContextManager[None]) -> int:
    """Run the training, forward signals to it, and return its exit code: 128 + n after signal n.

    `watched` begins when the training has begun: there is one thread until then.
    """
    supervise = _waiting_for_signals if hasattr(signal, "sigwaitinfo") else _noting_signals
    return exit_code(supervise(command, environ, watched))


def _started(
    command: Sequence[str], environ: dict[str, str], before: Callable[[], object] | None = None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env=environ, preexec_fn=before)  # noqa: S603, PLW1509 - one thread only
    except OSError as error:
        raise click.UsageError(
            say("cannot run {command}: {reason}", command=command[0], reason=reason(error))
        ) from error


def _waiting_for_signals(command: Sequence[str], environ: dict[str, str], watched: AbstractContextManager[None]) -> int:
    """Supervise where the system tells who has sent a signal: Linux."""
    waited = {signal.SIGCHLD, *_FORWARDED}
    with blocked(waited) as before:
        process = _started(command, environ, partial(signal.pthread_sigmask, signal.SIG_SETMASK, before))
        with watched:
            while process.poll() is None:
                received = signal.sigwaitinfo(waited)
                if received.si_signo != signal.SIGCHLD and received.si_code != _FROM_THE_KERNEL:
                    process.send_signal(received.si_signo)
        while signal.sigtimedwait(_FORWARDED, 0):
            pass  # they were meant for the training
    return process.returncode


def _noting_signals(command: Sequence[str], environ: dict[str, str], watched: AbstractContextManager[None]) -> int:
    """Supervise where it does not: macOS, Windows. What a terminal sends, the training has got already."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: object) -> None:
        if process is None:
            early.append(number)
        elif number not in _OF_THE_TERMINAL or not is_in_foreground():
            with suppress(OSError):  # it has ended
                process.send_signal(number)

    with handled(_FORWARDED, forward):
        process = _started(command, environ)
        for number in early:
            forward(number, None)
        with watched:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
    return process.returncode


def _answers() -> bool:
    """Whether a server, which may ask for a password, answers on the exporter's port."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=ANSWER_SECONDS)  # urllib takes longer to be imported
    try:
        connection.request("GET", "/-/healthy")
        connection.getresponse()
    except ConnectionRefusedError:
        return False
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()
    return True


@contextmanager
def _exporter() -> Iterator[bool]:
    """Start an exporter for the duration of the run, unless one answers already; the value is whether one was."""
    try:
        lock = shared_exporter.open_lock(ADDRESS)
    except OSError as error:
        _aside(say("yoloscope: cannot start an exporter: {error}", error=error))
        yield False
        return
    try:
        joined = shared_exporter.join(lock)
        process = shared_exporter.start(ADDRESS) if joined and not _answers() else None
        if process:
            _aside(say("yoloscope: metrics at http://{address}/metrics while this runs", address=ADDRESS))
        yield process is not None
        last = joined and shared_exporter.is_last(lock)
    finally:
        os.close(lock)
    if process:
        with suppress(subprocess.TimeoutExpired):  # a run that begins this moment keeps it
            if process.wait(shared_exporter.END_SECONDS if last else 0):
                _aside(say("yoloscope: the exporter has exited; run `yoloscope check` for the reason"))


@contextmanager
def _watched(launch: str) -> Iterator[None]:
    """Say where a run of the command stands still, if there is an exporter that sees it and may not ask."""
    end = threading.Event()

    def tell(told: str) -> None:
        _aside(say("yoloscope: {told}", told=told))

    asked = copy_context()  # with the language
    threading.Thread(target=asked.run, args=(_watch, launch, tell, end), daemon=True).start()
    try:
        yield
    finally:
        end.set()


def _watch(launch: str, tell: Callable[[str], None], end: threading.Event) -> None:
    if end.wait(PATIENCE_SECONDS):  # most commands need none of it
        return
    from yoloscope_exporter.commands import hanging  # noqa: PLC0415

    hanging.watch(f"http://{ADDRESS}", paths.directory(), launch, tell, end)
