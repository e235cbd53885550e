"""The gradient hook that splits backward is set where there are peers, whatever the trainer says of itself."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import ddp
from yoloscope_hooks.step_clock import GRADIENT

if TYPE_CHECKING:
    from collections.abc import Callable


class Parameter:
    """A parameter of a model."""

    def __init__(self, *, trained: bool) -> None:
        """A frozen one is not trained."""
        self.requires_grad = trained
        self.hooks: list[Callable[[Any], None]] = []

    def register_post_accumulate_grad_hook(self, function: Callable[[Any], None]) -> SimpleNamespace:
        """As torch's: the handle takes the hook away again."""
        self.hooks.append(function)
        return SimpleNamespace(remove=lambda: self.hooks.remove(function))


def torch_with(ranks: int) -> SimpleNamespace:
    """Torch, its process group of so many ranks; 0: there is none."""
    group = {"is_available": lambda: True, "is_initialized": lambda: ranks > 0, "get_world_size": lambda: ranks}
    return SimpleNamespace(distributed=SimpleNamespace(**group))


def test_first_trained_parameter_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a trainer without `world_size`, as before 8.3.101, the first parameter that is trained marks its gradient."""
    monkeypatch.setitem(sys.modules, "torch", torch_with(2))
    frozen, first, second = Parameter(trained=False), Parameter(trained=True), Parameter(trained=True)
    trainer = SimpleNamespace(model=SimpleNamespace(parameters=lambda: iter([frozen, first, second])))
    marks: list[int] = []
    handle = ddp.hook(trainer, lambda index, _now: marks.append(index))
    (hook,) = first.hooks
    hook(None)
    assert marks == [GRADIENT]
    handle.remove()
    assert not any((frozen.hooks, first.hooks, second.hooks))


@pytest.mark.parametrize("torch", [None, SimpleNamespace(), torch_with(0), torch_with(1)])
def test_alone(monkeypatch: pytest.MonkeyPatch, torch: object) -> None:
    """Without a group of several ranks there is nobody to wait for, and no hook."""
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert ddp.hook(SimpleNamespace(world_size=2), [].append) is None
