"""`yoloscope demo`: a data-starved run: diagnosed, fixed, compared."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from yoloscope_exporter import ADDRESS, SAFE_PATH, catalog, pip_install
from yoloscope_exporter.client.exporter import Exporter, diagnoses, scrape
from yoloscope_exporter.commands.top import LiveView
from yoloscope_exporter.demo import folder, photos, processes, scraping
from yoloscope_exporter.diagnosis.cfg import advised
from yoloscope_exporter.diagnosis.signals.view import state
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import snapshot_time
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.reports import html as pages
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.markdown import comparison_markdown
from yoloscope_exporter.reports.promises import changed, kept
from yoloscope_exporter.reports.summary import summarize
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.terminal import screen
from yoloscope_exporter.terminal.diagnosis import to_text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value
    from yoloscope_exporter.reports.comparison import Comparison
    from yoloscope_exporter.reports.summary import Summary

PORT = int(ADDRESS.rpartition(":")[2])
PHOTOS, VALIDATION = 72, 8
RANK = "0"
POLL_SECONDS = 0.5
PRINT_SECONDS = 5.0
"""Where no terminal can show the live view, a line is printed this often."""


@dataclass(frozen=True)
class DemoRun:
    """One run of the demo: its name, and the Ultralytics arguments that differ between runs."""

    run: str
    arguments: dict[str, Value]

    @property
    def words(self) -> str:
        """The arguments as one types them."""
        return " ".join(f"{name}={value}" for name, value in self.arguments.items())


STARVED = DemoRun("demo-starved", {"workers": 1, "cache": False})
FIXED = ("demo-fixed", "demo-fixed-again")
"""The trainings after it: each follows the advice of the one before, as long as there is any."""
LEARNABLE: dict[str, object] = {
    "batch": 2,
    "nbs": 2,  # a step of the optimizer with every batch
    "optimizer": "AdamW",
    "lr0": 0.003,
    "warmup_epochs": 0,
    "mosaic": 0,
    "scale": 0,
    "translate": 0,
}
"""With so few photographs, a model that is not pretrained learns in about 100 steps, if each of them counts."""
USUAL_FIX: dict[str, Value] = {"workers": 2, "cache": "ram"}
"""For a machine that is not starved, so that there is no advice to follow."""
NO_ADVICE = "The diagnosis advises no other argument on this machine, so the next run uses the usual fix."


@dataclass(frozen=True)
class Result:
    """Summary and diagnosis of one run."""

    summary: Summary
    diagnosis: Diagnosis | None


@dataclass
class ScrapeRecorder:
    """Scrapes an exporter, and appends every new snapshot to a recording."""

    url: str
    writer: Writer
    last: float = 0.0

    def read(self) -> str:
        """The newest exposition."""
        text = scrape(self.url)
        moment = snapshot_time(text) or 0.0
        if moment > self.last:
            self.writer.exposition(moment, text)
            self.last = moment
        return text

    def source(self) -> Exporter:
        """The same for `yoloscope top`'s view."""
        return Exporter(self.url, self.read, lambda: diagnoses(self.url))


@click.command(short_help="A real, data-starved YOLO run: diagnosed, fixed, compared. About two minutes.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Directory for the photos, the logs, the recording and the report: new, empty, or of an earlier demo.",
)
@click.option("--epochs", type=click.IntRange(2, 100), default=3, show_default=True, help="Epochs per run.")
@click.option("--prometheus/--no-prometheus", default=True, help="Start a Prometheus if it is on the PATH.")
def demo(output: Path, epochs: int, *, prometheus: bool) -> None:
    """Demonstrate yoloscope on this machine: a data-starved run, diagnosed, fixed and compared.

    Trains a small YOLO model on the CPU, monitored by an exporter. The first run is data-starved: its photos are far
    larger than the network's input, and one loader worker decodes them all. The diagnosis gives evidence and a fix; the
    next one or two runs apply it, and tables compare the first run with the last, its accuracy included, and what the
    advice promised with what it delivered.

    Needs PyTorch and Ultralytics (the extra `train`); no GPU, no Docker, no Prometheus.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise click.UsageError(say("the demo needs Ultralytics: {command}", command=pip_install("train")))
    console = Console()
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        root = stack.enter_context(_folder(output))
        _create_photos(root / "photos", console)
        url = stack.enter_context(_exporter(root))
        console.print(f"exporter     {url}/metrics", soft_wrap=True)
        if prometheus:
            stack.enter_context(_prometheus(root, url, console))
        recorder = ScrapeRecorder(url, stack.enter_context(closing(Writer(root / "demo.om"))))
        plan = STARVED
        plans, results = [plan], [_train(plan, root, recorder, epochs, console)]
        for run in FIXED:
            fixed_arguments = _advised(plan, results[-1].diagnosis)
            if fixed_arguments == plan.arguments and len(results) > 1:
                break
            if fixed_arguments == plan.arguments:
                console.print(f"\n{say(NO_ADVICE)}")
                fixed_arguments = USUAL_FIX
            plan = DemoRun(run, fixed_arguments)
            plans.append(plan)
            results.append(_train(plan, root, recorder, epochs, console))
        summaries = [result.summary for result in results]
        _print_comparison(compare(summaries[:1], summaries[-1:]), root, console)
        _print_promises(plans, summaries, console)


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            root = stack.enter_context(folder.prepared(output))
        except folder.OccupiedError as error:
            raise click.UsageError(say("--output {output}: {reason}", output=output, reason=error)) from error
        except OSError as error:
            raise click.UsageError(
                say("--output {output}: {reason}; choose a writable folder", output=output, reason=reason(error))
            ) from error
        yield root


def _create_photos(root: Path, console: Console) -> None:
    """Make the data set, unless an earlier demo has left it."""
    if (root / "data.yaml").exists():
        return
    with Progress(console=console, transient=True) as progress:
        total = PHOTOS + VALIDATION
        task = progress.add_task(say("making {total} photographs of 12 megapixels", total=total), total=total)
        for done in photos.write(root, train=PHOTOS, val=VALIDATION):
            progress.update(task, completed=done)


# --- what runs beside the trainings ---------------------------------------------------------------------------------


@contextmanager
def _exporter(root: Path) -> Iterator[str]:
    """A running exporter that reads the demo's own records; yields its URL."""
    port = processes.free_port(PORT)
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", f"--web.listen-address=127.0.0.1:{port}"]
    log = root / "exporter.log"
    with processes.child([*command, "--diagnosis.window=15s"], log, _environment(root)) as process:
        url = f"http://127.0.0.1:{port}"
        processes.wait_until_ready(f"{url}/-/ready", process, log)
        yield url


@contextmanager
def _prometheus(root: Path, url: str, console: Console) -> Iterator[None]:
    """Prometheus with the shipped configuration, where there is one to start."""
    binary, shipped = shutil.which("prometheus"), Path(__file__).parents[3] / "deploy" / "prometheus"
    if binary is None or not shipped.exists():
        yield
        return
    own = root / "prometheus"
    configuration = scraping.configure(shipped, own, url.removeprefix("http://"))
    port = processes.free_port(9090)
    command = [
        binary,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={own / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = root / "prometheus.log"
    with processes.child(command, log, {}) as process:
        processes.wait_until_ready(f"http://127.0.0.1:{port}/-/ready", process, log)
        expression = f"rate({catalog.TRAIN_DATA_WAIT_SECONDS.name}_sum[30s])"
        link = f"http://127.0.0.1:{port}/graph?g0.expr={expression}&g0.tab=0&g0.range_input=5m"
        console.print(f"Prometheus   {link}", soft_wrap=True)
        yield


def _environment(root: Path) -> dict[str, str]:
    own = {"YOLOSCOPE_DIR": str(root / "records"), "YOLO_CONFIG_DIR": str(root), "YOLO_OFFLINE": "true"}
    return own | SAFE_PATH


# --- one training ---------------------------------------------------------------------------------------------------


def _train(plan: DemoRun, root: Path, recorder: ScrapeRecorder, epochs: int, console: Console) -> Result:
    """Run one training with a live view, then print its diagnosis."""
    console.print(f"\n[bold]{plan.run}[/bold]  {escape(say(plan.words))}")
    log = root / f"{plan.run}.log"
    view = LiveView(recorder.source())
    environment = _environment(root) | {"YOLOSCOPE_RUN": plan.run}
    with processes.child(_training(plan, root, epochs), log, environment) as process:
        _follow(view, plan.run, process, console)
        if process.returncode:
            raise click.ClickException(
                say("the run failed; the end of {log}:\n{tail}", log=log, tail=processes.tail(log))
            )
    _until_finished(view, plan.run)
    stores = reader.read(root / "demo.om")
    found = [one for one in diagnose_range(stores).diagnoses if one.run == plan.run]
    console.print(escape(to_text(found).rstrip("\n")), highlight=False)
    return Result(summarize(stores, plan.run), found[0] if found else None)


def _training(plan: DemoRun, root: Path, epochs: int) -> list[str]:
    yoloscope = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--"]
    script = [sys.executable, "-m", "yoloscope_exporter.demo.training", str(root / "photos" / "data.yaml")]
    fixed: dict[str, object] = {
        "epochs": epochs,
        "imgsz": 64,
        **LEARNABLE,
        "project": root / "runs",
        "name": plan.run,
        "exist_ok": True,
    }
    return [*yoloscope, *script, *(f"{name}={value}" for name, value in (fixed | plan.arguments).items())]


def _follow(view: LiveView, run: str, process: subprocess.Popen[bytes], console: Console) -> None:
    """The view of `yoloscope top` until the training ends; a line now and then where there is no terminal."""
    said = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            view.poll()
            if console.is_terminal:
                live.update(view.frame(), refresh=True)
            elif time.monotonic() - said >= PRINT_SECONDS:
                said = time.monotonic()
                line = screen.progress(view.window(), run, RANK) or say("starting")
                console.print(f"  {line}", highlight=False, soft_wrap=True)


def _until_finished(view: LiveView, run: str) -> None:
    """Wait until the exporter, and so the recording, has seen the end."""
    deadline = time.monotonic() + processes.TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        view.poll()
        if state(view.window(), run, RANK) == "finished":
            return
        time.sleep(POLL_SECONDS)
    raise click.ClickException(say("{name} did not report the end of {run}", name=view.source.name, run=run))


# --- what is concluded ----------------------------------------------------------------------------------------------


def _advised(plan: DemoRun, diagnosis: Diagnosis | None) -> dict[str, Value]:
    """The arguments of `plan`, changed as the diagnosis advises."""
    changed = advised([diagnosis]) if diagnosis else {}
    return {name: changed.get(name, value) for name, value in plan.arguments.items()}


def _print_comparison(comparison: Comparison, root: Path, console: Console) -> None:
    """The table, and where everything is."""
    table = Table(title=say("before and after"))
    for heading in ("", *(column.runs[0].run for column in comparison.columns), "change", "certainty"):
        table.add_column(say(heading))
    for row in comparison.rows:
        before, after = row.cells
        table.add_row(row.title, before.text, after.text, after.change, after.sure)
    table.add_section()
    for difference in comparison.differences:
        table.add_row(*difference)
    console.print(table)
    (root / "report.md").write_text(comparison_markdown(comparison), encoding="utf-8")
    (root / "report.html").write_text(pages.several(comparison), encoding="utf-8")
    console.print(say("report       {path}, report.md beside it", path=root / "report.html"), soft_wrap=True)
    recording = shlex.quote(str(root / "demo.om"))
    console.print(say("recording    yoloscope diagnose --recording {path}", path=recording), soft_wrap=True)


def _print_promises(plans: Sequence[DemoRun], summaries: Sequence[Summary], console: Console) -> None:
    """What each piece of advice promised, and what it gave; the usual fix is nobody's advice and promises nothing."""
    told = kept(summaries)
    for plan, (before, after) in zip(plans[1:], pairwise(summaries), strict=True):
        if plan.run not in {run for run, _ in told}:
            told.append((plan.run, changed(before, after, plan.arguments)))
    table = Table(title=say("promised and delivered"))
    for heading in ("", "followed", "advised for", "promised", "delivered"):
        table.add_column(say(heading))
    for run, follow in told:
        promised, delivered = say(follow.promise or "nothing"), say(follow.delivery or "not measured")
        table.add_row(run, follow.typed, follow.verdict or "-", promised, delivered)
    console.print(table)
