"""What keys do to a view: pure, so each is tried by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.terminal import keys, navigation
from yoloscope_exporter.terminal.navigation import Scene, View

RANKS = (("a", "0"), ("a", "1"), ("b", "0"))
LIVE = Scene(RANKS, 100.0, 400.0, (150.0, 250.0, 350.0))
RECORDED = LIVE._replace(recorded=True, nodes=2)


def after(view: View, scene: Scene, *pressed: str) -> View:
    """The view after some keys."""
    for key in pressed:
        view = navigation.pressed(view, key, scene)
    return view


@pytest.mark.parametrize(
    ("pressed", "selected"),
    [((), None), ((keys.DOWN,), "a1"), (("j", "j", "j", "j"), "b0"), ((keys.DOWN, "j", "k"), "a1"), ((keys.UP,), "a0")],
)
def test_ranks_are_chosen(pressed: tuple[str, ...], selected: str | None) -> None:
    """Up to the ends, and not around them."""
    chosen = after(View(), LIVE, *pressed).selected
    assert (chosen and "".join(chosen)) == selected


def test_the_chosen_rank_stays_when_the_order_changes() -> None:
    """It is remembered by its name; one that has gone gives way to the first."""
    view = after(View(), LIVE, "j", "j")
    assert navigation.position(view, tuple(reversed(RANKS))) == 0
    assert navigation.position(view, RANKS[:2]) == 0
    assert after(view, LIVE._replace(ranks=tuple(reversed(RANKS))), "j").selected == ("a", "1")


def test_of_one_rank_the_details_are_scrolled() -> None:
    """There is nothing to choose from; nor on an idle node."""
    assert after(View(), LIVE._replace(ranks=RANKS[:1]), "j", "j", "k") == View(scrolled=1)
    assert after(View(), Scene(), "j", "k", "k") == View()


def test_orders_follow_one_another() -> None:
    """And begin again."""
    assert [after(View(), LIVE, *"s" * times).order for times in range(5)] == [*navigation.ORDERS, navigation.NAME]


def test_live_is_frozen_and_followed_again() -> None:
    """Where it stood; and the newest after it."""
    frozen = after(View(), LIVE, " ")
    assert frozen.moment == 400.0
    later = LIVE._replace(end=430.0)
    assert navigation.passed(frozen, 30.0, later).moment == 400.0
    assert after(frozen, later, " ").moment is None
    assert navigation.passed(View(), 30.0, later).moment is None


def test_live_can_be_looked_back_at() -> None:
    """As far as it is kept; back at the end it is live again."""
    assert after(View(), LIVE, keys.LEFT, "h").moment == 380.0
    assert after(View(), LIVE, *"<" * 6).moment == 100.0
    assert after(View(), LIVE, keys.LEFT, keys.RIGHT).moment is None
    assert after(View(), LIVE, keys.HOME, keys.END).moment is None
    assert navigation.passed(View(moment=100.0), 1.0, LIVE._replace(start=160.0)).moment == 160.0  # forgotten meanwhile


def test_a_recording_begins_at_its_start() -> None:
    """And live with the newest."""
    assert navigation.begun(RECORDED) == View(moment=100.0)
    assert navigation.begun(LIVE) == View()


def test_a_recording_plays_at_its_speed_to_its_end() -> None:
    """Then it stands still, and the space key begins again."""
    view = navigation.passed(after(navigation.begun(RECORDED), RECORDED, "+", "+"), 2.0, RECORDED)
    assert view.moment == 110.0  # five times as fast
    view = navigation.passed(view, 60.0, RECORDED)
    assert (view.moment, view.playing) == (400.0, False)
    assert after(view, RECORDED, " ").moment == 100.0


def test_a_recording_is_stopped() -> None:
    """Time passes, and nothing moves but by keys."""
    view = navigation.passed(after(navigation.begun(RECORDED), RECORDED, " "), 30.0, RECORDED)
    assert view.moment == 100.0
    assert after(view, RECORDED, keys.RIGHT).moment == 110.0
    assert after(view, RECORDED, " ").playing


def test_speeds_have_limits() -> None:
    """A quarter to sixty times; live there is one speed."""
    assert after(View(), RECORDED, *"-" * 9).speed == 0.25
    assert after(View(), RECORDED, *"=" * 9).speed == 60.0
    assert after(View(), LIVE, "+").speed == 1.0


def test_jumps_to_events() -> None:
    """Before and after; past the last one to the ends."""
    view = navigation.begun(RECORDED)
    assert after(view, RECORDED, "]", "]").moment == 250.0
    assert after(view, RECORDED, "]", "]", "[").moment == 150.0
    assert after(view, RECORDED, *"]" * 4).moment == 400.0
    assert after(view, RECORDED, "[").moment == 100.0


def test_nodes_follow_one_another() -> None:
    """With their own ranks; one node is always the same."""
    view = after(View(selected=("b", "0"), scrolled=3), RECORDED, "n")
    assert (view.node, view.selected, view.scrolled) == (1, None, 0)
    assert after(view, RECORDED, "n").node == 0
    assert after(View(), LIVE, "n").node == 0


def test_the_help_comes_and_goes() -> None:
    """By any key, which does nothing else."""
    view = after(View(), LIVE, "?")
    assert view.helping
    assert after(view, LIVE, "j") == View()
    assert after(view, LIVE, "q").over


def test_details_are_scrolled() -> None:
    """Not above their beginning; another rank's begin at theirs."""
    view = after(View(), LIVE, keys.PAGE_DOWN, keys.PAGE_DOWN, keys.PAGE_UP)
    assert view.scrolled == navigation.PAGE
    assert after(view, LIVE, keys.PAGE_UP, keys.PAGE_UP).scrolled == 0
    assert after(view, LIVE, "j").scrolled == 0


def test_other_keys_change_nothing() -> None:
    """Whatever somebody types."""
    for key in ("x", "训", keys.ESCAPE, "\r", "\t"):
        assert after(View(), RECORDED, key) == View()


def test_every_key_of_the_help_does_something() -> None:
    """And every key that does something is told there."""
    told = {name for names, _ in navigation.HELP for name in names.split()}
    spelled = {
        "↑": keys.UP,
        "↓": keys.DOWN,
        "←": keys.LEFT,
        "→": keys.RIGHT,
        "PgUp": keys.PAGE_UP,
        "PgDn": keys.PAGE_DOWN,
        "Home": keys.HOME,
        "End": keys.END,
        "space": " ",
    }
    done = {spelled.get(name, name) for name in told - {"Ctrl-C", "mouse"}}
    wheel = {keys.WHEEL_UP, keys.WHEEL_DOWN}
    assert done == set(navigation._ACTIONS) - wheel - {"="}  # the same key as + without Shift
    view = replace(View(moment=200.0, selected=("a", "1"), scrolled=20), speed=1.0)
    assert [key for key in done if navigation.pressed(view, key, RECORDED) == view] == []
