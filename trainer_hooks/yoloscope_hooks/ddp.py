"""One gradient hook that splits the backward pass of a rank: its own work, and waiting for its peers.

The gradient of the first parameter is the last one a backward pass computes. From there on the rank only waits for the
gradients of the others. A rank with much `backward_local` and little `backward_exposed` is the one the others wait for;
no collective is needed to see that.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_hooks.step_clock import GRADIENT

if TYPE_CHECKING:
    from collections.abc import Callable


def hook(trainer: Any, mark: Callable[[int, float], None]) -> Any:
    """Set the hook under DDP, and return its handle (`remove()` ends it); None where there are no peers."""
    if not has_peers():
        return None
    first = next((one for one in trainer.model.parameters() if one.requires_grad), None)
    register = getattr(first, "register_post_accumulate_grad_hook", None)  # torch 2.1 and later
    return register(lambda _: mark(GRADIENT, perf_counter())) if register else None


def has_peers() -> bool:
    """Whether this process belongs to a group of several: torch knows, trainers before 8.3.101 do not say."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    return bool(distributed.get_world_size() > 1)
