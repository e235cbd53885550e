"""The hooks on a real GPU: phases by the stream's clock, their sum, no wait of ours, and the cost per batch.

Not part of the default run: `pytest tests/gpu` on a machine with a GPU and torch.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import yoloscope_hooks
from yoloscope_record.reader import Reader

from tests.trainer_hooks.loop import Loop

torch: Any = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

BATCHES = 30


class GpuLoop(Loop):
    """A step of real kernels: a copy of pinned memory, a forward and a backward pass of a few big layers."""

    def __init__(self, folder: Path, *, wait: float = 0.0, sync: bool = True, batches: int = BATCHES) -> None:
        """`wait` seconds go by in the loader per batch; with `sync` the host waits each step, as rank 0 does."""
        super().__init__(folder, epochs=2, batches=batches)
        self.wait, self.sync = wait, sync
        self.device = torch.device("cuda:0")
        layers = [torch.nn.Linear(4096, 4096) for _ in range(8)]
        self.model = torch.nn.Sequential(*layers).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.host = torch.randn(2048, 4096).pin_memory()
        self.times: list[float] = []

    def train_epoch(self) -> None:
        """As the loop it comes from, with the loader's wait in front of each batch."""
        self.run("on_train_epoch_start")
        for _ in range(len(self.train_loader)):
            time.sleep(self.wait)
            self.timed("on_train_batch_start")
            self.step({"img": self.host})
            if self.sync:
                torch.cuda.synchronize()
            self.timed("on_train_batch_end")
        self.run("on_train_epoch_end")
        self.validate()
        self.save_model()
        self.run("on_fit_epoch_end")

    def timed(self, event: str) -> None:
        """Call the callbacks and note their time."""
        began = time.perf_counter()
        self.run(event)
        self.times.append(time.perf_counter() - began)

    def preprocess_batch(self, batch: Any) -> Any:
        """Copy to the GPU."""
        return {"img": batch["img"].to(self.device, non_blocking=True)}

    def step(self, batch: Any) -> None:
        """One batch."""
        images = self.preprocess_batch(batch)["img"]
        self.loss = self.model(images).square().mean()
        self.tloss = {"box_loss": self.loss.detach()}
        self.scaler.scale(self.loss).backward()
        self.optimizer_step()

    def optimizer_step(self) -> None:
        """A real step."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def validate(self) -> tuple[dict[str, float], float]:
        """Waits for the GPU, as a real one."""
        torch.cuda.synchronize()
        return super().validate()


def watched(loop: GpuLoop) -> dict[tuple[str, ...], Any]:
    """Train, and read the record."""
    yoloscope_hooks.attach(loop).train()
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    record = Reader(path).read()
    assert record.state == "finished"
    assert record.facts["gpu_uuid"].startswith(("GPU-", "MIG-"))
    return {(s.metric.name.removeprefix("yoloscope_train_"), *s.labels[2:]): s.value for s in record.samples}


def phases(seen: dict[tuple[str, ...], Any]) -> dict[str, float]:
    """Seconds by phase."""
    return {key[1]: value for key, value in seen.items() if key[0] == "phase_seconds_total"}


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("wait", [0.0, 0.05])
def test_phases_add_up(tmp_path: Path, wait: float, *, sync: bool) -> None:
    """The stream's phases add up to the host's wall time within 1 %."""
    seen = watched(GpuLoop(tmp_path, wait=wait, sync=sync))
    wall = seen["end_timestamp_seconds",] - seen["start_timestamp_seconds",]
    assert sum(phases(seen).values()) == pytest.approx(wall, rel=0.01)
    assert seen["hook_errors_total",] == 0


def test_backward_is_twice_forward(tmp_path: Path) -> None:
    """Without a wait of the host the phases are those of the kernels: a linear layer's backward costs two forwards."""
    seen = phases(watched(GpuLoop(tmp_path, sync=False)))
    assert 1.5 < seen["backward"] / seen["forward"] < 3.0
    assert seen["forward"] > 10 * seen["data_wait"]


def test_starved_gpu(tmp_path: Path) -> None:
    """A loader slower than the GPU is data wait on the stream, whether or not the host waits each step."""
    for sync in (True, False):
        seen = phases(watched(GpuLoop(tmp_path / str(sync), wait=0.2, sync=sync, batches=10)))
        assert seen["data_wait"] > 0.5 * 2 * 10 * 0.2
        for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec"):
            path.unlink()


def test_memory_and_losses_arrive(tmp_path: Path) -> None:
    """CUDA memory and losses are recorded, the losses by copies that were not waited for."""
    seen = watched(GpuLoop(tmp_path, wait=0.02))
    assert seen["cuda_memory_bytes", "allocated"] > 8 * 4096 * 4096 * 4
    assert seen["cuda_memory_bytes", "peak_allocated"] >= seen["cuda_memory_bytes", "allocated"]
    assert seen["loss", "box_loss"] > 0


def test_cost(tmp_path: Path) -> None:
    """Print what the callbacks cost; the figure belongs to docs/benchmarks.md."""
    loop = GpuLoop(tmp_path, batches=150)
    watched(loop)
    costs = [(a + b) * 1e6 for a, b in zip(loop.times[::2], loop.times[1::2], strict=True)]
    p99 = statistics.quantiles(costs, n=100)[98]
    print(f"\ncallbacks with CUDA events: median {statistics.median(costs):.1f} us, p99 {p99:.1f} us per batch")
    assert statistics.median(costs) < 200
