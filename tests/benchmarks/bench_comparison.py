"""How often `yoloscope report` calls equal trainings different, and how often it finds one that is 10 % slower.

python tests/benchmarks/bench_comparison.py            # prints; takes four minutes
python tests/benchmarks/bench_comparison.py --write    # puts the table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import random
import sys
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter import catalog  # noqa: E402
from yoloscope_exporter.catalog import Sample  # noqa: E402
from yoloscope_exporter.measures.series import Store, Window  # noqa: E402
from yoloscope_exporter.recordings import reader  # noqa: E402
from yoloscope_exporter.reports.comparison import compare  # noqa: E402
from yoloscope_exporter.reports.figures import figures  # noqa: E402
from yoloscope_exporter.reports.rank import RankWindow, rank_windows  # noqa: E402
from yoloscope_exporter.reports.significance import (  # noqa: E402
    CONFIDENCE_OF_ONE,
    Estimate,
    Part,
    chance_of_difference,
    within,
)
from yoloscope_exporter.reports.summary import Summary, known_runs  # noqa: E402

from tests.benchmarks import page  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.measures.series import Series

REAL = ROOT / "tests" / "recordings" / "real"
PAIRS = 200
SLOWER = 1.1
LENGTHS = {"ten minutes": 600, "half an hour": 1800}  # samples, one a second, of trainings that are put together
BLOCK = 10  # of which so many at a time are taken as they are
SHORTEST = 9.0  # seconds of a piece
ALIKE = (0.0, 0.3, 0.5, 0.7, 0.9)
PARTS = 64
HEAD = (
    "## Report: equal trainings called different",
    "",
    "Pairs of equal trainings of which any line of the table was called different (at most 5 % is right), and pairs of",
    "which the second is 10 % slower whose throughput was called different. One run each, so that there is only the",
    "variation within the runs to go by.",
    "",
    "| trainings | equal pairs | called different | pairs with one 10 % slower | found |",
    "|---|---|---|---|---|",
)
LEGEND = (
    "Pieces are too short to find 10 %: batches took about a second on two shared cores, and 9 to 50 s of that tell",
    "the mean throughput to ± 20 % or so. Longer trainings are put together from stretches of 10 s of one recording,",
    "taken at random (moving blocks: Künsch 1989), and the slower ones have all their times 1.1 times as long; among",
    "them are recordings of slow checkpoints, callbacks and loaders. Simulated ones are throughputs of 100 with steps",
    "of 1 and that correlation from part to part, as in the review that found 26 % to 67 % of equal pairs called",
    "'95% sure'.",
)
Ranks = list[RankWindow]


def main() -> None:
    """Print the section, or write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    text = "\n".join([*HEAD[:2], page.made_by("bench_comparison.py"), *HEAD[2:], *rows(), "", *LEGEND])
    if parser.parse_args().write:
        page.write(text)
    else:
        print(text)


def rows() -> Iterator[str]:
    recorded = list(trainings())
    for count in (2, 3, 4):
        pairs = list(pieces(recorded, count))
        equal = [different(one, other) for one, other in pairs]
        slower = [found(one, list(map(slowed, other))) for one, other in pairs]
        yield row(f"recordings of real trainings cut in {count}", equal, slower)
    chance, steady = random.Random(1), [ranks for ranks in recorded if ranks[0].window.seconds > 2 * BLOCK]
    chosen = [steady[index % len(steady)][0] for index in range(PAIRS)]
    for name, length in LENGTHS.items():
        equal = [different(spliced(one, length, chance), spliced(one, length, chance)) for one in chosen]
        slower = [found(spliced(one, length, chance), spliced(one, length, chance, SLOWER)) for one in chosen]
        yield row(f"{name} put together from one", equal, slower)
    for alike in ALIKE:
        outcomes = [(apart(alike, 1.0, chance), apart(alike, 1 / SLOWER, chance)) for _ in range(PAIRS)]
        yield row(f"simulated, correlation {alike:g}", *map(list, zip(*outcomes, strict=True)))


def row(name: str, equal: Sequence[bool], slow: Sequence[bool]) -> str:
    shares = (f"{len(one)} | {sum(one)} ({sum(one) / len(one):.1%})" for one in (equal, slow))
    return f"| {name} | {' | '.join(shares)} |"


def trainings() -> Iterator[Ranks]:
    """The recordings of real trainings, each from its first batch on; those that have hardly any are left out."""
    for path in sorted(REAL.glob("*.om.gz")):
        stores = reader.read(path)
        for run in known_runs(stores):
            ranks = [rank for store in stores for rank in rank_windows(store, run)]
            points = ranks[0].window.points(catalog.TRAIN_BATCHES_TOTAL, *ranks[0].key)
            batches = [time for (time, before), (_, after) in pairwise(points) if after > before]
            if len(batches) >= 8:
                yield [between(rank, batches[0], rank.window.end) for rank in ranks]


def between(rank: RankWindow, begin: float, end: float) -> RankWindow:
    return RankWindow(Window(rank.window.store, begin, end, rank.window.period), rank.run, rank.rank)


def pieces(recorded: Sequence[Ranks], count: int) -> Iterator[tuple[Ranks, Ranks]]:
    """Pairs of the equal parts into which each recording is cut."""
    for ranks in recorded:
        begin, step = ranks[0].window.start, ranks[0].window.seconds / count
        if step >= SHORTEST:
            cut = [[between(r, begin + i * step, begin + (i + 1) * step) for r in ranks] for i in range(count)]
            yield from combinations(cut, 2)


def different(one: Ranks, other: Ranks) -> bool:
    """Whether any line of the table says so."""
    rows = compare([summary(one)], [summary(other)]).rows
    return any(row.cells[1].certain for row in rows)


def found(one: Ranks, other: Ranks) -> bool:
    """Whether the throughputs are called different."""
    rows = {row.name: row for row in compare([summary(one)], [summary(other)]).rows}
    return "throughput" in rows and rows["throughput"].cells[1].certain


def summary(ranks: Ranks) -> Summary:
    """As much of it as a comparison reads."""
    known = {name: figure for name, figure in figures(ranks).items() if figure is not None}
    return Summary("", "", {}, ranks[0].window.start, ranks[0].window.end, known, {}, (), (), {}, {}, ())


def slowed(rank: RankWindow) -> RankWindow:
    """The same with all its times SLOWER times as long."""
    window = rank.window
    times = [time for time, _ in window.points(catalog.TRAIN_UP, *rank.key)]
    (copy,) = copied(rank, times, [range(len(times) - 1)], SLOWER)
    return copy


def spliced(rank: RankWindow, length: int, chance: random.Random, slower: float = 1.0) -> Ranks:
    """A long training of stretches of a short one."""
    times = [time for time, _ in rank.window.points(catalog.TRAIN_UP, *rank.key)]
    starts = [chance.randrange(len(times) - BLOCK) for _ in range(length // BLOCK)]
    return copied(rank, times, [range(start, start + BLOCK) for start in starts], slower)


def copied(rank: RankWindow, times: Sequence[float], stretches: Sequence[range], slower: float) -> Ranks:
    """What a rank counted in each of these stretches of samples, one after the other."""
    counters = [
        (metric, labels, at(series, times))
        for metric in catalog.RECORDED.values()
        if metric.kind == catalog.COUNTER
        for labels, series in rank.window.store.series.get(metric.name, {}).items()
        if labels[:2] == rank.key
    ]
    store, now, sums = Store(), 1e9, [0.0] * len(counters)
    for index in (index for stretch in stretches for index in stretch):
        now += slower * (times[index + 1] - times[index])
        for number, (metric, _, values) in enumerate(counters):
            grown = values[index + 1] - values[index]
            sums[number] += grown * (slower if metric.unit == "seconds" else 1.0)
        samples = [Sample(metric, labels, total) for (metric, labels, _), total in zip(counters, sums, strict=True)]
        store.add(now, [Sample(catalog.TRAIN_UP, rank.key, 1.0), *samples])
    return rank_windows(store, rank.run)


def at(series: Series, times: Sequence[float]) -> list[float]:
    """A counter's values at these moments; zero before its first."""
    known = dict(zip(series.times, series.values, strict=True))
    values, last = [], 0.0
    for time in times:
        last = known.get(time, last)
        values.append(last)
    return values


def apart(alike: float, share: float, chance: random.Random) -> bool:
    """Whether two simulated throughputs, the second multiplied, are called different."""
    one, other = (simulated(alike, factor, chance) for factor in (1.0, share))
    return chance_of_difference(one, other) < 1 - CONFIDENCE_OF_ONE


def simulated(alike: float, factor: float, chance: random.Random) -> Estimate:
    """How well a throughput with that correlation from part to part is known."""
    level, parts = chance.gauss(0, (1 - alike**2) ** -0.5), []
    for _ in range(PARTS):
        level = alike * level + chance.gauss(0, 1)
        parts.append(Part(factor * (100 + level), 1.0))
    estimate = within(sum(part.value for part in parts) / PARTS, parts)
    assert estimate is not None
    return estimate


if __name__ == "__main__":
    main()
