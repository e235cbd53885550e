"""Advice: what to type, computed from the signals; one file for each kind of remedy. Pure functions.

Arguments are Ultralytics' own (`workers cache batch nbs amp imgsz mosaic save_period val device ...`), so that they can
be appended to the command line or written into a YAML for `yolo cfg=`. A function returns None where nothing sensible
can be computed. To add an advice: a function in the file of its kind, given as `fix` by its verdict's rule; what an
argument changes of the result stands in `ultralytics_arguments.EFFECTS`. Every advice passes `checks.settled`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.language import finished, joined, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.diagnosis.forecast import Forecast
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Every variable that is ever advised.
VARIABLES = frozenset({"OMP_NUM_THREADS"})


@dataclass(frozen=True)
class Advice:
    """A remedy.

    Attributes:
        arguments: for Ultralytics.
        environment: variables to set before the start.
        note: what to do beyond both, a sentence without its full stop.
        forecast: what it brings; None where that cannot be computed.
        checks: what it was checked against, such as `workers cap`.
        predicts: whether the arguments are those of a prediction, which change other things.
    """

    arguments: Mapping[str, Value] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    forecast: Forecast | None = None
    checks: tuple[str, ...] = ()
    predicts: bool = False

    @property
    def effect(self) -> tuple[str, ...]:
        """What it changes of the result (`accuracy`, `early stopping`, `best.pt`, `optimisation`); empty for none."""
        return tuple(sorted({change for name in self.arguments for change in effect_of(name, self.predicts)}))

    def __str__(self) -> str:
        """As one would type it: `OMP_NUM_THREADS=1 workers=12 cache=ram; then the note`."""
        pairs = [f"{key}={value}" for key, value in (*self.environment.items(), *self.arguments.items())]
        return joined((" ".join(pairs), finished(self.note)))


def effect_of(name: str, predicts: bool = False) -> tuple[str, ...]:  # noqa: FBT001, FBT002 - of train or of predict
    """What an argument of a training, or of a prediction, changes of the result."""
    effects = ultralytics.PREDICT_EFFECTS if predicts else ultralytics.EFFECTS
    return effects.get(name, ultralytics.UNKNOWN_EFFECT)


def effect_in_words(advice: Advice) -> str:
    """`changes: early stopping, best.pt`; `none` where the result stays what it is."""
    return joined(map(text, advice.effect), ", ") or text("none")


def gain(advice: Advice) -> str | None:
    """What to expect as a phrase: `1.4x to 1.6x: 120 -> 168 to 192 images/s`."""
    return str(advice.forecast) if advice.forecast and advice.forecast.worth_telling else None
