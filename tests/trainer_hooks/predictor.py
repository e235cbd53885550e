"""Ultralytics' predictor without Ultralytics: the same events, attributes and calls in the same order.

For tests and benchmarks of what the hooks do in one process within microseconds; what real predictions do is in
`test_predictions.py`.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


class Results:
    """The results of one image."""

    def __init__(self, boxes: int) -> None:
        """`boxes` were found."""
        self.boxes, self.obb = range(boxes), None
        self.speed: dict[str, float] = {}


class Profile:
    """One of Ultralytics' profilers."""


class Dataset:
    """A source of batches."""

    def __init__(self, batches: Iterable[int], wait: float, kind: str) -> None:
        """`batches` are their sizes; each takes `wait` seconds."""
        flags = dict.fromkeys(("stream", "screenshot", "from_img", "tensor"), False)
        self.source_type = SimpleNamespace(**{**flags, kind: True})
        self._batches, self._wait = batches, wait

    def __iter__(self) -> Iterator[Any]:
        """Paths, images and lines of the log."""
        for size in self._batches:
            time.sleep(self._wait)
            yield [f"{index}.jpg" for index in range(size)], [None] * size, [""] * size


class Predictor:
    """A predictor. `callbacks` is Ultralytics' dict of lists by event."""

    fails_in = ""  # the part of a batch, or `source`, that raises
    opening = 0.0  # seconds that it takes to open a source
    saving = 0.0  # seconds that it takes to save the results of a batch
    computes = False  # whether the model computes; else it waits, as for a GPU

    def __init__(self, folder: Path, *, wait: float = 0.0, infer: float = 0.0, kind: str = "from_img") -> None:
        """Seconds of each batch: `wait` in the source, `infer` in the model."""
        self.callbacks: dict[str, list[Callable[[Any], None]]] = {}
        self.args = SimpleNamespace(task="detect", model="yolo11n.pt", imgsz=[32, 32], batch=1, conf=0.25, half=False)
        self.save_dir, self.device = folder / "detect" / "predict", SimpleNamespace(type="cpu", index=None)
        self.model = SimpleNamespace(format="pt", fp16=False)
        self.dataset: Any = None
        self.source_type: Any = None
        self.batch: Any = None
        self.results: Any = None
        self.stream = False
        self._lock = threading.Lock()
        self._wait, self._infer, self._kind = wait, infer, kind

    def run_callbacks(self, event: str) -> None:
        """Call the callbacks of an event, as Ultralytics does: without a net."""
        for callback in self.callbacks.get(event, []):
            callback(self)

    def __call__(self, source: Iterable[int], *, stream: bool = False) -> Any:
        """Predict batches of these sizes."""
        self.stream = stream
        return self.stream_inference(source) if stream else list(self.stream_inference(source))

    def setup_source(self, source: Iterable[int]) -> None:
        """Open the source."""
        if self.opening:
            time.sleep(self.opening)
        self.dataset = Dataset(source, self._wait, self._kind)
        self.source_type = self.dataset.source_type

    def stream_inference(self, source: Iterable[int]) -> Iterator[Any]:
        """The loop."""
        with self._lock:
            self.setup_source(source)
            profilers = (Profile(), Profile(), Profile())  # noqa: F841 - as it is there: they live as long as the loop
            self._part("source", 0.0)
            self.run_callbacks("on_predict_start")
            for self.batch in self.dataset:  # noqa: B020 - as it is there
                self.run_callbacks("on_predict_batch_start")
                spent = {
                    "preprocess": self._part("preprocess", 0.0),
                    "inference": self._part("inference", self._infer),
                    "postprocess": self._part("postprocess", 0.0),
                }
                self.results = [Results(2) for _ in self.batch[0]]
                self.run_callbacks("on_predict_postprocess_end")
                for result in self.results:
                    result.speed = {part: seconds * 1e3 / len(self.results) for part, seconds in spent.items()}
                if self.saving:
                    time.sleep(self.saving)
                self.run_callbacks("on_predict_batch_end")
                yield from self.results
        self.run_callbacks("on_predict_end")

    def _part(self, name: str, seconds: float) -> float:
        if self.fails_in == name:
            raise ValueError(name)
        began = time.perf_counter()
        if seconds:
            (compute if self.computes else time.sleep)(seconds)
        return time.perf_counter() - began


def compute(seconds: float) -> None:
    """Take so many seconds of the CPU."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
