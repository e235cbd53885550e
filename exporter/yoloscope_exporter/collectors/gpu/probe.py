"""Questions to one device of NVML.

Every fault of NVML ends here as one of three things: an answer that is None, `DeviceLost`, or `DriverGone`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pynvml as nvml

if TYPE_CHECKING:
    from collections.abc import Callable

    Answerer = Callable[..., Any]

log = logging.getLogger(__name__)

#: Seconds after which a device is asked again what it could not answer (rights and modes change).
FORGET = 600.0

GONE = frozenset(
    {
        nvml.NVML_ERROR_UNINITIALIZED,
        nvml.NVML_ERROR_DRIVER_NOT_LOADED,
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    }
)
LOST = frozenset({nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED, nvml.NVML_ERROR_GPU_NOT_FOUND})
CANNOT = frozenset(
    {
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        nvml.NVML_ERROR_NO_PERMISSION,
        nvml.NVML_ERROR_INVALID_ARGUMENT,
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        nvml.NVML_ERROR_DEPRECATED,
    }
)
#: Lists answer NOT_FOUND when there is nothing; nvidia-ml-py raises SUCCESS where a size call finds nothing to size.
NOTHING = frozenset({nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_SUCCESS})


class DriverGone(Exception):  # noqa: N818 - a state, caught and ended in this package
    """The driver or its library is not there (any more)."""


class DeviceLost(Exception):  # noqa: N818 - a state, caught and ended in this package
    """This device does not answer any more; others do."""


class Probe:
    """Asks one device, and does not repeat for a while what it cannot answer."""

    def __init__(self, handle: object, label: str, clock: Callable[[], float]) -> None:
        """Ask the device behind `handle`."""
        self.handle = handle
        self._label = label
        self._clock = clock
        self._mute: dict[tuple[Any, ...], float] = {}
        self._said: set[tuple[str, int]] = set()

    def __call__(
        self, function: Answerer, *arguments: object, varying: tuple[object, ...] = (), nothing: object = None
    ) -> Any:  # noqa: ANN401 - NVML answers with anything
        """Call an NVML function with the device, `arguments` and `varying`, which do not make another question.

        Returns:
            NVML's answer; `nothing` where it says that there is none; None where it cannot answer.

        Raises:
            DeviceLost: the device does not answer at all.
            DriverGone: nothing does.
        """
        question = (function, *arguments)
        if self.is_unsupported(*question):
            return None
        try:
            return function(self.handle, *arguments, *varying)
        except nvml.NVMLError as error:
            return self._without(question, int(error.value), nothing)

    def is_unsupported(self, *question: object) -> bool:
        """Whether it has said that it cannot answer this, and is not asked for the time being."""
        return question in self._mute and self._clock() < self._mute[question]

    def first(self, *questions: tuple[Any, ...], nothing: object = None) -> Any:  # noqa: ANN401
        """The first answer to one of these questions (function and arguments), for functions that replace others."""
        for question in questions:
            answer = self(*question, nothing=nothing)
            if answer is not None:
                return answer
        return None

    def _without(self, question: tuple[Any, ...], code: int, nothing: object) -> object:
        if code in GONE:
            raise DriverGone(said(code))
        if code in LOST:
            raise DeviceLost(said(code))
        if code in NOTHING:
            return nothing
        if code in CANNOT:
            self._mute[question] = self._clock() + FORGET
        self._say(question[0].__name__, code)
        return None

    def _say(self, function: str, code: int) -> None:
        if (function, code) in self._said:
            return
        self._said.add((function, code))
        usual = code in CANNOT and code != nvml.NVML_ERROR_NO_PERMISSION
        level = logging.DEBUG if usual else logging.WARNING
        log.log(level, "GPU %s: %s answers '%s'; what it tells is left out", self._label, function, said(code))


def said(code: int) -> str:
    """NVML's words for a return code."""
    return str(nvml.NVMLError(code))
