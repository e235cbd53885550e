"""What the hooks put on a validator: whatever kind of method it has, it is called as before, and gets it back."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import callbacks, inference, inference_callbacks
from yoloscope_record import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A record directory of its own, and a process that has recorded nothing yet."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path / "records"))
    monkeypatch.delenv("YOLOSCOPE_RUN", raising=False)
    inference._process.renew()
    yield
    for kind in ("validate", "export"):
        if recording := inference.current(kind):
            recording.discard()
    inference._process.renew()


class Validator:
    """Ultralytics' loop over batches; its user has made methods of every kind of his own."""

    training = False

    def __init__(self) -> None:
        """Nothing is validated yet."""
        self.args = SimpleNamespace(task="detect", model="yolo11n.pt", imgsz=32, batch=2, conf=0.25)
        self.seen: list[Any] = []

    @staticmethod
    def preprocess(batch: dict[str, Any]) -> dict[str, Any]:
        """A static one."""
        return {**batch, "scaled": True}

    @classmethod
    def postprocess(cls, preds: list[Any]) -> tuple[str, list[Any]]:
        """One of the class."""
        return cls.__name__, preds

    def update_metrics(self, preds: Any, batch: dict[str, Any]) -> None:
        """One of the object, as Ultralytics' own."""
        self.seen.append((preds, batch["scaled"]))

    def __call__(self, batches: int = 2) -> list[Any]:
        """Validate."""
        inference_callbacks.on_val_start(self)
        for _ in range(batches):
            inference_callbacks.on_val_batch_start(self)
            batch = self.preprocess({"img": [1, 2]})
            self.update_metrics(self.postprocess([3]), batch)
            inference_callbacks.on_val_batch_end(self)
        inference_callbacks.on_val_end(self)
        return self.seen


def under_way(kind: str) -> float:
    """Calls of a kind that the record says are under way."""
    recording = inference.current(kind)
    assert recording is not None
    return float(recording._values[recording._slot(catalog.PREDICT_UNDER_WAY)])


def test_methods_of_every_kind() -> None:
    """Static methods and the class' are called without a `self`, each batch is counted, and nothing stays behind."""
    validator = Validator()
    assert validator() == [(("Validator", [3]), True)] * 2
    recording = inference.current("validate")
    assert recording is not None
    assert recording._values[recording._slot(catalog.PREDICT_IMAGES_TOTAL)] == 4
    assert not {"preprocess", "postprocess", "update_metrics"} & set(vars(validator))


def test_what_others_have_put_there_stays() -> None:
    """A method that a callback has replaced after us is that callback's also after the validation."""
    validator = Validator()
    inference_callbacks.on_val_start(validator)
    ours, calls = validator.preprocess, []

    def theirs(batch: dict[str, Any]) -> dict[str, Any]:
        calls.append(batch)
        return ours(batch)

    validator.preprocess = theirs  # type: ignore[method-assign]
    inference_callbacks.on_val_end(validator)
    validator(1)
    assert vars(validator)["preprocess"] is theirs
    assert len(calls) == 1


@pytest.mark.parametrize("of", ["training", "nobody"])
def test_the_last_validation_of_a_training(of: str) -> None:
    """Of one without a record it is none of its own, and goes on as ever."""
    validator = Validator()
    trainer = SimpleNamespace(validator=validator)
    setattr(trainer, callbacks.ATTRIBUTE, None)
    if of == "training":
        callbacks.on_train_start(trainer)
    assert validator() == [(("Validator", [3]), True)] * 2
    assert (inference.current("validate") is not None) is (of == "nobody")


def test_a_validation_that_fails() -> None:
    """It is no longer under way once its validator is gone, or validates again."""
    first, second = Validator(), Validator()
    for one in (first, second):
        inference_callbacks.on_val_start(one)
    assert under_way("validate") == 2
    del one, first
    gc.collect()
    assert under_way("validate") == 1
    second()
    assert under_way("validate") == 0


def test_an_export_that_fails(tmp_path: Path) -> None:
    """The same of an export."""

    class Exporter:
        args, file = SimpleNamespace(format="onnx", imgsz=32, batch=1), tmp_path / "yolo11n.pt"

    failed, again = Exporter(), Exporter()
    for one in (failed, again):
        inference_callbacks.on_export_start(one)
    assert under_way("export") == 2
    del one, failed
    gc.collect()
    assert under_way("export") == 1
    inference_callbacks.on_export_start(again)
    (tmp_path / "yolo11n.onnx").write_bytes(b"12345")
    inference_callbacks.on_export_end(again)
    assert under_way("export") == 0
    recording = inference.current("export")
    assert recording is not None
    assert recording._facts["exported"] == str(tmp_path / "yolo11n.onnx")
    assert 5.0 in recording._values
