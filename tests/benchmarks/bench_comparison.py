"""How often `yoloscope report` calls equal trainings different, and how often it finds one that is 10 % slower.

python tests/benchmarks/bench_comparison.py            # prints; takes eight minutes
python tests/benchmarks/bench_comparison.py --write    # puts the table into docs/benchmarks.md
python tests/benchmarks/bench_comparison.py --fresh DIR    # only two rows, of recordings that nothing was chosen with
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

from yoloscope_exporter import catalog  # noqa: E402
from yoloscope_exporter.catalog import Sample  # noqa: E402
from yoloscope_exporter.measures.series import Store, Window  # noqa: E402
from yoloscope_exporter.recordings import reader  # noqa: E402
from yoloscope_exporter.reports.comparison import SAME, THROUGHPUTS, compare  # noqa: E402
from yoloscope_exporter.reports.figures import FINE_SLICES, Figure, figures  # noqa: E402
from yoloscope_exporter.reports.rank import SLICES, RankWindow, rank_windows  # noqa: E402
from yoloscope_exporter.reports.significance import Part  # noqa: E402
from yoloscope_exporter.reports.summary import Summary, known_runs  # noqa: E402
from yoloscope_exporter.reports.typical import typical  # noqa: E402

from tests.benchmarks import page  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.measures.series import Series
    from yoloscope_exporter.reports.comparison import Cell

REAL = ROOT / "tests" / "recordings" / "real"
PAIRS = 200
SLOWER = 1.1
LENGTHS = {"ten minutes": 600, "half an hour": 1800}  # samples, one a second, of trainings that are put together
BLOCK = 10  # of which so many at a time are taken as they are
SHORTEST = 9.0  # seconds of a piece
ALIKE = (0.0, 0.3, 0.5, 0.7, 0.9)
PARTS = 64
SLOW = (10, 30, 60)  # seconds
HEAD = (
    "## Report: equal trainings called different",
    "",
    "Pairs of equal trainings of which any line of the table was called different (at most 5 % is right), and of which",
    "the throughput was called the same. Pairs of which the second is 10 % slower and its throughput, mean or typical,",
    "was called worse, or the mean the same. The rest is called too short to tell. One run each, so that there is only",
    "the variation within the runs to go by.",
    "",
    "| trainings | equal pairs | different | the same | one 10 % slower | found | the same |",
    "|---|---|---|---|---|---|---|",
)
LEGEND = (
    "Pieces are too short to find 10 %: batches took about a second on two shared cores, and 9 to 50 s of that tell",
    "the mean throughput to ± 20 % or so. Longer trainings are put together from stretches of 10 s of one recording,",
    "taken at random (moving blocks: Künsch 1989), and the slower ones have all their times 1.1 times as long; among",
    "them are recordings of slow checkpoints, callbacks and loaders. How parts are cut and weighed was chosen with",
    "every other recording (chosen with) before the rest (held out) was looked at; the confidence of 97 % with both.",
    "Simulated ones are throughputs of 100 with steps of 1 and that correlation from part to part, as in the review",
    "that found 26 % to 67 % of equal pairs called '95% sure'. Drifting ones are ten minutes whose throughput swings",
    "by 5 % from second to second and by another 5 % slowly, with that time constant, as neighbours make it.",
)
Ranks = list[RankWindow]


def main() -> None:
    """Print the section, or write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--fresh", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    if arguments.fresh:
        print("\n".join(longer({"fresh": steady(trainings(arguments.fresh))}, random.Random(2))))
        return
    text = "\n".join([*HEAD[:2], page.made_by("bench_comparison.py"), *HEAD[2:], *rows(), "", *LEGEND])
    if arguments.write:
        page.write(text)
    else:
        print(text)


def rows() -> Iterator[str]:
    recorded = list(trainings(REAL))
    for count in (2, 3, 4):
        pairs = [(summary(one), summary(other), summary(map(slowed, other))) for one, other in pieces(recorded, count)]
        yield row(f"recordings of real trainings cut in {count}", pairs)
    chance, known = random.Random(1), steady(recorded)
    yield from longer({"chosen with": known[::2], "held out": known[1::2]}, chance)
    for alike in ALIKE:
        pairs = [triple(lambda factor, alike=alike: correlated(alike, factor, chance)) for _ in range(PAIRS)]
        yield row(f"simulated, correlation {alike:g}", pairs)
    for seconds in SLOW:
        pairs = [triple(lambda factor, seconds=seconds: drifting(seconds, factor, chance)) for _ in range(PAIRS)]
        yield row(f"drifting over {seconds} s", pairs)


def steady(recorded: Iterable[Ranks]) -> Ranks:
    """The first rank of those that are long enough for stretches of them."""
    return [ranks[0] for ranks in recorded if ranks[0].window.seconds > 2 * BLOCK]


def longer(known: Mapping[str, Ranks], chance: random.Random) -> Iterator[str]:
    """Longer trainings that are put together from one of these each."""
    for name, length in LENGTHS.items():
        for what, ranks in known.items():
            pairs = [put_together(ranks[index % len(ranks)], length, chance) for index in range(PAIRS // 2)]
            yield row(f"{name} put together from one, {what}", pairs)


def row(name: str, pairs: Sequence[tuple[Summary, Summary, Summary]]) -> str:
    """Of trainings, others that are equal, and others that are slower."""
    equal = [cells(one, other) for one, other, _ in pairs]
    slower = [cells(one, other) for one, _, other in pairs]
    counts = (
        sum(any(cell.certain for cell in found.values()) for found in equal),
        sum(is_same(found) for found in equal),
        sum(any(found[name].verdict == "worse" for name in THROUGHPUTS if name in found) for found in slower),
        sum(is_same(found) for found in slower),
    )
    different, same, found, missed = (f"{count} ({count / len(pairs):.1%})" for count in counts)
    text = f"| {name} | {len(pairs)} | {different} | {same} | {len(pairs)} | {found} | {missed} |"
    print(text, file=sys.stderr, flush=True)
    return text


def cells(one: Summary, other: Summary) -> dict[str, Cell]:
    """The lines of the table that compares them."""
    return {row.name: row.cells[1] for row in compare([one], [other]).rows}


def is_same(found: Mapping[str, Cell]) -> bool:
    return "throughput" in found and found["throughput"].verdict == SAME


def put_together(rank: RankWindow, length: int, chance: random.Random) -> tuple[Summary, Summary, Summary]:
    return triple(lambda factor: summary(spliced(rank, length, chance, factor)))


def triple(make: Callable[[float], Summary]) -> tuple[Summary, Summary, Summary]:
    """Two equal trainings, and a slower one."""
    return make(1.0), make(1.0), make(SLOWER)


def trainings(folder: Path) -> Iterator[Ranks]:
    """The recordings in a folder, each from its first batch on; those that have hardly any are left out."""
    for path in sorted(folder.glob("*.om.gz")):
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


def summary(ranks: Iterable[RankWindow]) -> Summary:
    """As much of it as a comparison reads."""
    known = list(ranks)
    found = {name: figure for name, figure in figures(known).items() if figure is not None}
    return summed(known[0].window.end - known[0].window.start, found)


def summed(seconds: float, found: Mapping[str, Figure]) -> Summary:
    return Summary("", "", {}, 0.0, seconds, found, {}, (), (), {}, {}, ())


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


def correlated(alike: float, factor: float, chance: random.Random) -> Summary:
    """A throughput of 100 with that correlation from part to part."""
    level, values = chance.gauss(0, (1 - alike**2) ** -0.5), []
    for _ in range(PARTS):
        level = alike * level + chance.gauss(0, 1)
        values.append(100 + level)
    return simulated(values, factor)


def drifting(seconds: int, factor: float, chance: random.Random) -> Summary:
    """Ten minutes of a throughput that changes within a part and, with this time constant, slowly."""
    kept, level, values = math.exp(-1 / seconds), chance.gauss(0, 1), []
    for _ in range(600):
        level = kept * level + math.sqrt(1 - kept**2) * chance.gauss(0, 1)
        values.append(10 * (1 + 0.05 * level + 0.05 * chance.gauss(0, 1)))
    return simulated(values, factor)


def simulated(values: Sequence[float], factor: float) -> Summary:
    """A training of so many seconds whose throughputs are these, over `factor`."""
    parts = [Part(value / factor, 1.0) for value in values]
    coarse, usual = cut(parts, SLICES), typical(cut(parts, FINE_SLICES))
    found = {"throughput": Figure(fmean(part.value for part in parts), tuple(coarse))}
    found["typical"] = Figure(fmean(part.value for part in usual), tuple(usual))
    return summed(factor * len(values), found)


def cut(parts: Sequence[Part], most: int) -> list[Part]:
    """Means of at most so many stretches."""
    edges = (
        [round(index * len(parts) / most) for index in range(most + 1)] if len(parts) > most else range(len(parts) + 1)
    )
    return [Part(fmean(part.value for part in parts[i:j]), j - i) for i, j in pairwise(edges)]


if __name__ == "__main__":
    main()
