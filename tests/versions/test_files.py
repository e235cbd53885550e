"""Records and recordings of version 0.1 and of this one, read by each other: what is there is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.versions import first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = ("0.1", "now")

#: A training that waits for its one loader worker, a second for each line it is sent.
TRAINER = """
import sys
from pathlib import Path
try:
    from yoloscope_record.file_format import Identity
    from yoloscope_record.paths import run_directory
    from yoloscope_record.writer import Writer
except ImportError:  # version 0.1
    from yoloscope_hooks.record import Identity, Writer, run_directory
from yoloscope_exporter import catalog

def writer(*who, facts={}):
    identity = Identity(*who)
    return Writer(run_directory(Path(sys.argv[1]), "night") / identity.filename, identity, facts)

def add(made, metric, *labels, by=0.0, at=None):
    slot = made.slot(metric, "night", "0", *labels)
    made.values[slot] = made.values[slot] + by if at is None else at

rank = writer("night", "0", facts={"world_size": "1", "imgsz": "640", "device": "0"})
worker = writer("night", "0", "worker", "0")
for metric in catalog.METRICS:  # all that a rank's record may hold, whether it has a value or not
    if metric.labels[:2] == ("run", "rank") and {"role", "worker"}.isdisjoint(metric.labels):
        if metric.kind != catalog.INFO:
            declare = rank.histogram if metric.kind == catalog.HISTOGRAM else rank.slot
            declare(metric, "night", "0", *metric.labels[2:])
for line in sys.stdin:
    now = float(line)
    for made in (rank, worker):
        made.begin()
    rank.set_state("train")
    add(rank, catalog.TRAIN_BATCHES_TOTAL, by=2)
    add(rank, catalog.TRAIN_IMAGES_TOTAL, by=32)
    add(rank, catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, at=now)
    add(rank, catalog.TRAIN_WORKERS, at=1)
    add(rank, catalog.TRAIN_BATCH_SIZE, at=16)
    for phase, seconds in (("data_wait", 0.6), ("forward", 0.2), ("backward", 0.2)):
        add(rank, catalog.TRAIN_PHASE_SECONDS_TOTAL, phase, by=seconds)
    add(worker, catalog.TRAIN_WORKER_BATCHES_TOTAL, "0", by=2)
    add(worker, catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, "0", by=1)
    add(worker, catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, "0", by=0.9)
    for made in (rank, worker):
        made.end(now)
    print("done", flush=True)
"""

#: An exporter's collector and diagnosis, which read at the times they are sent; at the end their findings.
EXPORTER = """
import json, sys
from collections import Counter
from pathlib import Path
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Context, runs
from yoloscope_exporter.diagnosis.live import Live
try:
    from yoloscope_exporter.config import defaults
    from yoloscope_exporter.recordings.writer import Writer
    settings = {"config": defaults}
except ImportError:  # version 0.1
    from yoloscope_exporter.diagnosis.recording import Writer
    settings = {"options": {}}

now, refused, live = [0.0], Counter(), Live()
base = Path(sys.argv[1])
context = Context(
    procfs=Path("/proc"), sysfs=Path("/sys"), records=base, clock=lambda: now[0], wall=lambda: now[0],
    reject=lambda *what: refused.update([" ".join(what)]), **settings,
)
(collector,) = runs.collectors(context)
writer = Writer(Path(sys.argv[2]))
for line in sys.stdin:
    now[0] = float(line)
    cpus = [Sample(catalog.CPU_CORES, (), 16.0)]
    cpus += [Sample(catalog.CPU_SECONDS_TOTAL, (mode,), share * now[0]) for mode, share in (("user", 2), ("idle", 14))]
    samples = [*collector.collect(), *cpus]
    writer.samples(now[0], [*samples, *live.feed(now[0], samples)])
    print("done", flush=True)
writer.close()
verdicts = [verdict.name for rank in live.diagnoses for verdict in rank.verdicts]
print(json.dumps({"verdicts": verdicts, "refused": refused, "names": sorted({s.metric.name for s in samples})}))
"""

DIAGNOSE = "import sys; from yoloscope_exporter.cli import main; main(['diagnose', *sys.argv[1:]])"


@contextmanager
def stepping(version: str, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A version's process that takes one step for each line."""
    command = [sys.executable, "-c", code, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=first.environment(version), text=True, **pipes) as process:  # type: ignore[call-overload]
        yield process
        process.stdin.close()


def step(process: subprocess.Popen[str], now: float) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{now}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


class Watched(NamedTuple):
    """What an exporter of one version found in the records of another, and what it recorded."""

    newer: bool  # the exporter is of this version, with metrics of its own of each training
    verdicts: list[str]
    refused: dict[str, int]
    names: list[str]
    recording: Path


@pytest.fixture(scope="module", params=[(hooks, exporter) for hooks in VERSIONS for exporter in VERSIONS])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Hooks of one version watched by an exporter of another for a minute and a half."""
    hooks, exporter = request.param
    folder = tmp_path_factory.mktemp("versions")
    recording = folder / "night.om"
    with (
        stepping(hooks, TRAINER, str(folder / "records")) as trainer,
        stepping(exporter, EXPORTER, str(folder / "records"), str(recording)) as watching,
    ):
        for second in range(90):
            now = 1_790_000_000.0 + second
            step(trainer, now)
            step(watching, now)
        watching.stdin.close()  # type: ignore[union-attr]
        found = json.loads(watching.stdout.read())  # type: ignore[union-attr]
    return Watched(**found, newer=exporter == "now", recording=recording)


def test_records_are_judged(watched: Watched) -> None:
    """Metrics that the exporter does not know are left out; those it knows are all there, and so is the verdict."""
    assert "loader_workers" in watched.verdicts
    assert "yoloscope_train_phase_seconds_total" in watched.names
    assert "runs error" not in watched.refused


@pytest.mark.parametrize("version", VERSIONS)
def test_recordings_are_judged(watched: Watched, version: str) -> None:
    """By diagnose of either version; what it does not know is named."""
    said = first.answer(version, DIAGNOSE, "--recording", str(watched.recording))
    assert (said.returncode, said.stderr) == (1, "")
    assert "loader_workers" in said.stdout
    assert ("skipped: unknown metric yoloscope_train_" in said.stdout) == (watched.newer and version == "0.1")
