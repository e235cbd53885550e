"""A signal: a number about one rank, described beside the code that computes it, checked by name by mypy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Mapping


class HasNumbers(Protocol):
    """What a signal is read from: numbers by the names of signals."""

    @property
    def numbers(self) -> Mapping[str, float]:
        """The numbers that are known."""


class Signal:
    """A descriptor: `Signals.prep_seconds` is the signal, `s.prep_seconds` its value on one rank.

    Reading the value raises KeyError where it is unknown.

    Attributes:
        name: of the attribute it stands in.
        meaning: what it says and in which unit, for docs/diagnosis.md.
    """

    __slots__ = ("meaning", "name")

    def __init__(self, meaning: str) -> None:
        """Its name comes from where it stands."""
        self.meaning = meaning
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    @overload
    def __get__(self, instance: None, owner: type) -> Signal: ...
    @overload
    def __get__(self, instance: HasNumbers, owner: type) -> float: ...
    def __get__(self, instance: HasNumbers | None, owner: type) -> Signal | float:
        return self if instance is None else instance.numbers[self.name]


#: What an area computes: each of its signals, None where it is unknown.
Numbers = dict[Signal, "float | None"]
