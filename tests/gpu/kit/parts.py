"""The parts of the kit: each returns what goes into kit.json, and leaves files beside it."""

# Runs where mypy's stubs of torch and Ultralytics are not: everything it says is read by people.
from __future__ import annotations

import contextlib
import gzip
import json
import os
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families
from yoloscope_exporter.measures import gpu
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports.rank import rank_windows

from tests.gpu import nvidia_smi
from tests.gpu.kit import data
from tests.gpu.kit.cases import CASES, MODELS, Case
from tests.live import free_port, get, killed_with_its_group, wait_for
from tests.training import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOT_SEEN = {"not seen": "there was no GPU"}
CLI = [sys.executable, "-m", "yoloscope_exporter.cli"]


class Kit:
    """What the parts share: where files go, the exporter, and a training process that has imported everything."""

    def __init__(self, out: Path, work: Path, *, device: str) -> None:
        """`out` is for results, `work` for what may be lost; `device` as Ultralytics takes it."""
        self.out, self.work, self.device = out, work, device
        self.records = work / "records"
        self.records.mkdir(parents=True, exist_ok=True)
        self.environment = environment(work / "runs") | {
            "YOLOSCOPE_DIR": str(self.records),
            "PYTHONPATH": os.pathsep.join([*_python_path(), os.environ.get("PYTHONPATH", "")]),
        }
        del self.environment["OMP_NUM_THREADS"]
        self.log = (out / "trainings.log").open("a")
        self.url, self.exporter = "", 0
        self._ready: list[subprocess.Popen[str]] = []
        self._words: dict[int, queue.Queue[str]] = {}

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """`yoloscope serve` as it is shipped, for as long as the block lasts."""
        address = f"127.0.0.1:{free_port()}"
        command = [*CLI, "serve", "--web.listen-address", address, "--path.records", str(self.records)]
        with (
            (self.out / "exporter.log").open("w") as log,
            subprocess.Popen(command, env=self.environment, stderr=log) as process,
        ):
            self.url, self.exporter = f"http://{address}", process.pid
            try:
                wait_for(lambda: "yoloscope" in get(f"{self.url}/metrics"), what="the exporter", timeout=60)
                yield
            finally:
                process.terminate()
                process.wait(30)

    def prepare(self) -> None:
        """Start the process of the next training; it imports while the present one trains."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.kit.training"],
            env=self.environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,
        )
        words = self._words[process.pid] = queue.Queue()
        threading.Thread(target=self._read, args=(process, words), daemon=True).start()
        self._ready.append(process)

    def _read(self, process: subprocess.Popen[str], words: queue.Queue[str]) -> None:
        """Keep the pipe empty; a word may stand behind a progress bar."""
        assert process.stdout is not None
        for line in process.stdout:
            self.log.write(line)
            if found := re.search(r"(READY|FIRST|DONE)$", line):
                words.put(found[1])
        self.log.flush()
        words.put("END")

    @contextlib.contextmanager
    def process(self) -> Iterator[subprocess.Popen[str]]:
        """A process that is ready for orders, gone at the end of the block."""
        if not self._ready:
            self.prepare()
        process = self._ready.pop(0)
        self.wait(process, "READY")
        with killed_with_its_group(process):
            yield process

    def wait(self, process: subprocess.Popen[str], word: str) -> None:
        """Until it has said that word.

        Raises:
            RuntimeError: it ended before, or said nothing for two minutes.
        """
        try:
            while (said := self._words[process.pid].get(timeout=120)) != word:
                if said == "END":
                    message = f"the training ended before it said {word}: see trainings.log"
                    raise RuntimeError(message)
        except queue.Empty:
            message = f"the training did not say {word} within two minutes: see trainings.log"
            raise RuntimeError(message) from None

    def order(self, process: subprocess.Popen[str], **order: Any) -> Path:
        """Send an order; the answer will be in the file that is returned."""
        answer = self.work / f"answer-{time.monotonic_ns()}"
        assert process.stdin is not None
        process.stdin.write(json.dumps(order | {"answer": str(answer), "device": self.device}) + "\n")
        process.stdin.flush()
        return answer

    def training(
        self, name: str, case: Case, *, hooks: bool = True, profile: bool = False, stop_after: float = 1e9
    ) -> dict[str, Any]:
        """The order of a training; on a CPU it is a tiny one, to see that the kit itself works."""
        if self.device == "cpu":
            case = replace(case, size="n", arguments=case.arguments | {"imgsz": 64, "batch": 4, "fraction": 0.05})
        return {
            **{key: value for key, value in asdict(case).items() if key not in ("right", "allowed")},
            "do": "train",
            "name": name,
            "project": str(self.work / "runs"),
            "model": MODELS[case.task].format(case.size),
            "data": str(data.of(case, self.work)),
            "hooks": hooks,
            "amp_check": name == "gpu_fed",
            "profile": profile,
            "stop_after": stop_after,
        }

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """The output of a command of the CLI."""
        done = subprocess.run(
            [*CLI, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=timeout
        )
        return done.stderr + done.stdout + (f"(exit {done.returncode})" if done.returncode else "")

    @contextlib.contextmanager
    def recording(self, name: str) -> Iterator[Path]:
        """`yoloscope record` for as long as the block lasts, to its file."""
        file = self.out / "recordings" / f"{name}.om.gz"
        file.parent.mkdir(exist_ok=True)
        command = [*CLI, "record", str(file), "--exporter", self.url, "--interval", "1s"]
        with subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL) as recorder:
            yield file
            recorder.send_signal(signal.SIGINT)
            recorder.wait(30)

    def forget(self) -> None:
        """Remove the records, or the next recording would tell of runs that were killed."""
        shutil.rmtree(self.records)
        self.records.mkdir()


def _python_path() -> list[str]:
    return [str(ROOT / part) for part in ("exporter", "trainer_hooks", ".")]


# --- parts


ABOUT = """
import json, pynvml, torch, ultralytics
card = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
pynvml.nvmlInit()
print(json.dumps({
    "card": card and card.name,
    "torch": torch.__version__,
    "ultralytics": ultralytics.__version__,
    "driver": pynvml.nvmlSystemGetDriverVersion(),
}))
"""


def machine(kit: Kit) -> dict[str, Any]:
    """What it ran on, the first exposition against nvidia-smi, and `yoloscope check`."""
    before = get(f"{kit.url}/metrics")
    done = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, text=True, check=False) if _gpu() else None
    after = get(f"{kit.url}/metrics")
    (kit.out / "idle.om").write_text(after)
    (kit.out / "check.txt").write_text(kit.run("check"))
    about = subprocess.run(
        [sys.executable, "-c", ABOUT], env=kit.environment, capture_output=True, text=True, check=True
    )
    found = json.loads(about.stdout.splitlines()[-1])
    found |= {"cpus": os.cpu_count(), "kernel": os.uname().release, "python": sys.version.split()[0]}
    if done is not None:
        (kit.out / "nvidia-smi.xml").write_text(done.stdout)
        compared, wrong = nvidia_smi.compare(ET.fromstring(done.stdout), map(_gpu_values, (before, after)))
        found |= {"compared_with_nvidia_smi": compared, "differ": wrong}
    return dict(found)


def _gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def _gpu_values(exposition: str) -> nvidia_smi.Values:
    samples = [s for family in text_string_to_metric_families(exposition) for s in family.samples if "gpu" in s.labels]
    return {(s.name, (s.labels["gpu"], *(v for k, v in s.labels.items() if k != "gpu"))): s.value for s in samples}


def tests(kit: Kit) -> dict[str, Any]:
    """tests/gpu: metrics against nvidia-smi, phases by CUDA events, what a cycle and a batch cost."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rA",
        "-s",
        "--no-header",
        "--tb=short",
        "-W",
        "default",
        *(f"tests/gpu/test_{name}.py" for name in ("exporter", "hooks", "nvidia_smi")),
    ]
    done = subprocess.run(
        command, env=kit.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    (kit.out / "tests.txt").write_text(done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    told = re.compile(r"figures compared|: median |^(FAILED|ERROR|SKIPPED)|passed|failed|us per batch")
    return {"exit": done.returncode, "told": [line for line in dict.fromkeys(lines) if told.search(line)]}


def trainings(kit: Kit, names: Sequence[str]) -> dict[str, Any]:
    """Real trainings beside the exporter, each recorded."""
    found = {}
    for position, name in enumerate(names):
        try:
            found[name] = _training(kit, name, CASES[name], more=position + 1 < len(names))
        except (  # noqa: PERF203 - a training takes half a minute
            RuntimeError,
            OSError,
            subprocess.SubprocessError,
        ) as error:
            found[name] = {"error": str(error)}
    return found


def _training(kit: Kit, name: str, case: Case, *, more: bool) -> dict[str, Any]:
    with kit.process() as process, kit.recording(name):
        began = time.monotonic()
        kit.order(process, **kit.training(name, case))
        kit.wait(process, "FIRST")
        first = round(time.monotonic() - began, 1)
        seconds = 6 if kit.device == "cpu" else case.seconds
        time.sleep(seconds * 0.6)
        if name == "gpu_fed":
            (kit.out / "top.txt").write_text(kit.run("top", "--exporter", kit.url, "--once"))
            (kit.out / "training.om").write_text(get(f"{kit.url}/metrics"))
        if more:
            kit.prepare()
        time.sleep(seconds * 0.4)
    kit.forget()
    return {"seconds_to_first_batch": first}


def diagnoses(kit: Kit) -> dict[str, Any]:
    """What the diagnosis says of each recording, beside what is right, and what the hooks took in it."""
    found = {}
    for name, case in CASES.items():
        file = kit.out / "recordings" / f"{name}.om.gz"
        if file.exists():
            recording = gzip.decompress(file.read_bytes()).decode()
            run = re.search(rf'run="([^"]*{name}-[^"]*)"', recording)
            told = judged(kit, file, run[1] if run else "", case.right, case.allowed)
            found[name] = told | _figures(recording, name) | (used(file, run[1]) if run else {})
    return found


def judged(kit: Kit, recording: Path, run: str, right: frozenset[str], allowed: frozenset[str]) -> dict[str, Any]:
    """What the diagnosis of a recording tells (of its newest run, unless one is named), beside what is right."""
    text = kit.run("diagnose", "--recording", str(recording), *(("--run", run) if run else ()))
    (kit.out / f"{recording.name.removesuffix('.om.gz')}.diagnosis.txt").write_text(text)
    return {"right": sorted(right), "allowed": sorted(allowed), "told": sorted(set(TOLD.findall(text)))}


def used(recording: Path, run: str) -> dict[str, float]:
    """How much of the card a run used: operations over the peak, and the share of time of the tensor cores (GPM)."""
    one = next(rank for store in reader.read(recording) for rank in rank_windows(store, run))
    reading = Reading(one.window)
    seen = {
        "mfu": reading.one(gpu.MFU, run=run, rank=one.rank),
        "tensor_active": reading.one(gpu.TENSOR_ACTIVE, gpu="0"),
    }
    return {name: share for name, share in seen.items() if share is not None}


#: A verdict worse than ok in the text of `yoloscope diagnose`.
TOLD = re.compile(r"^  (?:CRITICAL|warning|note) +([a-z_]+):", flags=re.MULTILINE)


def _figures(recording: str, run: str) -> dict[str, float]:
    """Batches of a run while it was recorded, and in each: milliseconds of training time, microseconds of the hooks."""
    counted: dict[str, list[float]] = {}
    line = rf'^yoloscope_train_((?:batches|hook_seconds|phase_seconds)_total{{[^}}]*run="[^"]*{run}-[^}}]*}}) (\S+)'
    for series, value in re.findall(line, recording, flags=re.MULTILINE):
        name = series.partition("_total")[0]
        phase = re.search(r'phase="(\w+)"', series)
        counted.setdefault(phase[1] if phase else name, []).append(float(value))
    grown = {name: values[-1] - values[0] for name, values in counted.items()}
    batches = grown.get("batches", 0.0)
    if not batches:
        return {}
    training = sum(grown.get(name, 0.0) for name in STEP)
    return {"batches": batches, "batch_ms": training * 1e3 / batches, "hooks_us": grown["hook_seconds"] * 1e6 / batches}


#: The phases of training time: neither set-up nor an epoch's first batch, validation, checkpoints.
STEP = ("data_wait", "callbacks", "h2d", "preprocess", "forward", "backward", "optimizer", "other")


def driver_calls(kit: Kit) -> dict[str, Any]:
    """Milliseconds of a cycle of the GPU collectors, and of each NVML function in it."""
    command = [sys.executable, "-m", "tests.gpu.kit.driver_calls"]
    done = subprocess.run(
        command, env=kit.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {"error": done.stderr[-500:]}


def pairs(kit: Kit, count: int, seconds: float) -> dict[str, Any]:
    """The same training without and with hooks in turn: time between batches, and time in the callbacks of a batch."""
    case = CASES["gpu_fed"]
    quick = Case(case.why, arguments=case.arguments | {"imgsz": 320, "batch": 16, "mosaic": 0.0, "val": False})
    found: dict[str, list[dict[str, float]]] = {"none": [], "attach": []}
    for index in range(count):
        for hooks in ("none", "attach") if index % 2 == 0 else ("attach", "none"):
            with kit.process() as process:
                kit.prepare()
                order = kit.training(f"pair{index}{hooks}", quick, hooks=hooks == "attach", stop_after=seconds)
                answer = kit.order(process, **order)
                kit.wait(process, "DONE")
            seen = json.loads(answer.read_text())
            steps, callbacks = seen["steps"], seen["callbacks"]
            found[hooks].append(
                {
                    "batches": len(steps),
                    "step_ms_median": statistics.median(steps) * 1e3,
                    "step_ms_mean": statistics.fmean(steps) * 1e3,
                    "callbacks_us_median": 2 * statistics.median(callbacks),
                    "callbacks_us_mean": 2 * statistics.fmean(callbacks),
                }
            )
    ratios = [
        a["step_ms_median"] / n["step_ms_median"] - 1 for a, n in zip(found["attach"], found["none"], strict=True)
    ]
    return {**found, "median_step_more_by": ratios}


def phases(kit: Kit) -> dict[str, Any]:
    """Phases by the hooks' CUDA events beside torch.profiler's, milliseconds per batch of the same training."""
    if kit.device == "cpu":
        return NOT_SEEN
    with kit.process() as process:
        kit.prepare()
        case = CASES["gpu_fed"]
        case = Case(case.why, size=case.size, arguments=case.arguments | {"val": False})
        answer = kit.order(process, **kit.training("profiled", case, profile=True))
        kit.wait(process, "DONE")
    seen = json.loads(answer.read_text())
    return {"hooks": seen["hooks"], "profiler": seen["profiler"]}


def square(kit: Kit, seconds: float) -> dict[str, Any]:
    """A GPU that is busy three tenths of the time, by the exporter's counter and by its gauge."""
    if kit.device == "cpu":
        return NOT_SEEN
    with kit.process() as process:
        kit.prepare()
        answer = kit.order(process, do="square", seconds=seconds, period=3.0, duty=0.3)
        kit.wait(process, "FIRST")
        time.sleep(2)
        seen: list[list[float]] = []
        while not seen or seen[-1][0] - seen[0][0] < seconds - 6:
            text = get(f"{kit.url}/metrics")
            seen.append(
                [
                    _value(text, name)
                    for name in ("snapshot_timestamp_seconds", "gpu_busy_seconds_total", "gpu_utilization_ratio")
                ]
            )
            time.sleep(3)
        kit.wait(process, "DONE")
    (start, before, _), (end, after, _) = seen[0], seen[-1]
    return {
        "true": json.loads(answer.read_text())["busy"],
        "counter": (after - before) / (end - start),
        "gauge": [value for *_, value in seen],
    }


def _value(text: str, name: str) -> float:
    found = re.search(rf"^yoloscope_{name}(?:{{[^}}]*}})? (\S+)", text, flags=re.MULTILINE)
    return float(found[1]) if found else float("nan")


def memory(kit: Kit, batches: Sequence[int]) -> dict[str, Any]:
    """Peak of reserved and allocated CUDA memory by batch size, of short trainings in one process; bytes."""
    found = {}
    with kit.process() as process:
        kit.prepare()
        for batch in batches:
            case = Case(
                "",
                size="m",
                arguments={"epochs": 1, "imgsz": 640, "workers": 12, "batch": batch, "val": False, "fraction": 0.25},
            )
            answer = kit.order(process, **kit.training(f"memory{batch}", case))
            kit.wait(process, "DONE")
            seen = json.loads(answer.read_text())
            found[str(batch)] = {key: seen.get(key) for key in ("peak_reserved", "peak_allocated", "batches")}
    return found


def cost(kit: Kit, seconds: float) -> dict[str, Any]:
    """What the exporter takes beside all that: share of a core, memory, and a scrape's time."""
    times = []
    for _ in range(40):
        began = time.perf_counter()
        get(f"{kit.url}/metrics")
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.05)
    fields = Path(f"/proc/{kit.exporter}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    used = (int(fields[11]) + int(fields[12])) / ticks
    resident = int(Path(f"/proc/{kit.exporter}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    text = get(f"{kit.url}/metrics")
    durations = dict(
        re.findall(r'^yoloscope_collector_duration_seconds{collector="([a-z_]+)"} (\S+)', text, flags=re.MULTILINE)
    )
    return {
        "cores": used / (uptime - int(fields[19]) / ticks),
        "resident_mb": resident / 1e6,
        "scrape_ms_median": statistics.median(times),
        "scrape_ms_worst": max(times),
        "collector_seconds": durations,
        "seconds": seconds,
    }
