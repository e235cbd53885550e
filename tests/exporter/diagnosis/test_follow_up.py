"""Promised against delivered: what a later run of the same model and data followed, and what is not advised again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.diagnosis import follow_up
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.follow_up import FollowUp, History, Past, follow_ups, without_repetition
from yoloscope_exporter.diagnosis.forecast import Forecast
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Iterable

IDENTITY = {"task": "detect", "model": "yolo11n.pt", "data": "coco.yaml", "imgsz": "640", "world_size": "1"}
FASTER = Advice({"workers": 4}, forecast=Forecast("images/s", 15, 18, 10))
BEFORE = Past(
    "slow", "0", 100.0, IDENTITY, {"workers": 1, "cache": False, "batch": 16}, 10.0, None, {"loader_workers": FASTER}
)


def after(images_per_second: float | None, **settings: Any) -> Past:
    """A later run with other settings."""
    return replace(
        BEFORE,
        run="next",
        started=200.0,
        settings={**BEFORE.settings, **settings},
        images_per_second=images_per_second,
        told={},
    )


@pytest.mark.parametrize(("delivered", "helped"), [(17.0, True), (12.6, True), (12.4, False), (9.0, False)])
def test_half_of_the_promise_is_help(delivered: float, helped: bool) -> None:  # noqa: FBT001 - a parameter
    """1.5x was promised at least: from 1.25x on it helped."""
    (found,) = follow_ups([BEFORE], after(delivered, workers=4))
    assert (found.verdict, found.run, found.helped) == ("loader_workers", "slow", helped)
    assert found.delivered == pytest.approx(delivered / 10)


def test_in_words() -> None:
    """What was typed, what was promised, what came."""
    (found,) = follow_ups([BEFORE], after(17.0, workers=4))
    assert str(found) == (
        "workers=4, advised to slow for loader_workers: promised 1.50x to 1.80x; "
        "delivered 1.70x (10 -> 17 images/s): it helped"
    )


def test_where_more_was_changed_it_is_said() -> None:
    """What came may be due to that."""
    (found,) = follow_ups([BEFORE], after(17.0, workers=4, batch=32))
    assert found.also == ("batch",)
    assert str(found).endswith("it helped; also changed: batch")


@pytest.mark.parametrize(
    "other",
    [
        after(17.0, workers=2),
        after(17.0, cache="ram"),
        replace(after(17.0, workers=4), identity={**IDENTITY, "data": "other.yaml"}),
        replace(after(17.0, workers=4), identity={**IDENTITY, "model": "yolo11x.pt"}),
        replace(after(17.0, workers=4), started=50.0),
        replace(after(17.0, workers=4), rank="1"),
        replace(BEFORE, started=300.0),
    ],
)
def test_what_was_not_followed_is_not_told(other: Past) -> None:
    """Another number of workers, another model, data set or rank, an earlier run, or the run itself."""
    assert follow_ups([BEFORE], other) == ()


def test_all_arguments_must_be_followed() -> None:
    """A cache and workers were advised together, and promised something together."""
    both = replace(BEFORE, told={"loader_io": Advice({"workers": 4, "cache": "ram"}, forecast=FASTER.forecast)})
    assert follow_ups([both], after(17.0, workers=4)) == ()
    (found,) = follow_ups([both], after(17.0, workers=4, cache=True))
    assert found.verdict == "loader_io"


def test_the_newest_run_that_was_told_counts() -> None:
    """Two runs were told the same; the later one is what this one is compared with."""
    again = replace(BEFORE, run="again", started=150.0, images_per_second=12.0)
    (found,) = follow_ups([BEFORE, again], after(17.0, workers=4))
    assert (found.run, found.before) == ("again", 12.0)


def test_an_upper_bound_is_kept_by_any_gain() -> None:
    """`Up to 2x` promises nothing at its lower end: more than noise is help."""
    bounded = replace(BEFORE, told={"slow": Advice({"workers": 4}, forecast=Forecast("images/s", 10, 20, 10))})
    for speed, helped in ((10.5, True), (10.1, False)):
        (found,) = follow_ups([bounded], after(speed, workers=4))
        assert found.helped is helped


def test_memory_and_whole_runs() -> None:
    """A smaller batch takes less memory; of a run as a whole it is not known what it would have taken."""
    told = {"full": Advice({"batch": 8}, forecast=Forecast("GiB", 20, 24, 40))}
    full = replace(BEFORE, told=told, peak_bytes=40 * 2.0**30)
    (found,) = follow_ups([full], replace(after(9.0, batch=8), peak_bytes=22 * 2.0**30))
    assert found.helped is True
    assert "delivered 0.55x (40 GiB -> 22 GiB)" in str(found)
    whole = replace(BEFORE, told={"validation_bound": Advice({"val": False}, forecast=Forecast("x", 1.2, 1.5, 1))})
    (found,) = follow_ups([whole], after(10.0, val=False))
    assert found.helped is None


def test_what_did_not_help_is_not_advised_again() -> None:
    """The other arguments stay; the reason is said."""
    failed = follow_ups([BEFORE], after(10.1, workers=4))
    told = Advice({"workers": 8, "cache": "ram"}, note="look", forecast=FASTER.forecast)
    left = without_repetition(told, failed)
    assert left.arguments == {"cache": "ram"}
    assert left.note == "look; workers is not advised again: workers=4 after slow brought 1.01x"
    nothing = without_repetition(Advice({"workers": 8}, forecast=FASTER.forecast), failed)
    assert (nothing.arguments, nothing.forecast) == ({}, None)


def diagnosis(run: str, started: float, speed: float, workers: int, told: Advice, **facts: str) -> Diagnosis:
    """A rank's, as the engine makes it."""
    verdict = Verdict("loader_workers", "warning", "seen", "because", "look", str(told), "much", advice=told)
    numbers = {"started": started, "workers": float(workers), "batch_size": 16.0}
    s = Signals(run, "0", "train", facts={**IDENTITY, **facts}, numbers=numbers)
    return Diagnosis(run, "0", "train", (verdict,), {}, s, images_per_second=speed)


def test_a_history_knows_what_failed_in_other_runs() -> None:
    """A third run, as slow as the first, is not told what did not help the second."""
    more = Advice({"workers": 8}, forecast=Forecast("images/s", 15, 18, 10))
    history = History()
    one = diagnosis("one", 1.0, 10.0, 1, FASTER)
    two = diagnosis("two", 2.0, 10.1, 4, more)
    three = diagnosis("three", 3.0, 10.0, 1, FASTER)
    other = diagnosis("other", 4.0, 10.0, 1, FASTER, data="else.yaml")
    assert history.applied(one) == one
    for each in (one, two, three, other):
        history.learn(each)
    assert history.applied(one).verdicts == one.verdicts
    second, third = history.applied(two), history.applied(three)
    assert [follow.run for follow in second.followed] == ["one"]
    assert second.verdicts[0].advice.arguments == third.verdicts[0].advice.arguments == {}
    assert third.verdicts[0].gain is None
    assert "brought 1.01x" in third.verdicts[0].fix
    assert history.applied(other) == other


def test_another_users_run_says_nothing_of_this_ones() -> None:
    """A record of somebody else's may say of any advice that it did not help."""
    history = History()
    bait = diagnosis("bait", 1.0, 10.0, 1, FASTER, user="mallory")
    lie = diagnosis("lie", 2.0, 9.0, 4, Advice(), user="mallory")
    now = diagnosis("now", 3.0, 10.0, 1, FASTER, user="alice")
    for each in (bait, lie, now):
        history.learn(each)
    assert history.applied(now) == now
    assert [follow.run for follow in history.applied(lie).followed] == ["bait"]


def test_advice_of_all_of_a_run_is_remembered() -> None:
    """Also of a verdict that ended."""
    history = History()
    history.learn(diagnosis("one", 1.0, 10.0, 1, FASTER))
    history.learn(replace(diagnosis("one", 1.0, 10.0, 1, FASTER), verdicts=()))
    history.learn(diagnosis("two", 2.0, 17.0, 4, Advice()))
    (found,) = history.applied(diagnosis("two", 2.0, 17.0, 4, Advice())).followed
    assert found.helped is True


def test_a_cycle_compares_only_the_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live exporter asks every five seconds for each rank; what runs that are over followed stays what it is."""
    compared: list[str] = []

    def counted(earlier: Iterable[Past], now: Past) -> tuple[FollowUp, ...]:
        compared.append(now.run)
        return follow_ups(earlier, now)

    monkeypatch.setattr(follow_up, "follow_ups", counted)
    history = History()
    for index in range(40):
        history.learn(diagnosis(f"run{index}", float(index), 10.0 + index / 1e3, 1 if index % 2 else 4, FASTER))
    now = diagnosis("now", 50.0, 10.0, 1, FASTER)
    history.learn(now)
    first = history.applied(now)
    assert "brought 1.00x" in first.verdicts[0].fix
    assert len(compared) <= follow_up.MOST_ALIKE
    compared.clear()
    faster = replace(now, images_per_second=11.0)
    history.learn(faster)
    assert history.applied(faster).verdicts == first.verdicts
    assert compared == ["now"]


def test_of_like_runs_the_ones_seen_longest_ago_are_forgotten() -> None:
    """And no run of another model for them."""
    history = History()
    history.learn(diagnosis("other", 0.5, 10.0, 1, FASTER, data="else.yaml"))
    for index in range(follow_up.MOST_ALIKE + 1):
        history.learn(diagnosis(f"run{index}", 1.0 + index, 10.0, 1, FASTER if index == 0 else Advice()))
    last = diagnosis("last", 100.0, 17.0, 4, Advice())
    history.learn(last)
    assert history.applied(last).followed == ()
    beside = diagnosis("beside", 101.0, 17.0, 4, Advice(), data="else.yaml")
    history.learn(beside)
    assert [found.run for found in history.applied(beside).followed] == ["other"]


def test_a_run_that_takes_up_other_settings_is_compared_again() -> None:
    """Also those that were compared with it before: what it was told, they may have followed."""
    history = History()
    one, two = diagnosis("one", 1.0, 10.0, 4, Advice()), diagnosis("two", 2.0, 17.0, 4, Advice())
    for each in (one, two):
        history.learn(each)
    assert history.applied(two).followed == ()
    history.learn(diagnosis("one", 1.0, 10.0, 1, FASTER))
    assert [found.run for found in history.applied(two).followed] == ["one"]
