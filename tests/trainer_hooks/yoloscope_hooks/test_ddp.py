"""The hooks that tell waiting from working are set where there are peers, whatever the trainer says of itself."""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import ddp
from yoloscope_hooks.step_clock import GRADIENT, SYNCED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    marks: dict[int, float] = {}
    hooks = ddp.hook(trainer, marks)
    assert hooks is not None
    (hook,) = first.hooks
    hook(None)
    assert list(marks) == [GRADIENT]
    hooks.close()
    assert not any((frozen.hooks, first.hooks, second.hooks))


class Distributed:
    """A model as DDP wraps it."""

    def __init__(self) -> None:
        """With one parameter."""
        self.parameter, self.synced = Parameter(trained=True), 0

    def parameters(self) -> Iterator[Parameter]:
        """Of the model."""
        return iter([self.parameter])

    def _sync_buffers(self) -> str:
        self.synced += 1
        return "done"


@pytest.mark.parametrize("wrapped_since", [False, True])
def test_buffers_of_rank_0_are_marked(monkeypatch: pytest.MonkeyPatch, *, wrapped_since: bool) -> None:
    """When they have come; at the end the model is as before, but for what somebody else has put over it since."""
    monkeypatch.setitem(sys.modules, "torch", torch_with(2))
    model, marks = Distributed(), dict[int, float]()
    hooks = ddp.hook(SimpleNamespace(model=model), marks)
    assert hooks is not None
    assert model._sync_buffers() == "done"
    assert (list(marks), model.synced) == ([SYNCED], 1)
    if wrapped_since:
        monkeypatch.setattr(model, "_sync_buffers", functools.partial(model._sync_buffers))
    hooks.close()
    assert model._sync_buffers() == "done"
    assert ("_sync_buffers" in vars(model)) == wrapped_since


def test_what_a_user_has_put_there_is_called_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of one's own may have replaced the exchange of buffers on its model."""
    monkeypatch.setitem(sys.modules, "torch", torch_with(2))
    model, marks = Distributed(), dict[int, float]()
    own = model._sync_buffers = lambda: "own"  # type: ignore[method-assign]
    hooks = ddp.hook(SimpleNamespace(model=model), marks)
    assert hooks is not None
    assert (model._sync_buffers(), list(marks)) == ("own", [SYNCED])
    hooks.close()
    assert model._sync_buffers is own


@pytest.mark.parametrize("torch", [None, SimpleNamespace(), torch_with(0), torch_with(1)])
def test_alone(monkeypatch: pytest.MonkeyPatch, torch: object) -> None:
    """Without a group of several ranks there is nobody to wait for, and no hook."""
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert ddp.hook(SimpleNamespace(world_size=2), {}) is None
