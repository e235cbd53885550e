"""`yoloscope demo`: a real training, starved of data, watched live, mended, and compared."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

from yoloscope_exporter import catalog
from yoloscope_exporter.demo import photos

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric

PORT = 9911
PHOTOGRAPHS = 96
BATCH = 4
PATIENCE_SECONDS = 30  # for a child to answer
WINDOW_SECONDS = 5.0  # what 'now' means in the live line-up


@dataclass(frozen=True)
class Act:
    """One of the two trainings: the run's name and what is said about it, with the arguments that differ."""

    run: str
    title: str
    options: tuple[str, ...]


STARVED = Act(
    "demo-starved", "one loader worker decodes every photograph anew, every epoch", ("workers=1", "cache=False")
)
MENDED = Act("demo-mended", "the photographs are decoded once and kept in memory", ("workers=2", "cache=ram"))


@dataclass(frozen=True)
class Reading:
    """The totals of one run at one scrape: seconds, images, epochs."""

    time: float
    state: str
    epoch: float
    epochs: float
    images: float
    wait: float
    step: float
    cpu_busy: float
    cpu_all: float


@click.command(short_help="A real YOLO training, starved, watched, mended and compared: about two minutes.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the photographs, the logs and the report.",
)
@click.option("--epochs", type=click.IntRange(1, 100), default=3, show_default=True, help="Epochs of each training.")
@click.option("--prometheus/--no-prometheus", default=True, help="Start a Prometheus if one is on the PATH.")
def demo(output: Path, epochs: int, *, prometheus: bool) -> None:
    """Show yoloscope at work on this machine, with nothing prepared.

    Two real trainings of a small YOLO model run on the CPU. The first is starved: its photographs are far larger than
    the network's input and one worker decodes them all. The second has the remedy. An exporter watches both, live, and
    a table compares them at the end.

    Needs the extra `train` (pip install 'yoloscope[train]'); no GPU, no Docker, no Prometheus.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise click.UsageError("the demo trains a real model and needs Ultralytics: pip install 'yoloscope[train]'")
    console = Console()
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        root = _folder(output)
        _photograph(root / "photos", console)
        url = stack.enter_context(_exporter(root))
        console.print(f"exporter     {url}/metrics")
        if prometheus:
            stack.enter_context(_prometheus(root, url, console))
        readings = [_watch(act, root, url, epochs, console) for act in (STARVED, MENDED)]
        table = comparison(*readings)
        console.print(table)
        _save(root / "report.md", readings)
        console.print(f"written      {root / 'report.md'}")


def _folder(output: Path) -> Path:
    try:
        output.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output / "records", ignore_errors=True)
        (output / "records").mkdir()
    except OSError as error:
        raise click.UsageError(f"--output {output}: {error.strerror}; choose a folder that you may write to") from error
    return output.resolve()


def _photograph(root: Path, console: Console) -> None:
    """Make the data set, unless an earlier demo has left it."""
    if (root / "data.yaml").exists():
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"making {PHOTOGRAPHS} photographs of 8 megapixels", total=PHOTOGRAPHS + 4)
        for done in photos.write(root, train=PHOTOGRAPHS):
            progress.update(task, completed=done)


# --- processes ------------------------------------------------------------------------------------------------------


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM both unwind the stack, so that every child is ended."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _child(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own; the whole group is gone when the block is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)


@contextmanager
def _exporter(root: Path) -> Iterator[str]:
    """A running exporter that reads the demo's own records; yields its URL."""
    port = _free_port(PORT)
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", f"--web.listen-address=127.0.0.1:{port}"]
    log = root / "exporter.log"
    with _child(command, log, _environment(root)) as process:
        url = f"http://127.0.0.1:{port}"
        _await(f"{url}/-/ready", process, log)
        yield url


@contextmanager
def _prometheus(root: Path, url: str, console: Console) -> Iterator[None]:
    """Prometheus with the shipped configuration, where there is one to start."""
    binary, shipped = shutil.which("prometheus"), Path(__file__).parents[3] / "deploy" / "prometheus"
    if binary is None or not shipped.exists():
        yield
        return
    folder = root / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(shipped, folder)
    configuration = folder / "prometheus.yml"
    configuration.write_text(configuration.read_text().replace(f"127.0.0.1:{PORT}", url.removeprefix("http://")))
    port = _free_port(9090)
    command = [
        binary,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = root / "prometheus.log"
    with _child(command, log, {}) as process:
        _await(f"http://127.0.0.1:{port}/-/ready", process, log)
        expression = f"rate({catalog.TRAIN_DATA_WAIT_SECONDS.name}_sum[30s])"
        console.print(f"Prometheus   http://127.0.0.1:{port}/graph?g0.expr={expression}&g0.tab=0&g0.range_input=5m")
        yield


def _free_port(wanted: int) -> int:
    """`wanted` if it is free on the loopback interface, else any port that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise click.ClickException("no port is free on 127.0.0.1")


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
            return
        time.sleep(0.2)
    raise click.ClickException(f"{url} does not answer; the end of {log}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _environment(root: Path) -> dict[str, str]:
    return {"YOLOSCOPE_DIR": str(root / "records"), "YOLO_CONFIG_DIR": str(root), "YOLO_OFFLINE": "true"}


# --- watching -------------------------------------------------------------------------------------------------------


def _watch(act: Act, root: Path, url: str, epochs: int, console: Console) -> Reading:
    """Run one training to its end with a live line-up, and return its totals."""
    console.print(f"\n[bold]{act.run}[/bold]  {' '.join(act.options)}: {act.title}")
    log = root / f"{act.run}.log"
    history: list[Reading] = []
    with _child(_training(act, root, epochs), log, {**_environment(root), "YOLOSCOPE_RUN": act.run}) as process:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while process.poll() is None:
                time.sleep(0.5)
                history += _readings(act.run, url)
                live.update(_line_up(history))
        if process.returncode:
            raise click.ClickException(f"the training failed; the end of {log}:\n{_tail(log)}")
    return _last(act.run, url)


def _training(act: Act, root: Path, epochs: int) -> list[str]:
    yoloscope = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--"]
    script = [sys.executable, "-m", "yoloscope_exporter.demo.training", str(root / "photos" / "data.yaml")]
    fixed = [
        f"epochs={epochs}",
        f"batch={BATCH}",
        "imgsz=64",
        f"project={root / 'runs'}",
        f"name={act.run}",
        "exist_ok=True",
    ]
    return [*yoloscope, *script, *fixed, *act.options]


def _last(run: str, url: str) -> Reading:
    """The totals once the exporter has seen the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for reading in _readings(run, url):
            if reading.state == "finished":
                return reading
        time.sleep(0.3)
    raise click.ClickException(f"the exporter at {url} has not seen the end of {run}")


def _readings(run: str, url: str) -> list[Reading]:
    """What the exporter says of `run` now: one reading, or none yet."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(metric: Metric, suffix: str = "", **labels: str) -> float:
        wanted = labels.items()
        return sum(s.value for s in samples if s.name == metric.name + suffix and wanted <= s.labels.items())

    states = [
        s.labels["state"] for s in samples if s.name == catalog.TRAIN_STATE.name and s.labels["run"] == run and s.value
    ]
    if not states:
        return []
    cpu, idle = total(catalog.CPU_SECONDS_TOTAL), total(catalog.CPU_SECONDS_TOTAL, mode="idle")
    return [
        Reading(
            time=time.monotonic(),
            state=states[0],
            epoch=total(catalog.TRAIN_EPOCH, run=run),
            epochs=total(catalog.TRAIN_EPOCHS, run=run),
            images=total(catalog.TRAIN_IMAGES_TOTAL, run=run),
            wait=total(catalog.TRAIN_DATA_WAIT_SECONDS, "_sum", run=run),
            step=total(catalog.TRAIN_STEP_SECONDS, "_sum", run=run),
            cpu_busy=cpu - idle,
            cpu_all=cpu,
        )
    ]


# --- showing --------------------------------------------------------------------------------------------------------


def _line_up(history: Sequence[Reading]) -> Table:
    """The state of the run now, with rates over the last seconds."""
    table = Table.grid(padding=(0, 3))
    if not history:
        table.add_row("waiting for the training to start ...")
        return table
    now = history[-1]
    then = next(reading for reading in history if now.time - reading.time <= WINDOW_SECONDS)
    table.add_row("state", "epoch", "images/s", "waits for data", "CPU", style="dim")
    table.add_row(
        now.state,
        f"{now.epoch:.0f}/{now.epochs:.0f}",
        _ratio(now.images - then.images, now.time - then.time, "{:.1f}"),
        _bar(now.wait - then.wait, now.wait - then.wait + now.step - then.step),
        _bar(now.cpu_busy - then.cpu_busy, now.cpu_all - then.cpu_all),
    )
    return table


def _ratio(part: float, whole: float, form: str) -> str:
    return form.format(part / whole) if whole > 0 else "-"


def _bar(part: float, whole: float, width: int = 20) -> str:
    if whole <= 0:
        return "-"
    filled = round(width * part / whole)
    return "█" * filled + "░" * (width - filled) + f" {part / whole:4.0%}"


def _rows(before: Reading, after: Reading) -> list[tuple[str, ...]]:
    """What is compared: name, before, after, change."""
    throughput = [reading.images / (reading.wait + reading.step) for reading in (before, after)]
    wait = [reading.wait / (reading.wait + reading.step) for reading in (before, after)]
    step = [BATCH * reading.step / reading.images * 1000 for reading in (before, after)]
    return [
        ("throughput", *(f"{value:.1f} images/s" for value in throughput), f"x {throughput[1] / throughput[0]:.1f}"),
        (
            "waiting for data",
            *(f"{value:.0%} of the time" for value in wait),
            f"{100 * (wait[1] - wait[0]):+.0f} points",
        ),
        ("step without the wait", *(f"{value:.0f} ms" for value in step), f"x {step[1] / step[0]:.2f}"),
    ]


def comparison(before: Reading, after: Reading) -> Table:
    """The before/after table of two finished runs."""
    table = Table(title="before and after")
    for heading in ("", f"before: {' '.join(STARVED.options)}", f"after: {' '.join(MENDED.options)}", "change"):
        table.add_column(heading)
    for row in _rows(before, after):
        table.add_row(*row)
    return table


def _save(path: Path, readings: Sequence[Reading]) -> None:
    lines = [f"| | {' '.join(STARVED.options)} | {' '.join(MENDED.options)} | change |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(*readings)]
    path.write_text("\n".join(lines) + "\n")
