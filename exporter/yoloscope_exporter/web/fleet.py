"""What the live page shows of a Prometheus: runs of all nodes, at any time, by the measures that everything says.

The documents are those of one node (`web.documents`): a view of samples, here of what Prometheus says of a moment, and
measures, here in PromQL. Everything here asks Prometheus and waits for it, so it is called in a thread. It is asked a
few long questions, and what it says is told in every language at once and encoded: many pages share one answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict, worst_first
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.fetching import masked, prometheus
from yoloscope_exporter.fetching.prometheus import quoted
from yoloscope_exporter.history.courses import ANATOMY, IMAGES, OF_GPUS, OF_RANKS, OF_RUN, PREDICT_IMAGES
from yoloscope_exporter.history.curves import rounded
from yoloscope_exporter.history.events import STATES, Event, changes, facts
from yoloscope_exporter.language import CHINESE, LANGUAGES
from yoloscope_exporter.language.units import in_order
from yoloscope_exporter.measures.promql import Scope, render
from yoloscope_exporter.measures.series import LabelSet
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import documents
from yoloscope_exporter.web.responses import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.fetching.prometheus import Series
    from yoloscope_exporter.history.courses import Course
    from yoloscope_exporter.history.events import Facts
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.promql import Expr

#: A Prometheus that takes longer to begin an answer is not waited for, in seconds: somebody looks at the page. Charts
#: are asked for once the list has been answered, and months take their time.
TIMEOUT: Final = 10.0
CURVES_TIMEOUT: Final = 30.0
#: Points of a chart at most, and the least distance of two in seconds: that is how often one scrapes.
POINTS, LEAST_STEP = 240, 15
#: What is shown of a moment is calculated over so many seconds at least: several scrapes.
LEAST_WINDOW: Final = 120
#: Time ranges that may be asked for, in seconds.
SHORTEST, LONGEST = 300.0, 92 * 86400.0
#: What is shown of a run at most: the GPUs of so many nodes, lines of a chart, events. What is left out is counted.
MOST_NODES: Final = 32
MOST_LINES: Final = 128
MOST_EVENTS: Final = 500
#: Letters of a question that several are put into; VictoriaMetrics refuses 16,384.
MOST_LETTERS: Final = 8_000
_ANSWERS: Final = "answers"
#: What a run in the list takes of the memory.
BYTES_OF_A_RUN: Final = 1_200

_FIXES: Final = (catalog.TRAIN_VERDICT_FIX_INFO, catalog.PREDICT_VERDICT_FIX_INFO)
_STARTS: Final = tuple(m for m in catalog.METRICS if m.name.endswith("_start_timestamp_seconds"))
_UPS: Final = tuple(m for m in catalog.METRICS if m.labels == ("run", "rank") and m.name.endswith("_up"))
#: What the list says of ranks, which are 1, and of runs. Verdicts that hold are those with a fix: of all verdicts there
#: is a series for each rank, most of them 0.
_RANKS: Final = (*STATES, *_UPS)
_LISTED: Final = (*_FIXES, *_STARTS, catalog.TRAIN_EPOCH, catalog.TRAIN_EPOCHS, catalog.TRAIN_REMAINING_SECONDS)
#: What the documents say of a run, and of GPUs.
_SHOWN: Final = tuple(metric for metric in catalog.METRICS if metric.name in documents.SHOWN)
_OF_RUN: Final = (
    *(metric for metric in _SHOWN if "run" in metric.labels),
    *_FIXES,
    catalog.TRAIN_VERDICT_CAUSE_INFO,
)
_OF_GPU: Final = tuple(metric for metric in _SHOWN if metric.labels[:1] == ("gpu",))
_MEASURED: Final = (IMAGES, PREDICT_IMAGES, *OF_RANKS, *ANATOMY)
#: That of which the changes are events: what is 1, and what has a value.
_HAPPENS: Final = (*STATES, catalog.TRAIN_VERDICT, catalog.PREDICT_VERDICT)
_COUNTED: Final = (catalog.TRAIN_EPOCH, catalog.TRAIN_WORKER_DEATHS_TOTAL)


class Span(NamedTuple):
    """A time range, Unix seconds; points lie on multiples of `step`."""

    start: float
    end: float
    step: int

    @property
    def window(self) -> int:
        """Seconds over which a point is calculated: no less than to the one before."""
        return max(LEAST_WINDOW, self.step)

    def times(self) -> list[float]:
        """Its points."""
        return [self.start + self.step * place for place in range(round((self.end - self.start) / self.step) + 1)]


def span(seconds: float, end: float) -> Span:
    """So many seconds up to `end`, of which it leaves out less than a step."""
    step = LEAST_STEP * max(ceil(seconds / POINTS / LEAST_STEP), 1)
    last = end // step * step
    return Span(last - seconds // step * step, last, step)


@dataclass(frozen=True, slots=True)
class Only(Scope):
    """Series of a cluster's run, and of its nodes where a metric knows no run; by labels as they are."""

    cluster: str = ""
    name: str = ""
    """The run's."""
    instances: tuple[str, ...] = ()

    def __call__(self, metric: Metric, part: str = "", **labels: str) -> Expr:
        """Select `metric`, as `Scope`."""
        bare = Scope.__call__(self, metric, part, **labels)
        name, _, matchers = bare.text.removesuffix("}").partition("{")
        return replace(bare, text=f"{name}{{{', '.join([*filter(None, [matchers]), *self.own(metric)])}}}")

    def own(self, *metrics: Metric) -> list[str]:
        """The matchers of the run, or of its nodes."""
        if all("run" in metric.labels for metric in metrics):
            return [f"cluster={quoted(self.cluster)}", f"run={quoted(self.name)}"]
        among = quoted("|".join(map(re.escape, self.instances)))
        return [f"cluster={quoted(self.cluster)}", f"instance=~{among}"]

    def all_of(self, metrics: Sequence[Metric]) -> str:
        """Select several metrics at once."""
        return _all_of(metrics, *self.own(*metrics))


def _all_of(metrics: Iterable[Metric], *matchers: str) -> str:
    named = f'__name__=~"{"|".join(sorted(metric.name for metric in metrics))}"'
    return f"{{{', '.join([named, *matchers])}}}"


#: Of all there is.
EVERYTHING: Final = Scope(())


class Listing(NamedTuple):
    """All runs at a moment: their document by language, and whose each name is."""

    documents: Mapping[str, dict[str, Any]]
    whose: Mapping[str, Only]

    @property
    def size(self) -> int:
        """In bytes, about."""
        return BYTES_OF_A_RUN * len(self.documents) * len(self.whose)


class Told(NamedTuple):
    """A run with its nodes at a moment: its document and that of its nodes' GPUs by language, as JSON."""

    only: Only
    run: Mapping[str, bytes]
    node: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, (*self.run.values(), *self.node.values())))


class Past(NamedTuple):
    """A time range of a run: its courses, those of its nodes' GPUs, and what happened by language, as JSON."""

    run: bytes
    gpus: bytes
    events: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, (self.run, self.gpus, *self.events.values())))


class Fleet:
    """A Prometheus, and what it is asked. Every method may raise SourceError."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet."""
        self._url = url
        self.name = masked(url)
        """Without a password."""

    def _instant(self, query: str, at: float) -> list[Series]:
        return prometheus.instant(self._url, query, at, TIMEOUT)

    # --- all runs --------------------------------------------------------------------------------------------------

    def listing(self, at: float) -> Listing:
        """Every run that Prometheus has at a moment."""
        ranks = self._instant(f"max by (__name__, cluster, run, rank, state) ({_all_of(_RANKS)} == 1)", at)
        listed = self._instant(f"max by (__name__, cluster, run, verdict) ({_all_of(_LISTED)})", at)
        whose = _told([*ranks, *listed])
        names = {(only.cluster, only.name): told for told, only in whose.items()}
        first = _first_ranks(ranks)
        samples = [
            *_samples(ranks, lambda of: {"run": names[_who(of)]}),
            *_samples(listed, lambda of: {"run": names[_who(of)], "rank": first.get(_who(of), "")}),
        ]
        speeds = self._measures(
            (IMAGES, PREDICT_IMAGES),
            EVERYTHING,
            at,
            ("cluster", "run"),
            lambda of: {"run": names.get(_who(of), of["run"])},
        )

        def document(language: str) -> dict[str, Any]:
            view = _view(at, samples, language)
            return documents.runs(view, speeds, language, len(view.ranks))

        return Listing({language: document(language) for language in LANGUAGES}, whose)

    # --- one run and its GPUs --------------------------------------------------------------------------------------

    def run(self, told: str, only: Only, at: float) -> Told:
        """A run, and the GPUs of its nodes."""
        found = self._instant(only.all_of(_OF_RUN), at)
        nodes = sorted({series["metric"].get("instance", "") for series in found})
        only = replace(only, instances=tuple(nodes[:MOST_NODES]))
        found += self._instant(only.all_of(_OF_GPU), at)
        gpu = _gpus_of(only)
        samples = list(_samples(found, lambda of: {"run": told} | ({"gpu": gpu(of)} if "gpu" in of else {})))
        ranks = self._measures(_MEASURED, only, at, (), lambda of: {**of, "run": told})
        tiles = self._measures(OF_GPUS, only, at, ("gpu", "instance"), lambda of: {"gpu": gpu(of)})
        views = {language: _view(at, samples, language) for language in LANGUAGES}
        left_out = len(nodes) - len(only.instances)
        return Told(
            only,
            {language: encoded(documents.run(view, ranks, told, language)) for language, view in views.items()},
            {
                language: encoded(
                    {"gpus": documents.gpus(view, tiles, language), "verdicts": [], "nodes_left_out": left_out}
                )
                for language, view in views.items()
            },
        )

    def _measures(
        self,
        courses: Sequence[Course],
        scope: Scope,
        at: float,
        by: Sequence[str],
        relabelled: Callable[[_Labels], _Labels],
    ) -> History:
        """Courses at a moment, by the labels `by`, each course's own where there are none."""
        queries = [render(one.formula, scope, *(by or one.by), window=f"{LEAST_WINDOW}s").text for one in courses]
        vectors: dict[tuple[str, tuple[str, ...]], Vector] = defaultdict(dict)
        for query in united(queries):
            for found in self._instant(query, at):
                labels, course = _answering(found, courses)
                value = float(found["value"][1])
                vectors[course.name, course.by][LabelSet(relabelled(labels).items())] = value
        return cast("History", _Now(vectors))

    # --- over time -------------------------------------------------------------------------------------------------

    def past(self, told: str, only: Only, over: Span) -> Past:
        """What was of a run whose nodes are known."""
        gpu = _gpus_of(only)
        happened = self._happened(told, only, over)
        return Past(
            encoded(self._curves(OF_RUN, only, over, (), _labels_of_line)),
            encoded(self._curves(OF_GPUS, only, over, ("gpu", "instance"), lambda of: {"gpu": gpu(of)})),
            {language: encoded(documents.events(happened, language)) for language in LANGUAGES},
        )

    def _curves(
        self, courses: Sequence[Course], only: Only, over: Span, by: Sequence[str], line: Callable[[_Labels], _Labels]
    ) -> dict[str, Any]:
        times = over.times()
        place = {round(time): number for number, time in enumerate(times)}
        queries = [render(one.formula, only, *(by or one.by), window=f"{over.window}s").text for one in courses]
        lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for query in united(queries):
            for found in prometheus.course(self._url, query, *over, CURVES_TIMEOUT):
                labels, course = _answering(found, courses)
                values: list[float | None] = [None] * len(times)
                for time, value in found["values"]:
                    if isfinite(number := float(value)) and round(time) in place:
                        values[place[round(time)]] = rounded(number)
                lines[course.name].append({"name": course.name, "labels": line(labels), "values": values})
        shown = [one for course in courses for one in sorted(lines[course.name], key=_line_order)[:MOST_LINES]]
        return {"times": times, "series": shown, "left_out": sum(map(len, lines.values())) - len(shown)}

    def _happened(self, told: str, only: Only, over: Span) -> list[Event]:
        """What changed from one point to the next; the last of it."""
        labels = ", ".join(dict.fromkeys(label for metric in (*_HAPPENS, *_COUNTED) for label in metric.labels))
        query = f"max by (__name__, {labels}) ({only.all_of(_HAPPENS)} == 1 or {only.all_of(_COUNTED)})"
        moments: dict[float, list[Sample]] = defaultdict(list)
        for found in prometheus.course(self._url, query, *over, CURVES_TIMEOUT):
            for sample in _samples([found], lambda _: {"run": told}):
                for time, value in found["values"]:
                    moments[time].append(sample._replace(value=float(value)))
        return list(_changes(moments))[-MOST_EVENTS:]


def united(queries: Sequence[str]) -> Iterator[str]:
    """Several questions as few: each series says which of them it answers."""
    asked = ""
    for number, query in enumerate(queries):
        one = f'label_replace({query}, "{_ANSWERS}", "{number}", "", "")'
        if asked and len(asked) + len(one) > MOST_LETTERS:
            yield asked
            asked = ""
        asked = f"{asked} or {one}" if asked else one
    if asked:
        yield asked


def _answering(found: Series, courses: Sequence[Course]) -> tuple[_Labels, Course]:
    """The labels of a series, and the course whose question it answers."""
    labels = dict(found["metric"])
    return labels, courses[int(labels.pop(_ANSWERS))]


def _changes(moments: Mapping[float, Sequence[Sample]]) -> Iterator[Event]:
    before: Facts | None = None
    number = 0
    for time in sorted(moments):
        after = facts(moments[time], before)
        for change in changes(before, after) if before is not None else ():
            number += 1
            yield Event(number, time, *change)
        before = after


class _Now:
    """Measures of a moment, as `History.now` gives them to the documents."""

    def __init__(self, vectors: Mapping[tuple[str, tuple[str, ...]], Vector]) -> None:
        """Vectors by name and labels of their courses."""
        self._vectors = vectors

    def now(self, courses: Iterable[Course], run: str = "", seconds: float = 0.0) -> dict[str, Vector]:  # noqa: ARG002
        """Values by course and labels."""
        return {one.name: self._vectors[key] for one in courses if (key := (one.name, one.by)) in self._vectors}


# --- labels -----------------------------------------------------------------------------------------------------------

_Labels = dict[str, str]


def _who(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("cluster", ""), labels.get("run", "")


def _told(found: Iterable[Series]) -> dict[str, Only]:
    """Runs by the names that are shown: with the cluster where several have one of that name."""
    clusters: dict[str, set[str]] = defaultdict(set)
    for series in found:
        cluster, run = _who(series["metric"])
        clusters[run].add(cluster)
    return {
        f"{run} ({cluster})" if len(those) > 1 else run: Only((), cluster=cluster, name=run)
        for run, those in clusters.items()
        for cluster in those
    }


def _first_ranks(found: Iterable[Series]) -> dict[tuple[str, str], str]:
    """The rank that stands for each run: the first that lives, else the first."""
    ranks: dict[tuple[str, str], set[str]] = defaultdict(set)
    alive: dict[tuple[str, str], set[str]] = defaultdict(set)
    for series in found:
        labels = series["metric"]
        (ranks if "state" in labels else alive)[_who(labels)].add(labels.get("rank", ""))
    return {who: min((those & alive[who]) or those, key=in_order) for who, those in ranks.items()}


def _gpus_of(only: Only) -> Callable[[Mapping[str, str]], str]:
    """The name of a GPU: its index, with its node where there are several."""
    many = len(only.instances) > 1
    return lambda of: f"{of['gpu']} · {of.get('instance', '')}" if many else of["gpu"]


def _labels_of_line(labels: _Labels) -> _Labels:
    return {name: value for name, value in sorted(labels.items()) if name != "run"}


def _line_order(line: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [in_order(value) for value in line["labels"].values()]


def _samples(found: Iterable[Series], relabelled: Callable[[_Labels], _Labels]) -> Iterator[Sample]:
    """Series as samples of the catalogue; of what it does not know none."""
    for series in found:
        labels = series["metric"]
        if metric := catalog.BY_NAME.get(labels.get("__name__", "")):
            labels = labels | relabelled(labels)
            value = float(series["value"][1]) if "value" in series else 0.0
            yield Sample(metric, tuple(labels.get(label, "") for label in metric.labels), value)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _view(at: float, samples: Sequence[Sample], language: str) -> documents.View:
    return documents.View(Snapshot(at, {"": tuple(samples)}), _diagnoses(samples, language))


def _diagnoses(samples: Iterable[Sample], language: str) -> list[Diagnosis]:
    """The verdicts that hold, by rank: what is known of them without their signals."""
    told: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for metric, labels, _ in samples:
        if metric in (*_FIXES, catalog.TRAIN_VERDICT_CAUSE_INFO):
            told[labels[:3]] |= dict(zip(metric.labels[3:], labels[3:], strict=True))
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for *who, name in told:
        if name in rules.BY_NAME:
            held[tuple(who)].append(name)
    return [
        Diagnosis(
            run, rank, "", worst_first([_verdict(name, told[run, rank, name], language) for name in names]), {},
            Signals(run, rank),
        )
        for (run, rank), names in held.items()
    ]  # fmt: skip


def _verdict(name: str, told: Mapping[str, str], language: str) -> Verdict:
    rule, suffix = rules.BY_NAME[name], "_zh" if language == CHINESE else ""
    cause = told.get(f"cause{suffix}", "")
    return Verdict(
        name, rule.severity, told.get("evidence", ""), cause, rule.verify, told.get(f"fix{suffix}", ""), None
    )
