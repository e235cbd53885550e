"""Real trainings, a real exporter over a fake NVML, a real Prometheus and Alertmanager, a webhook that receives.

One site for the whole file: three trainings on the CPU, each of whose processes the driver lists on a GPU, eight GPUs
that do what the control file says, the shipped configuration and rules with every duration divided by SPEED. Faults are
there from the beginning or made one by one; the last test prints how long each took to reach the webhook.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.prometheus.rulebook import ALERTS
from tests.conftest import require_binary
from tests.fake_nvml import FakeNvml
from tests.live import (
    Webhook,
    alertmanager,
    alerts,
    free_port,
    get,
    kill_with_all_below,
    prometheus,
    query,
    running,
    wait_for,
)
from tests.training import TINY, make_dataset, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.samples import Sample

#: It waits for most of its time, and durations divided by no more leave room for neighbours.
pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.timeout(300)]

SPEED = 15
BUSY, SLACK = 93, 8  # per cent of a GPU
#: Ten minutes of training make a level (40 s here), so an epoch takes longer: 32 batches of 1.6 s and more.
IMAGES = 128
GPUS = {"steady": {"0": "0"}, "starved": {"0": "1"}, "ranks": {"0": "2", "1": "3"}}
HOT = "4"
#: Training steps that take time without taking a CPU, until the file `hurry` is there; validation lasts as long as
#: the file `hold` is.
STEADY = """
import os, time
def step(trainer):
    if not os.path.exists("{hurry}"):
        time.sleep(1.6)
model.add_callback("on_train_batch_start", step)
def hold(validator):
    while os.path.exists("{hold}"):
        time.sleep(0.1)
model.add_callback("on_val_batch_start", hold)
"""
TRAININGS = {
    "steady": {"epochs": 3, "workers": 1},
    "starved": {"epochs": 50, "workers": 1, "image_sleep": 0.3},
    "ranks": {
        "epochs": 50,
        "workers": 1,
        "batch": 8,
        "ranks": 2,
        "step_sleep": 0.8,
        "slow_rank": 1,
        "arguments": {"val": False},  # epochs are shorter than the alert's `for` divided by SPEED
    },
}


@dataclass
class Site:
    """What is running, and what has been seen.

    Attributes:
        began: when each fault began, Unix seconds, by alert.
        took: seconds from the fault to the webhook, by alert.
    """

    folder: Path
    nvml: FakeNvml
    webhook: Webhook
    port: int
    exporter: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    server: str = ""
    trainings: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The exporter's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def hold(self) -> Path:
        """While it is there the steady training's validation lasts."""
        return self.folder / "hold"

    @property
    def hurry(self) -> Path:
        """As soon as it is there the steady training takes no more time than it must."""
        return self.folder / "hurry"

    def serve(self) -> None:
        """Start the exporter, always on the same port."""
        paths = self.nvml.environment()
        chosen = {name: paths[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONTROL")}
        chosen["YOLOSCOPE_DIR"] = str(self.folder / "records")  # each test has another one, but the trainings go on
        flags = [f"--web.listen-address=127.0.0.1:{self.port}", "--sample.interval=500ms", "--log.level=warning"]
        environment = [f"{name}={value}" for name, value in chosen.items()]
        command = ["env", *environment, sys.executable, "-m", "yoloscope_exporter.cli", "serve", *flags]
        self.exporter.enter_context(running(command, self.folder / "exporter.log", self.url))

    def metrics(self) -> str:
        """The exposition now."""
        return get(f"{self.url}/metrics")

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """The samples of that name and with these labels, now."""
        return samples(self.metrics(), name, **labels)

    def value(self, name: str, run: str) -> float | None:
        """One sample of a run's rank 0, None where there is none."""
        found = self.samples(name, run=run, rank="0")
        return found[0].value if found else None

    def state(self, run: str) -> str | None:
        """The state of a run's rank 0."""
        return next((one.labels["state"] for one in self.samples("train_state", run=run, rank="0") if one.value), None)

    def arrived(self, alert: str, timeout: float = 200, **labels: str) -> None:
        """Wait for an alert at the webhook, and note how long it took."""
        received = self.webhook.wait(alert, timeout=timeout, **labels)
        self.took[alert] = received.time - self.began[alert]

    def first_batch(self, run: str) -> float:
        """When a training that is at fault from the beginning ended its first batch, Unix seconds."""
        first = f'min(min_over_time(yoloscope_train_last_batch_timestamp_seconds{{run="{run}"}}[10m]))'
        return float(wait_for(lambda: query(self.server, first), timeout=90, what=f"the first batch of {run}")[0][1])


def samples(text: str, name: str, **labels: str) -> list[Sample]:
    """The samples of an exposition of that name and with these labels."""
    families = text_string_to_metric_families(text)
    found = (one for family in families for one in family.samples if one.name == f"yoloscope_{name}")
    return [one for one in found if labels.items() <= one.labels.items()]


def _place(site: Site) -> None:
    """Let the driver list every rank's process on its GPU, as soon as the exporter knows the process."""
    for run, ranks in GPUS.items():
        for rank, gpu in ranks.items():
            known = partial(site.samples, "train_run_info", run=run, rank=rank)
            found = wait_for(known, timeout=120, what=f"{run} rank {rank}")
            site.nvml.set({f"gpu.{gpu}.process.{found[0].labels['pid']}": "memory=1073741824"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything, started once; three faults are there from the beginning."""
    require_binary("prometheus")
    folder = tmp_path_factory.mktemp("site")
    records = {"YOLOSCOPE_DIR": str(folder / "records")}
    nvml = FakeNvml(folder, {"gpus": 8, "gpu.*.utilization": 0} | {f"gpu.{gpu}.utilization": BUSY for gpu in "0123"})
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("YOLOSCOPE_DIR", records["YOLOSCOPE_DIR"])
        webhook = stack.enter_context(Webhook())
        site = Site(folder, nvml, webhook, free_port())
        stack.callback(site.exporter.close)
        site.serve()
        manager = stack.enter_context(alertmanager(folder, webhook.url))
        target = f"127.0.0.1:{site.port}"
        site.server = stack.enter_context(
            prometheus(folder, [target], alertmanager=manager, scrape_interval="500ms", speed=SPEED)
        )
        nvml.set({f"gpu.{HOT}.throttle_reasons": "0x40"})
        site.began["GpuThermalSlowdown"] = time.time()
        data = make_dataset(folder / "data", images=IMAGES)
        site.hold.touch()
        for name, options in TRAININGS.items():
            script = STEADY.format(hold=site.hold, hurry=site.hurry) if name == "steady" else ""
            environ, log = records | {"YOLOSCOPE_RUN": name}, folder / f"{name}.log"
            chosen = {**options, "name": name, "script": script, "model": TINY}
            process = start(data, folder / "runs", environ=environ, log=log, **chosen)
            site.trainings[name] = process
            stack.callback(kill_with_all_below, process)
        _place(site)
        yield site


def test_metrics_are_clean_and_count_every_batch(site: Site) -> None:
    """Promtool has no complaint while three trainings run, waits are counted batch by batch, CPU and GPU beside."""
    wait_for(lambda: (site.value("train_batches_total", "steady") or 0) >= 3, timeout=60, what="three batches")
    text = site.metrics()
    lint = subprocess.run(
        [require_binary("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert lint.stdout + lint.stderr == ""
    for name in ("yoloscope_cpu_seconds_total", "yoloscope_gpu_utilization_ratio"):
        assert f"\n{name}{{" in text
    counted, batches = (
        {one.labels["run"]: one.value for one in samples(text, name, rank="0")}
        for name in ("train_data_wait_seconds_count", "train_batches_total")
    )
    assert counted == batches
    assert len(batches) == 3


def test_throttling(site: Site) -> None:
    """A GPU that slows down for its temperature, since before the trainings began."""
    site.arrived("GpuThermalSlowdown", gpu=HOT)


def test_starvation(site: Site) -> None:
    """One loader worker with slow images."""
    site.began["DataBound"] = site.first_batch("starved")
    site.arrived("DataBound", run="starved", rank="0")
    received = site.webhook.seen("DataBound", run="starved", rank="0")
    assert received is not None
    assert site.webhook.seen("DataBound", run="steady") is None
    assert re.search(r"loader_(wait|workers): ", received.annotations["fix"])
    assert "starved" in received.annotations["summary_zh"]


def test_straggler(site: Site) -> None:
    """Rank 1 of two is slow in its forward pass."""
    site.began["StragglerRank"] = site.first_batch("ranks")
    site.arrived("StragglerRank", run="ranks", rank="1")
    assert site.webhook.seen("StragglerRank", rank="0") is None


def test_validation_is_no_drop(site: Site) -> None:
    """The GPU idles through a validation of ten minutes (divided by SPEED): no drop, not even a pending one."""
    wait_for(lambda: site.state("steady") == "validate", timeout=180, what="the validation")
    site.nvml.set({"gpu.0.utilization": SLACK})
    level = 'rank:yoloscope_gpu_busy:median1h{run="steady"}'
    wait_for(lambda: (found := query(site.server, level)) and found[0][1] > 0.8, what="a level that could drop")
    end = time.monotonic() + 600 / SPEED
    while time.monotonic() < end:
        assert "GpuUtilizationDrop" not in alerts(site.server)
        time.sleep(0.5)
    site.nvml.set({"gpu.0.utilization": BUSY})
    site.hold.unlink()
    assert site.webhook.seen("GpuUtilizationDrop") is None


def test_drop_while_training(site: Site) -> None:
    """The same in the middle of an epoch is a drop, told with run, rank, GPU and what to do; it is over when it is."""
    busy = 'rank:yoloscope_gpu_busy:ratio_rate1m{run="steady"}'
    wait_for(lambda: (found := query(site.server, busy)) and found[0][1] > 0.8, timeout=60, what="it trains again")
    site.nvml.set({"gpu.0.utilization": SLACK})
    site.began["GpuUtilizationDrop"] = time.time()
    site.arrived("GpuUtilizationDrop", rank="0", gpu="0")
    received = site.webhook.seen("GpuUtilizationDrop")
    assert received is not None
    assert received.labels["run"] == "steady"
    assert "var-run=steady" in received.annotations["dashboard_url"]
    assert received.annotations["runbook_url"].endswith("#gpuutilizationdrop")
    site.nvml.set({"gpu.0.utilization": BUSY})
    site.webhook.wait("GpuUtilizationDrop", "resolved", timeout=120)


def test_death(site: Site) -> None:
    """`kill -9`: the exporter says `killed`, the last epoch is still there, and somebody is told."""
    epoch = site.value("train_epoch", "starved")
    os.killpg(site.trainings["starved"].pid, signal.SIGKILL)
    site.began["TrainingKilled"] = began = time.time()
    wait_for(lambda: site.state("starved") == "killed", timeout=20, every=0.05, what="killed")
    seen = time.time() - began
    assert (site.value("train_epoch", "starved") or 0) >= (epoch or 0) > 0
    site.arrived("TrainingKilled")
    site.took["killed, in /metrics"] = seen


def test_exporter_down_and_no_count_lost(site: Site) -> None:
    """An exporter that is gone is told; started again it knows every batch, to the end of the training."""
    before = site.value("train_data_wait_seconds_count", "steady") or 0
    site.exporter.close()
    site.began["ExporterDown"] = time.time()
    site.arrived("ExporterDown")
    site.serve()
    site.hurry.touch()
    code = site.trainings["steady"].wait(timeout=120)
    output = (site.folder / "steady.log").read_text()
    assert code == 0, output
    wait_for(lambda: site.state("steady") == "finished", timeout=20, what="the end")
    batches = int(re.findall(r'RESULT .*"batches": (\d+)', output)[0])
    assert batches >= before > 0
    assert site.value("train_data_wait_seconds_count", "steady") == batches
    assert site.value("train_up", "steady") == 0


def test_how_long_it_took(site: Site, table: Callable[[str], None]) -> None:
    """A table, for the reader; every alert above has come."""
    table(f"from the fault to the webhook, durations of rules divided by {SPEED}")
    for name, seconds in site.took.items():
        hold = next((f"for: {alert.hold}" for alert in ALERTS if alert.name == name), "")
        table(f"  {name:<22} {seconds:5.1f} s  {hold}")
    wanted = "DataBound StragglerRank GpuThermalSlowdown GpuUtilizationDrop TrainingKilled ExporterDown"
    assert set(wanted.split()) <= site.took.keys()
