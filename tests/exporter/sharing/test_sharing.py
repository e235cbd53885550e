"""What there is little of is shared out so that nobody goes short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import sharing

amounts = st.dictionaries(st.integers(0, 50), st.integers(0, 10_000), max_size=12)


@given(wanted=amounts, room=st.integers(0, 20_000))
def test_shares(wanted: dict[int, int], room: int) -> None:
    """Nobody gets more than is wanted, nothing is left while somebody wants more, and equal parts are safe."""
    found = sharing.shares(wanted, room)
    assert all(found[owner] <= wanted[owner] for owner in wanted)
    assert sum(found.values()) == min(sum(wanted.values()), room) or sum(wanted.values()) > room >= sum(found.values())
    assert all(found[owner] >= min(wanted[owner], room // len(wanted)) for owner in wanted)


@given(owners=st.lists(st.integers(0, 4), max_size=40))
def test_in_turn(owners: list[int]) -> None:
    """Everybody's first comes before anybody's second, and nobody's own order is changed."""
    items = list(enumerate(owners))
    placed = sharing.in_turn(items, lambda item: item[1])
    assert sorted(placed) == items
    turns = [sum(other == owner for _, other in placed[:place]) for place, (_, owner) in enumerate(placed)]
    assert turns == sorted(turns)
    for owner in set(owners):
        assert [item for item in placed if item[1] == owner] == [item for item in items if item[1] == owner]
