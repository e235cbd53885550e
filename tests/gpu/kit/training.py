"""One training in a process of its own: it imports everything, says so, and waits for its order on standard input.

Imports ultralytics (AGPL-3.0): for tests only.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, B905, D102, D107, PLC0415

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.utils.data
import ultralytics
from ultralytics.engine import trainer as engine
from ultralytics.models import yolo
from ultralytics.utils import WEIGHTS_DIR

TRAINERS = {
    "detect": yolo.detect.DetectionTrainer,
    "segment": yolo.segment.SegmentationTrainer,
    "pose": yolo.pose.PoseTrainer,
    "obb": yolo.obb.OBBTrainer,
    "classify": yolo.classify.ClassificationTrainer,
}
QUIET = {"plots": False, "verbose": False, "optimizer": "SGD", "close_mosaic": 0, "exist_ok": True}


class _SlowTransform:
    """An image transform that costs time in the loader worker."""

    def __init__(self, inner, order):
        self.inner, self.order = inner, order

    def __call__(self, labels):
        time.sleep(self.order["image_sleep"])
        end = time.thread_time() + self.order["image_work"]
        while time.thread_time() < end:
            pass
        return self.inner(labels)


def _trainer(order):
    class Trainer(TRAINERS[order["task"]]):
        def build_dataset(self, img_path, mode="train", batch=None):
            dataset = super().build_dataset(img_path, mode, batch)
            if mode == "train" and (order["image_sleep"] or order["image_work"]):
                dataset.transforms = _SlowTransform(dataset.transforms, order)
            return dataset

    return Trainer


class Watch:
    """Notes the moments of batches and what the callbacks took, and ends the training when its time is over."""

    def __init__(self, order):
        self.order, self.ends, self.callbacks, self.first = order, [], [], None

    def into(self, model):
        model.add_callback("on_train_start", self.start)
        model.add_callback("on_train_batch_end", self.batch)
        model.add_callback("on_fit_epoch_end", self.epoch)

    def start(self, trainer):
        """Time all callbacks of a batch, whoever's they are."""
        run = trainer.run_callbacks

        def timed(event):
            began = time.perf_counter()
            run(event)
            if event in ("on_train_batch_start", "on_train_batch_end"):
                self.callbacks.append((time.perf_counter() - began) * 1e6)

        trainer.run_callbacks = timed

    def batch(self, _trainer):
        self.ends.append((time.perf_counter(), _trainer.epoch))
        if self.first is None:
            self.first = time.perf_counter()
            print("FIRST", flush=True)

    def epoch(self, trainer):
        if self.first is not None and time.perf_counter() - self.first > self.order["stop_after"]:
            trainer.stop = True

    def result(self):
        """Seconds between batches of one epoch, but for the first epoch, and microseconds of callbacks."""
        pairs = zip(self.ends, self.ends[1:])
        steps = [b[0] - a[0] for a, b in pairs if a[1] == b[1] > 0]
        return {"steps": steps, "callbacks": self.callbacks, "batches": len(self.ends)}


def _weights_for_the_amp_check():
    """Ultralytics would download them: the same model with random weights."""
    WEIGHTS_DIR.mkdir(parents=True, exist_ok=True)
    if not (WEIGHTS_DIR / "yolo26n.pt").exists():
        ultralytics.YOLO("yolo26n.yaml").save(WEIGHTS_DIR / "yolo26n.pt")


def train(order):
    """One training as ordered; what was seen."""
    model = ultralytics.YOLO(order["model"])
    watch = Watch(order)
    if order["hooks"]:
        import yoloscope_hooks

        model = yoloscope_hooks.attach(model)
    watch.into(model)
    if not order["amp_check"]:  # it takes seconds
        engine.check_amp = lambda _model: True
    if order["profile"]:
        from tests.gpu.kit.profiled import Profiled

        watch = Profiled(order, watch, model)
    exec(order["script"], {"model": model, "time": time, "order": order})
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    model.train(
        trainer=_trainer(order),
        data=order["data"],
        project=order["project"],
        name=order["name"],
        device=order["device"],
        **QUIET,
        **order["arguments"],
    )
    seen = watch.result()
    if torch.cuda.is_available():
        seen |= {"peak_reserved": torch.cuda.max_memory_reserved(), "peak_allocated": torch.cuda.max_memory_allocated()}
        torch.cuda.empty_cache()
    return seen


def square(order):
    """Busy for a share of each period, and idle for the rest; the true share of time with a kernel running."""
    device = torch.device(f"cuda:{order['device']}")
    matrix = torch.randn(4096, 4096, device=device)
    print("FIRST", flush=True)
    began, busy = time.perf_counter(), 0.0
    while (now := time.perf_counter()) - began < order["seconds"]:
        while time.perf_counter() - now < order["period"] * order["duty"]:
            for _ in range(20):
                matrix = torch.tanh(matrix @ matrix)
            torch.cuda.synchronize()
        busy += time.perf_counter() - now
        time.sleep(max(0.0, now + order["period"] - time.perf_counter()))
    return {"busy": busy / (time.perf_counter() - began)}


def main():
    """Obey the orders on standard input, one per line; the answer goes to the file that an order names."""
    _weights_for_the_amp_check()
    print("READY", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"train": train, "square": square}[order["do"]](order)
        Path(order["answer"]).write_text(json.dumps(answer))
        print("DONE", flush=True)


if __name__ == "__main__":
    main()
