"""What hangs on a predictor, validator or exporter: its session, and what stands in the place of its methods."""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The attribute that has the session.
SESSION = "_yoloscope_session"


def weakly(owner: Any, name: str) -> Callable[[], Callable[..., Any]]:
    """Returns what binds a method of the owner's class at each call, as Python does, and holds no owner.

    Also a static method, or the class', which have no `self`.
    """
    found, reference = inspect.getattr_static(type(owner), name), weakref.ref(owner)

    def method() -> Callable[..., Any]:
        this = reference()
        bind = getattr(found, "__get__", None)
        bound: Callable[..., Any] = found if bind is None else bind(this, type(this))
        return bound

    return method
