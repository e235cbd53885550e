"""Xid errors: what the driver reports through an event set, read without waiting."""

from __future__ import annotations

import ctypes
import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import pynvml as nvml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

#: A storm of events must not hold up the cycle; the rest comes in the next one.
MOST_PER_CYCLE = 100


class XidWatch:
    """Counts Xid errors by GPU.

    Attributes:
        counts: errors since the start by label of the GPU and number of the Xid.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self._events: Any = None
        self._watched: Mapping[int, str] = {}

    def read(self, handles: Mapping[str, object]) -> None:
        """Count what has happened, and watch these devices (by label) from now on."""
        for event in self._pending():
            gpu = self._watched.get(_address(event.device))
            if gpu is not None and event.eventType == nvml.nvmlEventTypeXidCriticalError:
                self.counts[gpu, str(event.eventData)] += 1
                log.warning("GPU %s: Xid %d", gpu, event.eventData)
        wanted = {_address(handle): gpu for gpu, handle in handles.items()}
        if wanted != self._watched:
            self.release()
            self._watch(handles)
            self._watched = wanted

    def _pending(self) -> Iterator[Any]:
        return islice(iter(self._next, None), MOST_PER_CYCLE)

    def _next(self) -> Any:  # noqa: ANN401 - a structure of NVML's
        if self._events is None:
            return None
        try:
            return nvml.nvmlEventSetWait_v2(self._events, 0)
        except nvml.NVMLError as error:  # a lost device ends it too; the device itself will say so
            if error.value != nvml.NVML_ERROR_TIMEOUT:
                log.debug("events: %s", error)
            return None

    def _watch(self, handles: Mapping[str, object]) -> None:
        try:
            self._events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as error:
            log.debug("no events: %s", error)
            return
        for gpu, handle in handles.items():
            self._register(gpu, handle)

    def _register(self, gpu: str, handle: object) -> None:
        try:
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._events)
        except nvml.NVMLError as error:
            log.debug("GPU %s has no events: %s", gpu, error)

    def release(self) -> None:
        """Give the event set back; the counts stay."""
        events, self._events, self._watched = self._events, None, {}
        if events is None:
            return
        try:
            nvml.nvmlEventSetFree(events)
        except nvml.NVMLError as error:
            log.debug("nvmlEventSetFree: %s", error)


def _address(handle: object) -> int:
    """A device's handle as a number: ctypes makes a new pointer object each time."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
