"""What was promised to one run, and what it delivered in a later one of the same model and data. Pure calculation.

Advice counts as followed where all of its arguments are in use in the later run and were not in the earlier one; what
is set by environment variables or done by hand cannot be seen. Gains are compared as ratios, so that figures of a rank
and of a whole run mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import gain
from yoloscope_exporter.diagnosis.advice.settings import in_use
from yoloscope_exporter.diagnosis.forecast import WORTH_TELLING, Forecast
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from yoloscope_exporter.diagnosis.advice import Advice
    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Ranks that are remembered; the ones that were seen longest ago are forgotten first.
MOST = 128
#: The same of one model and data by the same rank: what was tried so many runs ago is of no use.
MOST_ALIKE = 16
#: What two runs must have in common: task, model, data, and what makes an image as costly; less what was advised.
IDENTITY = ("task", "model", "data", "imgsz", "world_size")
#: Of the promised gain, the share below which advice did not help.
HELPED = 0.5

_Key = tuple[str, str, str]  # cluster, run, rank


@dataclass(frozen=True)
class Past:
    """A run, or a rank of one, as far as advice and its effect are concerned.

    Attributes:
        started: Unix seconds.
        identity: its facts by the names of IDENTITY.
        settings: arguments in use.
        images_per_second, peak_bytes: of training, and of device memory; None where not known.
        told: its advice by the names of the verdicts.
        user: whose run it is; empty where that does not matter.
    """

    run: str
    rank: str
    started: float
    identity: Mapping[str, str]
    settings: Mapping[str, Value]
    images_per_second: float | None = None
    peak_bytes: float | None = None
    told: Mapping[str, Advice] = field(default_factory=dict)
    user: str = ""

    def figure(self, unit: str) -> float | None:
        """What a forecast in this unit is about."""
        return {"images/s": self.images_per_second, "GiB": self.peak_bytes}.get(unit)


@dataclass(frozen=True)
class FollowUp:
    """Advice that was followed.

    Attributes:
        run: to which it was given.
        verdict: for which it was given.
        promised: as it was told; None where nothing was.
        before, after: images per second, or bytes, as the forecast's unit says; None where not known.
        also: other arguments that differ between the two runs: what was delivered may be theirs.
    """

    run: str
    verdict: str
    arguments: Mapping[str, Value]
    promised: Forecast | None
    before: float | None
    after: float | None
    also: tuple[str, ...] = ()

    @property
    def delivered(self) -> float | None:
        """The figure afterwards over the one before."""
        return self.after / self.before if self.after is not None and self.before else None

    @property
    def helped(self) -> bool | None:
        """Whether at least half of the promised gain came; None where that is not known."""
        if self.promised is None or not self.promised.today or self.delivered is None or self.promised.unit == "x":
            return None
        if self.promised.unit == "GiB":
            return (self.delivered < 1) == (self.promised.high < self.promised.today)
        least = self.promised.low / self.promised.today
        return self.delivered - 1 >= max(HELPED * (least - 1), WORTH_TELLING - 1)

    def __str__(self) -> str:
        """`workers=4, advised to train for loader_workers: promised 1.4x to 1.6x, delivered 1.5x: it helped`."""
        parts = [text("promised {promise}", promise=self.promise) if self.promise else text("nothing was promised")]
        if self.delivery:
            parts.append(text("delivered {delivery}", delivery=self.delivery))
        if self.also:
            parts.append(text("also changed: {also}", also=", ".join(self.also)))
        return text(
            "{typed}, advised to {run} for {verdict}: {parts}",
            typed=self.typed,
            run=self.run,
            verdict=self.verdict,
            parts=joined(parts),
        )

    @property
    def typed(self) -> str:
        """The arguments as one types them."""
        return " ".join(f"{name}={value}" for name, value in self.arguments.items())

    @property
    def promise(self) -> str:
        """`1.42x to 1.61x`; empty where nothing was promised."""
        if self.promised is None:
            return ""
        today = self.promised.today or 1.0
        low, high = self.promised.low / today, self.promised.high / today
        return (
            text("{low:.2f}x to {high:.2f}x", low=low, high=high)
            if low > 1 or self.promised.unit == "GiB"
            else text("up to {high:.2f}x", high=high)
        )

    @property
    def delivery(self) -> str:
        """`1.52x (120 -> 182 images/s): it helped`; empty where it was not measured."""
        if self.delivered is None or self.before is None or self.after is None:
            return ""
        figures = text("{before:.3g} -> {after:.3g} images/s", before=self.before, after=self.after)
        if self.promised and self.promised.unit == "GiB":
            figures = text("{before} -> {after}", before=units.size(self.before), after=units.size(self.after))
        verdict = {None: "", True: text(": it helped"), False: text(": it did not help")}[self.helped]
        return text("{delivered:.2f}x ({figures}){verdict}", delivered=self.delivered, figures=figures, verdict=verdict)


def past(s: Signals, images_per_second: float | None, told: Mapping[str, Advice]) -> Past:
    """A rank as its signals show it."""
    settings = {name: value for name in ultralytics.EFFECTS if (value := _setting(name, s)) is not None}
    peak = s.numbers.get(Signals.cuda_batch_peak_bytes.name)
    identity = {name: s.facts.get(name, "") for name in IDENTITY}
    user = s.facts.get("user", "")
    return Past(s.run, s.rank, s.get(Signals.started), identity, settings, images_per_second, peak, told, user)


def _setting(name: str, s: Signals) -> Value | None:
    if name == "workers":
        return int(s.workers) if s.has(Signals.workers) else None
    return in_use(name, s)


def follow_ups(earlier: Iterable[Past], now: Past) -> tuple[FollowUp, ...]:
    """What `now` followed of the advice to earlier runs of the same model and data; of each argument the newest."""
    known: set[str] = set()
    found: list[FollowUp] = []
    for one in sorted(earlier, key=lambda past: -past.started):
        if not one.told or one.rank != now.rank or one.started >= now.started:
            continue
        found += [follow for follow in _followed(one, now) if known.isdisjoint(follow.arguments)]
        known |= {name for follow in found for name in follow.arguments}
    return tuple(found)


def _followed(one: Past, now: Past) -> Iterator[FollowUp]:
    followed = {verdict: told for verdict, told in one.told.items() if _is_followed(told, one, now)}
    if not followed:
        return
    changed = {name for name, value in now.settings.items() if not ultralytics.same(value, one.settings.get(name, ""))}
    also = tuple(sorted(changed - {name for told in followed.values() for name in told.arguments}))
    for verdict, told in followed.items():
        unit = told.forecast.unit if told.forecast else "images/s"
        yield FollowUp(one.run, verdict, told.arguments, told.forecast, one.figure(unit), now.figure(unit), also)


def _is_followed(told: Advice, one: Past, now: Past) -> bool:
    """All of its arguments are in use, and none was before."""
    return (
        bool(told.arguments)
        and _alike(one, now, told)
        and all(
            name in now.settings
            and ultralytics.same(value, now.settings[name])
            and not ultralytics.same(value, one.settings.get(name, ""))
            for name, value in told.arguments.items()
        )
    )


def _alike(one: Past, now: Past, told: Advice) -> bool:
    return all(one.identity.get(name) == now.identity.get(name) for name in IDENTITY if name not in told.arguments)


class History:
    """The runs that are known, and what of their advice helped later ones."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._pasts: dict[_Key, Past] = {}
        self._followed: dict[_Key, tuple[FollowUp, ...]] = {}  # of those that were asked since they were learnt

    def learn(self, diagnosis: Diagnosis) -> None:
        """Remember a rank as it trains, with the advice it is given; the last of each verdict counts."""
        if not diagnosis.run or diagnosis.images_per_second is None or diagnosis.signals.predicts:
            return
        key = (diagnosis.cluster, diagnosis.run, diagnosis.rank)
        before = self._pasts.pop(key, None)
        told = {verdict.name: verdict.advice for verdict in diagnosis.verdicts if verdict.advice.arguments}
        told = {**before.told, **told} if before else told
        now = self._pasts[key] = past(diagnosis.signals, diagnosis.images_per_second, told)
        if before is None or _typed(before) != _typed(now):
            self._followed.clear()  # what others followed may be this
        self._followed.pop(key, None)
        self._forget(key)

    def _forget(self, key: _Key) -> None:
        """Of those like this one, and of all, the ones that were seen longest ago."""
        alike = self._like(key)
        for one in [*alike[:-MOST_ALIKE], *list(self._pasts)[:-MOST]]:
            self._pasts.pop(one, None)
            self._followed.pop(one, None)

    def _like(self, key: _Key) -> list[_Key]:
        """The same user's runs of the same model and data, by the same rank; itself included."""
        identity = self._pasts[key].identity
        return [other for other, one in self._of_user(key) if one.identity == identity]

    def _of_user(self, key: _Key) -> list[tuple[_Key, Past]]:
        """The same user's runs, by the same rank: nobody's run says what helps another one's."""
        cluster, _, rank = key
        user = self._pasts[key].user
        return [
            (other, one)
            for other, one in self._pasts.items()
            if (other[0], other[2], one.user) == (cluster, rank, user)
        ]

    def _follow_ups(self, key: _Key) -> tuple[FollowUp, ...]:
        """What it followed; compared once for a run that is over, and anew for each that was learnt again."""
        if key not in self._followed:
            self._followed[key] = follow_ups([one for _, one in self._of_user(key)], self._pasts[key])
        return self._followed[key]

    def applied(self, diagnosis: Diagnosis) -> Diagnosis:
        """The same with what it followed, and without what did not help before."""
        key = (diagnosis.cluster, diagnosis.run, diagnosis.rank)
        now = self._pasts.get(key)
        if now is None or len(self._pasts) == 1:
            return diagnosis
        verdicts = diagnosis.verdicts
        if any(verdict.advice.arguments for verdict in verdicts):
            alike = [other for other in self._like(key) if self._pasts[other].started <= now.started]
            failed = [follow for other in alike for follow in self._follow_ups(other) if follow.helped is False]
            verdicts = tuple(heeding(verdict, failed) for verdict in verdicts)
        return replace(diagnosis, verdicts=verdicts, followed=self._follow_ups(key))


def _typed(one: Past) -> tuple[Mapping[str, Value], Mapping[str, str], dict[str, Mapping[str, Value]]]:
    """All on which it depends who followed whom."""
    return one.settings, one.identity, {verdict: told.arguments for verdict, told in one.told.items()}


def heeding(verdict: Verdict, failed: Iterable[FollowUp]) -> Verdict:
    """The same verdict, without advising again what did not help."""
    told = without_repetition(verdict.advice, failed)
    return replace(verdict, advice=told, fix=str(told), gain=gain(told)) if told != verdict.advice else verdict


def without_repetition(told: Advice, failed: Iterable[FollowUp]) -> Advice:
    """The same without arguments that were followed before and did not help; what remains says so."""
    again = {name: one for one in failed for name in one.arguments if name in told.arguments}
    if not again:
        return told
    left = {name: value for name, value in told.arguments.items() if name not in again}
    reasons = [
        text(
            "{name} is not advised again: {name}={arguments} after {run} brought {delivered:.2f}x",
            name=name,
            arguments=one.arguments[name],
            run=one.run,
            delivered=one.delivered,
        )
        for name, one in again.items()
    ]
    note = joined((told.note, *reasons))
    return replace(told, arguments=left, note=note, forecast=told.forecast if left else None)
