"""What the hooks put on a validator: whatever kind of method it has, it is called as before, and gets it back."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import callbacks, inference, inference_callbacks, validating
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
        self.callbacks: dict[str, list[Any]] = {name: [ours] for name, ours in inference_callbacks.CALLBACKS.items()}

    def run_callbacks(self, event: str) -> None:
        """As Ultralytics does."""
        for callback in self.callbacks.get(event, []):
            callback(self)

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
        self.run_callbacks("on_val_start")
        for _ in range(batches):
            self.run_callbacks("on_val_batch_start")
            batch = self.preprocess({"img": [1, 2]})
            self.update_metrics(self.postprocess([3]), batch)
            self.run_callbacks("on_val_batch_end")
        self.run_callbacks("on_val_end")
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


def phases() -> dict[str, float]:
    """Seconds by phase of what was validated."""
    recording = inference.current("validate")
    assert recording is not None
    metric = catalog.PREDICT_PHASE_SECONDS_TOTAL.name
    return {name[1]: recording._values[slot] for name, slot in recording._slots.items() if name[0] == metric}


EVENTS = {"on_val_start": 1, "on_val_batch_start": 3, "on_val_batch_end": 3}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("event", EVENTS)
def test_callbacks_of_others_are_no_loading(event: str, *, before: bool) -> None:
    """Whoever was registered first: neither the loader's, nor the metrics', nor `other`; those at the start only later.

    What comes before ours at the start is set-up that nobody sees.
    """
    validator = Validator()
    place = 0 if before else len(validator.callbacks[event])
    validator.callbacks[event].insert(place, lambda _: time.sleep(0.01))
    for _ in range(2):
        validator(3)
    seen = phases()
    expected = 0.0 if before and event == "on_val_start" else 2 * EVENTS[event] * 0.01
    assert expected <= seen.get("callbacks", 0.0) < expected + 0.03
    assert sum(seen.values()) - seen.get("callbacks", 0.0) < 0.01


def test_callbacks_at_the_end_are_no_metrics() -> None:
    """The validation is over then."""
    validator = Validator()
    validator.callbacks["on_val_end"].insert(0, lambda _: time.sleep(0.02))
    validator(3)
    assert sum(phases().values()) < 0.01


def test_lists_without_others_stay_as_they_are() -> None:
    """Nothing of ours is added where there is nothing to time; of others the order is theirs."""
    validator, called = Validator(), []
    validator()
    assert all(len(listed) == 1 for listed in validator.callbacks.values())
    for number in range(3):
        validator.callbacks["on_val_batch_end"].append(lambda _, number=number: called.append(number))
    validator(1)
    validator(1)
    assert called == [0, 1, 2] * 2


def test_a_training_times_its_callbacks_itself() -> None:
    """They are no part of its validation."""
    validator, parts = Validator(), {}
    validator.training = True  # type: ignore[misc]
    trainer = SimpleNamespace(validator=validator)
    validating.is_trainings(trainer, parts.update)
    validator.callbacks["on_val_batch_end"].append(lambda _: time.sleep(0.01))
    validator()
    assert "callbacks" not in parts
    assert parts["loader"] < 0.01
