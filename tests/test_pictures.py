"""The pictures in the documents show what the program shows."""

from __future__ import annotations

import html
import re

import pytest

from docs.pictures import badges, rooms
from docs.pictures.__main__ import HERE, top
from docs.pictures.dashboards import LANGUAGES, SHOWN
from tests.dashboards.queries import DASHBOARDS
from tests.training import VERSIONS


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


def test_badges_say_what_is_true() -> None:
    """What pyproject.toml and the tests' matrix have; all of them stand in both READMEs."""
    shown = badges.values()
    assert shown["ultralytics.svg"][1].split(" to ")[0] == VERSIONS[0]
    for name, badge in shown.items():
        assert (HERE / "badges" / name).read_text(encoding="utf-8") == badges.drawn(*badge), "make generate"
        for page in ("README.md", "README.zh-CN.md"):
            assert f"](docs/pictures/badges/{name})" in (badges.ROOT / page).read_text(encoding="utf-8")


def test_rooms_are_drawn_from_the_edges() -> None:
    """docs/design.md shows the rooms that there are, with the imports that tests/test_packages.py allows."""
    assert rooms.DESIGN.read_text(encoding="utf-8") == rooms.document(), "make generate"


def test_a_room_is_drawn_with_its_imports() -> None:
    """An import that follows from another one stands in the table alone."""
    edges = {"catalog": set[str](), "collectors": {"catalog"}, "sampling": {"catalog", "collectors"}}
    assert re.findall(r"(\w+) --> (\w+)", rooms.diagram(edges)) == [
        ("collectors", "catalog"),
        ("sampling", "collectors"),
    ]
    row = f"| `sampling` | {rooms.summary('sampling')} | `catalog` `collectors` |"
    assert rooms.table(edges).splitlines()[-1] == row


def test_every_room_says_what_is_in_it() -> None:
    """In one sentence."""
    assert [room for room in rooms.EDGES if not rooms.summary(room).endswith(".")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_photographs_are_small_and_shown(language: str) -> None:
    """Each dashboard's picture stands in its page, in that language; none costs more than 150 kB."""
    _, suffix = LANGUAGES[language]
    assert {f"{language}/{name}" for name in SHOWN} == {name for name in DASHBOARDS if name.startswith(language)}
    beside = (HERE / f"README{suffix}.md").read_text(encoding="utf-8")
    for name in SHOWN:
        written = (HERE.parent / f"dashboards/{name}{suffix}.md").read_text(encoding="utf-8")
        assert f"](../pictures/{name}{suffix}.png)" in written
        assert f"]({name}{suffix}.png)" in beside
        assert (HERE / f"{name}{suffix}.png").stat().st_size < 150_000
    for before in (HERE / "before").glob("*.png"):
        assert f"](before/{before.name})" in beside
