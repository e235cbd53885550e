"""Keys as terminals send them."""

from __future__ import annotations

import pytest
from yoloscope_exporter.terminal import keys


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("q", ["q"]),
        ("jj?", ["j", "j", "?"]),
        ("\x1b[A\x1b[B", ["up", "down"]),
        ("\x1bOC\x1bOD", ["right", "left"]),  # in application mode
        ("\x1b[H\x1b[4~\x1b[5~\x1b[6~", ["home", "end", "page up", "page down"]),
        ("\x1b", ["escape"]),
        ("\x1b[1;5C\x1b[<64;10;3mx", ["x"]),  # Ctrl and an arrow, something let go: not ours
        ("\x1b[<64;10;3M\x1b[<65;10;3M", ["wheel up", "wheel down"]),
        ("\x1b[<0;10;3M\x1b[<0;10;3m\x1b[<2;1;1M", [keys.Click(9, 2)]),  # the left button alone, when it is pressed
        (" 训", [" ", "训"]),
        ("", []),
    ],
)
def test_keys_have_names(sent: str, named: list[str]) -> None:
    """Letters are themselves; sequences that nobody uses are no letters."""
    assert list(keys.named(sent)) == named
