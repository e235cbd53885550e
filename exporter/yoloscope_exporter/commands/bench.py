"""`yoloscope bench MODEL`: how fast and how large a model is in other formats, and whether it finds the same."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

from yoloscope_exporter.bench import page, table
from yoloscope_exporter.bench.formats import FORMATS
from yoloscope_exporter.bench.plan import Found, Plan
from yoloscope_exporter.bench.session import CannotBenchError, Session, scratch
from yoloscope_exporter.commands import options, output
from yoloscope_exporter.config import types
from yoloscope_exporter.language import joined, reason, say, units
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.system import KILLS_GROUPS, os
from yoloscope_exporter.terminal import plain
from yoloscope_exporter.tuning.processes import LeftBehindError

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED, NOTHING = 130, 2
#: Of Ultralytics' models; larger ones ask for more themselves.
STRIDE = 32
LARGEST_SIZE, LARGEST_BATCH = 8192, 1024
#: Files that can be written: options, and what they are.
FILES = {"html": "one HTML file", "markdown": "Markdown", "json": "JSON, each call's time included"}
_DEVICE = re.compile(r"cpu|mps|(cuda:)?\d+")


def _formats(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (one.strip() for one in text.split(",")))))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise click.BadParameter(
            say(
                "unknown format {text}: use {formats}",
                text=", ".join(unknown) or repr(text),
                formats=", ".join(FORMATS),
            )
        )
    return names


def _batches(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    words = [one.strip() for one in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,5}", one) and 1 <= int(one) <= LARGEST_BATCH for one in words):
        raise click.BadParameter(
            say(
                "{text!r}: use whole numbers from 1 to {largest_batch}, for example 1,8,32",
                text=text,
                largest_batch=LARGEST_BATCH,
            )
        )
    return tuple(dict.fromkeys(map(int, words)))


def _imgsz(_context: click.Context, _option: click.Parameter, size: int) -> int:
    if not STRIDE <= size <= LARGEST_SIZE:
        raise click.BadParameter(
            say("{size} is outside {stride} to {largest_size}", size=size, stride=STRIDE, largest_size=LARGEST_SIZE)
        )
    if size % STRIDE:
        low = size // STRIDE * STRIDE
        raise click.BadParameter(
            say(
                "{size} is no multiple of {stride}, and Ultralytics would take {next}: use {low} or {next}",
                size=size,
                stride=STRIDE,
                low=low,
                next=low + STRIDE,
            )
        )
    return size


def _device(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if text and not _DEVICE.fullmatch(text):
        raise click.BadParameter(say("{text!r}: use one of cpu, 0, cuda:0, mps", text=text))
    return text


def _file(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each of FILES."""
    for name, what in FILES.items():
        option = click.option(
            f"--{name}",
            f"{name}_file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=f"Also write the result as {what}.",
        )
        function = option(function)
    return function


@click.command(short_help="Compare a model's export formats: speed, memory, size, and whether they find the same.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--formats",
    callback=_formats,
    default=",".join(FORMATS),
    show_default=True,
    metavar="LIST",
    help="Formats to compare; one that is not installed is told with what to install.",
)
@click.option("--imgsz", type=int, callback=_imgsz, default=640, show_default=True, help="Edge of an image, pixels.")
@click.option(
    "--batch", "batches", callback=_batches, default="1,8", show_default=True, metavar="LIST", help="Images per call."
)
@click.option("--half", is_flag=True, help="FP16, on a GPU; compared with the .pt model in FP32.")
@click.option(
    "--device",
    callback=_device,
    default="",
    metavar="DEVICE",
    help="cpu, 0, cuda:1 ... as for Ultralytics.  [default: the first GPU, else the CPU]",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Images of yours, 32 at most.  [default: made of the photos that come with Ultralytics]",
)
@click.option(
    "--seconds",
    type=types.duration(0.1, 3600.0),
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="Time that each format is measured with each batch.",
)
@click.option(
    "--rounds",
    type=click.IntRange(2, 1000),
    default=10,
    show_default=True,
    help="Turns in which that is done; the intervals come from them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the exported models in this folder, which has to be empty or new.",
)
@click.option(
    "--python",
    default=sys.executable,
    callback=options.program,
    metavar="PATH",
    help="The Python that has Ultralytics.  [default: ours]",
)
@_file
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    model: str,
    python: str,
    source: Path | None,
    out: Path | None,
    **options: Any,  # noqa: ANN401 - files, and the other fields of a plan
) -> None:
    """Compare a model's export formats: speed, memory, size, and whether they find the same.

    MODEL is a .pt file, or the YAML file of an architecture (then with random weights). It is exported into a temporary
    folder, never beside your weights, and nothing is installed. Each format runs in a process of its own, in turns, and
    its detections are compared with those of the .pt model.

    \b
      yoloscope bench best.pt
      yoloscope bench best.pt --formats pt,onnx,engine --batch 1,8,32 --half --source images/val
      yoloscope bench yolo11n.yaml --imgsz 320 --device cpu --html bench.html

    Exit code: 0 something was measured, 2 bad input or nothing was measured, 130 interrupted.
    """  # noqa: D301 - click reads the backslash
    if not KILLS_GROUPS:
        raise click.UsageError(say("not on Windows yet: its processes could not be ended for certain; use it in WSL2"))
    files = {name: options.pop(f"{name}_file") for name in FILES}
    _check_writable(files, out)
    plan = Plan(_model(model), python, source=str(source.resolve()) if source else "", **options)
    machine = _machine()
    found, interrupted, problem = _measured(plan, out)
    machine |= {"device": _computed_on(found, machine)}
    if found.measured:
        _show(plan, found, machine)
        _write(files, plan, found, machine, interrupted=interrupted)
    else:
        for line in table.failures(found):
            click.echo(say(line), err=True)
    if interrupted:
        kept = say("; what was exported is in {out}", out=out) if out and out.exists() else ""
        click.echo(problem or say("yoloscope: interrupted; nothing is left behind{kept}", kept=kept), err=True)
        ctx.exit(INTERRUPTED)
    if problem or not found.measured:
        raise click.ClickException(problem or say("nothing could be measured"))


# --- what was asked ---------------------------------------------------------------------------------------------------


def _model(text: str) -> str:
    """Absolute, where it is a file; a YAML file may be one that Ultralytics has."""
    path = Path(text)
    if path.suffix not in {".pt", ".yaml", ".yml"}:
        raise click.UsageError(say("{text}: a model is a .pt file, or a .yaml file of an architecture", text=text))
    if path.is_file():
        if not os.access(path, os.R_OK):
            raise click.UsageError(say("{text}: no permission to read it", text=text))
        return str(path.resolve())
    if path.suffix == ".pt" or path.parent != Path():
        raise click.UsageError(say("{text}: no such file", text=text))
    return text


def _check_writable(files: dict[str, Path | None], out: Path | None) -> None:
    """Before anything is measured."""
    for name, path in files.items():
        if path and not os.access(path.parent, os.W_OK):
            raise click.UsageError(
                say(
                    "--{name} {path}: {parent} is no directory that can be written to",
                    name=name,
                    path=path,
                    parent=path.parent,
                )
            )
    if out is None:
        return
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(say("--out {out}: not empty; name a new folder", out=out))
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise click.UsageError(say("--out {out}: no permission to write there", out=out))


def _machine() -> dict[str, Any]:
    """What the figures depend on, before anything is measured."""
    cpu: dict[str, str] = {}
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = {"cpu": names[0]} if names else {}
    process = psutil.Process()
    cores = len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()
    return {"date": units.utc(time.time()), "cores": cores or 1, "load": round(psutil.getloadavg()[0], 2), **cpu}


def _computed_on(found: Found, machine: dict[str, Any]) -> str:
    if "gpu" in found.facts:
        return str(found.facts["gpu"])
    return f"{units.counted(machine['cores'], 'CPU')} ({machine.get('cpu', 'unknown')})"


# --- measuring --------------------------------------------------------------------------------------------------------


def _measured(plan: Plan, out: Path | None) -> tuple[Found, bool, str]:
    """What was found, whether it was interrupted, and what went wrong as a whole."""
    console = plain.console(stderr=True, highlight=False)
    session, interrupted, problem = None, False, ""
    try:
        with interruptible(), scratch() as folder, console.status("starting") as status:
            session = Session(plan, os.environ, folder, out, status.update)
            session.run()
    except KeyboardInterrupt:
        interrupted = True
    except LeftBehindError as error:
        interrupted, problem = isinstance(error.__context__, KeyboardInterrupt), f"yoloscope: {say(str(error))}"
    except CannotBenchError as error:
        problem = str(error)
    except OSError as error:
        problem = say(joined((str(error.filename or ""), reason(error)), ": "))
    return session.found if session else Found(), interrupted, problem


# --- what is told -----------------------------------------------------------------------------------------------------


def _show(plan: Plan, found: Found, machine: dict[str, Any]) -> None:
    console = plain.console(highlight=False)
    for line in table.about(plan, found, machine):
        console.print(say(line), markup=False)
    console.print(table.terminal_table(found, console.width))
    for line in (*table.failures(found), *table.conclusions(found)):
        console.print(f"- {say(line)}", markup=False, soft_wrap=True)


def _write(
    files: dict[str, Path | None], plan: Plan, found: Found, machine: dict[str, Any], *, interrupted: bool
) -> None:
    made = {
        "json": lambda: (
            json.dumps(table.document(plan, found, machine, interrupted=interrupted), indent=2, allow_nan=False) + "\n"
        ),
        "markdown": lambda: table.markdown(plan, found, machine),
        "html": lambda: page.page(plan, found, machine),
    }
    for name, path in files.items():
        if path is None:
            continue
        try:
            output.write(path, [made[name]()])
        except OSError as error:
            raise click.ClickException(
                say("--{name} {path}: {reason}", name=name, path=path, reason=reason(error))
            ) from error
        click.echo(say("written to {path}", path=path), err=True)
