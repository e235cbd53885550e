"""Every query, asked of a Prometheus that scraped two real trainings, one of which waits, and real predictions."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.dashboards.queries import DASHBOARDS, Place, targets
from tests.dashboards.world import World
from tests.fake_nvml import FakeNvml, steps
from tests.live import free_port, prometheus, query, running, wait_for
from tests.training import TINY, environment, make_dataset, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: What two short trainings on the CPU of one machine cannot have, by the metrics that an expression reads.
ABSENT = {
    r"train_device_info|train_cuda_|instance_run:yoloscope_gpu": "the trainings run on the CPU",
    r"wasted_gpu": "without a GPU none is wasted",
    r"gpu_xid": "no GPU had an error",
    r"gpu_recovery_action|gpu_fabric_fault": "the driver of these GPUs does not tell it",
    r"gpu_retired_pages": "this kind of GPU remaps rows instead of retiring pages",
    r"ALERTS": "nothing has been wrong for long enough",
    r"backward_exposed|backward_local": "each training is a single process",
    r"cgroup_": "the machine may have no quota, or no cgroup of its own",
    r"pressure_seconds": "the kernel may not measure pressure",
    r"samples_rejected": "nothing was refused",
    r"network_": "the machine may have no network device but the loopback",
    r"disk_": "the machine may have no disk of its own",
    r"mAP50-95.*> 0\)\) - 1": "a model that has trained for seconds finds nothing, and of zero there is no share",
    r"train_job_info": "neither Slurm nor Kubernetes started them",
    r"yoloscope_price_|yoloscope_co2_": "nobody said a price",
    r"worker_batch_seconds_total.*>= bool": "neither has several workers of which one is slow",
    r"max_over_time\(\(max by \(instance, gpu, reason\)": "no GPU was throttled",
    r"unless on \(fact": "the two are configured alike, or differ in what is no fact",
}
#: More epochs than anybody waits for: both train for as long as they are asked about.
TRAININGS = {
    "computes": {"model": TINY, "workers": 2, "step_sleep": 0.2, "epochs": 1000},
    "starved": {"model": TINY, "workers": 1, "image_sleep": 0.08, "epochs": 1000},
}


@contextlib.contextmanager
def exporter(directory: Path) -> Iterator[str]:
    """`yoloscope serve` on a free port, with eight fake GPUs; the value is its address."""
    nvml = FakeNvml(directory, steps("healthy_h100x8")[0]).environment()
    environment = ["env", *(f"{name}={nvml[name]}" for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONTROL"))]
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--web.listen-address={address}", "--log.level=warning", "--diagnosis.window=10s"]
    command = [*environment, sys.executable, "-m", "yoloscope_exporter.cli", "serve", *flags]
    with running(command, directory / "exporter.log", f"http://{address}"):
        yield address


@contextlib.contextmanager
def trainings(directory: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Both trainings, side by side; gone when the block is left."""
    data = make_dataset(directory / "data", images=16)
    processes = [
        start(data, directory / "runs", name=name, log=directory / f"{name}.log", **options)
        for name, options in TRAININGS.items()
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def runs_of(url: str) -> dict[str, str]:
    """Name of each training above -> its run, once all have validated and what is seldom sampled has a rate, too."""
    found = query(
        url,
        "(max by (run) (yoloscope_train_epoch) > 3) and on (run) instance_run:yoloscope_train_images:sum_rate2m "
        "and on (run) (count_over_time(yoloscope_train_process_cpu_seconds_total[1m]) > 5)",
    )
    runs = {name: labels["run"] for labels, _ in found for name in TRAININGS if name in labels["run"]}
    return runs if len(runs) == len(TRAININGS) else {}


def _ended(processes: list[subprocess.Popen[str]], directory: Path) -> str:
    """What the trainings said, if one of them no longer runs."""
    if all(process.poll() is None for process in processes):
        return ""
    return "".join((directory / f"{name}.log").read_text() for name in TRAININGS)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(300)
def test_every_query_returns_data_of_real_trainings(tmp_path: Path, table: Callable[[str], None]) -> None:
    """But what a machine without GPUs cannot have; each such expression is excused by a metric it reads."""
    began = int(time.time())
    with trainings(tmp_path) as both, exporter(tmp_path) as address, prometheus(tmp_path, [address], speed=15) as url:
        runs = wait_for(
            lambda: runs_of(url) or _ended(both, tmp_path), timeout=240, what="four epochs of both in Prometheus"
        )
        assert isinstance(runs, dict), f"a training has ended:\n{runs}"
        world = World(url, began, int(time.time()), 1)
        boards = [name for name in DASHBOARDS if name.startswith("en/") and name != "en/inference"]
        places = [place for name in boards for place in targets(name)]
        empty = [place for place in places if not _has_data(world, place, [runs[name] for name in TRAININGS], address)]
    unexplained = [(place.dashboard, place.panel, place.expr) for place in empty if not _excuses(place)]
    table(f"{len(places)} queries of real trainings, {len(places) - len(empty)} with data")
    for reason in sorted({reason for place in empty for reason in _excuses(place)}):
        table(f"  {sum(reason in _excuses(place) for place in empty):>4} empty: {reason}")
    assert unexplained == []


PREDICTS = """
import time
from ultralytics import YOLO
import yoloscope_hooks
model = yoloscope_hooks.attach(YOLO("yolo11n.yaml"), run="real")
model.export(format="torchscript", imgsz=64, device="cpu")
while True:
    for _ in model("data/images/train", stream=True, imgsz=64, device="cpu", conf=0.001, verbose=False, save=False):
        time.sleep(0.05)  # others want the CPU
"""


@contextlib.contextmanager
def predictions(directory: Path) -> Iterator[None]:
    """A process that has exported a model and predicts until the block is left."""
    make_dataset(directory / "data", images=16)
    command = [sys.executable, "-c", PREDICTS]
    with (directory / "predicts.log").open("w") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment(directory / "runs"), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.train
def test_every_query_returns_data_of_real_predictions(tmp_path: Path) -> None:
    """Of the dashboard Inference, but what a process without a GPU and without an alert does not have."""
    began = int(time.time())
    judged = "(yoloscope_predict_verdict == 1) and on (run) (count_over_time(yoloscope_predict_images_total[1m]) > 5)"
    with predictions(tmp_path), exporter(tmp_path) as address, prometheus(tmp_path, [address], speed=15) as url:
        wait_for(lambda: query(url, judged), timeout=120, what="a verdict on predictions in Prometheus")
        runs = ["real-predict", "real-export"]

        def empty() -> list[str]:
            world = World(url, began, int(time.time()), 1)
            return [place.panel for place in targets("en/inference") if not _has_data(world, place, runs, address)]

        # Between two calls none is under way, and nothing is known of its last batch: then it is asked again.
        excused = ["GPU utilization", "CUDA memory", "Firing alerts of this run"]
        wait_for(lambda: empty() == excused, timeout=30, what="all panels but those of the GPU and of alerts filled")


def _has_data(world: World, place: Place, runs: list[str], node: str) -> bool:
    """For any of the runs; the last is what others are compared with."""
    return any(
        world.ask(world.filled(place.dashboard, place.expr, run, runs[-1], [node]), instant=place.instant).series
        for run in runs
    )


def _excuses(place: Place) -> list[str]:
    return [reason for pattern, reason in ABSENT.items() if re.search(pattern, place.expr)]
