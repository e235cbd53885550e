"""The page, without a server."""

from __future__ import annotations

import re

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import colours
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import landing

from tests.exporter.serving import samples


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("", "en"), ("fr", "en"), ("zh-TW", "zh"), ("fr, zh;q=0.5, en;q=0.4", "zh"), ("en-GB,zh", "en")],
)
def test_language(accepted: str, expected: str) -> None:
    """The first of the two that the browser names."""
    assert landing.language(accepted) == expected


@pytest.mark.parametrize("code", ["en", "zh"])
def test_everything_is_escaped(code: str) -> None:
    """Names come from trainings, and from whoever writes a record."""
    page = landing.page(Snapshot(1.0, {"<b>": tuple(samples())}), "/metrics", code)
    assert "&lt;script&gt;&#34;run&#34;&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert "3 / -" in page


def test_a_death_is_told_with_its_cause() -> None:
    """Escaped, in the page's language, for the rank that died and no other."""
    ranks = [Sample(catalog.TRAIN_STATE, ("x", rank, state), 1.0) for rank, state in (("0", "killed"), ("1", "train"))]
    why = ("killed", "hangup: <its> terminal", "SIGHUP", "hangup：<终端>关闭")  # noqa: RUF001
    cause = Sample(catalog.TRAIN_VERDICT_CAUSE_INFO, ("x", "0", *why), 1.0)
    for code, state, shown in (
        ("en", "killed", "hangup: &lt;its&gt; terminal"),
        ("zh", "被终止", "hangup：&lt;终端&gt;关闭"),  # noqa: RUF001
    ):
        page = landing.page(Snapshot(1.0, {"runs": (*ranks, cause)}), "/metrics", code)
        assert f'<td class="killed"><i></i>{state}<br><small>{shown}</small></td>' in page
        assert page.count("<small>hangup") == 1


def test_without_a_training() -> None:
    """The page says how to start one; without a fresh snapshot it says that."""
    assert "yoloscope run -- yolo" in landing.page(Snapshot(1.0, {"cpu": ()}), "/metrics", "en")
    stale = landing.page(None, "/other", "en")
    assert "No recent samples" in stale
    assert 'href="/other"' in stale


def test_states_have_the_colours_of_everywhere() -> None:
    """Each state's dot has its colour from `diagnosis.colours`, and the page has no other one."""
    page = landing.page(Snapshot(1.0, {"runs": tuple(samples())}), "/metrics", "en")
    shown = dict(re.findall(r"\.(\w+) i \{ background: (#\w+); \}", page))
    assert shown == dict(colours.STATES)
    assert set(re.findall(r"#[0-9A-Fa-f]{6}", page)) == set(colours.STATES.values())
    assert re.search(r'<td class="\w+"><i></i>\w+</td>', page)
