"""Activation from a program: whatever is strange about it, nothing is raised into the program."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import activation, inference_callbacks, workers
from yoloscope_hooks.activation import DEFAULTS_MODULE, FETCH_MODULE
from yoloscope_hooks.callbacks import CALLBACKS


@pytest.fixture(autouse=True)
def warned(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Our warnings. The environment and the list of finders are put back after each test."""
    caplog.set_level(logging.WARNING, "yoloscope")
    for name in ("PYTHONPATH", "YOLOSCOPE_PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    return caplog


TOO_MANY_FILES = """
import os, resource, sys
{before}
import yoloscope_hooks
model = type("Model", (), {{}})()
model.callbacks = {{}}
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
held = []
while True:
    try:
        held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
{call}
print("afterwards", "on_train_start" in model.callbacks)
for descriptor in held:
    os.close(descriptor)
yoloscope_hooks.attach(model)
yoloscope_hooks.enable()
print("with files", "on_train_start" in model.callbacks)
"""


@pytest.mark.parametrize("before", ["", "import logging", "import yoloscope_hooks.activation"])
@pytest.mark.parametrize("call", ["yoloscope_hooks.attach(model)", "yoloscope_hooks.enable()"])
def test_too_many_open_files(before: str, call: str) -> None:
    """Nothing can be imported: one warning, and once files can be opened again it works."""
    command = [sys.executable, "-c", TOO_MANY_FILES.format(before=before, call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["afterwards False", "with files True"]
    (line,) = done.stderr.splitlines()
    assert "yoloscope" in line
    assert "Too many open files" in line


def test_a_torch_that_fetches_otherwise(monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture) -> None:
    """Without the class that is instrumented all the rest is active."""
    module = ModuleType(FETCH_MODULE)
    monkeypatch.setitem(sys.modules, FETCH_MODULE, module)
    model = yoloscope_hooks.attach(SimpleNamespace(callbacks={}))
    ours = {*CALLBACKS, *inference_callbacks.CALLBACKS}
    assert set(model.callbacks) == ours
    assert len(warned.messages) == 1
    assert "_MapDatasetFetcher" in warned.text
    defaults = SimpleNamespace(default_callbacks={})
    monkeypatch.setitem(sys.modules, DEFAULTS_MODULE, defaults)
    yoloscope_hooks.enable()
    assert set(defaults.default_callbacks) == ours
    assert len(warned.messages) == 2
    workers.instrument(module)  # as autoload does
    module._MapDatasetFetcher = None  # type: ignore[attr-defined]
    workers.instrument(module)


STRANGE = [None, [], (), 7, "callbacks", {"on_train_start": None}, {"on_train_end": [], "teardown": (print,)}]


@pytest.mark.parametrize("callbacks", STRANGE, ids=repr)
def test_callbacks_that_are_no_lists(
    monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture, callbacks: Any
) -> None:
    """A model or an Ultralytics with strange callbacks is not watched at all, with one warning."""
    model = yoloscope_hooks.attach(SimpleNamespace(callbacks=callbacks), run="night")
    assert len(warned.messages) == 1
    if isinstance(model.callbacks, dict):
        assert [function for listed in model.callbacks.values() for function in listed or () if function != print] == []
    monkeypatch.setitem(sys.modules, DEFAULTS_MODULE, SimpleNamespace(default_callbacks=callbacks))
    yoloscope_hooks.enable()
    assert len(warned.messages) == 2
    activation.register_defaults(object())  # as autoload does
    assert len(warned.messages) == 3


@pytest.mark.parametrize("part", ["propagate", "tap_workers", "register_defaults", "register", "disabled"])
def test_a_part_that_fails(monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture, part: str) -> None:
    """One warning and no exception, whichever part it is."""

    def broken(*_: object) -> None:
        raise RuntimeError("injected")

    monkeypatch.setitem(sys.modules, DEFAULTS_MODULE, SimpleNamespace(default_callbacks={}))
    monkeypatch.setattr(activation, part, broken)
    yoloscope_hooks.enable()
    assert [message.count("injected") for message in warned.messages] == [1]
    warned.clear()
    yoloscope_hooks.attach(SimpleNamespace(callbacks={}))
    assert [message.count("injected") for message in warned.messages] == [1] * (part != "register_defaults")


TRAINED = """
import yoloscope_hooks
model = type("Model", (), {{}})()
model.callbacks = {{}}
for _ in range(2):
    yoloscope_hooks.attach(model)
model.trainer = type("MyTrainer", (), {{}})()
model.trainer.callbacks = {callbacks}
"""


@pytest.mark.parametrize(("callbacks", "said"), [("{}", 1), ("model.callbacks.copy()", 0), ("None", 0)])
def test_trainer_that_drops_its_callbacks(callbacks: str, said: int) -> None:
    """One warning at the end that names the trainer which was not watched, and none for one that was."""
    command = [sys.executable, "-c", TRAINED.format(callbacks=callbacks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("nothing was recorded: MyTrainer") == len(done.stderr.splitlines()) == said
