"""What the dashboards' queries cost as a cluster grows: samples read and time, of every query and every variable.

python tests/benchmarks/bench_dashboards.py                       # 10 and 40 nodes of 8 GPUs, about four minutes
python tests/benchmarks/bench_dashboards.py --nodes 10 100
python tests/benchmarks/bench_dashboards.py --write               # put the figures into docs/benchmarks.md

The same queries are asked of a Prometheus with few nodes and of one with many, in one run. A dashboard of one run must
read as much in both; what grows are Fleet, and the lists behind the variables.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from tests.benchmarks import page  # noqa: E402
from tests.dashboards.queries import DASHBOARDS, targets, variables  # noqa: E402
from tests.dashboards.world import NODES, RUNS, Answer, World, runs_of, world  # noqa: E402

SECONDS = 300
RUN, OTHER = RUNS["healthy"], RUNS["starved"]
ROUNDS = 3
SETTING = f"""\
Simulated, in a real Prometheus with the shipped recording rules: {{few}} and {{many}} nodes of 8 GPUs, {SECONDS // 60}
minutes scraped every 15 s, asked over all of it. In each pair: {{few}}, then {{many}} nodes."""


class Asked(NamedTuple):
    """What a dashboard asks: each (panel, refId) and its answer, each variable and the milliseconds of its list."""

    answers: dict[tuple[str, str], Answer]
    lists: dict[str, float]


def ask(prometheus: World, name: str) -> dict[tuple[str, str], Answer]:
    """Each query of a dashboard, as for the healthy run; the quickest of a few rounds."""
    answers, run = {}, next(iter(runs_of(name)))
    for place in targets(name):
        instance = "node0000:9911"
        expr = place.expr.replace("$instance", instance) if name == "en/node" else place.expr
        expr = prometheus.filled(name, expr, run, OTHER, [NODES[RUN], NODES[OTHER]])
        rounds = [prometheus.ask(expr, instant=place.instant) for _ in range(ROUNDS)]
        answers[place.panel, place.ref] = min(rounds, key=lambda answer: answer.milliseconds)
    return answers


def ask_variables(prometheus: World, name: str) -> dict[str, float]:
    """Milliseconds for the list behind each variable, as Grafana asks for it."""
    taken, run = {}, next(iter(runs_of(name)))
    for variable in variables(name).values():
        if variable["type"] != "query":
            continue
        asked = prometheus.filled(name, variable["definition"], run, OTHER, [NODES[RUN], NODES[OTHER]])
        began = time.perf_counter()
        if "regex" in variable:
            prometheus.offered(variable, asked)
        else:
            prometheus.values(*asked.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1))
        taken[variable["name"]] = 1000 * (time.perf_counter() - began)
    return taken


def measured(nodes: int) -> dict[str, Asked]:
    """Dashboard -> its queries and its variables, with so many nodes of 8 GPUs."""
    with (
        tempfile.TemporaryDirectory() as directory,
        world(Path(directory), nodes=nodes, gpus=8, seconds=SECONDS) as prometheus,
    ):
        names = [name for name in DASHBOARDS if name.startswith("en/")]
        return {name: Asked(ask(prometheus, name), ask_variables(prometheus, name)) for name in names}


def section(few: int, many: int, before: dict[str, Asked], after: dict[str, Asked]) -> str:
    """The figures as a section of docs/benchmarks.md."""
    rows = [_row(name, before[name], after[name]) for name in after]
    grown = [line for name in after if name != "en/fleet" for line in _grown(name, before[name], after[name])]
    beyond = (
        "Outside Fleet no query reads more with more nodes." if not grown else "Queries that read more all the same:"
    )
    measured_in = (
        "Milliseconds are Prometheus' own for a query, and until the answer for a variable, at a load average of "
        f"{os.getloadavg()[1]:.0f}; samples do not depend on it."
    )
    return "\n".join(
        [
            "## Dashboards",
            "",
            page.made_by("bench_dashboards.py"),
            SETTING.format(few=few, many=many),
            "",
            "| dashboard | queries | samples read by all queries | slowest query, ms | slowest variable, ms |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"{measured_in} {beyond}",
            *(["", *grown] if grown else []),
            "",
        ]
    )


def _row(name: str, before: Asked, after: Asked) -> str:
    samples = [sum(answer.samples for answer in each.answers.values()) for each in (before, after)]
    slowest = [max(answer.milliseconds for answer in each.answers.values()) for each in (before, after)]
    lists = [max(each.lists.values()) for each in (before, after)]
    title = DASHBOARDS[name]["title"].removeprefix("yoloscope / ")
    return (
        f"| {title} | {len(after.answers)} | {samples[0]}, {samples[1]} | {slowest[0]:.1f}, {slowest[1]:.1f} "
        f"| {lists[0]:.1f}, {lists[1]:.1f} |"
    )


def _grown(name: str, before: Asked, after: Asked) -> list[str]:
    """The queries that read more with more nodes, beyond what chance scrapes add."""
    return [
        f"- {name.removeprefix('en/')}, {panel} {ref}: {before.answers[panel, ref].samples}, then {answer.samples}"
        for (panel, ref), answer in after.answers.items()
        if answer.samples > 1.5 * before.answers[panel, ref].samples + 100
    ]


def main() -> None:
    """Print the section, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs=2, default=(10, 40), metavar=("FEW", "MANY"))
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    few, many = options.nodes
    text = section(few, many, measured(few), measured(many))
    print(text)
    if options.write:
        page.write(text)


if __name__ == "__main__":
    main()
