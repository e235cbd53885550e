"""What there is little of, shared out among users so that nobody goes short: places, series and time.

Each gets an equal part, and who wants less than a part leaves the rest to the others (max-min fairness).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Item = TypeVar("Item")
    Owner = TypeVar("Owner", int, str)


def in_turn(items: Iterable[Item], owner: Callable[[Item], Owner]) -> list[Item]:
    """The items so that each owner's first one comes before anybody's second one, else in their order."""
    places: defaultdict[Owner, int] = defaultdict(int)
    placed = []
    for item in items:
        placed.append((places[owner(item)], item))
        places[owner(item)] += 1
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


def shares(wanted: Mapping[Owner, int], room: int) -> dict[Owner, int]:
    """What each owner gets of `room`: what is wanted, or an equal part of what those leave who want less."""
    found = {}
    for number, owner in enumerate(sorted(wanted, key=lambda owner: wanted[owner])):
        found[owner] = min(wanted[owner], room // (len(wanted) - number))
        room -= found[owner]
    return found


@dataclass
class Time:
    """The time of one cycle, by owner: half of it at most for those of one."""

    clock: Callable[[], float]
    seconds: float
    _begun: float = field(init=False)
    spent: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        """The cycle begins."""
        self._begun = self.clock()

    def left(self, owner: int) -> bool:
        """Whether something more of this owner's may be done."""
        return self.spent[owner] < self.seconds / 2 and self.clock() - self._begun < self.seconds

    def spend(self, owner: int, begun: float) -> None:
        """Count the time since `begun`."""
        self.spent[owner] += max(self.clock() - begun, 0.0)
