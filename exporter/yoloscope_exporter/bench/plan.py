"""What is to be measured, what was, and how long the rest takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.bench.agreement import Agreement


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        model: a `.pt` file, or a YAML file that Ultralytics knows or can read.
        python: the program that has Ultralytics.
        formats, batches: each of one with each of the other.
        imgsz: edge of an image, pixels.
        device: as Ultralytics names it; empty for its own choice.
        seconds: that each format and batch is measured.
        rounds: in so many turns.
        source: a folder of images; empty for Ultralytics' own.
    """

    model: str
    python: str
    formats: tuple[str, ...]
    batches: tuple[int, ...]
    imgsz: int = 640
    half: bool = False
    device: str = ""
    seconds: float = 10.0
    rounds: int = 10
    source: str = ""

    @property
    def turn(self) -> float:
        """Seconds of a format in a round."""
        return self.seconds / self.rounds


class Key(NamedTuple):
    """What a line is about."""

    batch: int
    format: str


@dataclass
class Line:
    """What is known of a format with a batch; `failure` says why nothing was measured, or nothing more.

    Attributes:
        size: of the exported file or folder, bytes.
        export_seconds: that Ultralytics took for it.
        rounds: seconds of each call, by round.
        stages: seconds of Ultralytics' stages, all calls together.
        memory: bytes: `resident` and `peak` of the process, `gpu_resident` and `gpu_peak`, as far as they are known.
    """

    failure: str = ""
    size: int | None = None
    export_seconds: float | None = None
    rounds: dict[int, list[float]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    agreement: Agreement | None = None


@dataclass
class Found:
    """All that is known, at any moment.

    Attributes:
        facts: of the user's Python: `versions`, `modules`, `threads`, and `gpu`, where one computes.
        model: what was made of the model: `task`, `random`, `count` and `origin` of the images.
        scores: from which on boxes count (`conf`, by image), and may be counterparts (`lower`).
    """

    facts: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, Line] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return any(line.rounds for line in self.lines.values())


#: Seconds that each kind of step takes, until one has been seen.
_GUESSES = {"prepare": 10.0, "export": 12.0, "load": 6.0, "turn": 1.0}


class Estimate:
    """Seconds that are left: those of each kind of step take as long as the ones before."""

    def __init__(self, plan: Plan, formats: Sequence[str]) -> None:
        """`formats` are those that can be tried."""
        exported = sum(name != "pt" for name in formats)
        each = len(formats) * len(plan.batches)
        self._left = {"export": exported * len(plan.batches), "load": each, "turn": each * plan.rounds}
        self._taken: dict[str, list[float]] = {"turn": [plan.turn * 1.1]}

    def done(self, kind: str, seconds: float) -> None:
        """One of a kind was done."""
        self._left[kind] -= 1
        self._taken.setdefault(kind, []).append(seconds)

    def dropped(self, kind: str, number: int) -> None:
        """So many of a kind are not to be done."""
        self._left[kind] -= number

    @property
    def seconds(self) -> float:
        """Of all that is left."""
        return sum(left * self._each(kind) for kind, left in self._left.items())

    def _each(self, kind: str) -> float:
        taken = self._taken.get(kind)
        return fmean(taken) if taken else _GUESSES[kind]
