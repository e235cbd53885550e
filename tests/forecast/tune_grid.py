"""`yoloscope tune` against the full grid of settings, in real trainings on this machine.

    python -m tests.forecast.tune_grid                     # all rigs, about six minutes each
    python -m tests.forecast.tune_grid sleeping_storage    # some; the others keep what they had
    python -m tests.forecast.tune_grid --table             # only writes the table into docs/benchmarks.md

Each point of the grid is a training without yoloscope, timed by a callback of its own; `tune` sees the same command.
The greatest of six measurements is also the luckiest, so it and tune's choice are then measured once more, in turn:
how much of the best tune reaches is told by these alone.
What came of it goes into `tune_grid.json` beside this file, with how many CPUs others used meanwhile. Run it while the
machine is quiet: points of the grid are measured one after the other, and a neighbour that comes or goes between two of
them is taken for a difference. `--most 0.5` drops such rigs.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import training
from tests.benchmarks import page
from tests.field_cases.cases import LONG, SLOW, STEP
from tests.field_cases.stage import Clock
from tests.forecast.results import Results
from tests.live import killed_with_its_group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DOCUMENT = page.PAGE
#: What Ultralytics starts at most is one worker for each of this machine's CPUs.
WORKERS, CACHES = (0, 1, 2), (False, "ram")
BUDGET = 90.0
#: Of the full grid's best, what tune's choice has to reach.
WITHIN = 0.95
#: Rounds in which the grid's best and tune's choice are measured in turn.
ROUNDS = 2
WARM_UP = 5
#: Appends the moment of each batch to a file.
TIMED = """
import time
def note(trainer, file=open(LOG, "a", buffering=1)):
    file.write(f"{time.monotonic()}\\n")
model.add_callback("on_train_batch_end", note)
"""
#: Puts a command into a cgroup with one CPU, by the first version of cgroups.
QUOTA_GROUP = Path("/sys/fs/cgroup/cpu/yoloscope-tune-grid")
QUOTA = ("sh", "-c", f'echo $$ > {QUOTA_GROUP}/tasks; exec "$@"', "sh")


@dataclass(frozen=True)
class Rig:
    """A training on this machine.

    Attributes:
        why: what holds it back.
        options: those of `tests.training.Options`; the workers of the command as it is are among them.
        script: Python that runs before the training.
        images, size: of the data set.
        prefix: a command in front of the training's.
    """

    why: str
    options: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    images: int = 200
    size: int = 64
    prefix: tuple[str, ...] = ()

    def command(self, data: Path, project: Path, log: Path | None, **change: Any) -> list[str]:
        """Its command, with other workers and another cache; timed where there is a log."""
        script = (SLOW + self.script if self.script else "") + (
            "" if log is None else TIMED.replace("LOG", repr(str(log)))
        )
        arguments = {"val": False, **self.options.get("arguments", {})}
        arguments |= {"cache": change["cache"]} if "cache" in change else {}
        options = {**self.options, "script": script, "arguments": arguments, "hooks": "none"}
        options |= {"workers": change["workers"]} if "workers" in change else {}
        chosen = training.Options(data=str(data), project=str(project), **options)
        return [*self.prefix, sys.executable, str(Path(training.__file__)), json.dumps(asdict(chosen))]


RIGS = {
    "cpu_bound": Rig("decoding of large images", {**STEP, "workers": 1, "arguments": {"mosaic": 0.0}}, "", 80, 1280),
    "sleeping_storage": Rig(
        "each image is waited for",
        {**STEP, "workers": 1, "arguments": {"mosaic": 0.0}},
        'slow("ultralytics.data.base", "imread", 0.1)',
        80,
    ),
    "quota": Rig("a quota of one CPU", {**STEP, "workers": 2, "arguments": {"mosaic": 0.0}}, "", 80, 1280, QUOTA),
    "few_cores": Rig(
        "one core of two",
        {**STEP, "workers": 2, "arguments": {"mosaic": 0.0}},
        "",
        80,
        1280,
        ("taskset", "--cpu-list", "0"),
    ),
    "small_data": Rig("two batches in an epoch", {**STEP, "workers": 0, "image_sleep": 0.05}, "", 8),
    "healthy": Rig("the trainer itself", {**LONG, "step_sleep": 0.4, "workers": 1}, "", 80),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a rig.

    Attributes:
        grid: batches per second by setting, such as `workers=1 cache=ram`.
        again: batches per second of the grid's best and of tune's choice, round by round.
        default: the setting that the command has.
        chosen: what tune chose.
        probes, seconds: that it took.
        others: CPUs that others used meanwhile.
    """

    grid: Mapping[str, float]
    default: str
    chosen: str
    probes: int
    seconds: float
    others: float
    again: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The setting that was fastest in the grid."""
        return max(self.grid, key=lambda setting: self.grid[setting])

    @property
    def reached(self) -> float:
        """Of the grid's best."""
        if self.chosen == self.best:
            return 1.0
        return sum(self.again[self.chosen]) / sum(self.again[self.best])

    @property
    def gain(self) -> float:
        """Over the command as it is."""
        return self.grid[self.chosen] / self.grid[self.default]


def named(workers: int, cache: object) -> str:
    """A setting of the grid."""
    return f"workers={workers}" + (" cache=ram" if cache else "")


#: Every setting of the grid: its name -> workers and cache.
SETTINGS = {named(workers, cache): (workers, cache) for cache in CACHES for workers in WORKERS}


class Bench:
    """A rig with its data set, whose settings are measured one by one."""

    def __init__(self, rig: Rig, folder: Path, seconds: float) -> None:
        """Generate the images."""
        self.rig, self.folder, self.seconds = rig, folder, seconds
        self.data = training.make_dataset(folder / "data", images=rig.images, size=rig.size)
        self.others: list[float] = []

    def measured(self, setting: str) -> float:
        """Batches per second.

        Raises:
            ValueError: the training could not be measured.
        """
        workers, cache = SETTINGS[setting]
        log = self.folder / "batches"
        log.unlink(missing_ok=True)
        command = self.rig.command(self.data, self.folder / "runs", log, workers=workers, cache=cache)
        with _running(command, self.folder) as process:
            clock = Clock()
            found = _measured(log, process, self.seconds)
            self.others.append(clock.others(process.pid))
        print(f"  {setting}: {found:.3g} batches/s", flush=True)
        return found

    def in_turn(self, settings: Sequence[str]) -> dict[str, list[float]]:
        """Several of them, in rounds whose order turns round each time."""
        found: dict[str, list[float]] = {setting: [] for setting in settings}
        for turn in range(ROUNDS):
            for setting in settings if turn % 2 == 0 else settings[::-1]:
                found[setting].append(self.measured(setting))
        return found


@contextlib.contextmanager
def bench(rig: Rig, seconds: float) -> Iterator[Bench]:
    """In a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="grid-") as directory, _quota():
        yield Bench(rig, Path(directory), seconds)


def run(rig: Rig, seconds: float) -> Outcome:
    """The grid, then tune, then both once more.

    Raises:
        ValueError: a training could not be measured.
    """
    with bench(rig, seconds) as place:
        grid = {setting: place.measured(setting) for setting in SETTINGS}
        began = time.monotonic()
        told = _tuned(rig.command(place.data, place.folder / "runs", None), place.folder)
        took = time.monotonic() - began
        default, chosen = rig.options["workers"], told["best"]["arguments"]
        setting = named(chosen.get("workers", default), chosen.get("cache"))
        first = Outcome(grid, named(default, None), setting, len(told["trials"]), took, max(place.others))
        return checked(first, place)


def checked(outcome: Outcome, place: Bench) -> Outcome:
    """With the grid's best and tune's choice measured once more."""
    again = {} if outcome.chosen == outcome.best else place.in_turn([outcome.best, outcome.chosen])
    return replace(outcome, again=again, others=max(outcome.others, *place.others, 0.0))


@contextlib.contextmanager
def _quota() -> Iterator[None]:
    """The group with one CPU, where there can be one."""
    made = False
    with contextlib.suppress(OSError):
        QUOTA_GROUP.mkdir()
        made = True
        (QUOTA_GROUP / "cpu.cfs_quota_us").write_text("100000")
    try:
        yield
    finally:
        if made:
            QUOTA_GROUP.rmdir()


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        with killed_with_its_group(process):
            yield process
    finally:
        time.sleep(0.5)  # the kernel takes the workers out of their group


def _environment(folder: Path) -> dict[str, str]:
    return training.environment(folder / "runs") | {"YOLOSCOPE_DIR": str(folder / "records")}


def _measured(log: Path, process: subprocess.Popen[bytes], seconds: float) -> float:
    """Batches per second, the first ones left out."""
    limit = time.monotonic() + 120 + seconds
    while True:
        times = [float(line) for line in log.read_text().splitlines()[:-1]] if log.exists() else []
        times = times[WARM_UP:]
        if times and times[-1] - times[0] >= seconds:
            return (len(times) - 1) / (times[-1] - times[0])
        if process.poll() is not None or time.monotonic() > limit:
            raise ValueError(f"not measured: {(log.parent / 'log').read_text()[-800:]}")
        time.sleep(0.2)


def _tuned(command: Sequence[str], folder: Path) -> dict[str, Any]:
    program = [sys.executable, "-m", "yoloscope_exporter.cli", "tune", "--json", "--budget", f"{BUDGET:.0f}s", "--"]
    done = subprocess.run([*program, *command], env=_environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr[-800:])
    print(done.stderr, flush=True)
    return dict(json.loads(done.stdout))


RESULTS = Results(RIGS, Outcome, Path(__file__).with_name("tune_grid.json"), "tune")


def known() -> dict[str, Outcome]:
    """Those that were run."""
    return RESULTS.known()


def table(outcomes: Mapping[str, Outcome]) -> str:
    """What tune chose against the grid's best, as Markdown."""
    if not outcomes:
        return "Not measured on a quiet machine yet.\n"
    lines = [
        "| rig | as it is | tune chose | of the grid's best | gain | probes | others' CPUs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in outcomes.items():
        figures = f"{one.reached:.0%} ({one.best}) | {one.gain:.2f}x | {one.probes} in {one.seconds:.0f} s"
        lines.append(f"| {name}: {RIGS[name].why} | {one.default} | {one.chosen} | {figures} | {one.others:.1f} |")
    within = sum(one.reached >= WITHIN for one in outcomes.values())
    settings = len(WORKERS) * len(CACHES)
    said = f"{len(outcomes)} of {len(RIGS)} rigs; {within} within {1 - WITHIN:.0%} of the best of {settings} settings."
    return "\n".join([said, "", *lines]) + "\n"


def written(document: str, outcomes: Mapping[str, Outcome]) -> str:
    """The document with the table of today."""
    return page.between(document, RESULTS.mark, table(outcomes))


def main() -> None:
    """Run the rigs that were named, and write what came of them."""
    RESULTS.main(
        "yoloscope tune against the full grid, in real trainings.",
        lambda name, seconds: run(RIGS[name], seconds),
        lambda one: f"{one.chosen}, {one.reached:.0%} of the best, {one.gain:.2f}x",
        table,
        seconds=15.0,
        most=0.5,
    )


if __name__ == "__main__":
    main()
