"""Arguments from the environment: set where Ultralytics makes its own, and nowhere without the variable."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import overriding


def engine() -> Any:
    """What stands in ultralytics.engine.trainer: on a CPU workers are taken back to 0."""

    class BaseTrainer:
        def __init__(self, **given: Any) -> None:
            self.args = SimpleNamespace(workers=8, cache=False, **given)
            self.check_resume(given)
            self.opened = getattr(self.args, "save_dir", "runs")
            self.args.workers = 0

        def check_resume(self, given: Any) -> None:
            self.args.resumed = True

    return SimpleNamespace(BaseTrainer=BaseTrainer)


def test_they_are_in_place_before_a_folder_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder, which no argument of older versions is, included; unknown ones are not made up."""
    monkeypatch.setenv("YOLOSCOPE_ARGUMENTS", '{"save_dir": "/probe", "cache": "ram", "compile": true}')
    module = engine()
    overriding.install(module)
    trainer = module.BaseTrainer(imgsz=64)
    assert trainer.opened == "/probe"
    assert trainer.args.cache == "ram"
    assert trainer.args.resumed
    assert trainer.args.workers == 0
    assert not hasattr(trainer.args, "compile")


def test_workers_are_set_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ultralytics has taken them back."""
    monkeypatch.setenv("YOLOSCOPE_ARGUMENTS", '{"workers": 2}')
    module = engine()
    overriding.install(module)
    assert module.BaseTrainer().args.workers == 2


@pytest.mark.parametrize("text", ["", "{}", "not JSON", "[1]"])
def test_nothing_else_is_touched(text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be read is one warning."""
    monkeypatch.setenv("YOLOSCOPE_ARGUMENTS", text)
    module = engine()
    before = dict(vars(module.BaseTrainer))
    with caplog.at_level(logging.WARNING):
        overriding.install(module)
        trainer = module.BaseTrainer()
    assert (trainer.args.workers, trainer.opened) == (0, "runs")
    assert len(caplog.records) == (text in {"not JSON", "[1]"})
    assert dict(vars(module.BaseTrainer)) == before
