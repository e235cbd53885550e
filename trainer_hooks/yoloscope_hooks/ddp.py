"""Two hooks that tell, in the step of a rank, its own work from waiting for its peers; no collective is needed for it.

The gradient of the first parameter is the last one a backward pass computes. From there on the rank only waits for the
gradients of the others. And each forward pass of DDP begins with the buffers of rank 0, for which all ranks meet (with
gloo rank 0 as well): who is late for the step lets the others wait there. A rank that waits little while the others
wait much is the one they wait for.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_hooks.instrumentation import unwrap, wrap
from yoloscope_hooks.step_clock import GRADIENT, SYNCED

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_hooks.step_clock import Marks

#: Where DDP asks for the buffers of rank 0; torch has no public place for it.
_BUFFERS = "_sync_buffers"


def hook(trainer: Any, marks: Marks) -> ExitStack | None:
    """Set the hooks under DDP, and return what ends them; None where there are no peers."""
    if not has_peers():
        return None
    first = next((one for one in trainer.model.parameters() if one.requires_grad), None)
    register = getattr(first, "register_post_accumulate_grad_hook", None)  # torch 2.1 and later
    if register is None:
        return None
    hooks = ExitStack()

    def computed(_: Any) -> None:
        marks[GRADIENT] = perf_counter()

    hooks.callback(register(computed).remove)
    wrap(trainer.model, _BUFFERS, _marking, marks)
    hooks.callback(unwrap, trainer.model, _BUFFERS)
    return hooks


def _marking(sync: Callable[..., Any], marks: Marks) -> Callable[..., Any]:
    """The same with a mark when DDP has the buffers of rank 0."""

    def synced(*args: Any, **kwargs: Any) -> Any:
        result = sync(*args, **kwargs)
        marks[SYNCED] = perf_counter()
        return result

    return synced


def has_peers() -> bool:
    """Whether this process belongs to a group of several: torch knows, trainers before 8.3.101 do not say."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    return bool(distributed.get_world_size() > 1)
