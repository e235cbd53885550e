"""Exports a model and measures its formats, each in a process of its own, in turns."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.bench import formats, gpu_memory
from yoloscope_exporter.bench.agreement import agreement
from yoloscope_exporter.bench.plan import Estimate, Found, Key, Line
from yoloscope_exporter.bench.remote import WorkerError, started
from yoloscope_exporter.language import joined, text, units
from yoloscope_exporter.service.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from yoloscope_exporter.bench.plan import Plan
    from yoloscope_exporter.bench.remote import Remote

PREFIX = "yoloscope-bench-"
#: What Ultralytics shall do in our processes: install nothing, ask no server; and no hook records them. Temporary files
#: of theirs go with the folder: OpenVINO leaves one.
ENVIRONMENT = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLOSCOPE": "off"}
#: Seconds after which a step is given up: TensorRT builds an engine in many minutes.
EXPORT_LIMIT, STEP_LIMIT = 3600.0, 900.0


class CannotBenchError(Exception):
    """Nothing can be measured of this model."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for all that is written; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield folder
    finally:
        with deferred():
            shutil.rmtree(folder, ignore_errors=True)


class Session:
    """One comparison.

    Attributes:
        found: what is known so far.
    """

    def __init__(
        self,
        plan: Plan,
        environ: Mapping[str, str],
        folder: Path,
        keep: Path | None,
        progress: Callable[[str], None],
    ) -> None:
        """`keep` gets the exported models; `progress` is told what happens, several times a second."""
        self.found = Found()
        self._plan, self._folder, self._keep, self._progress = plan, folder, keep, progress
        self._environ = {**environ, **ENVIRONMENT, "TMPDIR": str(folder)}
        self._device, self._doing, self._count = plan.device, "starting", 0
        self._estimate: Estimate | None = None
        self._reference: list[dict[str, Any]] = []
        self._paths: dict[Key, str] = {}

    # --- processes ------------------------------------------------------------------------------------------------

    def _start(self) -> Any:  # noqa: ANN401 - a context manager of Remote
        self._count += 1
        return started([self._plan.python], self._environ, self._folder, f"process-{self._count}", self._wait)

    def _wait(self) -> None:
        left = (
            text("; about {seconds} left", seconds=units.about(max(self._estimate.seconds, 1.0)))
            if self._estimate
            else ""
        )
        self._progress(joined((self._doing, left), ""))

    def _do(self, text: str) -> None:
        self._doing = text
        self._wait()

    # --- the course -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Measure all that can be.

        Raises:
            CannotBenchError: the model, the images or the user's Python are at fault.
        """
        with ExitStack() as process:
            try:
                self._look()
                maker = process.enter_context(self._start())
                self._prepare(maker)
            except WorkerError as error:
                raise CannotBenchError(self._explained(str(error))) from error
            self._export_all(maker, process)
        for batch in self._plan.batches:
            self._measure(batch)

    def _explained(self, said: str) -> str:
        if "No module named 'ultralytics'" in said or "No module named 'torch'" in said:
            missing = "torch" if "'torch'" in said else "ultralytics"
            return text(
                "{python} has no {missing}: name the Python that you train with, --python PATH",
                python=self._plan.python,
                missing=missing,
            )
        return said

    def _look(self) -> None:
        """In a process of its own: one that has looked for GPUs may not be able to choose another."""
        self._do(text("starting Python and Ultralytics"))
        with self._start() as process:
            facts = process.ask("facts", STEP_LIMIT, modules=list(formats.MODULES), device=self._plan.device)
        self.found.facts = facts
        self._device = self._plan.device or ("0" if "gpu" in facts else "cpu")
        if self._plan.half and formats.is_cpu(self._device):
            raise CannotBenchError(text("--half: FP16 is computed on a GPU; leave it out on a CPU"))

    def _prepare(self, maker: Remote) -> None:
        plan, found = self._plan, self.found
        self._do(text("loading the model"))
        folder = str(self._folder / "model")
        found.model = maker.ask(
            "prepare", STEP_LIMIT, model=plan.model, folder=folder, imgsz=plan.imgsz, source=plan.source
        )
        self._do(text("asking the .pt model for its detections"))
        maker.ask("load", STEP_LIMIT, **self._loading(found.model["path"], 1, half=False))
        found.scores = maker.ask("scores", STEP_LIMIT, random_weights=found.model["random"])
        self._reference = maker.ask("detect", STEP_LIMIT, lower=found.scores["lower"])
        for batch in plan.batches:
            for name in plan.formats:
                facts = found.facts
                why = formats.hindrance(name, self._device, facts["modules"], plan.python, facts.get("cuda") or "")
                found.lines[Key(batch, name)] = Line(failure=why or "")
        self._estimate = Estimate(
            plan, [name for name in plan.formats if not self._line(plan.batches[0], name).failure]
        )

    def _line(self, batch: int, name: str) -> Line:
        return self.found.lines[Key(batch, name)]

    def _loading(self, path: str, batch: int, *, half: bool) -> dict[str, Any]:
        arguments = {"imgsz": self._plan.imgsz, "batch": batch, "device": self._device}
        model = self.found.model
        return {"path": path, "task": model["task"], "images": model["images"], "arguments": arguments, "half": half}

    def _export_all(self, maker: Remote | None, process: ExitStack) -> None:
        """In one process, and in a new one after an export that failed: what that holds shall cost no other format."""
        for key, line in self.found.lines.items():
            if line.failure:
                continue
            if key.format == formats.REFERENCE:
                self._paths[key], line.size = self.found.model["path"], self.found.model["bytes"]
                continue
            maker = maker or process.enter_context(self._start())
            try:
                self._export(maker, key, line)
            except WorkerError as error:
                cuda = self.found.facts.get("cuda") or ""
                again = formats.reinstallation(str(error), key.format, self._device, self._plan.python, cuda)
                line.failure = joined((text("export: {error}", error=error), again), "; ")
                self._drop(load=1, turn=self._plan.rounds)
                process.close()
                maker = None

    def _export(self, maker: Remote, key: Key, line: Line) -> None:
        self._do(text("exporting {format} for batch {batch}", format=key.format, batch=key.batch))
        arguments = {"imgsz": self._plan.imgsz, "batch": key.batch, "device": self._device}
        folder = self._folder / f"batch-{key.batch}" / key.format
        with self._counted("export"):
            done = maker.ask(
                "export",
                EXPORT_LIMIT,
                model=self.found.model["path"],
                folder=str(folder),
                format=key.format,
                arguments=arguments,
                half=self._plan.half,
            )
        self._paths[key], line.size, line.export_seconds = done["path"], done["bytes"], done["seconds"]
        if self._keep:
            _copy(Path(done["path"]), self._keep / f"batch-{key.batch}")

    @contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        """A step of a kind, done or failed."""
        begun = time.monotonic()
        try:
            yield
        finally:
            if self._estimate:
                self._estimate.done(kind, time.monotonic() - begun)

    def _drop(self, **kinds: int) -> None:
        """So many steps of each kind are not to be done."""
        for kind, number in kinds.items():
            if self._estimate:
                self._estimate.dropped(kind, number)

    # --- measuring ------------------------------------------------------------------------------------------------

    def _measure(self, batch: int) -> None:
        """All formats with one batch, in turns; the process of one that failed is gone before the next is asked."""
        names = [name for name in self._plan.formats if not self._line(batch, name).failure]
        with ExitStack() as stack:
            processes = {name: stack.enter_context(ExitStack()) for name in names}
            remotes = {name: processes[name].enter_context(self._start()) for name in names}
            pids: dict[str, int] = {}
            for name in names:
                with self._charged(self._line(batch, name), processes[name], turn=self._plan.rounds):
                    pids[name] = self._load(remotes[name], batch, name)
            for number in range(self._plan.rounds):
                first = number % max(len(names), 1)
                for name in [*names[first:], *names[:first]]:
                    line = self._line(batch, name)
                    if not line.failure:
                        with self._charged(line, processes[name], turn=self._plan.rounds - number - 1):
                            self._turn(remotes[name], batch, name, number, pids[name])

    @contextmanager
    def _charged(self, line: Line, process: ExitStack, **left: int) -> Iterator[None]:
        """A step: where it fails, its line has the reason, the steps left are not done, and its process is gone."""
        try:
            yield
        except WorkerError as error:
            line.failure = str(error)
            self._drop(**left)
            process.close()

    def _load(self, remote: Remote, batch: int, name: str) -> int:
        """Load a format and compare what it finds; its process' number."""
        line = self._line(batch, name)
        self._do(text("batch {batch}: loading {name}", batch=batch, name=name))
        loading = self._loading(self._paths[Key(batch, name)], batch, half=self._plan.half)
        with self._counted("load"):
            told = remote.ask("load", STEP_LIMIT, **loading)
            if why := formats.elsewhere(self._device, told["device"]):
                raise WorkerError(why)
            results = remote.ask("detect", STEP_LIMIT, lower=self.found.scores["lower"])
            line.agreement = agreement(self._reference, results, self.found.scores["conf"])
        return int(told["pid"])

    def _turn(self, remote: Remote, batch: int, name: str, number: int, pid: int) -> None:
        line = self._line(batch, name)
        self._do(
            text(
                "batch {batch}: round {number} of {rounds}, {name}",
                batch=batch,
                number=number + 1,
                rounds=self._plan.rounds,
                name=name,
            )
        )
        with self._counted("turn"):
            told = remote.ask("measure", STEP_LIMIT + self._plan.turn, seconds=self._plan.turn)
        line.rounds[number] = told["calls"]
        for stage, seconds in told["stages"].items():
            line.stages[stage] = line.stages.get(stage, 0.0) + seconds
        line.memory = gpu_memory.with_gpu(line.memory, told, gpu_memory.of_process(pid))


def _copy(path: Path, folder: Path) -> None:
    """Copy a file or a folder, all of it or nothing: what of it is there after an error is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        copied = partial / path.name
        shutil.copytree(path, copied) if path.is_dir() else shutil.copy2(path, copied)
        copied.rename(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
