"""The page's frame and its files, without a browser."""

from __future__ import annotations

import gzip
import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from yoloscope_exporter import charts, colours
from yoloscope_exporter.history.courses import OF_GPUS, OF_RUN
from yoloscope_exporter.language import CHINESE, ENGLISH, LANGUAGES
from yoloscope_exporter.web import assets, page

from tests.exporter.serving import fetch, serving

#: In bytes, with everything that the page loads; as they lie there, and as a browser gets them.
MOST, MOST_SENT = 150_000, 60_000


class Parts(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_within_the_page_that_its_policy_forbids(language: str) -> None:
    """No script, style or handler in it; everything that it loads is its own."""
    parts = Parts(page.render(language, "/metrics"))
    assert not [tag for tag, _ in parts.tags if tag == "style"]
    for tag, given in parts.tags:
        assert not [name for name in given if name == "style" or name.startswith("on")]
        assert tag != "script" or given["src"]
        for name in ("src", "href"):
            assert not re.match(r"(https?:)?//", given.get(name) or "")
    assert "unsafe" not in page.POLICY
    assert "default-src 'none'" in page.POLICY
    assert "frame-ancestors 'none'" in page.POLICY


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_in_its_language(language: str) -> None:
    """Its root says so, and so do its texts and what the script is given."""
    html = page.render(language, "/metrics")
    assert f'<html lang="{language}">' in html
    assert ("最近一小时" in html) == (language == CHINESE)
    (given,) = re.findall(r"data-config='([^']*)'", html)
    config = json.loads(unescape(given))
    assert config["language"] == language
    assert config["charts"][0]["title"] == ("每秒图像数" if language == CHINESE else "Images per second")


def test_telemetry_path_cannot_break_out() -> None:
    """What is configured is escaped."""
    assert '"><script>' not in page.render("en", '/"><script>alert(1)</script>')


def test_charts_draw_courses() -> None:
    """Each of the history's, and no other; with its unit."""
    of = {"run": {course.name for course in OF_RUN}, "gpus": {course.name for course in OF_GPUS}}
    drawn = {"run": {"epoch"}, "gpus": set()}  # `epoch` tells the bars of growth apart
    for chart in page.CHARTS:
        assert set(chart.names) <= of[chart.of]
        drawn[chart.of] |= set(chart.names)
    assert drawn == of
    assert {chart["unit"] for chart in page.config("en")["charts"]} <= {
        *("ratio", "seconds", "bytes", "watts", "celsius", "/s", "")
    }


def test_the_script_has_its_texts() -> None:
    """Each as a literal, by which it is looked up: in English there is nothing to look up."""
    script = assets.assets()["page.js"].body.decode()
    assert not re.findall(r"\bsay\((?!')", script)
    assert page.config(ENGLISH)["texts"] == {}
    told = page.config(CHINESE)["texts"]
    assert len(told) == len(page.said_by_the_script()) > 40
    assert told["updated {time}"] == "更新于 {time}"


def test_size() -> None:
    """The page with its charts is small."""
    html = page.render(CHINESE, "/metrics").encode()
    assert len(html) + sum(len(asset.body) for asset in assets.assets().values()) < MOST
    assert len(html) + sum(len(asset.gzipped) for asset in assets.assets().values()) < MOST_SENT


def test_files_are_served_and_kept() -> None:
    """Compressed on request, for as long as they stay the same; others are not there."""
    with serving() as url:
        for tag, given in Parts(fetch(url)[1].decode()).tags:
            path = given.get("src") or (given.get("href") if tag == "link" else None) or "data:"
            if path.startswith("data:"):
                continue
            name = path.removeprefix("static/").partition("?")[0]
            status, body, headers = fetch(f"{url}/{path}", Accept_Encoding="gzip")
            assert (status, gzip.decompress(body)) == (200, assets.assets()[name].body)
            assert "immutable" in headers["Cache-Control"]
            assert headers["Content-Type"].startswith(("text/css", "text/javascript"))
            assert fetch(f"{url}/{path}")[1] == assets.assets()[name].body
        for name in ("nothing.js", "../page.py", "..%2fpage.py", "vendored/LICENSE", ""):
            assert fetch(f"{url}/static/{name}")[0] == 404


def test_colours_are_those_of_everywhere() -> None:
    """Each from `colours`; the page's own styles name none."""
    sheet = assets.assets()["colours.css"].body.decode()
    for kind, table in (("state", colours.STATES), ("phase", colours.PHASES), ("severity", colours.SEVERITIES)):
        for name, colour in table.items():
            assert f"--{kind}-{name}:{colour};" in sheet
            assert f".{kind}-{name}{{--mark:var(--{kind}-{name})}}" in sheet
    own = assets.assets()["page.css"].body + assets.assets()["page.js"].body
    assert not re.findall(rb"#[0-9A-Fa-f]{3,8}\b|rgba?\(", own)


def test_the_licence_comes_with_what_is_vendored() -> None:
    """And the copy says what it is."""
    assert b"uPlot (v1.6.32)" in assets.assets()["vendored/uPlot.iife.min.js"].body
    assert b"MIT License" in charts.read("vendored/LICENSE")
