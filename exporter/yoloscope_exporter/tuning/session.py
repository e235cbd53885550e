"""Probes of one command within a budget: each a short training with other settings, watched, ended and measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import paths, probes

from yoloscope_exporter.diagnosis.advice.cache import is_cached_in_memory
from yoloscope_exporter.diagnosis.advice.gains import costs_of
from yoloscope_exporter.diagnosis.advice.settings import global_batch
from yoloscope_exporter.diagnosis.forecast import LEAST_SPREAD
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units
from yoloscope_exporter.service.signals import deferred
from yoloscope_exporter.tuning import processes
from yoloscope_exporter.tuning.search import Setting, Trial
from yoloscope_exporter.tuning.space import Facts, fraction
from yoloscope_exporter.tuning.speed import FEWEST, WARM_UP, Speed, speed, steady
from yoloscope_exporter.tuning.unhooked import unhooked
from yoloscope_exporter.tuning.watch import Watch, lasted

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from yoloscope_record.file_format import Row

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: What makes a training a probe, whatever it trains: nothing is validated, drawn or saved. Without warm-up epochs the
#: optimizer steps as often as it does for most of the training.
ARGUMENTS: Mapping[str, Value | None] = {
    "val": False,
    "plots": False,
    "save": False,
    "save_period": -1,
    "patience": 0,
    "time": None,
    "warmup_epochs": 0,
    "exist_ok": True,
}
#: Seconds of steady training that a probe lasts at least; and at most, as a share of the budget.
SHORTEST, LONGEST_SHARE = 4.0, 1 / 8
#: A probe whose mean is known this well (relative standard error) ends before that: two equal runs differ by as much.
SURE = LEAST_SPREAD
#: Seconds after the budget's end at which a probe ends by itself, if it was not ended.
GRACE = 5.0
PREFIX = "yoloscope-tune-"
#: Of the directory for temporary files: torch opens sockets below it, whose paths have 107 characters at most.
LONGEST_PATH = 40
POLL = 0.25
_TERMINAL = re.compile(r"EOFError|EOF when reading|/dev/tty|not a (tty|terminal)|Inappropriate ioctl|ENOTTY")


class CannotProbeError(Exception):
    """The command cannot be probed; the text says why, in its own words where it has any."""

    def __init__(self, text: str, output: Sequence[str] = ()) -> None:
        """`output` are the last lines that the command printed."""
        super().__init__(text)
        self.output = tuple(output)


@dataclass
class Session:
    """The probes of one command.

    Attributes:
        command: program and arguments.
        environ: with the hooks in it.
        folder, records: which nobody else uses, and which are removed afterwards.
        deadline: of the monotonic clock, for the last probe's end.
        budget: seconds from the first probe's start to it.
        progress: is told what happens, several times a second.
    """

    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    records: Path
    deadline: float
    budget: float
    progress: Callable[[str], None]
    trials: list[Trial] = field(default_factory=list)
    peaks: dict[int, float] = field(default_factory=dict)
    facts: Facts | None = None
    slowest_start: float = 0.0
    _count: int = 0

    def __post_init__(self) -> None:
        """Begin to watch."""
        self._watch = Watch(self.records)

    def close(self) -> None:
        """End watching."""
        self._watch.close()

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.deadline - time.monotonic()

    def affords(self, probes: int = 1) -> bool:
        """Whether there is time for so many more, each with a start like the slowest so far."""
        return self.left >= probes * (self.slowest_start + SHORTEST + 2.0)

    def probe(self, setting: Setting, why: str) -> Trial:
        """Train with a setting for some seconds.

        Raises:
            CannotProbeError: the first one, of the command as it is, cannot be measured.
        """
        try:
            trial = self._probe(setting, why)
        except CannotProbeError as error:
            if self.facts is None:
                raise
            trial = Trial(setting, why, failure=str(error))
        self.trials.append(trial)
        return trial

    def _probe(self, setting: Setting, why: str) -> Trial:
        self._count += 1
        run, folder = f"probe-{self._count}", self.folder / str(self._count)
        (folder / "tmp").mkdir(parents=True)
        environ = self._environment(setting, run, folder)
        self._watch.look()  # the first one takes longest: a training without the hooks has to be found in time
        begun = time.monotonic()
        with processes.running(self.command, environ, folder / "log") as process:
            seen = self._follow(process, environ, folder, begun)
        return self._judged(setting, why, run, seen)

    def _environment(self, setting: Setting, run: str, folder: Path) -> dict[str, str]:
        arguments = {**ARGUMENTS, **self._arguments(setting), "save_dir": str(folder / "run")}
        kept = self.folder / ("part" if setting.cache else "all")  # labels are read once, not by every probe
        kept.mkdir(exist_ok=True)
        probe = {"folder": str(kept), "deadline": self.deadline + GRACE, "seconds": self.left + GRACE}
        return {
            **self.environ,
            **setting.environment,
            "YOLOSCOPE_DIR": str(self.records),
            "YOLOSCOPE_RUN": run,
            "YOLOSCOPE": "on",
            "YOLOSCOPE_STACKS": "off",
            "YOLOSCOPE_KEEP_POST_MORTEM": "off",
            probes.ARGUMENTS: json.dumps(arguments),
            probes.PROBE: json.dumps(probe),
            processes.MARK: self.folder.name,
            "TMPDIR": str(folder / "tmp"),
        }

    def _arguments(self, setting: Setting) -> dict[str, Value]:
        """Those of the setting; of a cache only as much as can be filled."""
        if not setting.cache or self.facts is None:
            return setting.arguments
        return {**setting.arguments, "fraction": fraction(self.facts, setting.workers)}

    @property
    def notes(self) -> list[str]:
        """What was done otherwise than the command says."""
        spared = (self.folder / "all" / probes.WITHOUT_DISK_CACHE).exists()
        return [
            text("the command's cache=disk was left out of all probes, because it writes beside the images")
        ] * spared

    def _follow(
        self, process: subprocess.Popen[bytes], environ: Mapping[str, str], folder: Path, begun: float
    ) -> _Seen:
        """Watch until enough is known; a training without the hooks is none to watch, and ended at once."""
        run, started = environ["YOLOSCOPE_RUN"], 0.0
        while True:
            self._watch.look()
            rows = self._watch.rows(run)
            counted = steady(rows[0]) if rows else []
            if counted and not started:
                started = time.monotonic()
                self.slowest_start = max(self.slowest_start, started - begun)
            if not rows and (found := unhooked(process.pid, environ)):
                raise CannotProbeError(found)
            if process.poll() is not None:
                raise CannotProbeError(*ended(process.returncode, processes.tail(folder / "log"), trained=bool(rows)))
            if started and self._is_enough(counted, time.monotonic() - started, run):
                return _Seen(rows[0], counted[0].time)
            if self.left <= 0:
                if len(counted) > FEWEST:
                    return _Seen(rows[0], counted[0].time)
                raise CannotProbeError(self._too_slow(run, rows), processes.tail(folder / "log"))
            self.progress(self._doing(run, counted, time.monotonic() - begun))
            time.sleep(POLL)

    def _is_enough(self, counted: Sequence[Row], seconds: float, run: str) -> bool:
        longest = max(self.budget * LONGEST_SHARE, SHORTEST)
        if seconds < SHORTEST or len(counted) <= 2 * FEWEST:
            return seconds >= 2 * longest and len(counted) > FEWEST
        known = self._speed([*[counted[0]] * WARM_UP, *counted], run, 0.0)
        return seconds >= (2 * longest if known is None else longest) or (known is not None and known.spread <= SURE)

    def _speed(self, rows: Sequence[Row], run: str, epoch_batches: float) -> Speed | None:
        images = self._watch.images_of_a_batch(run)
        return None if images is None else speed(rows, images, epoch_batches)

    def _doing(self, run: str, counted: Sequence[Row], seconds: float) -> str:
        took, images = lasted(counted), self._watch.images_of_a_batch(run)
        if took and images:
            rate = images * (len(counted) - 1) / took
            return text(
                "{counted} in {took:.0f} s, {rate:.3g} images/s",
                counted=units.counted(len(counted), "batch"),
                took=took,
                rate=rate,
            )
        stage = self._watch.stage(run)
        return (
            text("starting ({stage}), {seconds:.0f} s", stage=stage, seconds=seconds)
            if stage
            else text("starting, {seconds:.0f} s", seconds=seconds)
        )

    def _too_slow(self, run: str, rows: Sequence[Sequence[Row]]) -> str:
        if rows and rows[0]:
            return text(
                "only {counted} within --budget {budget:.0f}s: {warm_up} are needed; raise it",
                counted=units.counted(len(rows[0]), "batch"),
                budget=self.budget,
                warm_up=WARM_UP + FEWEST + 1,
            )
        stage = self._watch.stage(run)
        if stage:
            return text(
                "its set-up takes longer than --budget {budget:.0f}s (stage {stage}): raise it",
                budget=self.budget,
                stage=stage,
            )
        return text("no training of Ultralytics began within --budget {budget:.0f}s", budget=self.budget)

    def _judged(self, setting: Setting, why: str, run: str, seen: _Seen) -> Trial:
        s = self._watch.signals(run, seen.since)
        if s is None:
            raise CannotProbeError(text("its record could not be read"))
        used = global_batch(s, int(s.get(Signals.batch_size)))
        if setting.batch not in {None, used}:
            raise CannotProbeError(
                text("Ultralytics has gone on with batch={used}: the GPU's memory was exhausted", used=used)
            )
        facts = self.facts or Facts(s, s.get(Signals.epoch_batches))
        known = self._speed(seen.rows, run, facts.epoch_batches)
        if known is None:
            raise CannotProbeError(text("nothing but batches that were prepared before could be seen: raise --budget"))
        self.facts = facts
        if s.has(Signals.cuda_batch_peak_bytes, Signals.batch_size):
            self.peaks[int(s.batch_size)] = s.cuda_batch_peak_bytes
        workers = int(s.workers) if s.has(Signals.workers) else None
        return Trial(setting, why, known, costs_of(s), is_cached_in_memory(s), workers)


class _Seen(NamedTuple):
    """All batches of rank 0, and since when they count."""

    rows: Sequence[Row]
    since: float


def ended(code: int, output: Sequence[str], *, trained: bool) -> tuple[str, Sequence[str]]:
    """Why a command that ended by itself cannot be probed, and what it printed last."""
    printed = "\n".join(output)
    said = next((line.strip() for line in reversed(output) if line.strip()), "")
    how = text("signal {name}", name=signal.Signals(-code).name) if code < 0 else text("exit code {code}", code=code)
    if code and _TERMINAL.search(printed):
        return text("it needs a terminal, and a probe has none ({how}): {said}", how=how, said=said), output
    if code:
        return text("it fails by itself ({how}): {said}", how=how, said=said), output
    if not trained:
        return text("there is no training of Ultralytics in it: it has ended, and none began"), output
    return text("its training ended before it could be measured"), output


@contextmanager
def scratch() -> Iterator[tuple[Path, Path]]:
    """A folder for what probes write, and one for their records beside those of real runs; removed at the end.

    Raises:
        LeftBehindError: processes of them cannot be ended.
    """
    memory = paths.directory().parent
    long = len(tempfile.gettempdir()) > LONGEST_PATH
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp" if long else None))  # noqa: S108 - made by mkdtemp
    records = folder
    try:
        records = Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory if os.access(memory, os.W_OK) else folder))
        yield folder, records
    finally:
        with deferred():
            try:
                processes.end(folder.name)
            finally:
                for one in (folder, records):
                    shutil.rmtree(one, ignore_errors=True)
