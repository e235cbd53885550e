"""What hangs on a predictor, validator or exporter: its session, its methods, and the turn of our callbacks."""

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


def put(listed: Any, ours: Any, *, first: bool) -> None:
    """Have a callback of ours called before all others of an event, or after them."""
    if isinstance(listed, list) and listed and listed[0 if first else -1] is not ours and ours in listed:
        others = [one for one in listed if one is not ours]
        listed[:] = [ours, *others] if first else [*others, ours]


def follow(listed: Any, ours: Any, after: Any) -> None:
    """Have `after` called last of an event that may be going on: only what comes behind `ours` may change its place."""
    if isinstance(listed, list) and listed and listed[-1] is not after:
        if after in listed and ours in listed[: listed.index(after)]:
            listed.remove(after)
        if after not in listed:
            listed.append(after)
