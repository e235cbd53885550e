"""A thread's time, divided among those that predict in it."""

from __future__ import annotations

import threading

import pytest
from yoloscope_hooks import accounts
from yoloscope_hooks.accounts import Share


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The CPU time of a thread that has done nothing yet."""
    told = {"now": 0.0}
    monkeypatch.setattr(accounts, "thread_time", lambda: told["now"])
    monkeypatch.setattr(accounts, "_thread", accounts._Thread())
    return told


def test_what_one_takes_is_not_the_others(cpu: dict[str, float]) -> None:
    """One is called while the other waits for the user."""
    outer, inner = Share(), Share()
    outer.begin(10.0, 0.0)
    inner.begin(12.0, 0.0)
    assert inner.take(15.0) == 3.0
    inner.over(15.0)
    assert outer.take(16.0) == 3.0  # of six seconds
    assert inner.begin(18.0, 0.0) == (0.0, 0.0)  # the pause is the outer one's
    assert outer.take(18.0) == 2.0


def test_a_pause_is_what_was_computed_and_what_was_waited(cpu: dict[str, float]) -> None:
    """By the CPU time that no other call has had."""
    first, second = Share(), Share()
    assert first.begin(10.0, 1.0) == (0.0, 0.0)
    cpu["now"] = 3.0
    first.over(12.0)
    second.begin(12.0, 3.0)
    cpu["now"] = 5.0
    second.over(14.0)
    assert first.begin(20.0, 6.0) == (1.0, 5.0)
    cpu["now"] = 7.0
    first.over(21.0)
    assert second.begin(21.0, 7.0) == (0.0, 0.0)


def test_a_first_call_has_a_pause_before_it(cpu: dict[str, float]) -> None:
    """Since the call of another one, whose next pause does not have that any more."""
    first, second = Share(), Share()
    first.begin(10.0, 0.0)
    cpu["now"] = 1.0
    first.over(11.0)
    assert second.begin(15.0, 3.0) == (2.0, 2.0)
    cpu["now"] = 4.0
    second.over(16.0)
    assert first.begin(18.0, 5.0) == (1.0, 1.0)


def test_what_goes_on_elsewhere_is_no_code_of_the_users(cpu: dict[str, float]) -> None:
    """A training in the pause: all of it counts as waited."""
    share = Share()
    share.begin(10.0, 0.0)
    share.over(10.0)
    accounts.elsewhere()
    assert share.begin(20.0, 9.0) == (0.0, 10.0)


def test_what_goes_on_elsewhere_while_results_wait(cpu: dict[str, float]) -> None:
    """It is known of what was taken last, whatever was taken before."""
    share = Share()
    share.begin(10.0, 0.0)
    share.take(11.0)
    assert not share.away
    accounts.elsewhere()
    assert (share.take(14.0), share.away) == (3.0, True)
    assert (share.take(15.0), share.away) == (1.0, False)
    share.over(15.0)
    assert share.begin(16.0, 1.0) == (1.0, 0.0)


def test_threads_have_their_own(cpu: dict[str, float]) -> None:
    """Nothing is left out for what happens in another thread, and a pause needs both calls in the same one."""
    share, other = Share(), Share()
    share.begin(10.0, 0.0)

    def works() -> None:
        other.begin(10.0, 0.0)
        other.over(19.0)

    def called(found: list[object]) -> None:
        found += [share.begin(20.0, 0.0)]
        share.over(21.0)

    thread = threading.Thread(target=works)
    thread.start()
    thread.join()
    assert share.take(19.0) == 9.0
    share.over(19.0)
    found: list[object] = []
    thread = threading.Thread(target=called, args=(found,))
    thread.start()
    thread.join()
    assert found == [(0.0, 0.0)]


def test_who_is_gone_holds_nobody_up(cpu: dict[str, float]) -> None:
    """A call that has had no end, as one of a predictor that is no more."""
    share, gone = Share(), Share()
    share.begin(10.0, 0.0)
    gone.begin(10.0, 0.0)
    share.over(11.0)
    assert share.begin(12.0, 0.5) == (0.0, 0.0)
    cpu["now"] = 0.5
    share.over(13.0)
    del gone
    assert share.begin(15.0, 1.0) == (0.5, 1.5)


def test_a_call_that_was_not_over(cpu: dict[str, float]) -> None:
    """It waits for the user again."""
    share, other = Share(), Share()
    share.begin(10.0, 0.0)
    share.over(11.0)
    share.goes_on()
    share.goes_on()
    other.begin(12.0, 0.0)
    other.over(13.0)
    assert share.take(15.0) == 3.0
    assert other.begin(15.0, 0.0) == (0.0, 0.0)
    other.over(15.0)
    share.over(16.0)
    assert other.begin(20.0, 0.0) == (0.0, 4.0)
