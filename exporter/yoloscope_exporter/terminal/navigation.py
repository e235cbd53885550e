"""What the keys of `yoloscope top` do: a view and a key give the next view. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from yoloscope_exporter.language import text
from yoloscope_exporter.terminal import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Rank = tuple[str, str]
"""Name of a run, and rank."""

#: Seconds that a key moves through time.
STEP: Final = 10.0
#: How fast a recording may be replayed, in seconds of it per second.
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: By what runs and ranks may be sorted; the first is how they come.
NAME, SEVERITY, WAIT, SPEED = "name", "severity", "wait", "speed"
ORDERS: Final = (NAME, SEVERITY, WAIT, SPEED)
#: Lines that a page moves, and a mouse's wheel.
PAGE: Final = 10
WHEEL: Final = 3


@dataclass(frozen=True)
class View:
    """How somebody looks at what there is.

    Attributes:
        selected: whose details are shown; the first rank's where it is None, or not there any more.
        order: one of ORDERS.
        moment: what time is shown, Unix seconds; None follows the newest.
        playing: whether time goes on, in a recording.
        speed: one of SPEEDS, of a recording.
        node: which of a recording's nodes, counted from 0.
        scrolled: lines of the details that are above the screen.
        helping: whether the keys are explained instead.
        over: whether it was left.
    """

    selected: Rank | None = None
    order: str = NAME
    moment: float | None = None
    playing: bool = True
    speed: float = 1.0
    node: int = 0
    scrolled: int = 0
    helping: bool = False
    over: bool = False


class Scene(NamedTuple):
    """What a key needs to know of what is shown.

    Attributes:
        ranks: in the order of the screen.
        start, end: what can be shown, Unix seconds.
        events: moments to jump to, ascending.
        nodes: how many.
        recorded: whether it is a recording, which ends, and not live.
    """

    ranks: Sequence[Rank] = ()
    start: float = 0.0
    end: float = 0.0
    events: Sequence[float] = ()
    nodes: int = 1
    recorded: bool = False


def begun(scene: Scene) -> View:
    """The view to begin with: the newest, or a recording from its start."""
    return View(moment=scene.start if scene.recorded else None)


def pressed(view: View, key: str, scene: Scene) -> View:
    """The view after a key; unknown keys change nothing."""
    if view.helping and key != "q":
        return replace(view, helping=False)
    action = _ACTIONS.get(key)
    return action(view, scene) if action else view


def passed(view: View, seconds: float, scene: Scene) -> View:
    """The view after so many seconds on the wall; what is shown stays within what there is."""
    if view.moment is None:
        return view
    going = scene.recorded and view.playing
    moment = view.moment + (seconds * view.speed if going else 0.0)
    if going and moment >= scene.end:
        return replace(view, moment=scene.end, playing=False)
    return replace(view, moment=min(max(moment, scene.start), scene.end))


def chosen(view: View, rank: Rank) -> View:
    """The view of a rank's details."""
    return replace(view, selected=rank, scrolled=0)


def at(view: View, scene: Scene, moment: float) -> View:
    """Another moment. Live, the newest is followed from there on."""
    if not scene.recorded and moment >= scene.end:
        return replace(view, moment=None)
    return replace(view, moment=min(max(moment, scene.start), scene.end))


def position(view: View, ranks: Sequence[Rank]) -> int:
    """Where the selected rank stands; 0 for one that is not there."""
    return ranks.index(view.selected) if view.selected in ranks else 0


# --- what the keys do -----------------------------------------------------------------------------------------------


def _select(by: int) -> Callable[[View, Scene], View]:
    def select(view: View, scene: Scene) -> View:
        if len(scene.ranks) < 2:  # noqa: PLR2004 - there is no other one
            return _scroll(by)(view, scene)
        place = min(max(position(view, scene.ranks) + by, 0), len(scene.ranks) - 1)
        return chosen(view, scene.ranks[place])

    return select


def _scroll(by: int) -> Callable[[View, Scene], View]:
    return lambda view, _: replace(view, scrolled=max(view.scrolled + by, 0))


def _sort(view: View, _: Scene) -> View:
    return replace(view, order=ORDERS[(ORDERS.index(view.order) + 1) % len(ORDERS)])


def _freeze(view: View, scene: Scene) -> View:
    """Stop, or go on; live, going on is to follow the newest; a recording that has ended begins again."""
    if not scene.recorded:
        return replace(view, moment=scene.end if view.moment is None else None)
    if not view.playing and view.moment is not None and view.moment >= scene.end:
        return replace(view, playing=True, moment=scene.start)
    return replace(view, playing=not view.playing)


def _shown(view: View, scene: Scene) -> float:
    return scene.end if view.moment is None else view.moment


def _move(by: float) -> Callable[[View, Scene], View]:
    return lambda view, scene: at(view, scene, _shown(view, scene) + by)


def _start(view: View, scene: Scene) -> View:
    return at(view, scene, scene.start)


def _end(view: View, scene: Scene) -> View:
    return at(view, scene, scene.end)


def _event_before(view: View, scene: Scene) -> View:
    now = _shown(view, scene)
    return at(view, scene, max((time for time in scene.events if time < now), default=scene.start))


def _event_after(view: View, scene: Scene) -> View:
    now = _shown(view, scene)
    return at(view, scene, min((time for time in scene.events if time > now), default=scene.end))


def _faster(by: int) -> Callable[[View, Scene], View]:
    def faster(view: View, scene: Scene) -> View:
        if not scene.recorded:
            return view
        place = min(max(SPEEDS.index(view.speed) + by, 0), len(SPEEDS) - 1)
        return replace(view, speed=SPEEDS[place])

    return faster


def _next_node(view: View, scene: Scene) -> View:
    return replace(view, node=(view.node + 1) % scene.nodes, selected=None, scrolled=0)


def _help(view: View, _: Scene) -> View:
    return replace(view, helping=True)


def _leave(view: View, _: Scene) -> View:
    return replace(view, over=True)


_ACTIONS: Final[Mapping[str, Callable[[View, Scene], View]]] = {
    keys.UP: _select(-1),
    "k": _select(-1),
    keys.DOWN: _select(1),
    "j": _select(1),
    keys.PAGE_UP: _scroll(-PAGE),
    keys.PAGE_DOWN: _scroll(PAGE),
    keys.WHEEL_UP: _scroll(-WHEEL),
    keys.WHEEL_DOWN: _scroll(WHEEL),
    "s": _sort,
    " ": _freeze,
    "p": _freeze,
    keys.LEFT: _move(-STEP),
    "h": _move(-STEP),
    keys.RIGHT: _move(STEP),
    "l": _move(STEP),
    "<": _move(-6 * STEP),
    ">": _move(6 * STEP),
    "[": _event_before,
    "]": _event_after,
    keys.HOME: _start,
    "g": _start,
    keys.END: _end,
    "G": _end,
    "+": _faster(1),
    "=": _faster(1),
    "-": _faster(-1),
    "n": _next_node,
    "?": _help,
    "q": _leave,
}
#: What `?` shows: keys as they are called, and what they do.
HELP: Final = (
    ("↑ ↓  k j", text("another run or rank; of one alone, scroll")),
    ("PgUp PgDn", text("scroll the details")),
    ("s", text("sort runs and ranks: by name, worst verdict, waiting, images per second")),
    (text("space  p"), text("freeze, and go on")),
    ("← →  h l", text("10 s back, 10 s on")),
    ("< >", text("a minute back, a minute on")),
    ("[ ]", text("the event before, the event after")),
    ("Home End  g G", text("the oldest, the newest")),
    ("+ -", text("faster, slower (a recording)")),
    ("n", text("the next node (a recording of several)")),
    (text("mouse"), text("choose a row, a time of a recording; scroll; with Shift it selects text")),
    ("?", text("these keys")),
    ("q  Ctrl-C", text("leave")),
)
