"""Every query with what people may choose in its variables, put in by Grafana's own code, run in Node.

The packages are Grafana's, from the npm registry, each alone: the interpolator of scenes and the escaping of the data
source for Prometheus need little of what they name as dependencies. They are kept in `.cache`, outside of git.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from tests.conftest import require_binary
from tests.dashboards import grafana
from tests.dashboards.queries import DASHBOARDS, Place, annotations, selectors, targets, variables
from tests.dashboards.test_queries import quoted, taken

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache/grafana-npm"
#: The newest of Grafana 13.2, but for scenes, which has versions of its own.
PACKAGES = (
    "@grafana/scenes@9.2.2",
    "@grafana/prometheus@13.2.3",
    "@grafana/data@13.2.3",
    "@grafana/schema@13.2.3",
    "lodash-es@4.17.21",
)
#: Names that people give to runs, with everything that means something in PromQL or RE2; the first holds most of it.
NAMES = ('/ . + ( | \\ " 空格', "训练/实验1", 'it\'s a "$1[2]{3}^?*)"')


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where Grafana's packages lie, fetched once; the test is skipped where no registry can be reached."""
    npm, _ = require_binary("npm"), require_binary("node")
    place = CACHE / "-".join(re.sub(r"\W+", "_", package) for package in PACKAGES)[:200]
    if not place.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _fetch(npm, Path(scratch))
            shutil.rmtree(place, ignore_errors=True)
            (Path(scratch) / "packages").rename(place)
    return place


def _fetch(npm: str, scratch: Path) -> None:
    command = [npm, "pack", "--silent", "--fetch-retries=1", "--fetch-timeout=30000", *PACKAGES]
    try:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if done.returncode:
        pytest.skip(f"npm reaches no registry with Grafana's packages: {done.stderr.strip()[-200:]}")
    for package in PACKAGES:
        name = package.rsplit("@", 1)[0]
        (archive,) = scratch.glob(f"{name.removeprefix('@').replace('/', '-')}-*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch / "unpacked", filter="data")
        target = scratch / "packages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (scratch / "unpacked" / "package").rename(target)


def interpolated(packages: Path, jobs: list[dict[str, Any]], *, special_characters: bool = False) -> list[str]:
    """The texts of `jobs` with their variables' values put in, by Grafana."""
    asked = {"toggles": {"prometheusSpecialCharsInLabelValues": special_characters}, "jobs": jobs}
    command = [require_binary("node"), str(HERE / "grafana_npm/interpolate.mjs"), str(packages)]
    done = subprocess.run(
        command,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made: list[str] = json.loads(done.stdout)
    return made


def chosen(name: str, value: str, *, quotes: bool) -> dict[str, str | list[str]]:
    """A value for each variable of a dashboard, two where several may be chosen.

    Without that toggle Grafana escapes no `"` in a variable of several values, which nodes and jobs never have in their
    names: it is left out there, unless `quotes`.
    """
    several = [value if quotes else value.replace('"', ""), "node-1:9911"]
    return {label: several if variable.get("multi") else value for label, variable in variables(name).items()}


def job(place: Place, values: dict[str, str | list[str]]) -> dict[str, Any]:
    """A text for Grafana to fill."""
    of = variables(place.dashboard)
    filled = {
        label: {"value": value, "multi": bool(of[label].get("multi")), "includeAll": bool(of[label].get("includeAll"))}
        for label, value in values.items()
    }
    return {"text": place.expr, "variables": filled}


def queries(name: str) -> list[Place]:
    """Every expression of a dashboard: panels, marks, and what its variables ask."""
    asked = [
        Place(name, "variable", label, re.sub(r"^\w+\((.*?)(, \w+)?\)$", r"\1", variable["query"]["query"]))
        for label, variable in variables(name).items()
        if variable["type"] == "query"
    ]
    return [*targets(name), *annotations(name), *asked]


ENGLISH = [name for name in DASHBOARDS if name.startswith("en/")]
#: Names that are chosen, whether their quotes stay, and `prometheusSpecialCharsInLabelValues`: off as
#: Grafana ships it.
QUESTIONS = {"off": (NAMES, False, False), "on": (NAMES[:1], True, True), "ours": (NAMES[:1], True, False)}
Filled = tuple[Place, dict[str, str | list[str]], str]


@pytest.fixture(scope="module")
def filled(packages: Path) -> dict[tuple[str, str], list[Filled]]:
    """Every query with its values and Grafana's text, by dashboard and question: Node takes its time to start."""
    found: dict[tuple[str, str], list[Filled]] = {}
    for question, (names, quotes, special_characters) in QUESTIONS.items():
        asked = [
            (name, place, chosen(name, value, quotes=quotes))
            for name in ENGLISH
            for place in queries(name)
            for value in names
        ]
        texts = interpolated(packages, [job(*one) for _, *one in asked], special_characters=special_characters)
        for (name, place, values), text in zip(asked, texts, strict=True):
            found.setdefault((name, question), []).append((place, values, text))
    return found


@pytest.mark.parametrize("question", ["off", "on"])
@pytest.mark.parametrize("name", ENGLISH)
def test_matchers_take_what_is_chosen(name: str, question: str, filled: dict[tuple[str, str], list[Filled]]) -> None:
    """Whatever is in the names that were chosen, each matcher of every query takes these and no others."""
    asked = filled[name, question]
    checked = 0
    for place, values, text in asked:
        for vector, _ in selectors(quoted(text)):
            for matcher in vector.matchers.matchers:
                value = values.get(_variable_of(place.expr, matcher.name))
                if value is None or matcher.op not in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe):
                    continue
                wanted = [value] if isinstance(value, str) else value
                assert taken(matcher.value, wanted) == wanted, (place, text)
                assert not taken(matcher.value, [f"{one}x" for one in wanted]), (place, text)
                checked += 1
    assert checked >= len(asked)


def _variable_of(expr: str, label: str) -> str:
    """The variable that a label is matched with."""
    found = re.search(rf"\b{label}[=!]~[\"`]\$\{{?(\w+)", expr)
    return found[1] if found else ""


@pytest.mark.parametrize("name", ENGLISH)
def test_our_own_interpolation_is_grafanas(name: str, filled: dict[tuple[str, str], list[Filled]]) -> None:
    """What other tests fill queries with gives the same text, character by character."""
    assert filled[name, "ours"]
    for place, values, text in filled[name, "ours"]:
        assert text == grafana.interpolate(place.expr, variables(name), values), place


def test_a_query_that_escapes_nothing_is_noticed(packages: Path) -> None:
    """The check sees a `run=~"$run"`, which was an error for every name with a slash, a dot or a plus."""
    (text,) = interpolated(
        packages,
        [{"text": 'up{run=~"$run"}', "variables": {"run": {"value": "1.5+2", "multi": False, "includeAll": False}}}],
    )
    ((vector, _),) = selectors(text)
    assert taken(vector.matchers.matchers[0].value, ["1.5+2"]) == []
