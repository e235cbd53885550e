"""The hooks' phases of an epoch beside what torch.profiler saw of another epoch of the same training."""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, B905, D107

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from yoloscope_record.reader import Reader

#: Epochs whose phases are taken from the record, and the one that is profiled; the first ones warm up.
PHASES, PROFILED = (2, 4), 5
PHASE = "yoloscope_train_phase_seconds_total"


class Profiled:
    """Watches one training; `result` has seconds per batch by the hooks and by the profiler."""

    def __init__(self, order, watch, model):
        self.order, self.watch, self.found = order, watch, {}
        model.add_callback("on_train_epoch_start", self.begin)
        model.add_callback("on_train_epoch_end", self.end)
        model.add_callback("on_fit_epoch_end", self.read)

    def begin(self, trainer):
        """Profile one epoch."""
        if trainer.epoch != PROFILED:
            return
        for owner, name in ((trainer.model, "forward"), (trainer, "optimizer_step")):
            setattr(owner, name, _named(getattr(owner, name), f"kit::{name}"))
        torch.cuda.synchronize()
        self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self.profiler.__enter__()

    def end(self, trainer):
        """The profile is over."""
        if trainer.epoch == PROFILED:
            torch.cuda.synchronize()
            self.profiler.__exit__(None, None, None)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "trace.json"
                self.profiler.export_chrome_trace(str(file))
                self.found["profiler"] = spans(json.loads(file.read_text())["traceEvents"], len(trainer.train_loader))
            trainer.stop = True

    def read(self, trainer):
        """The record's phases at the end of an epoch."""
        if trainer.epoch in PHASES:
            records = [Reader(file).read() for file in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")]
            (samples,) = [r.samples for r in records if self.order["name"] in r.identity.run and not r.identity.worker]
            self.found[trainer.epoch] = {s.labels[-1]: s.value for s in samples if s.metric.name == PHASE} | {
                "batches": sum(s.value for s in samples if s.metric.name == "yoloscope_train_batches_total")
            }

    def result(self):
        """Milliseconds per batch."""
        first, last = (self.found[epoch] for epoch in PHASES)
        batches = last.pop("batches") - first.pop("batches")
        hooks = {name: (last[name] - first.get(name, 0.0)) * 1e3 / batches for name in last}
        return self.watch.result() | {"hooks": hooks, "profiler": self.found["profiler"]}


def _named(function, name):
    def annotated(*args, **kwargs):
        with record_function(name):
            return function(*args, **kwargs)

    return annotated


def spans(events, batches):
    """Milliseconds per batch on the GPU's timeline: by annotation, and of all kernels and copies without overlaps."""
    work = sorted(
        (e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
    )
    busy, reached = 0.0, 0.0
    for begin, end in work:
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    marks = {
        name: sorted(
            (e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") == "gpu_user_annotation" and e["name"] == name
        )
        for name in ("kit::forward", "kit::optimizer_step")
    }
    forward, optimizer = marks["kit::forward"], marks["kit::optimizer_step"]
    found = {"kernels": busy, "forward": sum(b - a for a, b in forward), "optimizer": sum(b - a for a, b in optimizer)}
    if len(forward) == len(optimizer):
        found["backward"] = sum(o[0] - f[1] for f, o in zip(forward, optimizer))
    return {name: value / 1e3 / batches for name, value in found.items()} | {"batches": batches, "events": len(work)}
