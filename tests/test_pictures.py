"""The pictures in the documents show what the program shows."""

from __future__ import annotations

import html
import re

from docs.pictures.__main__ import HERE, top


def letters(text: str) -> str:
    """What is read, whatever the layout."""
    return re.sub(r"[\s\xa0]+", "", text)


def test_top_is_drawn_from_its_recording() -> None:
    """The text of `yoloscope top` stands in the committed picture: run `make generate`."""
    picture = (HERE / "top.svg").read_text(encoding="utf-8")
    drawn = letters(html.unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))))
    shown = letters(top().export_text())
    assert "slow_worker" in shown
    assert shown in drawn
