"""What the dashboards' queries cost as a cluster grows: samples read and time, of every query and every variable.

python tests/benchmarks/bench_dashboards.py                       # 10 and 40 nodes of 8 GPUs, about four minutes
python tests/benchmarks/bench_dashboards.py --nodes 10 100

The same queries are asked of a Prometheus with few nodes and of one with many, in one run. A dashboard of one run must
read as much in both; what grows are Fleet, and the lists behind the variables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from tests.dashboards.queries import DASHBOARDS, targets, variables  # noqa: E402
from tests.dashboards.world import NODES, RUNS, Answer, World, world  # noqa: E402
from tests.live import get  # noqa: E402

SECONDS = 300
RUN, OTHER = RUNS["healthy"], RUNS["starved"]
ROUNDS = 3


def ask(prometheus: World, name: str) -> dict[tuple[str, str], Answer]:
    """Each query of a dashboard, as for the healthy run; the quickest of a few rounds."""
    answers = {}
    for place in targets(name):
        instance = "node0000:9911"
        expr = place.expr.replace("$instance", instance) if name == "en/node" else place.expr
        expr = prometheus.filled(expr, RUN, OTHER, f"{NODES[RUN]}|{NODES[OTHER]}")
        rounds = [prometheus.ask(expr, instant=place.instant) for _ in range(ROUNDS)]
        answers[place.panel, place.ref] = min(rounds, key=lambda answer: answer.milliseconds)
    return answers


def ask_variables(prometheus: World, name: str) -> dict[str, float]:
    """Milliseconds for the list behind each variable, as Grafana asks for it."""
    taken = {}
    for variable in variables(name).values():
        if variable["type"] != "query":
            continue
        selector, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        match = prometheus.filled(selector, RUN, OTHER, ".+")
        times = {"start": prometheus.start, "end": prometheus.end}
        parameters = urllib.parse.urlencode({"match[]": match, **times})
        began = time.perf_counter()
        get(f"{prometheus.url}/api/v1/label/{label}/values?{parameters}", timeout=30)
        taken[variable["name"]] = 1000 * (time.perf_counter() - began)
    return taken


def measured(nodes: int) -> dict[str, tuple[dict[tuple[str, str], Answer], dict[str, float]]]:
    """Dashboard -> its queries and its variables, with so many nodes of 8 GPUs."""
    with (
        tempfile.TemporaryDirectory() as directory,
        world(Path(directory), nodes=nodes, gpus=8, seconds=SECONDS) as prometheus,
    ):
        names = [name for name in DASHBOARDS if name.startswith("en/")]
        return {name: (ask(prometheus, name), ask_variables(prometheus, name)) for name in names}


def main() -> None:
    """Print a line per dashboard, and the queries whose cost grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs=2, default=(10, 40), metavar=("FEW", "MANY"))
    few, many = parser.parse_args().nodes
    before, after = measured(few), measured(many)
    print(
        f"{'dashboard':<12} {'queries':>7} {'samples, all queries':>26} {'slowest query, ms':>22} {'variables, ms':>18}"
    )
    for name, (answers, lists) in after.items():
        old, old_lists = before[name]
        samples = [sum(a.samples for a in each.values()) for each in (old, answers)]
        slowest = [max(a.milliseconds for a in each.values()) for each in (old, answers)]
        slow_lists = [max(each.values()) for each in (old_lists, lists)]
        print(
            f"{name.removeprefix('en/'):<12} {len(answers):>7} {samples[0]:>12} {samples[1]:>13} "
            f"{slowest[0]:>11.1f} {slowest[1]:>10.1f} {slow_lists[0]:>9.1f} {slow_lists[1]:>8.1f}"
        )
    print(f"\nin each pair: {few} and {many} nodes of 8 GPUs; queries outside Fleet that read more with more nodes:")
    for name, (answers, _) in after.items():
        for key, answer in answers.items():
            old_samples = before[name][0][key].samples
            if name != "en/fleet" and answer.samples > 1.5 * old_samples + 100:
                print(f"  {name.removeprefix('en/')}: {key[0]} {key[1]}: {old_samples} -> {answer.samples} samples")


if __name__ == "__main__":
    main()
