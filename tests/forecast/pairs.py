"""Forecasts against what came of them: real trainings before and after a change, on this machine.

    python -m tests.forecast.pairs                      # all of them, about two minutes each
    python -m tests.forecast.pairs workers_1_to_2 ...   # some; the others keep what they had
    python -m tests.forecast.pairs --table              # only writes the table into docs/benchmarks.md

Each training is staged as the field cases are: Ultralytics on the CPU with the hooks, the exporter beside it, and a
recording of it. The forecast is made from the first recording alone, the outcome read from the second; both go into
`pairs.json` beside this file, with how many CPUs others used meanwhile. Run it while the machine is quiet:
`--most 0.3` drops pairs of which that is not true.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.diagnosis.advice.gains import predicted, without_share
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import reader

from tests.benchmarks import page
from tests.field_cases.cases import LONG, SLOW, STEP, Case
from tests.field_cases.stage import stage
from tests.forecast.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yoloscope_exporter.diagnosis.forecast import Forecast

DOCUMENT = page.PAGE
#: Of the outcomes, what an 80 % interval should hold.
LEAST_COVERAGE, MOST_COVERAGE = 0.70, 0.90
#: Forecasts of a gain this large or larger are promises; what delivers less than half of one is a broken one.
PROMISE = 1.1


@dataclass(frozen=True)
class Setting:
    """What a training is made of.

    Attributes:
        options: those of `tests.training.Options`.
        script: Python that runs before the training.
        images, size: of the data set.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    images: int = 200
    size: int = 64

    def case(self, why: str, seconds: float) -> Case:
        """As the stage takes it; without validation, which is not what is forecast."""
        options = {**self.options, "arguments": {"val": False, **self.options.get("arguments", {})}}
        if self.script:
            options["script"] = SLOW + self.script
        return Case(why, options=options, images=self.images, size=self.size, seconds=seconds)

    def with_(self, change: Mapping[str, Any]) -> Setting:
        """The same with other workers, another cache, or without its script (`callback: False`)."""
        options = dict(self.options)
        if "workers" in change:
            options["workers"] = change["workers"]
        if "cache" in change:
            options["arguments"] = {**options.get("arguments", {}), "cache": change["cache"]}
        return replace(self, options=options, script="" if change.get("callback") is False else self.script)


@dataclass(frozen=True)
class Pair:
    """A training, and what is changed of it."""

    before: Setting
    change: Mapping[str, Any]


#: Photographs, far larger than what is trained on: decoding and resizing take most of the preparation.
LARGE = Setting({**STEP, "arguments": {"mosaic": 0.0}}, size=1280, images=80)
#: The same four times over.
MOSAIC = Setting({**STEP, "arguments": {"mosaic": 1.0}}, size=640, images=80)
#: Heavy augmentation of small images.
HEAVY = Setting({**STEP, "image_work": 0.03}, images=80)
#: Storage that takes its time, and leaves the CPUs idle.
STORAGE = Setting({**STEP, "arguments": {"mosaic": 0.0}}, 'slow("ultralytics.data.base", "imread", 0.1)', images=80)
#: A transform that waits for something.
WAITING = Setting({**STEP, "image_sleep": 0.1, "arguments": {"mosaic": 0.0}}, images=80)
#: Small batches, and a trainer that computes on the same CPUs.
SMALL = Setting({**LONG, "batch": 2, "image_work": 0.02}, images=80)
COMPUTING = Setting({**LONG, "batch": 8, "imgsz": 64}, size=640, images=80)
LOGGER = Setting(STEP, 'model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.1))')


def _with(setting: Setting, workers: int) -> Setting:
    return setting.with_({"workers": workers})


PAIRS: dict[str, Pair] = {
    **{
        f"{name}_workers_{before}_to_{after}": Pair(_with(setting, before), {"workers": after})
        for name, setting, steps in (
            ("large", LARGE, ((0, 1), (0, 2), (1, 2), (2, 1))),
            ("mosaic", MOSAIC, ((0, 2), (1, 2), (2, 4))),
            ("heavy", HEAVY, ((0, 1), (1, 2), (2, 4))),
            ("storage", STORAGE, ((0, 1), (1, 2), (1, 4), (2, 4))),
            ("waiting", WAITING, ((0, 2), (1, 4), (2, 4))),
            ("small", SMALL, ((0, 1), (1, 2), (2, 4))),
            ("computing", COMPUTING, ((0, 1), (0, 2), (1, 2))),
        )
        for before, after in steps
    },
    **{
        f"{name}_cache_{place}_{workers}_workers": Pair(_with(setting, workers), {"cache": place})
        for name, setting, workers, places in (
            ("large", LARGE, 0, ("ram", "disk")),
            ("large", LARGE, 1, ("ram", "disk")),
            ("mosaic", MOSAIC, 1, ("ram", "disk")),
            ("heavy", HEAVY, 1, ("ram",)),
            ("storage", STORAGE, 1, ("ram", "disk")),
            ("computing", COMPUTING, 1, ("ram",)),
        )
        for place in places
    },
    "storage_cache_ram_and_workers": Pair(_with(STORAGE, 1), {"cache": "ram", "workers": 2}),
    "logger_off_0_workers": Pair(_with(LOGGER, 0), {"callback": False}),
    "logger_off_2_workers": Pair(_with(LOGGER, 2), {"callback": False}),
}


@dataclass(frozen=True)
class Outcome:
    """What was forecast, and what came: images per second.

    Attributes:
        others: CPUs that others used, the more of both trainings.
    """

    before: float
    low: float
    high: float
    after: float
    others: float

    @property
    def holds(self) -> bool:
        """Whether the interval holds what came."""
        return self.low <= self.after <= self.high

    @property
    def broken(self) -> bool:
        """A gain was promised, and less than half of its lower end came."""
        promised = self.low / self.before - 1
        return promised >= PROMISE - 1 and self.after / self.before - 1 < promised / 2


def signals(recording: Path) -> Signals:
    """What the exporter knew at the recording's end."""
    (diagnosis,) = diagnose_range(reader.read(recording)).diagnoses
    return diagnosis.signals


def forecast(s: Signals, change: Mapping[str, Any]) -> Forecast | None:
    """What the diagnosis would say of the change."""
    if change.get("callback") is False:
        return without_share(s, s.callbacks_share)
    return predicted(s, change.get("workers"), change.get("cache", ""))


def run(name: str, pair: Pair, seconds: float) -> Outcome:
    """Train twice.

    Raises:
        ValueError: a training could not be measured.
    """
    with tempfile.TemporaryDirectory(prefix="pair-") as folder:
        before = stage("before", pair.before.case(name, seconds), Path(folder))
        after = stage("after", pair.before.with_(pair.change).case(name, seconds), Path(folder))
        first, second = signals(before.recording), signals(after.recording)
        expected = forecast(first, pair.change)
        if expected is None or expected.today is None or not second.has(Signals.images_per_second):
            raise ValueError(f"{name}: not measured; {before.output[-500:]} {after.output[-500:]}")
        others = max(before.others, after.others)
        return Outcome(expected.today, expected.low, expected.high, second.images_per_second, others)


RESULTS = Results(PAIRS, Outcome, Path(__file__).with_name("pairs.json"), "forecasts")


def known() -> dict[str, Outcome]:
    """Those that were run."""
    return RESULTS.known()


def table(outcomes: Mapping[str, Outcome]) -> str:
    """The table and what it comes to, as Markdown."""
    lines = [
        "| pair | before | forecast | after | held | others' CPUs |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in outcomes.items():
        verdict = "yes" if one.holds else "no, a broken promise" if one.broken else "no"
        interval = f"{one.low:.1f} to {one.high:.1f}"
        lines.append(f"| {name} | {one.before:.1f} | {interval} | {one.after:.1f} | {verdict} | {one.others:.1f} |")
    return "\n".join([summary(outcomes.values()), "", *lines]) + "\n"


def summary(outcomes: Iterable[Outcome]) -> str:
    """Coverage, and promises that were not kept."""
    ran = list(outcomes)
    held, broken = sum(one.holds for one in ran), sum(one.broken for one in ran)
    aim = f"{LEAST_COVERAGE:.0%} to {MOST_COVERAGE:.0%}"
    share = f"{held / len(ran):.0%}" if ran else "none"
    return (
        f"{len(ran)} of {len(PAIRS)} pairs; the intervals hold {held} of the outcomes ({share}; aim: {aim}); "
        f"{broken} delivered less than half of the promise. Images per second."
    )


def written(document: str, outcomes: Mapping[str, Outcome]) -> str:
    """The document with the table of today."""
    return page.between(document, RESULTS.mark, table(outcomes))


def main() -> None:
    """Run the pairs that were named, and write what came of them."""
    RESULTS.main(
        "Forecasts against outcomes, in real trainings.",
        lambda name, seconds: run(name, PAIRS[name], seconds),
        str,
        table,
        seconds=60.0,
        most=9.0,
    )


if __name__ == "__main__":
    main()
