"""The method of an object's class, for what stands in its place on the object: bound at each call, and not held."""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def weakly(owner: Any, name: str) -> Callable[[], Callable[..., Any]]:
    """Returns what binds the method as Python does; also a static one, or the class', which have no `self`."""
    found, reference = inspect.getattr_static(type(owner), name), weakref.ref(owner)

    def method() -> Callable[..., Any]:
        this = reference()
        bind = getattr(found, "__get__", None)
        bound: Callable[..., Any] = found if bind is None else bind(this, type(this))
        return bound

    return method
